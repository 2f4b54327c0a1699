"""All settings of a training run, in sections, each with its default, its meaning and its limits.

A setting is called ``section.name`` everywhere: here, in recipes, after ``--set``, and in errors.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from engines.errors import ConfigError, SettingsError

if TYPE_CHECKING:
    from engines.model.generator import Arch

CHECKS = ConfigDict(extra="forbid", allow_inf_nan=False)

SENTENCES = {
    "missing": "is missing",
    "int_type": "must be a whole number, got {input!r}",
    "float_type": "must be a number, got {input!r}",
    "bool_type": "must be true or false, got {input!r}",
    "string_type": "must be text, got {input!r}",
    "path_type": "must be a path, got {input!r}",
    "literal_error": "must be {expected}, got {input!r}",
    "finite_number": "must be finite, got {input}",
    "multiple_of": "must be a multiple of {multiple_of}, got {input}",
    "greater_than_equal": "must be at least {ge:.0f}, got {input}",
    "less_than_equal": "must be at most {le:.0f}, got {input}",
    "greater_than": "must be above {gt:.0f}, got {input}",
    "less_than": "must be below {lt:.0f}, got {input}",
    "unexpected_keyword_argument": "is not a setting",
}
"""What is wrong with a setting, by pydantic's type of the error."""


def _path(value: object) -> Path:
    """Expand ``~``; an empty text is not a path."""
    if isinstance(value, str | Path) and str(value):
        return Path(os.path.expanduser(value))  # noqa: PTH111  # Path.expanduser raises for an unknown user
    raise PydanticCustomError("path_type", "not a path")


def _unset(value: object) -> object:
    """Return ``None`` for ``"none"``: TOML has no null."""
    return None if value == "none" else value


Folder = Annotated[Path, BeforeValidator(_path)]
OptionalPath = Annotated[Folder | None, BeforeValidator(_unset)]
OptionalNumber = Annotated[StrictFloat | None, BeforeValidator(_unset)]
CanvasShare = Annotated[StrictFloat, BeforeValidator(lambda value: float(value) if isinstance(value, bool) else value)]
"""The records of the first styles without a canvas say ``false``."""


def setting(default: Any, meaning: str, **limits: Any) -> Any:
    """Declare a setting; the limits are pydantic's ``ge``, ``gt``, ``le``, ``lt`` and ``multiple_of``."""
    return Field(default, description=meaning, **limits)


def weight(default: float, meaning: str) -> Any:
    """Declare the weight of a loss term or of a layer."""
    return setting(default, meaning, ge=0, le=1e9)


@dataclass(frozen=True, kw_only=True, config=CHECKS)
class DataConfig:
    """Training data, and how it is loaded."""

    style_picture: OptionalPath = setting(None, "painting whose strokes are learned; none needs style_pictures")
    style_pictures: OptionalPath = setting(None, "folder of an artist's works, recursive, for the discriminator")
    content: Folder = setting(..., "folder of photographs, searched recursively")
    clips: OptionalPath = setting(None, "folder of real clips, recursive, for motion.source clips or both")
    features: OptionalPath = setting(
        None, "folder of the feature networks; none uses the cache, and downloads if needed"
    )
    batch: StrictInt = setting(4, "pictures per step, on all devices together", ge=1, le=4096)
    crop: StrictInt = setting(192, "side of the square crops, pixels", ge=64, le=4096, multiple_of=8)
    # The strokes of the style are as large as in the painting at this size.
    style_size: StrictInt = setting(512, "short side of the painting, pixels", ge=64, le=8192)
    hold_out: StrictInt = setting(20, "photographs kept out of training, for evaluation; see pictures.split", ge=0)
    workers: StrictInt = setting(2, "threads that load batches; 0 loads them between the steps", ge=0, le=1024)
    # Each takes about 16 · crop² bytes: 1 MB at a crop of 256, 2.4 MB at 384.
    in_memory: StrictBool = setting(False, "keep decoded pictures in memory, up to pictures.memory_budget")


@dataclass(frozen=True, kw_only=True, config=CHECKS)
class GeneratorConfig:
    """The generator; the largest sizes are the limits of a style file."""

    stem: StrictInt = setting(32, "channels at 1/4 resolution", ge=1, le=512)
    body: StrictInt = setting(64, "channels at 1/8 resolution", ge=1, le=512)
    blocks: StrictInt = setting(4, "residual blocks at 1/8 resolution", ge=1, le=512)
    head: StrictInt = setting(16, "channels at 1/2 resolution", ge=1, le=512)
    norm: StrictBool = setting(True, "use batch normalisation during training")
    freeze_at: StrictFloat = setting(0.4, "share of the run after which its statistics are fixed", ge=0, le=1)
    # What it paints stands still while the scene moves: right for brush strokes on a wall, wrong for flat colours.
    canvas: CanvasShare = setting(
        1.0,
        "contrast of the learned texture that is fixed to the screen and paints plain walls; 0 trains none",
        ge=0,
        le=1,
    )
    init: OptionalPath = setting(None, "folder of a trained style to start from, which sets the shape")
    # The average becomes the style.
    ema: StrictFloat = setting(0.0, "decay per step of the moving average of the weights; 0 turns it off", ge=0, lt=1)

    @property
    def arch(self) -> Arch:
        """The shape of the generator."""
        from engines.model.generator import Arch  # imports torch, which errors in settings need not wait for

        return Arch(self.stem, self.body, self.blocks, self.head)


@dataclass(frozen=True, kw_only=True, config=CHECKS)
class DiscriminatorConfig:
    """The discriminator, used if ``losses.adversarial`` has a weight."""

    loss: Literal["lsgan", "bce", "hinge", "wgan-gp"] = setting("lsgan", "adversarial loss; see losses.adversarial")
    scales: StrictInt = setting(2, "number of resolutions, each half of the one before", ge=1)
    width: StrictInt = setting(32, "channels of the first layer", ge=1, le=1024)
    layers: StrictInt = setting(3, "number of convolutions with stride 2", ge=1)
    steps: StrictInt = setting(1, "discriminator steps per generator step", ge=1, le=1000)
    learning_rate: StrictFloat = setting(4e-4, "initial learning rate of Adam; falls like the generator's", gt=0, lt=1)
    warmup: StrictInt = setting(200, "generator steps before the first discriminator step", ge=0, le=1e9)
    augment: StrictBool = setting(True, "augment real and stylized pictures differentiably; helps with few works")


@dataclass(frozen=True, kw_only=True, config=CHECKS)
class LossWeights:
    """Weight of each loss term; all terms but the pixel errors are relative, so that 1 is a natural unit."""

    content: StrictFloat = weight(2.5, "squared error of features, relative to the picture's own, by content_layers")
    # Eyes are the darkest places of a face, and where a style asks for black it puts it there first.
    faces: StrictFloat = weight(0.0, "the same within faces, which weigh so much more than the rest")
    style: StrictFloat = weight(5.0, "squared error of Gram matrices, relative to the painting's, by style_layers")
    # A single picture may lack what others of the batch have.
    batch_style: StrictFloat = weight(5.0, "the same for the mean over the batch")
    adversarial: StrictFloat = weight(0.0, "adversarial loss of the discriminator; 0 trains none")
    feature_matching: StrictFloat = weight(0.0, "distance of the discriminator's features, stylized to works")
    temporal: StrictFloat = weight(200.0, "squared pixel error, moved stylized picture to stylized moved picture")
    noise: StrictFloat = weight(1000.0, "squared pixel error, stylized with to without sensor noise")
    variation: StrictFloat = weight(0.0, "total variation: mean absolute difference of neighbouring pixels")
    tone: StrictFloat = weight(20.0, "squared error of large patches' luminance, photograph in the painting's range")
    # Gram matrices of photographs' shadows are content with grey.
    palette: StrictFloat = weight(0.0, "squared error of each shade's mean colour: a painting's blue darks become blue")
    lattice: StrictFloat = weight(10000.0, "squared mean difference within 2×2 cells: the mesh of the pixel shuffle")
    # The canvas paints there, and what it paints stands on the screen.
    plain: StrictFloat = weight(
        0.0, "squared pixel error of detail that is painted where a picture has none: skies, walls"
    )
    range: StrictFloat = weight(10.0, "squared excess over [0, 1]")


@dataclass(frozen=True, kw_only=True, config=CHECKS)
class StyleLayers:
    """Weight of each layer within the style term: shallow layers hold colours, deep ones strokes."""

    relu1_1: StrictFloat = weight(1.0, "colours and the finest texture")
    relu2_1: StrictFloat = weight(1.0, "edges of strokes")
    relu3_1: StrictFloat = weight(2.0, "strokes")
    relu4_1: StrictFloat = weight(1.0, "arrangement of strokes")


@dataclass(frozen=True, kw_only=True, config=CHECKS)
class ContentLayers:
    """Weight of each layer within the content term: shallow layers hold edges and faces, the deep one the scene."""

    # Used by Johnson et al. 2016 (arXiv:1603.08155) in VGG16.
    relu2_2: StrictFloat = weight(0.0, "edges, eyes, letters")
    relu3_1: StrictFloat = weight(0.0, "shapes as large as an eye")
    relu4_1: StrictFloat = weight(1.0, "objects and their places in the scene")


STYLE_LAYERS = tuple(get_type_hints(StyleLayers))
"""Layers of the style term, from fine to coarse."""


@dataclass(frozen=True, kw_only=True, config=CHECKS)
class MotionConfig:
    """Motion for the temporal loss."""

    source: Literal["none", "synthetic", "clips", "both"] = setting("synthetic", "motion of photographs, or real clips")
    shift: StrictFloat = setting(12.0, "largest synthetic shift between two frames, pixels", ge=0, le=4096)
    noise_sigma: StrictFloat = setting(4.0, "deviation of the synthetic sensor noise, in 8-bit steps", ge=0, le=255)
    gap: StrictInt = setting(1, "frames from the first to the second of a pair from a clip", ge=1, le=16)


@dataclass(frozen=True, kw_only=True, config=CHECKS)
class ScheduleConfig:
    """Length, learning rate and precision of the run."""

    steps: StrictInt = setting(3600, "number of steps", ge=1, le=1e9)
    minutes: OptionalNumber = setting(None, "training time instead of steps; none counts steps", gt=0, le=525_600)
    learning_rate: StrictFloat = setting(4e-3, "initial learning rate; it falls to 1 % along a cosine", gt=0, lt=1)
    optimizer: Literal["muon", "adam"] = setting("muon", "optimizer of the generator's kernels; Adam trains the rest")
    warmup: StrictInt = setting(50, "steps in which the learning rate rises from 0", ge=0, le=1e9)
    precision: Literal["auto", "fp32", "bf16"] = setting("auto", "of the networks; auto is bf16 if the device has it")
    clip_gradient: StrictFloat = setting(5.0, "largest gradient norm of the generator", gt=0)

    def share(self, step: int, seconds: float) -> float:
        """Return the share of the run that is done, 0 … 1, after some steps and seconds of training."""
        return min(1.0, step / self.steps if self.minutes is None else seconds / (60 * self.minutes))


@dataclass(frozen=True, kw_only=True, config=CHECKS)
class RunConfig:
    """Output of the run."""

    out: Folder = setting(..., "run folder: checkpoint, contact sheets and, at the end, the style in style/")
    name: StrictStr = setting("", "short name of the style; by default the name of the painting's file")
    # Larger ones overflow 64 bits when step and place are mixed in.
    seed: StrictInt = setting(1, "seed of all random numbers", ge=0, le=2**32 - 1)
    threads: StrictInt = setting(0, "CPU threads; 0 leaves PyTorch's default", ge=0, le=4096)
    checkpoint_steps: StrictInt = setting(250, "steps between checkpoints", ge=1)
    checkpoint_minutes: StrictFloat = setting(5.0, "minutes between checkpoints, if that is sooner", gt=0, le=525_600)
    sheet_steps: StrictInt = setting(250, "steps between contact sheets", ge=1)
    report_steps: StrictInt = setting(50, "steps between two refreshes of the report", ge=1)
    # A running rtstyle shows each new one at once.
    snapshot_seconds: StrictFloat = setting(0.0, "time between unfinished styles in OUT/preview; 0: none", ge=0, le=1e6)
    recipe: OptionalPath = setting(None, "recipe that the settings came from, for the training record")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """All settings of a run."""

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
        """Raises: SettingsError: some settings contradict each other; it names all of them."""
        errors = [ConfigError(problem) for problem in _contradictions(self)]
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


def _contradictions(config: TrainConfig) -> Iterator[str]:
    data, losses, source, settings = config.data, config.losses, config.motion.source, config.discriminator
    # Both halve the picture; see ``Discriminator.smallest``. A shift, because a power could have millions of digits.
    halvings = settings.scales + settings.layers
    if losses.adversarial and not data.crop >> halvings:
        most = f"together must be at most {data.crop.bit_length() - 1} with data.crop {data.crop}, got {halvings}"
        yield f"discriminator.scales and discriminator.layers {most}"
    if data.style_picture is None and data.style_pictures is None:
        yield "data.style_picture or data.style_pictures must be given"
    for name in ("adversarial", "feature_matching"):
        if getattr(losses, name) and data.style_pictures is None:
            yield f"losses.{name} above 0 needs data.style_pictures, a folder of the artist's works"
    if losses.feature_matching and not losses.adversarial:
        yield "losses.feature_matching above 0 needs losses.adversarial above 0, which trains the discriminator"
    if source in ("clips", "both") and data.clips is None:
        yield f"motion.source {source!r} needs data.clips, a folder of clips"


SECTIONS: dict[str, Any] = get_type_hints(TrainConfig)

KINDS: dict[str, Any] = {
    f"{section}.{name}": kind for section, members in SECTIONS.items() for name, kind in get_type_hints(members).items()
}
"""Type of every setting."""

NOWHERE = Path("\0")
"""Placeholder of a path that is not given yet; no file can have this name."""

PLACES = {"data.content": NOWHERE, "run.out": NOWHERE}
"""Placeholders of the settings without a default."""


def read_sections(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[ConfigError]]:
    """Build every section from values by ``section.name``.

    Returns:
        the sections, in which wrong and missing values have their defaults or placeholders, so that the others can be
        checked too; and an error for each of those.
    """
    sections, errors = {}, []
    for section, kind in SECTIONS.items():
        given = _members(values, section)
        try:
            sections[section] = kind(**given)
        except ValidationError as error:
            for one in error.errors(include_url=False):
                name, limits = str(one["loc"][0]), one.get("ctx", {})
                problem = SENTENCES[one["type"]].format(input=one["input"], **limits)
                errors.append(ConfigError(f"{section}.{name} {problem}"))
                given.pop(name, None)
            sections[section] = kind(**_members(PLACES, section) | given)
    return sections, errors


def _members(values: Mapping[str, Any], section: str) -> dict[str, Any]:
    names = [name.partition(".") for name in values]
    return {member: values[f"{section}.{member}"] for owner, _, member in names if owner == section}


def build(values: Mapping[str, Any]) -> TrainConfig:
    """Build the settings of a run from values by ``section.name``.

    Raises:
        SettingsError: some settings are missing, wrong or contradict each other; it lists all of them.
    """
    sections, errors = read_sections(values)
    try:
        config = TrainConfig(**sections)
    except SettingsError as error:
        raise SettingsError([*errors, *error.errors], hint=error.hint) from error
    if errors:
        raise SettingsError(errors, hint="see `rtstyle train --help`")
    return config
