"""Inputs of an explanation, read up front so that errors show before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.base import MIN_SIDE, RGB, check_size
from engines.cache_dirs import cache_folder
from engines.errors import TrainError
from engines.style_file import StyleModel
from rtstyle import style_library
from rtstyle.media import image_files
from train.config.recipe import recorded_settings
from train.config.schema import STYLE_LAYERS
from train.data.pictures import with_short_side
from train.evaluate.inputs import files_in
from train.evaluate.inputs import read_painting as read_painting_file
from train.evaluate.style_distance import PAINTING_SIDE
from train.explain.discriminator_maps import PatchClassifier, read_discriminator
from train.losses.vgg_features import DISTILLED, VGG19, WIDE, Features, check_folder, load_features, network_files

SIDE = 384
"""Largest short side at which the picture is stylized and shown, pixels."""

MAX_ASPECT_RATIO = 6
"""Largest ratio of long to short side; longer pictures are refused."""


@dataclass(frozen=True)
class ExplainJob:
    """Options of one explanation; see `rtstyle explain --help`."""

    style: str
    picture: Path
    painting: Path | None = None
    features: Path | None = None
    run: Path | None = None
    against: Sequence[str] = ()
    fine_tune: float | None = None
    layer: str = "relu3_1"
    content: Path | None = None


@dataclass(frozen=True)
class ExplainInputs:
    """Everything that was read; the painting has the size that the style was trained on."""

    style: StyleModel
    photo: RGB
    painting: RGB | None
    features: Features | None
    classifier: PatchClassifier | None
    against: Sequence[StyleModel]


def read_inputs(job: ExplainJob) -> ExplainInputs:
    """Read all inputs of a job.

    Raises:
        StylerError: a style, a picture, the feature networks or the run's checkpoint cannot be used, or an input of
            ``fine_tune`` is missing.
    """
    style = style_library.open_style(job.style)
    features = find_features(job.features)
    if job.fine_tune is not None:
        _check_fine_tune(job, features)
    return ExplainInputs(
        style=style,
        photo=read_photo(job.picture),
        painting=None if job.painting is None else read_painting(job.painting, style),
        features=features,
        classifier=None if job.run is None else read_discriminator(job.run, style.training),
        against=[style_library.open_style(other) for other in job.against],
    )


def find_features(folder: Path | None) -> Features | None:
    """Load the feature networks from a folder or the cache without downloading them; ``None`` if the cache is empty.

    Raises:
        TrainError: the folder has no networks, or they are damaged.
    """
    there = folder or cache_folder("features")
    if network_files(there) is not None:
        return load_features(there)
    if folder is None:
        return None
    check_folder(folder)
    raise TrainError(
        f"{folder} has neither {WIDE} and {DISTILLED} nor {VGG19.name}",
        hint=f"explain downloads nothing; download {VGG19.url} into that folder as {VGG19.name}",
    )


def read_photo(path: Path) -> RGB:
    """Read a photograph, upright and scaled to a short side of ``SIDE`` at most.

    Raises:
        SourceError: it cannot be read.
        ShapeError: it is too small to be stylized.
        TrainError: it is too elongated.
    """
    rgb, _ = image_files.read_picture(path)
    short, long = sorted(rgb.shape[:2])
    if short < MIN_SIDE:
        check_size(*rgb.shape[:2])
    if long > MAX_ASPECT_RATIO * short:
        raise TrainError(f"{path} is too elongated: {rgb.shape[1]}×{rgb.shape[0]}", hint="crop it first")
    return with_short_side(rgb, SIDE) if short > SIDE else rgb


def read_painting(path: Path, style: StyleModel) -> RGB:
    """Read the painting at the short side in the style's training record, so that strokes have the trained size.

    Raises:
        TrainError: it cannot be read.
    """
    side = recorded_settings(style.training).get("data", {}).get("style_size", PAINTING_SIDE)
    if not isinstance(side, int) or not 64 <= side <= 2048:
        side = PAINTING_SIDE
    return with_short_side(read_painting_file(path), side)


def _check_fine_tune(job: ExplainJob, features: Features | None) -> None:
    """Raise TrainError naming everything that is missing."""
    needed = {"--painting FILE": job.painting, "--content DIR": job.content, "--features DIR": features}
    missing = [flag for flag, value in needed.items() if value is None]
    if job.layer not in STYLE_LAYERS:
        raise TrainError(f"no style layer {job.layer!r}", hint=f"--layer is one of {', '.join(STYLE_LAYERS)}")
    if missing:
        raise TrainError(f"--fine-tune needs {' and '.join(missing)}", hint="add them, or omit --fine-tune")
    assert job.content is not None  # reported as missing above
    files_in(job.content, "--content")
