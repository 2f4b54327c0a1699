"""Everything a training run can be told, checked once, with every fault reported together."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from engines.errors import ConfigError
from engines.generator import Arch


@dataclass(frozen=True)
class Weights:
    """Weight of each loss term; all terms but the pixel ones are relative, so that 1 is a natural unit.

    Attributes:
        content: squared error of relu4_1 features, relative to the picture's own energy.
        style: squared error of the Gram matrices, relative to the painting's own, summed over the layers.
        temporal: squared pixel error between the moved painting and the painting of the moved picture.
        noise: squared pixel error between the paintings of a picture with and without sensor noise.
        variation: total variation, mean absolute difference of neighbouring pixels.
        canvas: squared error, at the scale of large patches, between two paintings on differently placed canvases.
        range: squared excess over [0, 1].
    """

    content: float = 2.5
    style: float = 10.0
    temporal: float = 200.0
    noise: float = 100.0
    variation: float = 0.0
    canvas: float = 60.0
    range: float = 10.0


@dataclass(frozen=True)
class TrainConfig:
    """One run, from pictures to a style.

    Attributes:
        style_picture: the painting.
        content: folder of photographs, searched recursively.
        out: folder of the run; holds the checkpoint, contact sheets and at the end the style in ``style/``.
        name: short name of the style; by default that of the painting's file.
        features: folder with the feature networks; ``None`` looks in the cache and downloads.
        init: folder of a trained style to start from; its shape is taken, and ``norm`` is off.
        steps: optimisation steps.
        minutes: stop after this many minutes of training instead; ``None`` counts steps.
        batch: pictures a step.
        crop: side of the square crops, pixels.
        style_size: short side of the painting, pixels; strokes in the result have their size in this picture.
        learning_rate: of Adam, at the start; falls to 1 % along a cosine.
        warmup: steps over which the learning rate rises from 0.
        norm: batch normalisation while training.
        freeze_at: share of the run, 0 … 1, after which the statistics of the normalisation are fixed.
        motion: largest synthetic shift between two frames, pixels.
        noise_sigma: standard deviation of the synthetic sensor noise, in 8-bit steps.
        hold_out: photographs that training never sees, for judging; see ``data.split``.
        seed: of everything random.
        checkpoint_steps: steps between checkpoints.
        sheet_steps: steps between contact sheets.
        threads: CPU threads; 0 leaves PyTorch's default.
        weights: of the loss terms.
        arch: shape of the generator.
    """

    style_picture: Path
    content: Path
    out: Path
    name: str = ""
    features: Path | None = None
    init: Path | None = None
    steps: int = 3600
    minutes: float | None = None
    batch: int = 4
    crop: int = 192
    style_size: int = 512
    learning_rate: float = 2e-3
    warmup: int = 50
    norm: bool = True
    freeze_at: float = 0.4
    motion: float = 12.0
    noise_sigma: float = 4.0
    hold_out: int = 20
    seed: int = 1
    checkpoint_steps: int = 250
    sheet_steps: int = 250
    threads: int = 0
    weights: Weights = field(default_factory=Weights)
    arch: Arch = field(default_factory=Arch)

    def __post_init__(self) -> None:
        """Raises: ConfigError: naming every field that is wrong."""
        faults = _faults(self)
        if faults:
            raise ConfigError("; ".join(faults), hint="see `rtstyle train --help`")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for checkpoints and records; paths as file names only, so that no machine is named."""
        values = asdict(self)
        for key in ("style_picture", "content", "out", "features", "init"):
            values[key] = Path(values[key]).name if values[key] is not None else None
        return values


def _faults(config: TrainConfig) -> list[str]:
    checks = [
        *(_at_least(config, name, 1) for name in ("steps", "batch", "checkpoint_steps", "sheet_steps")),
        *(_at_least(config, name, 0) for name in ("warmup", "hold_out", "motion", "noise_sigma", "threads", "seed")),
        *(_at_least(config.weights, weight.name, 0) for weight in fields(config.weights)),
        (config.crop >= 64 and config.crop % 8 == 0, f"crop must be a multiple of 8 from 64 up, got {config.crop}"),
        (config.style_size >= 64, f"style_size must be at least 64 pixels, got {config.style_size}"),
        (0 < config.learning_rate < 1, f"learning_rate must be between 0 and 1, got {config.learning_rate}"),
        (0 <= config.freeze_at <= 1, f"freeze_at must be between 0 and 1, got {config.freeze_at}"),
        (config.minutes is None or 0 < config.minutes < math.inf, f"minutes must be positive, got {config.minutes}"),
    ]
    return [fault for holds, fault in checks if not holds]


def _at_least(settings: TrainConfig | Weights, name: str, least: int) -> tuple[bool, str]:
    value = getattr(settings, name)
    return math.isfinite(value) and value >= least, f"{name} must be at least {least}, got {value}"
