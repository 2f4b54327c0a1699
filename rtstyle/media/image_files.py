"""Reads and writes image files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engines.atomic_write import atomic_write
from engines.base import RGB
from engines.errors import SinkError, SourceError
from engines.os_errors import advice, reason
from rtstyle.frame import Alpha

FORMATS: dict[str, list[int]] = {
    ".png": [],
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 95],
    ".bmp": [],
    ".tif": [],
    ".tiff": [],
}
"""Suffix of each writable format → settings of OpenCV's encoder."""

WITH_ALPHA = (".png", ".webp", ".tif", ".tiff")
"""Formats that keep transparency."""


def read_picture(path: Path) -> tuple[RGB, Alpha | None]:
    """Read a picture upright, as sRGB with 8 bits; of a moving picture, the first.

    Returns:
        The picture with transparent parts on white, and its opacity or ``None``.

    Raises:
        SourceError: the file is not a picture, is damaged, or of a kind that cannot be read.
    """
    from rtstyle.media.picture_decoder import decode

    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {reason(error)}", hint=advice(error)) from error
    if not data:
        raise SourceError(f"{path} is empty", hint="copy it again; it was not written completely")
    rgb, alpha = decode(path, data)
    return (rgb, None) if alpha is None else (_on_white(rgb, alpha), alpha)


def is_moving(path: Path) -> bool:
    """Return True for an animated GIF, PNG or WebP; the pages of a TIFF do not move."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=("GIF", "PNG", "WEBP")) as picture:
            return bool(getattr(picture, "is_animated", False))
    except UnidentifiedImageError:
        return False


def write_picture(path: Path, rgb: RGB, alpha: Alpha | None = None) -> None:
    """Write a picture under a temporary name and rename it, so a partial file never has the final name.

    Args:
        path: target; its suffix, one of ``FORMATS``, selects the format.
        rgb: (height, width, 3).
        alpha: opacity; dropped if the format has no transparency.

    Raises:
        SinkError: the format is unknown, or the file cannot be written.
    """
    data = encode_picture(path, rgb, alpha)
    try:
        with atomic_write(path) as file:
            file.write(data)
    except OSError as error:
        hint = advice(error, "is the disk full, or the folder protected?")
        raise SinkError(f"cannot write {path}: {reason(error)}", hint=hint) from error


def encode_picture(path: Path, rgb: RGB, alpha: Alpha | None = None) -> bytes:
    """Return the content of a picture file; arguments and errors are those of ``write_picture``."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise SinkError(f"unknown picture format {suffix or path.name!r}", hint=f"use one of {' '.join(FORMATS)}")
    picture: Any = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    if alpha is not None and suffix in WITH_ALPHA:
        picture = np.dstack([picture, alpha])
    encoded, data = cv2.imencode(suffix, picture, FORMATS[suffix])
    if not encoded:
        raise SinkError(f"cannot encode {path}", hint="try another format, e.g. .png")
    return bytes(data.tobytes())


def _on_white(rgb: RGB, alpha: Alpha) -> RGB:
    """Blend row by row: a large picture needs no second copy."""
    for row, opacity in zip(rgb, alpha[..., None].astype(np.uint16), strict=True):
        row[:] = (row * opacity + 255 * (255 - opacity) + 127) // 255
    return rgb
