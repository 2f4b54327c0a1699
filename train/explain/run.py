"""`rtstyle explain`: read everything, paint the picture, look into it from all sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from torch import Tensor

import engines
from engines.base import RGB
from train.explain.comparisons import figure_rows, figures, fine_tuned, trained
from train.explain.discriminator_maps import Belief, PatchJudge
from train.explain.html_report import STRENGTHS, Explanation, page
from train.explain.inputs import Job, Material, gather
from train.explain.layer_maps import layer_maps, painting_grams
from train.explain.patch_match import matches
from train.html import check_page, write_page

NETWORKS = "the feature networks: --features DIR"
CACHED = f"{NETWORKS}, or train a style once, which downloads them"


def explain(job: Job, out: Path, say: Callable[[str], None] = lambda _: None) -> Explanation:
    """Explain a style on a picture, on one page.

    Args:
        job: what is asked for.
        out: the page.
        say: is told what comes next.

    Returns:
        what the page shows.

    Raises:
        StylerError: something that was given cannot be used; SinkError, TrainError: the page cannot be written.
    """
    check_page(out, "--out")
    explanation = look(job, say)
    write_page(out, page(explanation))
    return explanation


def look(job: Job, say: Callable[[str], None] = lambda _: None) -> Explanation:
    """Everything but the page.

    Raises:
        StylerError: something that was given cannot be used.
    """
    say("reading …")
    material = gather(job)
    photo, painting, features = material.photo, material.painting, material.features
    say("painting …")
    with closing(engines.load(material.style)) as engine:
        strip = [engine(photo, strength) for strength in STRENGTHS]
    painted = strip[-1]
    found: dict[str, Any] = {}
    targets: Sequence[Tensor] = ()
    if features is not None:
        say("comparing features …")
        targets = () if painting is None else painting_grams(features, painting)
        found["maps"] = layer_maps(features, photo, painted, targets)
        if painting is not None:
            found["matches"] = matches(features.style_network, photo, painted, painting)
    if material.judge is not None and material.judge.takes(painted):
        found["beliefs"] = _beliefs(material.judge, material, painted)
    rivals = trained(material)
    if job.fine_tune is not None:
        rivals += fine_tuned(job, material, say)
    if rivals:
        each = [figures(features, photo, rgb, targets) for rgb in (photo, painted)]
        # The errors of a style that learned another painting would only say that it did.
        each += [figures(features, photo, r.painted, () if r.learned else targets) for r in rivals]
        head = ["figure", "photograph", "this style", *(r.name for r in rivals)]  # two styles may share a title
        found |= {"rivals": rivals, "head": head, "rows": figure_rows(each)}
    return Explanation(
        title=material.style.title, style=material.style.name, source=job.picture.name,
        photo=photo, strip=strip, painting=painting,
        missing=_missing(job, material, found), notes=_notes(job, material), **found,
    )  # fmt: skip


def _beliefs(judge: PatchJudge, material: Material, painted: RGB) -> dict[str, Belief]:
    """Of the painted picture, of the photograph and, where it was given, of the painting."""
    painting = material.painting if material.painting is not None and judge.takes(material.painting) else None
    lines = None if painting is None else judge.lines(painting, painted)
    shown = {"painted": painted, "photograph": material.photo} | ({} if painting is None else {"painting": painting})
    return {name: judge(rgb, lines) for name, rgb in shown.items()}


def _missing(job: Job, material: Material, found: dict[str, Any]) -> dict[str, str]:
    """What each section would need to be there, or to be whole."""
    gaps = {}
    if material.features is None:
        gaps["maps"] = f"This needs {CACHED}; and the painting: --painting FILE."
    elif material.painting is None:
        gaps["maps"] = "Give the painting with --painting FILE to see where the picture came nearer to it."
    if "matches" not in found:
        gaps["matches"] = f"This needs {CACHED}; and the painting: --painting FILE."
        if material.features is not None:
            gaps["matches"] = "This needs the painting: --painting FILE."
    if "beliefs" not in found:
        gaps["beliefs"] = _no_belief(job, material)
    if "rivals" not in found:
        gaps["rivals"] = (
            "This needs another style, --against STYLE, or two short trainings: --fine-tune MINUTES --content DIR."
        )
    return gaps


def _no_belief(job: Job, material: Material) -> str:
    if job.run is None:
        return "This needs the run that trained the style: --run DIR."
    if material.judge is None:
        return "The run trained no discriminator: that needs --style-pictures DIR and a weight for losses.adversarial."
    return f"The picture is too small for the discriminator: {material.judge.discriminator.smallest} pixels at least."


def _notes(job: Job, material: Material) -> dict[str, str]:
    notes = {}
    if job.fine_tune is not None:
        notes["rivals"] = (
            f"Both were trained on for {job.fine_tune:g} minutes, which changes a style by itself: compare them with "
            f"each other. The only difference between them is the weight of {job.layer} in the style loss."
        )
    if material.judge is not None and material.judge.threshold is None:
        middle = "its own mean" if material.painting is None else "the middle between the painting and this picture"
        notes["beliefs"] = f"The scores of this loss (wgan-gp) have no zero; they are compared with {middle}."
    return notes
