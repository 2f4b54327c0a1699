"""All settings of a training run, in sections; they are checked once, and all errors are reported together.

A field is called ``section.field`` everywhere: here, in recipes, after ``--set``, and in errors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from engines.errors import ConfigError, SettingsError

if TYPE_CHECKING:
    from engines.model.generator import Arch

Loss = Literal["lsgan", "bce", "hinge", "wgan-gp"]
MotionSource = Literal["none", "synthetic", "clips", "both"]
Precision = Literal["auto", "fp32", "bf16"]
Kernels = Literal["muon", "adam"]

Check = tuple[bool, str]
"""Whether it holds, and the error if it does not."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Training data, and how it is loaded.

    Attributes:
        style_picture: painting whose strokes are learned; ``None`` learns from ``style_pictures`` alone.
        style_pictures: folder of an artist's works, searched recursively, for the discriminator.
        content: folder of photographs, searched recursively.
        clips: folder of real clips, searched recursively, for ``motion.source`` clips or both.
        features: folder with the feature networks; ``None`` uses the cache, and downloads them if needed.
        batch: pictures per step, on all devices together.
        crop: side of the square crops, pixels.
        style_size: short side of the painting, pixels; the strokes of the style are as large as in this picture.
        hold_out: photographs kept out of training, for evaluation; see ``pictures.split``.
        workers: threads that load batches; 0 loads them between the steps.
        in_memory: keep decoded pictures in memory, up to ``pictures.memory_budget``; each takes about 16 · crop² bytes:
            1 MB at a crop of 256, 2.4 MB at 384.
    """

    style_picture: Path | None = None
    style_pictures: Path | None = None
    content: Path
    clips: Path | None = None
    features: Path | None = None
    batch: int = 4
    crop: int = 192
    style_size: int = 512
    hold_out: int = 20
    workers: int = 2
    in_memory: bool = False


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """The generator.

    Attributes:
        stem: channels at 1/4 resolution.
        body: channels at 1/8 resolution.
        blocks: residual blocks at 1/8 resolution.
        head: channels at 1/2 resolution.
        norm: use batch normalisation during training.
        freeze_at: share of the run, 0 … 1, after which the normalisation statistics are fixed.
        init: folder of a trained style to start from, which sets the shape.
        ema: decay per step of the moving average of the weights, which becomes the style, 0 … 1; 0 turns it off.
    """

    stem: int = 32
    body: int = 64
    blocks: int = 4
    head: int = 16
    norm: bool = True
    freeze_at: float = 0.4
    init: Path | None = None
    ema: float = 0.0

    @property
    def arch(self) -> Arch:
        """The shape of the generator."""
        from engines.model.generator import Arch  # imports torch, which errors in settings need not wait for

        return Arch(self.stem, self.body, self.blocks, self.head)


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """The discriminator, used if ``losses.adversarial`` has a weight.

    Attributes:
        loss: adversarial loss; see ``losses.adversarial``.
        scales: number of resolutions, each half of the one before.
        width: channels of the first layer.
        layers: number of convolutions with stride 2.
        steps: discriminator steps per generator step.
        learning_rate: initial learning rate of Adam; it falls like the generator's.
        warmup: generator steps before the first discriminator step.
        augment: augment real and stylized pictures differentiably, which helps with few works.
    """

    loss: Loss = "lsgan"
    scales: int = 2
    width: int = 32
    layers: int = 3
    steps: int = 1
    learning_rate: float = 4e-4
    warmup: int = 200
    augment: bool = True


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weight of each loss term; all terms but the pixel errors are relative, so that 1 is a natural unit.

    Attributes:
        content: squared error of features, relative to the picture's own energy, summed by ``content_layers``.
        style: squared error of the Gram matrices, relative to the painting's own, summed by ``style_layers``.
        batch_style: the same for the mean over the batch, so that a single picture may lack what others have.
        adversarial: adversarial loss of the discriminator; 0 trains none.
        feature_matching: distance between the discriminator's features of stylized pictures and of works.
        temporal: squared pixel error between the moved stylized picture and the stylized moved picture.
        noise: squared pixel error between the stylized pictures with and without sensor noise.
        variation: total variation: mean absolute difference of neighbouring pixels.
        tone: squared error of the luminance of large patches, against the photograph in the painting's range.
        lattice: squared mean difference between the pixels of 2×2 cells: the mesh of the pixel shuffle.
        range: squared excess over [0, 1].
    """

    content: float = 2.5
    style: float = 5.0
    batch_style: float = 5.0
    adversarial: float = 0.0
    feature_matching: float = 0.0
    temporal: float = 200.0
    noise: float = 1000.0
    variation: float = 0.0
    tone: float = 20.0
    lattice: float = 10000.0
    range: float = 10.0


@dataclass(frozen=True, kw_only=True)
class StyleLayers:
    """Weight of each layer within the style term: shallow layers hold colours, deep ones strokes.

    Attributes:
        relu1_1: colours and the finest texture.
        relu2_1: edges of strokes.
        relu3_1: strokes.
        relu4_1: arrangement of strokes.
    """

    relu1_1: float = 1.0
    relu2_1: float = 1.0
    relu3_1: float = 2.0
    relu4_1: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ContentLayers:
    """Weight of each layer within the content term: shallow layers hold edges and faces, the deep one the scene.

    Attributes:
        relu2_2: edges, eyes, letters; used by Johnson et al. 2016 (arXiv:1603.08155) in VGG16.
        relu3_1: shapes as large as an eye.
        relu4_1: objects and their places in the scene.
    """

    relu2_2: float = 0.0
    relu3_1: float = 0.0
    relu4_1: float = 1.0


STYLE_LAYERS = tuple(layer.name for layer in fields(StyleLayers))
"""Layers of the style term, from fine to coarse."""


@dataclass(frozen=True, kw_only=True)
class MotionConfig:
    """Motion for the temporal loss.

    Attributes:
        source: none, synthetic motion of photographs, real clips, or both.
        shift: largest synthetic shift between two frames, pixels.
        noise_sigma: standard deviation of the synthetic sensor noise, in 8-bit steps.
        gap: number of frames from the first to the second of a pair from a clip.
    """

    source: MotionSource = "synthetic"
    shift: float = 12.0
    noise_sigma: float = 4.0
    gap: int = 1


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Length, learning rate and precision of the run.

    Attributes:
        steps: number of steps.
        minutes: training time instead of steps; ``None`` counts steps.
        learning_rate: initial learning rate; it falls to 1 % along a cosine.
        optimizer: optimizer of the generator's kernels, muon or adam; Adam trains everything else.
        warmup: steps in which the learning rate rises from 0.
        precision: precision of the networks in training; auto is bf16 if the device supports it.
        clip_gradient: largest gradient norm of the generator.
    """

    steps: int = 3600
    minutes: float | None = None
    learning_rate: float = 4e-3
    optimizer: Kernels = "muon"
    warmup: int = 50
    precision: Precision = "auto"
    clip_gradient: float = 5.0

    def share(self, step: int, seconds: float) -> float:
        """Return the share of the run that is done, 0 … 1, after some steps and seconds of training."""
        return min(1.0, step / self.steps if self.minutes is None else seconds / (60 * self.minutes))


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Output of the run.

    Attributes:
        out: run folder, for checkpoint, contact sheets and, at the end, the style in ``style/``.
        name: short name of the style; by default the name of the painting's file.
        seed: seed of all random numbers.
        threads: CPU threads; 0 leaves PyTorch's default.
        checkpoint_steps: steps between checkpoints.
        checkpoint_minutes: minutes between checkpoints; whichever comes first.
        sheet_steps: steps between contact sheets.
        report_steps: steps between two refreshes of the report.
        recipe: recipe that the settings came from, for the training record.
    """

    out: Path
    name: str = ""
    seed: int = 1
    threads: int = 0
    checkpoint_steps: int = 250
    checkpoint_minutes: float = 5.0
    sheet_steps: int = 250
    report_steps: int = 50
    recipe: Path | None = None


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """All settings of a run.

    Attributes:
        data: training data.
        generator: generator.
        discriminator: discriminator.
        losses: weights of the loss terms.
        style_layers: weights of the layers within the style term.
        content_layers: weights of the layers within the content term.
        motion: motion for the temporal loss.
        schedule: length, learning rate and precision.
        run: output.
    """

    data: DataConfig
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    losses: LossWeights = field(default_factory=LossWeights)
    style_layers: StyleLayers = field(default_factory=StyleLayers)
    content_layers: ContentLayers = field(default_factory=ContentLayers)
    motion: MotionConfig = field(default_factory=MotionConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    run: RunConfig

    def __post_init__(self) -> None:
        """Raises: SettingsError: some fields are wrong; it names all of them."""
        checks = [*_within(self), *_between(self), *_choices(self), *_sizes(self), *_across(self)]
        errors = [ConfigError(error) for holds, error in checks if not holds]
        if errors:
            raise SettingsError(errors, hint="see `rtstyle train --help`")

    @property
    def name(self) -> str:
        """Name of the style: as given, or the name of the painting's file or of the artist's folder."""
        source = self.data.style_picture or self.data.style_pictures
        return self.run.name or (source.stem if source is not None else "")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values by section, for checkpoints and records; paths become file names."""
        values: dict[str, dict[str, Any]] = asdict(self)
        return {
            section: {key: value.name if isinstance(value, Path) else value for key, value in members.items()}
            for section, members in values.items()
        }


LEAST: dict[str, float] = {
    "data.batch": 1, "data.hold_out": 0, "data.style_size": 64, "data.workers": 0,
    "generator.stem": 1, "generator.body": 1, "generator.blocks": 1, "generator.head": 1,
    "discriminator.scales": 1, "discriminator.width": 1, "discriminator.layers": 1, "discriminator.steps": 1,
    "discriminator.warmup": 0,
    **{f"losses.{weight.name}": 0 for weight in fields(LossWeights)},
    **{f"style_layers.{layer.name}": 0 for layer in fields(StyleLayers)},
    **{f"content_layers.{layer.name}": 0 for layer in fields(ContentLayers)},
    "motion.shift": 0, "motion.noise_sigma": 0, "motion.gap": 1,
    "schedule.steps": 1, "schedule.warmup": 0,
    "run.seed": 0, "run.threads": 0, "run.checkpoint_steps": 1, "run.sheet_steps": 1, "run.report_steps": 1,
}  # fmt: skip
"""Smallest value of a number, by field."""

MOST: dict[str, float] = {
    "data.batch": 4096, "data.crop": 4096, "data.style_size": 8192, "data.workers": 1024,
    **{f"generator.{name}": 512 for name in ("stem", "body", "blocks", "head")},  # the limits of a style file
    "discriminator.width": 1024, "discriminator.steps": 1000, "discriminator.warmup": 1e9,
    **{f"losses.{weight.name}": 1e9 for weight in fields(LossWeights)},
    **{f"style_layers.{layer.name}": 1e9 for layer in fields(StyleLayers)},
    **{f"content_layers.{layer.name}": 1e9 for layer in fields(ContentLayers)},
    "motion.shift": 4096, "motion.noise_sigma": 255, "motion.gap": 16,
    "schedule.steps": 1e9, "schedule.minutes": 525_600, "schedule.warmup": 1e9,
    "run.threads": 4096, "run.checkpoint_minutes": 525_600,
    "run.seed": 2**32 - 1,  # larger ones overflow 64 bits when step and place are mixed in
}  # fmt: skip
"""Largest value of a number, by field: beyond any sensible value, but still computable."""

POSITIVE = ("schedule.minutes", "schedule.clip_gradient", "run.checkpoint_minutes")
"""Finite and above 0."""


def _at(config: TrainConfig, name: str) -> Any:
    section, member = name.split(".")
    return getattr(getattr(config, section), member)


def _within(config: TrainConfig) -> Iterator[Check]:
    for name, least in LEAST.items():
        value = _at(config, name)
        yield math.isfinite(value) and value >= least, f"{name} must be at least {least}, got {value}"
    for name, most in MOST.items():
        value = _at(config, name)
        yield value is None or value <= most, f"{name} must be at most {most:.0f}, got {value}"


def _between(config: TrainConfig) -> Iterator[Check]:
    for name in POSITIVE:
        value = _at(config, name)
        yield value is None or 0 < value < math.inf, f"{name} must be positive, got {value}"
    for name in ("schedule.learning_rate", "discriminator.learning_rate"):
        value = _at(config, name)
        yield 0 < value < 1, f"{name} must be between 0 and 1, got {value}"
    freeze_at = config.generator.freeze_at
    yield 0 <= freeze_at <= 1, f"generator.freeze_at must be between 0 and 1, got {freeze_at}"
    ema = config.generator.ema
    yield 0 <= ema < 1, f"generator.ema must be at least 0 and below 1, got {ema}"


def _choices(config: TrainConfig) -> Iterator[Check]:
    kinds = {
        "discriminator.loss": Loss,
        "motion.source": MotionSource,
        "schedule.precision": Precision,
        "schedule.optimizer": Kernels,
    }
    for name, kind in kinds.items():
        value, known = _at(config, name), get_args(kind)
        yield value in known, f"{name} must be one of {', '.join(known)}, got {value!r}"


def _sizes(config: TrainConfig) -> Iterator[Check]:
    crop, settings = config.data.crop, config.discriminator
    fits = crop >= 64 and crop % 8 == 0
    yield fits, f"data.crop must be a multiple of 8 from 64 up, got {crop}"
    # Both halve the picture; see ``Discriminator.smallest``. A shift, because a power could have millions of digits.
    halvings = max(0, settings.scales + settings.layers)
    most = max(1, crop).bit_length() - 1
    problem = f"discriminator.scales and discriminator.layers together must be at most {most} with data.crop {crop}"
    yield config.losses.adversarial == 0 or crop >> halvings > 0, f"{problem}, got {halvings}"


def _across(config: TrainConfig) -> Iterator[Check]:
    data, source = config.data, config.motion.source
    some = data.style_picture is not None or data.style_pictures is not None
    yield some, "data.style_picture or data.style_pictures must be given"
    for name in ("adversarial", "feature_matching"):
        idle = getattr(config.losses, name) == 0 or data.style_pictures is not None
        yield idle, f"losses.{name} above 0 needs data.style_pictures, a folder of the artist's works"
    judged = config.losses.feature_matching == 0 or config.losses.adversarial > 0
    yield judged, "losses.feature_matching above 0 needs losses.adversarial above 0, which trains the discriminator"
    filmed = source not in ("clips", "both") or data.clips is not None
    yield filmed, f"motion.source {source!r} needs data.clips, a folder of clips"
