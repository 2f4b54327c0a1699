"""Everything that `rtstyle evaluate` reads: photographs, an artist's pictures, clips and feature networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from engines.base import MIN_SIDE, RGB, check_size
from engines.cache_dirs import cache_folder
from engines.errors import TrainError
from engines.style_file import StyleModel
from rtstyle import style_library
from rtstyle.sources.file import FileSource
from train.data.pictures import central_square, picture_files, read_picture, split, with_short_side
from train.evaluate.lpips import Lpips, load_lpips
from train.evaluate.photographs import PHOTOGRAPHS, photographs
from train.losses.vgg_features import Features, load_features, network_files

MAX_ARTIST_PICTURES = 200
"""Largest number of the artist's pictures that are read."""


@dataclass(frozen=True)
class EvaluationJob:
    """Options of one evaluation; see `rtstyle evaluate --help`."""

    style: str
    content: Path | None = None
    painting: Path | None = None
    style_pictures: Path | None = None
    clips: Sequence[Path] = ()
    features: Path | None = None
    pictures: int = 20
    paintings: Path | None = None


@dataclass(frozen=True)
class Networks:
    """Networks that pictures are compared with; ``style`` and ``deep`` are the file names of those in ``features``."""

    features: Features | None
    lpips: Lpips | None
    style: str = ""
    deep: str = ""


@dataclass(frozen=True)
class EvaluationInputs:
    """Everything that is read before measuring starts."""

    style: StyleModel
    photos: Pictures
    painting: RGB | None
    artist: Pictures | None
    clips: Sequence[Clip]
    networks: Networks
    other_paintings: Mapping[str, RGB] = field(default_factory=dict)


def read_inputs(job: EvaluationJob) -> EvaluationInputs:
    """Read all inputs up front, so that errors show before minutes are spent.

    Raises:
        StylerError: the style, a picture, a clip or a feature network cannot be used.
    """
    return EvaluationInputs(
        style=style_library.open_style(job.style),
        painting=None if job.painting is None else read_painting(job.painting),
        photos=read_photographs(job.content, job.pictures),
        artist=None if job.style_pictures is None else read_artist_pictures(job.style_pictures, MAX_ARTIST_PICTURES),
        clips=[read_clip(path) for path in job.clips],
        networks=_networks(job.features),
        other_paintings={} if job.paintings is None else _read_others(job.paintings, job.painting),
    )


def _networks(folder: Path | None) -> Networks:
    """Load the networks from a folder, downloading if needed, or from the cache without downloading."""
    there = folder or cache_folder("features")
    features = load_features(folder) if folder is not None or network_files(there) else None
    style, deep = (file.name for file in network_files(there) or (Path(), Path()))
    return Networks(features, load_lpips(there), style, deep)


PICTURE_SIDE = 384
"""Short side at which pictures are stylized and compared, pixels."""

SQUARE = 256
"""Side of the squares that are compared with the artist's pictures, pixels."""

MAX_ASPECT_RATIO = 4
"""Largest ratio of long to short side; other pictures are left out."""

FRAMES, START = 24, 10
"""Consecutive frames read from a clip, and frames skipped first, which are often a fade."""

MAX_CLIP_HEIGHT = 480
"""Taller clips are scaled down to this height, pixels."""


@dataclass(frozen=True)
class Pictures:
    """Pictures, their file names and origin in words, and a sentence for each picture that was left out."""

    rgb: Sequence[RGB]
    names: Sequence[str]
    source: str
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clip:
    """Consecutive frames of one size, and the name of their file."""

    name: str
    frames: Sequence[RGB]


def read_pictures(paths: Iterable[Path]) -> list[RGB]:
    """Read pictures, scaled to the short side ``PICTURE_SIDE``."""
    return [with_short_side(read_picture(path), PICTURE_SIDE) for path in paths]


def read_photographs(folder: Path | None, count: int) -> Pictures:
    """Read up to ``count`` photographs that ``rtstyle train`` would hold out of the same folder.

    Without a folder they are those of scikit-image, if it is installed.

    Raises:
        TrainError: there is no such folder, or no picture in it can be read.
    """
    if folder is None:
        own = photographs(min(count, len(PHOTOGRAPHS)), PICTURE_SIDE)
        return Pictures(
            own, PHOTOGRAPHS[: len(own)], "the photographs of scikit-image, because --content was not given"
        )
    return _read(folder, count, PICTURE_SIDE, "--content")


def files_in(folder: Path, option: str) -> list[Path]:
    """List the pictures of a folder that an option names.

    Raises:
        TrainError: it is a file, does not exist, or holds no picture.
    """
    if folder.is_file():
        raise TrainError(f"{folder} is a file", hint=f"{option} takes a folder of pictures")
    return picture_files(folder, option)


def read_painting(path: Path) -> RGB:
    """Read the picture given as ``--painting``.

    Raises:
        TrainError: it cannot be read or is not a picture.
    """
    try:
        return read_picture(path)
    except TrainError as error:
        raise TrainError(error.problem, hint=f"--painting: {error.hint or 'check the file in a viewer'}") from error


def _read_others(folder: Path, own: Path | None) -> dict[str, RGB]:
    """Read the paintings of a folder but the one that the style was trained on, by file name."""
    if own is None:
        raise TrainError("--paintings needs the style's own painting", hint="add --painting FILE")
    files = files_in(folder, "--paintings")
    return {path.name: read_picture(path) for path in files if not path.samefile(own)}


def read_artist_pictures(folder: Path, count: int) -> Pictures:
    """Read an artist's pictures, the central ``SQUARE`` of each.

    Raises:
        TrainError: as ``read_photographs``.
    """
    found = _read(folder, count, SQUARE, "--style-pictures")
    return replace(found, rgb=[central_square(rgb, SQUARE) for rgb in found.rgb])


def _read(folder: Path, count: int, side: int, flag: str) -> Pictures:
    found: list[RGB] = []
    names, skipped = [], []
    for path in _chosen(files_in(folder, flag), count):
        try:
            found.append(_fit(path, side))
            names.append(path.name)
        except TrainError as error:
            skipped.append(error.problem)
    if not found:
        raise TrainError(f"no picture in {folder} can be used: {skipped[0]}", hint=f"give {flag} another folder")
    return Pictures(found, names, f"{len(found)} pictures in {folder.name or folder}", tuple(skipped))


def _chosen(files: Sequence[Path], count: int) -> Sequence[Path]:
    """Choose held-out pictures first, and stills of clips only if there is nothing else."""
    if len(files) <= count:
        return files
    return split(files, count)[1] or files[:count]


def _fit(path: Path, side: int) -> RGB:
    rgb = read_picture(path)
    short, long = sorted(rgb.shape[:2])
    if short < MIN_SIDE or long > MAX_ASPECT_RATIO * short:
        raise TrainError(f"too small or too elongated, {rgb.shape[1]}×{rgb.shape[0]}: {path}")
    return with_short_side(rgb, side)


def read_clip(path: Path) -> Clip:
    """Read ``FRAMES`` consecutive frames near the start of a clip, upright.

    Raises:
        SourceError: the file does not exist or is not a clip.
        TrainError: it has fewer than two frames.
        ShapeError: its frames are too small.
    """
    with closing(FileSource(str(path))) as source:
        height = min(source.info.height, MAX_CLIP_HEIGHT)
    with closing(FileSource(str(path), height=height)) as source:
        frames = [frame.rgb for frame in islice(source.frames(), START + FRAMES)][-FRAMES:]
    same = [rgb for rgb in frames if rgb.shape == frames[-1].shape]  # the size may change within a stream
    if len(same) < 2:
        raise TrainError(f"{path} has fewer than two frames", hint="flicker is measured from frame to frame")
    check_size(*same[0].shape[:2])
    return Clip(path.name, same)
