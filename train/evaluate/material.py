"""What a style is judged on: photographs, an artist's pictures, clips, read so that all faults show at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from engines.base import MIN_SIDE, RGB, check_size
from engines.errors import TrainError
from rtstyle.sources.file import FileSource
from train.data.pictures import picture_files, read_picture, split, with_short_side
from train.report.preview import PHOTOGRAPHS, photographs

PICTURE_SIDE = 384
"""Short side, pixels, at which pictures are painted and compared."""

SQUARE = 256
"""Side of the squares in which an artist's pictures and the paintings are compared, pixels."""

LONGEST = 4
"""Pictures with a long side of more than so many short ones are left out."""

FRAMES, START = 24, 10
"""Consecutive frames of a clip, after so many are passed over: the first are often a fade."""

TALLEST = 480
"""Higher clips are shrunk to so many pixels."""


@dataclass(frozen=True)
class Pictures:
    """Pictures that could be read.

    Attributes:
        rgb: (height, width, 3) each.
        names: of their files.
        source: for people, where they come from.
        skipped: why others were left out, one sentence for each, with its name.
    """

    rgb: Sequence[RGB]
    names: Sequence[str]
    source: str
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clip:
    """Consecutive frames of one size.

    Attributes:
        name: of the file.
        frames: (height, width, 3) each.
    """

    name: str
    frames: Sequence[RGB]


def judge_pictures(paths: Iterable[Path]) -> list[RGB]:
    """Pictures at the short side at which they are compared.

    Raises:
        TrainError: one cannot be read.
    """
    return [with_short_side(read_picture(path), PICTURE_SIDE) for path in paths]


def photographs_of(folder: Path | None, count: int) -> Pictures:
    """What is to be painted: the pictures that ``rtstyle train`` would have held out of the same folder.

    Args:
        folder: of photographs; ``None`` takes the few of scikit-image, where it is installed, or none at all.
        count: at most so many.

    Raises:
        TrainError: no such folder, or no picture in it can be read.
    """
    if folder is None:
        own = photographs(min(count, len(PHOTOGRAPHS)), PICTURE_SIDE)
        return Pictures(own, PHOTOGRAPHS[: len(own)], "the photographs of scikit-image, because no --content was given")
    return _read(folder, count, PICTURE_SIDE, "--content")


def pictures_in(folder: Path, option: str) -> list[Path]:
    """As ``train.data.pictures.picture_files``, and a file in place of the folder is called one.

    Raises:
        TrainError: no folder, or no picture in it.
    """
    if folder.is_file():
        raise TrainError(f"{folder} is a file", hint=f"{option} takes a folder of pictures")
    return picture_files(folder, option)


def read_painting_file(path: Path) -> RGB:
    """What ``--painting`` names.

    Raises:
        TrainError: it cannot be read or is no picture.
    """
    try:
        return read_picture(path)
    except TrainError as error:
        hint = error.hint or "--painting takes a picture; if it is one, open it in a viewer, or get it again"
        raise TrainError(error.problem, hint=hint) from error


def paintings_of(folder: Path, count: int) -> Pictures:
    """Pictures of an artist, the middle ``SQUARE`` of each.

    Raises:
        TrainError: as ``photographs_of``.
    """
    found = _read(folder, count, SQUARE, "--style-pictures")
    return replace(found, rgb=[square(rgb) for rgb in found.rgb])


def square(rgb: RGB) -> RGB:
    """The middle square of a picture, ``SQUARE`` pixels a side."""
    rgb = with_short_side(rgb, SQUARE)
    top, left = (rgb.shape[0] - SQUARE) // 2, (rgb.shape[1] - SQUARE) // 2
    return np.ascontiguousarray(rgb[top : top + SQUARE, left : left + SQUARE])


def _read(folder: Path, count: int, side: int, flag: str) -> Pictures:
    found: list[RGB] = []
    names, skipped = [], []
    for path in _chosen(pictures_in(folder, flag), count):
        try:
            found.append(_fit(path, side))
            names.append(path.name)
        except TrainError as error:
            skipped.append(error.problem)
    if not found:
        raise TrainError(f"no picture in {folder} can be judged: {skipped[0]}", hint=f"give {flag} another folder")
    return Pictures(found, names, f"{len(found)} pictures in {folder.name or folder}", tuple(skipped))


def _chosen(files: Sequence[Path], count: int) -> Sequence[Path]:
    """Those that training holds out first; stills of clips only where there is nothing else."""
    if len(files) <= count:
        return files
    return split(files, count)[1] or files[:count]


def _fit(path: Path, side: int) -> RGB:
    rgb = read_picture(path)
    short, long = sorted(rgb.shape[:2])
    if short < MIN_SIDE or long > LONGEST * short:
        raise TrainError(f"too small or too long to be judged, {rgb.shape[1]}×{rgb.shape[0]}: {path}")
    return with_short_side(rgb, side)


def read_clip(path: Path) -> Clip:
    """``FRAMES`` consecutive frames near the beginning of a clip, upright.

    Raises:
        SourceError: no such file, or no clip. TrainError: fewer than two frames. ShapeError: too small to paint.
    """
    with closing(FileSource(str(path))) as source:
        height = min(source.info.height, TALLEST)
    with closing(FileSource(str(path), height=height)) as source:
        frames = [frame.rgb for frame in islice(source.frames(), START + FRAMES)][-FRAMES:]
    same = [rgb for rgb in frames if rgb.shape == frames[-1].shape]  # a stream may change its size on the way
    if len(same) < 2:
        raise TrainError(f"{path} has fewer than two frames", hint="steadiness is measured from frame to frame")
    check_size(*same[0].shape[:2])
    return Clip(path.name, same)
