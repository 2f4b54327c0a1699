"""Checks of the picture from which a style is to be learned."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from engines.base import RGB
from engines.errors import SourceError
from rtstyle.media.image_files import read_picture, write_picture
from rtstyle.painting import check_painting

SHORTEST = 200
"""Least short side of a painting, pixels; smaller ones have no strokes to learn from."""

MOST_PIXELS = 64_000_000
"""Most pixels of a painting, so that it needs no more than a gigabyte while it is decoded."""

LONGEST = 2048
"""Long side to which a painting is reduced, pixels: training looks at 512 on the short side."""


def prepare_painting(upload: Path, target: Path) -> tuple[int, int]:
    """Check an uploaded picture and write it, upright and reduced, as a PNG that training takes.

    Returns:
        Width and height of the upload, pixels.

    Raises:
        SourceError: it is not a picture, too small, too large, too narrow, or has one colour only.
        SinkError: the target cannot be written.
    """
    _check_pixels(upload)
    rgb, _ = read_picture(upload)
    height, width = rgb.shape[:2]
    if min(height, width) < SHORTEST:
        problem = f"the painting has {width}×{height} pixels"
        raise SourceError(problem, hint=f"{SHORTEST} or more on the short side are needed, better 600")
    check_painting(rgb, "the painting")
    write_picture(target, _reduced(rgb))
    return width, height


def _check_pixels(upload: Path) -> None:
    """Refuse a picture that is far too large before it is decoded."""
    from PIL import Image

    from rtstyle.media.picture_decoder import FORMATS

    try:
        with Image.open(upload, formats=FORMATS) as picture:
            width, height = picture.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise SourceError("the painting is too large", hint=_AT_MOST) from None
    except Exception:  # noqa: BLE001  # a damaged file may raise anything; the decoder says what is wrong with it
        return
    if width * height > MOST_PIXELS:
        raise SourceError(f"the painting is too large, {width}×{height} pixels", hint=_AT_MOST)


def _reduced(rgb: RGB) -> RGB:
    height, width = rgb.shape[:2]
    share = LONGEST / max(height, width)
    if share >= 1.0:
        return rgb
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


_AT_MOST = f"{MOST_PIXELS // 1_000_000} million pixels are enough for any painting"
