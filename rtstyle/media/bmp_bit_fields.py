"""BMP files whose colours lie in bit fields that Pillow does not know, such as 10 bits each."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

BIT_FIELDS, ALPHA_BIT_FIELDS = 3, 6
"""Values of the compression field."""

WITH_ALPHA_MASK = 56
"""Size of the smallest header that holds a mask for opacity."""


def read_bit_fields(data: bytes, max_pixels: int) -> Image.Image | None:
    """Decode such a file in mode RGB or RGBA.

    Args:
        data: content of the file.
        max_pixels: refuse larger pictures.

    Returns:
        ``None`` if it is another kind of file, too large, or damaged.
    """
    try:
        offset, header, width, height, _, bits, compression = struct.unpack_from("<IIiiHHI", data, 10)
        masks = struct.unpack_from("<4I", data, 54)
        if data[:2] != b"BM" or bits not in (16, 32) or compression not in (BIT_FIELDS, ALPHA_BIT_FIELDS):
            return None
        if width < 1 or not 1 <= width * abs(height) <= max_pixels:
            return None
        stride = (width * bits + 31) // 32 * 32 // bits
        pixels = np.frombuffer(data, f"<u{bits // 8}", stride * abs(height), offset)
    except (struct.error, ValueError):
        return None
    rows = pixels.reshape(abs(height), stride)[:, :width].astype(np.uint32)
    has_alpha = masks[3] != 0 and (header >= WITH_ALPHA_MASK or compression == ALPHA_BIT_FIELDS)
    channels = [_field(rows, mask) for mask in masks[: 4 if has_alpha else 3]]
    picture = np.dstack(channels)
    return Image.fromarray(np.ascontiguousarray(picture[::-1] if height > 0 else picture))


def _field(
    rows: np.ndarray[tuple[int, int], np.dtype[np.uint32]], mask: int
) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Extract the bits of a mask, scaled to 8 bits."""
    if mask == 0:
        return np.zeros(rows.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    largest = mask >> shift
    return np.asarray(((rows & np.uint32(mask)) >> shift).astype(np.float64) * 255 / largest + 0.5, np.uint8)
