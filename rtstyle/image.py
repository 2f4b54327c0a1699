"""Stylize picture files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from engines.atomic_write import atomic_write
from engines.base import MAX_SIZE, Engine, check_colours, check_share, check_size, check_strength
from engines.errors import ConfigError, ShapeError, SinkError, SourceError, StylerError
from engines.os_errors import advice, at, reason
from rtstyle.controls import Controls
from rtstyle.jobs.folder_batch import BatchKind, FolderBatch, failure_of, is_batch
from rtstyle.jobs.manifest import describe_masks
from rtstyle.masks.mask_file import check_mask
from rtstyle.masks.settings import NO_MASK, MaskSettings, mask_errors
from rtstyle.masks.strength_maps import StrengthMaps
from rtstyle.media.image_files import FORMATS, WITH_ALPHA, is_moving, read_picture, write_picture
from rtstyle.media.transparency import continue_colours
from rtstyle.sinks.output_path import OVERWRITE
from rtstyle.stroke_scale import check_scale, stylize

PICTURES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".tif", ".tiff", ".gif", ".bmp", ".dib", ".heic"),
    *(".heif", ".jp2", ".j2k", ".psd", ".tga", ".ico", ".icns", ".ppm", ".pgm", ".pbm", ".pnm", ".pcx", ".qoi", ".sgi"),
)
"""Suffixes of the files that are taken from folders; a file that is named itself may have any."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageJob:
    """Pictures to stylize.

    Attributes:
        inputs: picture files, folders of them, patterns.
        output: a file for one picture; a folder for many.
        strength: 0 … 1.
        height: of the results, pixels; ``None`` keeps the size of the input, up to the engines' limit.
        overwrite: replace files that were not made of these pictures with these settings.
        scale: size of the strokes; 1 is the style's own.
        format: ``png``, ``jpg`` or ``webp`` for the results in a folder; ``None`` keeps that of the input, or takes
            ``png``.
        into_folder: True if ``output`` is a folder that may not exist yet.
        colours: how much of the pictures' own colours is kept, 0 … 1.
        only: the part of the pictures to stylize, one of ``masks.settings.ONLY``.
        faces: how much of the style is taken from faces, 0 … 1.
        masks: a mask from a file, the same for all pictures, and what masks do.
    """

    inputs: tuple[Path, ...]
    output: Path
    strength: float = 1.0
    height: int | None = None
    overwrite: bool = False
    scale: float = 1.0
    format: str | None = None
    into_folder: bool = False
    colours: float = 0.0
    only: str = "all"
    faces: float = 0.0
    masks: MaskSettings = NO_MASK

    def controls(self) -> Controls:
        """Return the settings of a run."""
        return Controls(
            self.strength, scale=self.scale, colours=self.colours, only=self.only, masks=self.masks, faces=self.faces
        )


@dataclass(frozen=True)
class ImageReport:
    """One stylized picture.

    Attributes:
        input, output: files.
        width, height: of the result, pixels.
        reduced: True if the picture was too large for the engine.
        flattened: True if the picture has transparent parts and the format of the result has none: they are white.
        notes: one line each, where nothing is wrong: that no face was found, for example.
    """

    input: str
    output: str
    width: int
    height: int
    reduced: bool
    flattened: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageFailure:
    """A picture that could not be read, stylized or written.

    Attributes:
        input: file.
        output: file that was not written.
        error: what is wrong.
    """

    input: str
    output: str
    error: StylerError


def stylize_images(
    job: ImageJob,
    load_engine: Callable[[], Engine],
    *,
    made_by: Mapping[str, Any] | None = None,
) -> Iterator[ImageReport | ImageFailure]:
    """Stylize pictures one by one; each is on disk when its report is yielded.

    Pictures that an earlier call has stylized into the folder in the same way are skipped.

    Args:
        job: checked completely before the engine is loaded.
        load_engine: called once, unless nothing is left to do.
        made_by: identifies the style and the engine, see ``style_library.identify``.

    Yields:
        A report for each picture, or its failure; the others are stylized all the same.

    Raises:
        SourceError: there is no such picture, or the mask cannot be read.
        SinkError: a result cannot be written under its name, or the disk is full.
        ShapeError: a setting is out of range.
        EngineError: the engine cannot be loaded, or fails.
        ConfigError: another process is writing into the folder, or a setting of a mask is wrong.
    """
    if job.into_folder or is_batch([str(name) for name in job.inputs], str(job.output)):
        with ImageBatch(job, made_by) as batch:
            yield from batch.run(load_engine)
        return
    _check_settings(job)
    source, target = job.inputs[0], job.output
    _check(source, target, job)
    with closing(StrengthMaps(job.controls())) as maps, closing(load_engine()) as engine:
        try:
            yield _stylize(source, target, job, engine, maps)
        except (SourceError, SinkError, ShapeError) as error:
            yield ImageFailure(str(source), str(target), error)


class ImageBatch(FolderBatch):
    """Pictures to stylize into a folder; the errors are those of ``stylize_images``.

    Args:
        job: pictures, folder and settings.
        made_by: identifies the style and the engine, see ``style_library.identify``. Pictures are not made again for
            another engine.
    """

    def __init__(self, job: ImageJob, made_by: Mapping[str, Any] | None = None) -> None:
        _check_settings(job)
        self._job = job
        style = {key: value for key, value in (made_by or {}).items() if key != "engine"}
        settings = {"strength": job.strength, "height": job.height, "scale": job.scale, "colours": job.colours, **style}
        settings |= describe_masks(job.only, job.masks)
        if job.faces:
            settings["faces"] = job.faces
        kind = BatchKind("pictures", PICTURES, tuple(FORMATS), partial(_output_name, job.format))
        inputs = [str(name) for name in job.inputs]
        super().__init__(inputs, job.output, kind, lambda _: settings, overwrite=job.overwrite)

    def run(self, load_engine: Callable[[], Engine]) -> Iterator[ImageReport | ImageFailure]:
        """Stylize what is left; the known problems come first."""
        for problem in self.problems:
            yield ImageFailure(problem.input, str(problem.output), problem.error)
        if not self.tasks:
            return
        with closing(StrengthMaps(self._job.controls())) as maps, closing(load_engine()) as engine:
            for task in self.tasks:
                try:
                    self.begin(task)
                    report = _stylize(Path(task.input), task.output, self._job, engine, maps)
                    self.finish(task.output)
                except BaseException as error:
                    self.give_up(task.output)
                    if not isinstance(error, Exception):
                        raise
                    yield ImageFailure(task.input, str(task.output), failure_of(task.input, error))
                else:
                    yield report


def fitted_size(width: int, height: int, wanted_height: int | None) -> tuple[int, int]:
    """Return the (width, height) to stylize at: the wanted or own size, reduced to the engines' limit if needed."""
    scale = 1.0 if wanted_height is None else wanted_height / height
    short, long = sorted((width * scale, height * scale))
    scale *= min(1.0, MAX_SIZE[0] / short, MAX_SIZE[1] / long)
    return max(1, int(width * scale + 1e-6)), max(1, int(height * scale + 1e-6))


def _stylize(source: Path, target: Path, job: ImageJob, engine: Engine, maps: StrengthMaps) -> ImageReport:
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
    if alpha is not None and target.suffix.lower() in WITH_ALPHA:
        rgb = continue_colours(rgb, alpha, on_white=True)
    write_picture(target, stylize(engine, rgb, maps.of_picture(rgb), job.scale, job.colours), alpha)
    reduced = job.height is None and size != (width, height)
    flattened = alpha is not None and target.suffix.lower() not in WITH_ALPHA
    return ImageReport(str(source), str(target), size[0], size[1], reduced, flattened, maps.unfound())


def _resized(picture: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    smaller = size[0] < picture.shape[1]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC), np.uint8)


def _output_name(wanted: str | None, name: PurePath) -> PurePath:
    suffix = name.suffix.lower()
    if wanted is None and suffix in FORMATS:
        return name
    stem = name.stem if suffix in (*PICTURES, *FORMATS) else name.name  # like "scan.2024"
    return PurePath(f"{stem}.{wanted or 'png'}")


def _check_settings(job: ImageJob) -> None:
    check_strength(job.strength)
    check_scale(job.scale)
    check_colours(job.colours)
    check_share("faces", job.faces)
    if job.height is not None:
        check_size(job.height, job.height)
    for error in mask_errors(job.only, job.masks):
        raise error
    if job.masks.file is not None:
        check_mask(job.masks.file)


def _check(source: Path, target: Path, job: ImageJob) -> None:
    """Check the input and the output of a single picture."""
    try:
        if not source.is_file():
            raise SourceError(f"no such file: {source}", hint="check the name and the folder")
        if not target.parent.is_dir():
            raise SinkError(f"no such folder: {target.parent}", hint="create it first")
        if job.format is not None:
            raise ConfigError(
                "a format is for a folder of pictures", hint="the name of the output says what file it is"
            )
        _check_target(source, target, job.overwrite)
    except OSError as error:  # a name that is too long for the system
        raise SinkError(f"cannot use {at(error, target)}: {reason(error)}", hint=advice(error)) from error


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
        raise SinkError(f"{target} already exists", hint=f"{OVERWRITE} to replace it")


def _check_name(target: Path) -> None:
    """Begin to write the file, and stop before anything is replaced."""
    try:
        with suppress(_Stopped), atomic_write(target):
            raise _Stopped
    except OSError as error:
        hint = advice(error, "is the disk full, or the folder protected?")
        raise SinkError(f"cannot write {target}: {reason(error)}", hint=hint) from error


class _Stopped(Exception):  # noqa: N818  # not an error
    pass
