"""Other styles on the same picture: those that were trained already, and those that a short fine-tuning makes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import engines
from engines.base import RGB
from engines.errors import TrainError
from engines.model.generator import Generator, fold
from engines.style_file import StyleModel
from train.config.recipe import resolve
from train.config.schema import STYLE_LAYERS, LossWeights, TrainConfig
from train.data.pictures import to_tensor
from train.evaluate.similarity import ssim
from train.explain.inputs import Job, Material, settings_of
from train.explain.provenance import another_painting, painting_name
from train.losses.perceptual import content_loss, style_distances
from train.losses.vgg_features import Features, cache_folder
from train.report.contact_sheet import paint

FACTORS = (0.25, 4.0)
"""By which the fine-tunings multiply the weight of a style layer."""

GENTLE = 7e-4
"""Learning rate of a fine-tuning: a third of a fresh start's, which would first undo what is there."""

COMPARED = ("losses", "motion", "schedule", "data", "generator", "discriminator")
"""Sections of the record in which a difference explains something, the most telling first."""


@dataclass(frozen=True)
class Rival:
    """One more way in which the picture could have been painted.

    Attributes:
        name: for people.
        painted: the picture.
        differs: in which settings it was trained otherwise, as texts.
        learned: the painting that it learned, where that is another one; empty where it is the same.
    """

    name: str
    painted: RGB
    differs: Sequence[str] = ()
    learned: str = ""


@dataclass(frozen=True)
class Figures:
    """How near a picture is to painting and photograph.

    Attributes:
        style: relative squared distance of Gram matrices for each of ``STYLE_LAYERS``; empty without a painting.
        content: relative squared distance of relu4_1; ``None`` without feature networks.
        ssim: structural similarity to the photograph.
    """

    style: Sequence[float]
    content: float | None
    ssim: float


@torch.no_grad()
def figures(features: Features | None, photo: RGB, painted: RGB, targets: Sequence[Tensor]) -> Figures:
    """Compare, with what is at hand.

    Args:
        features: ``None`` leaves the structure alone to be compared.
        photo, painted: the same size.
        targets: Gram matrices of the painting, as ``maps.painting_grams`` gives them; may be empty.
    """
    if features is None:
        return Figures((), None, ssim(painted, photo))
    x, y = to_tensor(photo), to_tensor(painted)
    deep = features.content(y)
    style = [float(d) for d in style_distances([*features.style(y), deep], targets)] if targets else []
    return Figures(style, float(content_loss(deep, features.content(x))), ssim(painted, photo))


def trained(material: Material) -> list[Rival]:
    """The picture by each of the other styles.

    Raises:
        EngineError: one of them cannot run here.
    """
    found = []
    for style in material.against:
        with closing(engines.load(style)) as engine:
            differs, learned = differences(material.style, style), _learned(material.style, style)
            found.append(Rival(style.title, engine(material.photo), differs, learned))
    return found


def _learned(one: StyleModel, other: StyleModel) -> str:
    if not another_painting(one.training, other.training):
        return ""
    return other.work or painting_name(other.training) or other.title


def differences(one: StyleModel, other: StyleModel) -> list[str]:
    """The settings that two styles' records both hold, and hold differently: ``losses.style 10 → 20``."""
    mine, theirs = settings_of(one), settings_of(other)
    found = []
    for section in COMPARED:
        a, b = mine.get(section, {}), theirs.get(section, {})
        found += [f"{section}.{key} {a[key]} → {b[key]}" for key in a if key in b and a[key] != b[key]]
    return found


def fine_tuned(job: Job, material: Material, say: Callable[[str], None]) -> list[Rival]:
    """The picture by two short trainings on from the style, equal but for the weight of one style layer.

    Args:
        job: has ``painting``, ``content`` and ``fine_tune``.
        material: of the job.
        say: is told what comes next.

    Raises:
        TrainError, ConfigError: unusable pictures; a loss that is not finite.
    """
    found = []
    for factor in FACTORS:
        with tempfile.TemporaryDirectory(prefix="rtstyle-explain-") as folder:
            config = tuning(job, material.style, factor, Path(folder))
            name = f"{job.layer} × {factor:g}"
            say(f"training {job.fine_tune:g} minutes with {name} …")
            weight = getattr(config.style_layers, job.layer)
            found.append(Rival(name, _painted(config, material.photo, say), [f"style_layers.{job.layer} {weight:g}"]))
    return found


def tuning(job: Job, style: StyleModel, factor: float, out: Path) -> TrainConfig:
    """Settings of a fine-tuning: the recipe ``fast``, the weights that the style was trained with, one layer's scaled.

    Raises:
        ConfigError: the minutes are not positive.
    """
    given = settings_of(style)
    # The game needs a discriminator and the artist's works, which a style does not carry.
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
        "data.features": job.features or cache_folder(),
        "data.style_size": given.get("data", {}).get("style_size"),
        "generator.init": style.folder,
        "schedule.minutes": job.fine_tune, "schedule.learning_rate": GENTLE, "schedule.warmup": 10,
        "run.out": out, "run.sheet_steps": 10**9, "run.report_steps": 10**9,
    }  # fmt: skip
    return resolve("fast", (), flags)


def _is_weight(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _painted(config: TrainConfig, photo: RGB, say: Callable[[str], None]) -> RGB:
    from train.loop import train

    result = train(config, on_warning=say)
    if result.step == 0:
        raise TrainError("the fine-tuning did not take a single step", hint="give --fine-tune more minutes")
    assert isinstance(result.result, Generator)
    return paint(fold(result.result), photo)


def figure_rows(each: Sequence[Figures]) -> list[tuple[str, ...]]:
    """A row for each figure that the first column has: its name, and its value in each column, as text, or a dash."""
    rows = [
        (f"style error, {layer}", *(f"{f.style[i]:.3f}" if f.style else "–" for f in each))
        for i, layer in enumerate(STYLE_LAYERS[: len(each[0].style)])
    ]
    if each[0].content is not None:
        rows.append(("content error, relu4_1", *(f"{f.content or 0.0:.3f}" for f in each)))
    return [*rows, ("structure kept (SSIM)", *(f"{f.ssim:.3f}" for f in each))]
