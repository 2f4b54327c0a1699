"""Reads and writes image files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from engines.atomic_write import atomic_write
from engines.base import RGB
from engines.errors import SinkError, SourceError

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

Alpha = npt.NDArray[np.uint8]
"""Opacity: uint8, (height, width); 255 is opaque."""


def read_picture(path: Path) -> tuple[RGB, Alpha | None]:
    """Read a picture upright, by its EXIF orientation; grey, palette and 16-bit files become 8-bit RGB.

    Returns:
        The picture with transparent parts on white, and its opacity or ``None``.

    Raises:
        SourceError: the file is not a picture, or is damaged.
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
    """Write a picture under a temporary name and rename it, so a partial file never has the final name.

    Args:
        path: target; its suffix, one of ``FORMATS``, selects the format.
        rgb: (height, width, 3).
        alpha: opacity; dropped if the format has no transparency.

    Raises:
        SinkError: the format is unknown, or the file cannot be written.
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
    try:
        with atomic_write(path) as file:
            file.write(data.tobytes())
    except OSError as error:
        hint = "is the disk full, or the folder protected?"
        raise SinkError(f"cannot write {path}: {error.strerror}", hint=hint) from error


def _decode(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the picture upright as BGR, and as stored (with alpha, not turned)."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    if data.size == 0:
        raise SourceError(f"{path} is empty", hint="copy it again; it was not written completely")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        colour = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        stored = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:  # more than OpenCV's limit of 2^30 pixels, or a malicious file
        colour = stored = None
    if colour is None or stored is None:
        raise SourceError(f"{path} is not a picture, or is damaged", hint="use PNG, JPEG, WebP, BMP or TIFF")
    return colour, stored


def _eight_bit(picture: npt.NDArray[Any], path: Path) -> npt.NDArray[np.uint8]:
    if picture.dtype == np.uint8:
        return picture
    if picture.dtype == np.uint16:
        return ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)
    raise SourceError(f"{path} has {picture.dtype} pixels", hint="convert it to 8 or 16 bits first")


def _upright_alpha(stored: npt.NDArray[Any], colour: npt.NDArray[Any], path: Path) -> Alpha:
    """Turn the opacity as OpenCV turned the colours, found by trial because OpenCV does not report it."""
    for mirrored in (stored, stored[:, ::-1]):
        for turns in range(4):
            turned = np.rot90(mirrored, turns)
            if turned.shape[:2] == colour.shape[:2] and np.array_equal(turned[..., :3], colour):
                return _eight_bit(np.ascontiguousarray(turned[..., 3]), path)
    return _eight_bit(np.ascontiguousarray(stored[..., 3]), path)
