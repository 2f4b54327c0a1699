"""Run `rtstyle explain`: read the inputs, stylize the picture and analyze it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from torch import Tensor

import engines
from engines.base import RGB
from train.explain.comparisons import by_other_styles, fine_tuned, measure, table_rows
from train.explain.discriminator_maps import DiscriminatorMap, PatchClassifier
from train.explain.html_report import STRENGTHS, Explanation, page
from train.explain.inputs import ExplainInputs, ExplainJob, read_inputs
from train.explain.layer_maps import layer_maps, painting_grams
from train.explain.patch_match import matches
from train.html import check_page, write_page

logger = logging.getLogger(__name__)

NETWORKS = "the feature networks: --features DIR"
CACHED = f"{NETWORKS}, or train a style once, which downloads them"


def explain(job: ExplainJob, out: Path) -> Explanation:
    """Explain a style on one picture, write the page and return its contents; progress is logged.

    Raises:
        StylerError: an input cannot be used.
        SinkError: the page cannot go there.
        TrainError: the page cannot be written.
    """
    check_page(out, "--out")
    explanation = analyze(job)
    write_page(out, page(explanation))
    for line in explanation.left_out:
        logger.info("left out: %s", line)
    logger.info("wrote %s", out)
    return explanation


def analyze(job: ExplainJob) -> Explanation:
    """Do everything but write the page.

    Raises:
        StylerError: an input cannot be used.
    """
    logger.info("reading …")
    inputs = read_inputs(job)
    photo, painting, features = inputs.photo, inputs.painting, inputs.features
    logger.info("stylizing …")
    with closing(engines.load(inputs.style)) as engine:
        strip = [engine(photo, strength) for strength in STRENGTHS]
    stylized = strip[-1]
    found: dict[str, Any] = {}
    targets: Sequence[Tensor] = ()
    if features is not None:
        logger.info("comparing features …")
        targets = () if painting is None else painting_grams(features, painting)
        found["maps"] = layer_maps(features, photo, stylized, targets)
        if painting is not None:
            found["matches"] = matches(features.style_network, photo, stylized, painting)
    if inputs.classifier is not None and inputs.classifier.accepts(stylized):
        found["discriminator"] = _discriminator(inputs.classifier, inputs, stylized)
    comparisons = by_other_styles(inputs)
    if job.fine_tune is not None:
        comparisons += fine_tuned(job, inputs)
    if comparisons:
        each = [measure(features, photo, rgb, targets) for rgb in (photo, stylized)]
        # Style errors of a style trained on another painting would only show that it was.
        each += [measure(features, photo, c.stylized, () if c.other_painting else targets) for c in comparisons]
        head = ["error", "photograph", "this style", *(c.name for c in comparisons)]  # two styles may share a title
        found |= {"comparisons": comparisons, "head": head, "rows": table_rows(each)}
    return Explanation(
        title=inputs.style.title, style=inputs.style.name, source=job.picture.name,
        photo=photo, strip=strip, painting=painting,
        missing=_missing(job, inputs, found), notes=_notes(job, inputs), **found,
    )  # fmt: skip


def _discriminator(classifier: PatchClassifier, inputs: ExplainInputs, stylized: RGB) -> dict[str, DiscriminatorMap]:
    """Map the stylized picture, the photograph and, if given, the painting."""
    painting = inputs.painting if inputs.painting is not None and classifier.accepts(inputs.painting) else None
    thresholds = None if painting is None else classifier.thresholds(painting, stylized)
    shown = {"stylized": stylized, "photograph": inputs.photo} | ({} if painting is None else {"painting": painting})
    return {name: classifier(rgb, thresholds) for name, rgb in shown.items()}


def _missing(job: ExplainJob, inputs: ExplainInputs, found: dict[str, Any]) -> dict[str, str]:
    """Name the options that each missing or incomplete section needs."""
    gaps = {}
    if inputs.features is None:
        gaps["maps"] = f"This needs {CACHED}, and the painting: --painting FILE."
    elif inputs.painting is None:
        gaps["maps"] = "Give the painting with --painting FILE to see where the picture moved closer to it."
    if "matches" not in found:
        gaps["matches"] = f"This needs {CACHED}, and the painting: --painting FILE."
        if inputs.features is not None:
            gaps["matches"] = "This needs the painting: --painting FILE."
    if "discriminator" not in found:
        gaps["discriminator"] = _no_discriminator(job, inputs)
    if "comparisons" not in found:
        gaps["comparisons"] = (
            "This needs another style, --against STYLE, or two fine-tunings: --fine-tune MINUTES --content DIR."
        )
    return gaps


def _no_discriminator(job: ExplainJob, inputs: ExplainInputs) -> str:
    if job.run is None:
        return "This needs the run that trained the style: --run DIR."
    if inputs.classifier is None:
        return "The run trained no discriminator, which needs --style-pictures DIR and a weight for losses.adversarial."
    return f"The discriminator needs a larger picture: at least {inputs.classifier.discriminator.smallest} pixels."


def _notes(job: ExplainJob, inputs: ExplainInputs) -> dict[str, str]:
    notes = {}
    if job.fine_tune is not None:
        notes["comparisons"] = (
            f"Both fine-tunings took {job.fine_tune:g} minutes, which by itself changes a style, so compare them with "
            f"each other. They differ only in the weight of {job.layer} in the style loss."
        )
    if inputs.classifier is not None and inputs.classifier.threshold is None:
        middle = "the picture's mean" if inputs.painting is None else "the midpoint of painting and stylized picture"
        notes["discriminator"] = f"Scores of this loss (wgan-gp) have no zero, so they are compared with {middle}."
    return notes
