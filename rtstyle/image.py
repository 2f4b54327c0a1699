"""Stylize picture files."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from engines.atomic_write import atomic_write
from engines.base import MAX_SIZE, Engine, check_size, check_strength
from engines.errors import ShapeError, SinkError, SourceError, StylerError
from rtstyle.media.image_files import FORMATS, WITH_ALPHA, is_moving, read_picture, write_picture
from rtstyle.stroke_scale import check_scale, stylize

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageJob:
    """Pictures to stylize.

    Attributes:
        inputs: picture files.
        output: a file for one input; a folder for one or many.
        strength: 0 … 1.
        height: of the results, pixels; ``None`` keeps the size of the input, up to the engines' limit.
        overwrite: replace existing results.
        scale: size of the strokes; 1 is the style's own.
    """

    inputs: tuple[Path, ...]
    output: Path
    strength: float = 1.0
    height: int | None = None
    overwrite: bool = False
    scale: float = 1.0


@dataclass(frozen=True)
class ImageReport:
    """One stylized picture.

    Attributes:
        input, output: files.
        width, height: of the result, pixels.
        reduced: True if the picture was too large for the engine.
        flattened: True if the picture has transparent parts and the format of the result has none: they are white.
    """

    input: str
    output: str
    width: int
    height: int
    reduced: bool
    flattened: bool


@dataclass(frozen=True)
class ImageFailure:
    """A picture that could not be read, stylized or written.

    Attributes:
        input: file.
        error: what is wrong with it.
    """

    input: str
    error: StylerError


def stylize_images(job: ImageJob, load_engine: Callable[[], Engine]) -> Iterator[ImageReport | ImageFailure]:
    """Stylize pictures one by one; each is on disk when its report is yielded.

    Args:
        job: checked completely before the engine is loaded.
        load_engine: called once.

    Yields:
        A report for each picture, or its failure; the others are stylized all the same.

    Raises:
        SourceError: there is no such picture.
        SinkError: a result cannot be written under its name.
        ShapeError: a setting is out of range.
        EngineError: the engine cannot be loaded, or fails.
    """
    targets = _targets(job)
    check_strength(job.strength)
    check_scale(job.scale)
    if job.height is not None:
        check_size(job.height, job.height)
    engine = load_engine()
    try:
        for source, target in zip(job.inputs, targets, strict=True):
            try:
                yield _stylize(source, target, job, engine)
            except (SourceError, SinkError, ShapeError) as error:
                yield ImageFailure(str(source), error)
    finally:
        engine.close()


def fitted_size(width: int, height: int, wanted_height: int | None) -> tuple[int, int]:
    """Return the (width, height) to stylize at: the wanted or own size, reduced to the engines' limit if needed."""
    scale = 1.0 if wanted_height is None else wanted_height / height
    short, long = sorted((width * scale, height * scale))
    scale *= min(1.0, MAX_SIZE[0] / short, MAX_SIZE[1] / long)
    return max(1, int(width * scale + 1e-6)), max(1, int(height * scale + 1e-6))


def _stylize(source: Path, target: Path, job: ImageJob, engine: Engine) -> ImageReport:
    rgb, alpha = read_picture(source)
    if is_moving(source):
        logger.warning("%s moves; %s is its first picture, and `rtstyle video` stylizes all of them", source, target)
    height, width = rgb.shape[:2]
    size = fitted_size(width, height, job.height)
    try:
        check_size(size[1], size[0])
        check_scale(job.scale, size[1], size[0])
    except ShapeError as error:
        raise ShapeError(f"{source}: {error.problem}", hint=error.hint) from error
    if size != (width, height):
        rgb = _resized(rgb, size)
        alpha = None if alpha is None else _resized(alpha, size)
    write_picture(target, stylize(engine, rgb, job.strength, job.scale), alpha)
    reduced = job.height is None and size != (width, height)
    flattened = alpha is not None and target.suffix.lower() not in WITH_ALPHA
    return ImageReport(str(source), str(target), size[0], size[1], reduced, flattened)


def _resized(picture: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    smaller = size[0] < picture.shape[1]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC), np.uint8)


def _check_input(source: Path) -> None:
    if source.is_dir():
        raise SourceError(f"{source} is a folder", hint=f"to stylize the pictures in it, give {source}/*.jpg")
    if not source.is_file():
        raise SourceError(f"no such file: {source}", hint="check the name and the folder")


def _targets(job: ImageJob) -> list[Path]:
    """Check every input and output, and return the output files."""
    try:
        return _checked_targets(job)
    except OSError as error:  # a name that is too long for the system
        raise SinkError(f"cannot use {error.filename or job.output}: {error.strerror}") from error


def _checked_targets(job: ImageJob) -> list[Path]:
    for source in job.inputs:
        _check_input(source)
    output = job.output
    into_folder = output.is_dir() or len(job.inputs) > 1 or str(output).endswith(os.sep)
    targets = [output / _target_name(source) for source in job.inputs] if into_folder else [output]
    if into_folder:
        _check_folder(output)
    elif not output.parent.is_dir():
        raise SinkError(f"no such folder: {output.parent}", hint="create it first")
    for source, target in zip(job.inputs, targets, strict=True):
        _check_target(source, target, job.overwrite)
    if len(set(targets)) < len(targets):
        raise SinkError("two inputs have the same output file", hint="stylize them into different folders")
    if into_folder:
        output.mkdir(exist_ok=True)
    return targets


def _target_name(source: Path) -> str:
    return source.name if source.suffix.lower() in FORMATS else source.stem + ".png"


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise SinkError(f"{folder} is a file", hint="give a folder for several pictures")
    if not folder.exists() and folder.suffix.lower() in FORMATS:
        raise SinkError(f"cannot write several pictures into one file {folder}", hint="give a folder")
    if not folder.exists() and not folder.parent.is_dir():
        raise SinkError(f"no such folder: {folder.parent}", hint="create it first")


def _check_target(source: Path, target: Path, overwrite: bool) -> None:
    if target.suffix.lower() not in FORMATS:
        raise SinkError(
            f"unknown picture format {target.suffix or target.name!r}", hint=f"use one of {' '.join(FORMATS)}"
        )
    _check_name(target)
    if not target.exists():
        return
    if target.samefile(source):
        raise SinkError(f"{target} is the input itself", hint="give another name or folder")
    if not overwrite:
        raise SinkError(f"{target} already exists", hint="add --overwrite to replace it")


def _check_name(target: Path) -> None:
    """Begin to write the file, or one of its name beside its future folder, and stop before anything is replaced."""
    folder = target.parent if target.parent.is_dir() else target.parent.parent
    try:
        with suppress(_Stopped), atomic_write(folder / target.name):
            raise _Stopped
    except OSError as error:
        too_long = error.errno == errno.ENAMETOOLONG
        hint = "give a shorter name" if too_long else "is the disk full, or the folder protected?"
        raise SinkError(f"cannot write {target}: {error.strerror}", hint=hint) from error


class _Stopped(Exception):  # noqa: N818  # not an error
    pass
