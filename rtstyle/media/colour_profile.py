"""Embedded ICC profiles: converts pictures to sRGB with LittleCMS, through Pillow."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""Mode of a picture → the colour space that its profile must describe."""

PROBE_LEVELS = np.linspace(0, 255, 16).round().astype(np.uint8)


def to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert a picture to sRGB, with relative colorimetric intent and black point compensation, as editors do.

    Args:
        picture: in mode L, RGB, CMYK or LAB.
        profile: the embedded profile; ignored if it is damaged or describes another colour space.

    Returns:
        The picture in mode RGB.
    """
    if picture.mode == "LAB":
        return picture.convert("RGB")
    transform = None if profile is None else _transform(profile, picture.mode)
    if transform is None and profile is not None and picture.mode == "L":
        # Grey files that carry the RGB profile of the program that saved them.
        transform = _transform(profile, "RGB")
        picture = picture if transform is None else picture.convert("RGB")
    if transform is not None:
        return transform.apply(picture)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile to sRGB; ``None`` if there is nothing to convert, or no valid profile."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space.strip() != SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOCACHE,  # threads share the transform
        )
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError):
        return None
    return None if _changes_nothing(transform, mode) else transform


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Return True for sRGB by whatever name: most photographs have it, and are read faster without a conversion."""
    if mode == "CMYK":
        return False
    red, green, blue = np.meshgrid(PROBE_LEVELS, PROBE_LEVELS, PROBE_LEVELS)
    probe = np.dstack([red.reshape(64, 64), green.reshape(64, 64), blue.reshape(64, 64)])
    given = Image.fromarray(probe if mode == "RGB" else probe[..., 0])
    changed = np.asarray(transform.apply(given)).astype(int)
    return bool(np.abs(changed - np.asarray(given.convert("RGB"))).max() <= 1)
