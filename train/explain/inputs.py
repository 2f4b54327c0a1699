"""What an explanation is asked about, read so that all that is missing shows before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.base import MIN_SIDE, RGB, check_size
from engines.errors import TrainError
from engines.style_file import StyleModel
from rtstyle import styles
from rtstyle.media import image_files
from train.config.schema import STYLE_LAYERS
from train.data.pictures import with_short_side
from train.evaluate.material import pictures_in, read_painting_file
from train.evaluate.style_distance import PAINTING_SIDE
from train.explain.discriminator_maps import PatchJudge, read_judge
from train.explain.provenance import sections
from train.losses.vgg_features import (
    DISTILLED,
    VGG19,
    WIDE,
    Features,
    cache_folder,
    check_folder,
    load_features,
    network_files,
)

SIDE = 384
"""Largest short side at which the picture is painted and shown, pixels."""

LONGEST = 6
"""A long side of more than so many short ones is refused: strips show nothing."""


@dataclass(frozen=True)
class Job:
    """What is asked for.

    Attributes:
        style: name or folder.
        picture: the photograph.
        painting: what the style was trained on.
        features: folder of the feature networks; ``None`` takes what training has downloaded, or does without.
        run: folder of the run that trained the style, for its discriminator.
        against: names or folders of other styles.
        fine_tune: minutes of each of two trainings that show what the weight of ``layer`` does; ``None`` is none.
        layer: one of the style layers.
        content: folder of photographs, for those.
    """

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
class Material:
    """Everything that was read.

    Attributes:
        style, against: as asked for.
        photo: the picture, its short side ``SIDE`` pixels at most.
        painting: at the size in which the style learned its strokes.
        features: ``None`` where there are none.
        judge: discriminator of the run; ``None`` where there is none.
    """

    style: StyleModel
    photo: RGB
    painting: RGB | None
    features: Features | None
    judge: PatchJudge | None
    against: Sequence[StyleModel]


def gather(job: Job) -> Material:
    """Read all that was asked about.

    Raises:
        StylerError: a style, a picture, the feature networks or the run's checkpoint cannot be used; or what
        ``fine_tune`` needs is missing.
    """
    style = StyleModel.open(styles.find(job.style))
    features = features_at_hand(job.features)
    if job.fine_tune is not None:
        _check_fine_tune(job, features)
    return Material(
        style=style,
        photo=read_photo(job.picture),
        painting=None if job.painting is None else read_painting(job.painting, style),
        features=features,
        judge=None if job.run is None else read_judge(job.run, style.training),
        against=[StyleModel.open(styles.find(other)) for other in job.against],
    )


def features_at_hand(folder: Path | None) -> Features | None:
    """The feature networks, never downloaded.

    Args:
        folder: where they are; ``None`` looks in the cache.

    Returns:
        ``None`` when none was asked for and the cache holds none.

    Raises:
        TrainError: the folder holds none, or they are damaged.
    """
    there = folder or cache_folder()
    if network_files(there) is not None:
        return load_features(there)
    if folder is None:
        return None
    check_folder(folder)
    raise TrainError(
        f"{folder} has neither {WIDE} and {DISTILLED} nor {VGG19.name}",
        hint=f"nothing is downloaded here; put {VGG19.name} there: {VGG19.url}",
    )


def read_photo(path: Path) -> RGB:
    """A photograph, upright, its short side ``SIDE`` pixels at most.

    Raises:
        SourceError: it cannot be read. ShapeError, TrainError: too small or too long to be painted.
    """
    rgb, _ = image_files.read_picture(path)
    short, long = sorted(rgb.shape[:2])
    if short < MIN_SIDE:
        check_size(*rgb.shape[:2])
    if long > LONGEST * short:
        raise TrainError(f"{path} is too long: {rgb.shape[1]}×{rgb.shape[0]}", hint="cut a part out of it")
    return with_short_side(rgb, SIDE) if short > SIDE else rgb


def read_painting(path: Path, style: StyleModel) -> RGB:
    """The painting at the short side that the style's record names, so that its strokes have the learned size.

    Raises:
        TrainError: it cannot be read.
    """
    side = settings_of(style).get("data", {}).get("style_size", PAINTING_SIDE)
    if not isinstance(side, int) or not 64 <= side <= 2048:
        side = PAINTING_SIDE
    return with_short_side(read_painting_file(path), side)


def settings_of(style: StyleModel) -> dict[str, dict[str, Any]]:
    """The settings in a style's training record, by section; what is not in sections is left out."""
    return sections(style.training)


def _check_fine_tune(job: Job, features: Features | None) -> None:
    """Raises: TrainError: naming all that is missing."""
    needed = {"--painting FILE": job.painting, "--content DIR": job.content, "--features DIR": features}
    missing = [flag for flag, value in needed.items() if value is None]
    if job.layer not in STYLE_LAYERS:
        raise TrainError(f"no style layer {job.layer!r}", hint=f"--layer is one of {', '.join(STYLE_LAYERS)}")
    if missing:
        raise TrainError(f"--fine-tune needs {' and '.join(missing)}", hint="or leave it away")
    assert job.content is not None  # or it were missing
    pictures_in(job.content, "--content")
