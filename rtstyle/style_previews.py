"""Previews of styles: a photograph beside its stylized version, and one picture that shows all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from engines.base import RGB
from engines.errors import SourceError, StylerError
from rtstyle.media.contact_sheet import Still, contact_sheet
from rtstyle.media.image_files import read_picture

if TYPE_CHECKING:
    from rtstyle.style_library import StyleEntry

PHOTOGRAPH = Path(__file__).parent / "gallery" / "astronaut.jpg"
"""What previews show, 320×320 pixels: Eileen Collins, by NASA, in the public domain."""

LIMIT = 60_000
"""Largest preview inside a style, bytes."""

LONGEST = 2048
"""Longest side of a preview that is taken from elsewhere, pixels."""

SMALLEST = 16
"""Previews with a shorter side than this are not shrunk further, pixels."""

CELL, COLUMNS = 256, 5
"""Side of a style on a sheet, pixels, and styles beside each other."""


def make_preview(stylize: Callable[[RGB], RGB]) -> bytes:
    """Return the preview of a style, a JPEG file: the photograph on the left, stylized on the right."""
    photograph, _ = read_picture(PHOTOGRAPH)
    return jpeg(np.hstack([photograph, stylize(photograph)]), LIMIT)


def is_preview(file: Path) -> bool:
    """Return True for a complete JPEG file of a reasonable size; styles come from anywhere, and the page shows this."""
    from PIL import Image

    try:
        with Image.open(file, formats=("JPEG",)) as picture:
            if max(picture.size) > LONGEST:
                return False
            picture.load()
    except Exception:  # noqa: BLE001  # a damaged file may raise anything
        return False
    return True


def jpeg(rgb: RGB, limit: int) -> bytes:
    """Encode at the best quality that fits into ``limit`` bytes, shrinking the picture if none does.

    A preview must not end a training, so one that never fits is returned as small as possible.
    """
    while True:
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        for quality in (92, 88, 84, 80, 75, 70, 60, 50, 40):
            data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
            if len(data) <= limit:
                return data
        if min(rgb.shape[:2]) < SMALLEST:
            return data
        rgb = np.asarray(cv2.resize(rgb, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def style_sheet(entries: Iterable[StyleEntry]) -> RGB:
    """Return one picture with the photograph and then each style that can be used, under its name."""
    photograph, _ = read_picture(PHOTOGRAPH)
    stills = [Still("the photograph", (_cell(photograph),))]
    stills += [Still(entry.name, (_cell(_stylized(entry, photograph)),)) for entry in entries if not entry.fault]
    return contact_sheet(stills, COLUMNS)


def _stylized(entry: StyleEntry, photograph: RGB) -> RGB:
    """Return the right end of a style's preview, or stylize the photograph where there is none that can be read."""
    import engines
    from engines.style_file import StyleModel

    if entry.preview:
        try:
            return read_picture(Path(entry.preview))[0]
        except SourceError:
            pass
    try:
        with closing(engines.load(StyleModel.open(entry.path), "cpu")) as engine:
            return engine(photograph)
    except StylerError:
        return np.zeros_like(photograph)


def _cell(rgb: RGB) -> RGB:
    """Return the square at the right end of a picture, where a preview is stylized, at the size of a cell."""
    side = min(rgb.shape[:2])
    top = (rgb.shape[0] - side) // 2
    square = rgb[top : top + side, rgb.shape[1] - side :]
    return np.asarray(cv2.resize(square, (CELL, CELL), interpolation=cv2.INTER_AREA), np.uint8)
