"""Stylize pictures: the same engines, one file at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from engines.base import MAX_SIZE, RGB, Engine, check_size, check_strength
from engines.errors import ShapeError, SinkError, SourceError

FORMATS: dict[str, list[int]] = {
    ".png": [],
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 95],
    ".bmp": [],
    ".tif": [],
    ".tiff": [],
}
"""What can be written, with the encoder's settings."""

WITH_ALPHA = (".png", ".webp", ".tif", ".tiff")
"""Formats that keep transparency."""

Alpha = npt.NDArray[np.uint8]
"""Opacity: uint8, (height, width), 255 is opaque."""


@dataclass(frozen=True)
class ImageJob:
    """Pictures to stylize.

    Attributes:
        inputs: picture files.
        output: a file for one input; a folder for one or many.
        strength: 0 … 1.
        height: height of the results in pixels; ``None`` keeps the size of the input, up to the engines' limit.
        overwrite: replace results that exist.
    """

    inputs: tuple[Path, ...]
    output: Path
    strength: float = 1.0
    height: int | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class ImageReport:
    """One stylized picture.

    Attributes:
        input, output: files.
        width, height: of the result, pixels.
        reduced: True when the picture was larger than an engine takes.
    """

    input: str
    output: str
    width: int
    height: int
    reduced: bool


def stylize_images(job: ImageJob, load_engine: Callable[[], Engine]) -> Iterator[ImageReport]:
    """Stylize one picture after the other; what is done is on disk when it is yielded.

    Args:
        job: everything is checked before the engine is loaded.
        load_engine: called once, when the job is found possible.
    Raises: SourceError, SinkError, ShapeError: a picture cannot be read, written, or is too small.
    """
    targets = _targets(job)
    check_strength(job.strength)
    if job.height is not None:
        check_size(job.height, job.height)
    engine = load_engine()
    try:
        for source, target in zip(job.inputs, targets, strict=True):
            yield _stylize(source, target, job, engine)
    finally:
        engine.close()


def read_picture(path: Path) -> tuple[RGB, Alpha | None]:
    """Read a picture upright, whatever its file holds: grey, palette, 16 bit, transparency, EXIF orientation.

    Returns: the picture, transparent parts on white; and its opacity, ``None`` when there is none.
    Raises: SourceError: not a picture, or damaged.
    """
    colour, stored = _decode(path)
    rgb = np.ascontiguousarray(_eight_bit(colour, path)[..., ::-1])
    if stored.ndim != 3 or stored.shape[2] != 4:
        return rgb, None
    alpha = _upright_alpha(stored, colour, path)
    opacity = alpha[..., None].astype(np.float32) / 255
    on_white = rgb * opacity + 255 * (1 - opacity)
    return on_white.round().astype(np.uint8), alpha


def write_picture(path: Path, rgb: RGB, alpha: Alpha | None = None) -> None:
    """Write a picture under a temporary name, then rename it: a half-written file never has the final name.

    Args:
        path: its suffix, one of ``FORMATS``, is the format.
        rgb: (height, width, 3).
        alpha: kept where the format can, otherwise left out.
    Raises: SinkError: unknown format, or it cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise SinkError(f"unknown picture format {suffix or path.name!r}", hint=f"use one of {' '.join(FORMATS)}")
    picture: Any = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    if alpha is not None and suffix in WITH_ALPHA:
        picture = np.dstack([picture, alpha])
    encoded, data = cv2.imencode(suffix, picture, FORMATS[suffix])
    if not encoded:
        raise SinkError(f"cannot encode {path}", hint="try another format, e.g. .png")
    part = path.with_name(f".{path.name}.rtstyle-part")
    try:
        part.write_bytes(data.tobytes())
        os.replace(part, path)
    except OSError as error:
        raise SinkError(
            f"cannot write {path}: {error.strerror}", hint="is the disk full, or the folder protected?"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def fitted_size(width: int, height: int, wanted_height: int | None) -> tuple[int, int]:
    """The size to stylize at: as wanted, or as it is, and never over the limit of the engines.

    Returns: (width, height), pixels.
    """
    scale = 1.0 if wanted_height is None else wanted_height / height
    short, long = sorted((width * scale, height * scale))
    scale *= min(1.0, MAX_SIZE[0] / short, MAX_SIZE[1] / long)
    return max(1, int(width * scale + 1e-6)), max(1, int(height * scale + 1e-6))


def _stylize(source: Path, target: Path, job: ImageJob, engine: Engine) -> ImageReport:
    rgb, alpha = read_picture(source)
    height, width = rgb.shape[:2]
    size = fitted_size(width, height, job.height)
    try:
        check_size(size[1], size[0])
    except ShapeError as error:
        raise ShapeError(f"{source}: {error.problem}", hint=error.hint) from error
    if size != (width, height):
        rgb = _resized(rgb, size)
        alpha = None if alpha is None else _resized(alpha, size)
    write_picture(target, engine(rgb, job.strength), alpha)
    reduced = job.height is None and size != (width, height)
    return ImageReport(str(source), str(target), size[0], size[1], reduced)


def _resized(picture: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    smaller = size[0] < picture.shape[1]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC), np.uint8)


def _decode(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The picture upright as BGR, and as it is stored (with alpha, not turned)."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    if data.size == 0:
        raise SourceError(f"{path} is empty")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        colour = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        stored = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:  # OpenCV's own limit of 2^30 pixels, and files made to break decoders
        colour = stored = None
    if colour is None or stored is None:
        raise SourceError(f"{path} is no picture, or damaged", hint="PNG, JPEG, WebP, BMP and TIFF can be read")
    return colour, stored


def _eight_bit(picture: npt.NDArray[Any], path: Path) -> npt.NDArray[np.uint8]:
    if picture.dtype == np.uint8:
        return picture
    if picture.dtype == np.uint16:
        return ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)
    raise SourceError(f"{path} has {picture.dtype} pixels", hint="convert it to 8 or 16 bits first")


def _upright_alpha(stored: npt.NDArray[Any], colour: npt.NDArray[Any], path: Path) -> Alpha:
    """Turn the opacity like OpenCV has turned the colours, which it does without telling how."""
    for mirrored in (stored, stored[:, ::-1]):
        for turns in range(4):
            turned = np.rot90(mirrored, turns)
            if turned.shape[:2] == colour.shape[:2] and np.array_equal(turned[..., :3], colour):
                return _eight_bit(np.ascontiguousarray(turned[..., 3]), path)
    return _eight_bit(np.ascontiguousarray(stored[..., 3]), path)


def _targets(job: ImageJob) -> list[Path]:
    """The file for every input, all checked.

    Raises: SourceError, SinkError
    """
    for source in job.inputs:
        if not source.is_file():
            raise SourceError(f"{source} is a folder" if source.is_dir() else f"no such file: {source}")
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
        raise SinkError("two inputs would give the same file", hint="stylize them into different folders")
    if into_folder:
        output.mkdir(exist_ok=True)
    return targets


def _target_name(source: Path) -> str:
    return source.name if source.suffix.lower() in FORMATS else source.stem + ".png"


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise SinkError(f"{folder} is a file, and several pictures need a folder")
    if not folder.exists() and folder.suffix.lower() in FORMATS:
        raise SinkError(f"several pictures do not go into one file {folder}", hint="give a folder")
    if not folder.exists() and not folder.parent.is_dir():
        raise SinkError(f"no such folder: {folder.parent}", hint="create it first")


def _check_target(source: Path, target: Path, overwrite: bool) -> None:
    if target.suffix.lower() not in FORMATS:
        raise SinkError(
            f"unknown picture format {target.suffix or target.name!r}", hint=f"use one of {' '.join(FORMATS)}"
        )
    if not target.exists():
        return
    if target.samefile(source):
        raise SinkError(f"{target} is the input itself", hint="give another name or folder")
    if not overwrite:
        raise SinkError(f"{target} exists", hint="--overwrite replaces it")
