"""Pictures on which two networks are compared: always the same ones, drawn, with the statistics of photographs.

Dead leaves: discs of all sizes that hide one another, each with a shade of its own. Their edges, flat parts and sizes
are distributed as in photographs, which is all that the mean and the spread of a channel depend on.

Source: Lee, Mumford & Huang 2001, Occlusion Models for Natural Images, IJCV 41(1/2).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

PICTURES, HEIGHT, WIDTH = 2, 128, 192
"""How many, and their size in pixels, multiples of 8."""

RADII = (6.0, 160.0)
"""Smallest and largest disc, pixels; their number falls with the cube of the radius, so that no scale stands out."""

DISCS = 150
"""Discs of one picture, enough to hide the ground."""

GREY = 0.6
"""Share of a disc's colour that is grey: photographs have little colour."""

NOISE = 0.01
"""Standard deviation of the sensor noise, of 1."""


@cache
def calibration_pictures() -> npt.NDArray[np.float32]:
    """Return the pictures, (``PICTURES``, ``HEIGHT``, ``WIDTH``, 3) in [0, 1]; do not change them."""
    chance = np.random.default_rng(5)
    pictures = np.stack([_dead_leaves(chance) for _ in range(PICTURES)])
    noise = chance.normal(0.0, NOISE, pictures.shape)
    return np.clip(pictures + noise, 0.0, 1.0).astype(np.float32)


def _dead_leaves(chance: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draw the discs from back to front, each with a gradient, as light falls."""
    picture = np.full((HEIGHT, WIDTH, 3), 0.5)
    small, large = (radius**-2 for radius in RADII)
    for _ in range(DISCS):
        radius = (small + chance.random() * (large - small)) ** -0.5
        y, x = chance.random(2) * (HEIGHT, WIDTH)
        top, bottom = max(0, int(y - radius)), min(HEIGHT, int(y + radius) + 2)
        left, right = max(0, int(x - radius)), min(WIDTH, int(x + radius) + 2)
        down, across = np.mgrid[top:bottom, left:right] - np.array([y, x])[:, None, None]
        cover = np.clip(radius + 0.5 - np.hypot(down, across), 0.0, 1.0)[..., None]
        tint, light = chance.random(3), chance.random()
        slope = chance.normal(0.0, 0.15, 2) / radius
        shade = GREY * light + (1 - GREY) * tint + (slope[0] * down + slope[1] * across)[..., None]
        part = picture[top:bottom, left:right]
        part += cover * (shade - part)
    return picture
