"""Stylize the same picture with other styles: trained ones, and short fine-tunings of this one."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import engines
from engines.base import RGB
from engines.cache_dirs import cache_folder
from engines.errors import TrainError
from engines.model.generator import Generator
from engines.style_file import StyleModel
from train.config.recipe import recorded_settings, resolve
from train.config.schema import STYLE_LAYERS, LossWeights, TrainConfig
from train.data.pictures import to_tensor
from train.evaluate.similarity import ssim
from train.explain.inputs import ExplainInputs, ExplainJob
from train.explain.provenance import different_painting, painting_name
from train.export import folded
from train.inference import stylize_picture
from train.losses.perceptual import content_loss, style_distances
from train.losses.vgg_features import Features

logger = logging.getLogger(__name__)

FACTORS = (0.25, 4.0)
"""Factors by which the fine-tunings scale the weight of a style layer."""

LEARNING_RATE = 7e-4
"""Learning rate of a fine-tuning: a third of that for a fresh start, which would undo the style first."""

COMPARED = ("losses", "motion", "schedule", "data", "generator", "discriminator")
"""Recipe sections whose differences explain something, the most telling first."""


@dataclass(frozen=True)
class Comparison:
    """The picture stylized by another style, and the settings that differ from this style's, as text.

    ``other_painting`` is the painting that style was trained on; empty if it is the same one.
    """

    name: str
    stylized: RGB
    differs: Sequence[str] = ()
    other_painting: str = ""


@dataclass(frozen=True)
class Errors:
    """How far a picture is from the painting and from the photograph.

    Attributes:
        style: relative squared distance of Gram matrices for each of ``STYLE_LAYERS``; empty without a painting.
        content: relative squared distance of relu4_1; ``None`` without feature networks.
        ssim: structural similarity to the photograph.
    """

    style: Sequence[float]
    content: float | None
    ssim: float


@torch.no_grad()
def measure(features: Features | None, photo: RGB, stylized: RGB, targets: Sequence[Tensor]) -> Errors:
    """Compare a stylized picture with the photograph and the painting, whose Gram matrices are the targets, if given.

    Without feature networks, only SSIM is measured.
    """
    if features is None:
        return Errors((), None, ssim(stylized, photo))
    x, y = to_tensor(photo), to_tensor(stylized)
    deep = features.content(y)
    style = [float(d) for d in style_distances([*features.style(y), deep], targets)] if targets else []
    return Errors(style, float(content_loss(deep, features.content(x))), ssim(stylized, photo))


def by_other_styles(inputs: ExplainInputs) -> list[Comparison]:
    """Stylize the photograph with each of the other styles.

    Raises:
        EngineError: a style cannot run here.
    """
    found = []
    for style in inputs.against:
        with closing(engines.load(style)) as engine:
            painting = ""
            if different_painting(inputs.style.training, style.training):
                painting = style.work or painting_name(style.training) or style.title
            found.append(Comparison(style.title, engine(inputs.photo), differences(inputs.style, style), painting))
    return found


def differences(one: StyleModel, other: StyleModel) -> list[str]:
    """List the settings that both styles' training records hold with different values: ``losses.style 10 → 20``."""
    mine, theirs = recorded_settings(one.training), recorded_settings(other.training)
    found = []
    for section in COMPARED:
        a, b = mine.get(section, {}), theirs.get(section, {})
        found += [f"{section}.{key} {a[key]} → {b[key]}" for key in a if key in b and a[key] != b[key]]
    return found


def fine_tuned(job: ExplainJob, inputs: ExplainInputs) -> list[Comparison]:
    """Stylize the photograph with two short fine-tunings of the style that differ only in one style layer's weight.

    Raises:
        TrainError: a picture cannot be used, or a loss is not finite.
        ConfigError: the settings are invalid.
    """
    found = []
    for factor in FACTORS:
        with tempfile.TemporaryDirectory(prefix="rtstyle-explain-") as folder:
            config = fine_tune_config(job, inputs.style, factor, Path(folder))
            name = f"{job.layer} × {factor:g}"
            logger.info("fine-tuning for %g minutes with %s …", job.fine_tune, name)
            weight = getattr(config.style_layers, job.layer)
            found.append(Comparison(name, _stylized(config, inputs.photo), [f"style_layers.{job.layer} {weight:g}"]))
    return found


def fine_tune_config(job: ExplainJob, style: StyleModel, factor: float, out: Path) -> TrainConfig:
    """Build the settings of a fine-tuning: recipe ``fast``, the style's own weights, that of one layer × ``factor``.

    Raises:
        ConfigError: the minutes are not positive.
    """
    given = recorded_settings(style.training)
    # Adversarial terms need the discriminator and the artist's pictures, which a style does not include.
    names = [f.name for f in fields(LossWeights) if f.name not in ("adversarial", "feature_matching")]
    sections = {"losses": names, "style_layers": STYLE_LAYERS}
    weights = {
        f"{section}.{name}": given[section][name]
        for section, members in sections.items()
        for name in members
        if _is_weight(given.get(section, {}).get(name))
    }
    layer = f"style_layers.{job.layer}"
    flags: dict[str, Any] = weights | {
        layer: factor * weights.get(layer, 1.0),
        "data.style_picture": job.painting, "data.content": job.content, "data.hold_out": 0,
        "data.features": job.features or cache_folder("features"),
        "data.style_size": given.get("data", {}).get("style_size"),
        "generator.init": style.folder,
        "schedule.minutes": job.fine_tune, "schedule.learning_rate": LEARNING_RATE, "schedule.warmup": 10,
        "run.out": out, "run.sheet_steps": 10**9, "run.report_steps": 10**9,
    }  # fmt: skip
    return resolve("fast", (), flags)


def _is_weight(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _stylized(config: TrainConfig, photo: RGB) -> RGB:
    from train.loop import train

    result = train(config)
    if result.step == 0:
        raise TrainError("the fine-tuning ended before its first step", hint="give --fine-tune more minutes")
    assert isinstance(result.result, Generator)
    return stylize_picture(folded(result.result, config), photo)


def table_rows(each: Sequence[Errors]) -> list[tuple[str, ...]]:
    """Return one row of text for each error: its name, then its value in each column, or a dash."""
    rows = [
        (f"style error, {layer}", *(f"{f.style[i]:.3f}" if f.style else "–" for f in each))
        for i, layer in enumerate(STYLE_LAYERS[: len(each[0].style)])
    ]
    if each[0].content is not None:
        rows.append(("content error, relu4_1", *(f"{f.content or 0.0:.3f}" for f in each)))
    return [*rows, ("structure kept (SSIM)", *(f"{f.ssim:.3f}" for f in each))]
