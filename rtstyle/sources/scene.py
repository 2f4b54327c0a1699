"""A moving scene by the sea, drawn with simple shapes."""

from __future__ import annotations

import math
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from engines.base import RGB

Colour: TypeAlias = tuple[int, int, int]
Points: TypeAlias = npt.NDArray[np.float64]

SKY_TOP: Colour = (58, 116, 190)
SKY_LOW: Colour = (250, 214, 150)
SEA_FAR: Colour = (120, 160, 190)
SEA_NEAR: Colour = (24, 72, 120)
SUN: Colour = (255, 236, 150)
CLOUD: Colour = (246, 240, 232)
HILLS: tuple[Colour, ...] = ((112, 142, 150), (86, 128, 92), (58, 100, 52))
WALLS: tuple[Colour, ...] = ((236, 220, 190), (222, 176, 130), (200, 208, 214))
ROOFS: tuple[Colour, ...] = ((168, 62, 44), (140, 52, 50), (92, 70, 84))
SAILS: tuple[Colour, ...] = ((250, 246, 236), (226, 92, 60), (240, 196, 70))
PUFFS = ((-0.05, 0.01, 0.42), (-0.015, -0.02, 0.6), (0.03, -0.005, 0.5), (0.065, 0.012, 0.36))
"""Ellipses of a cloud: x and y from its centre as fractions of the picture, and radius."""

FLEET = ((0.10, 0.69, 0.7, 0.020), (0.65, 0.76, 1.0, -0.028), (0.3, 0.87, 1.5, 0.040))
"""Boats: x at the start, y, size, and speed in widths per second."""

WOOD: Colour = (92, 58, 38)
FIGURE: Colour = (40, 40, 66)

HORIZON = 0.62
"""Top of the sea, as a fraction of the height."""

_SHIFT = 4
"""Fractional bits of OpenCV's drawing coordinates: shapes move by sixteenths of a pixel."""


class Scene:
    """Draws the scene at any time; the same time always gives the same picture.

    Args:
        width, height: pixels, at least 24 each.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._unit = min(width / 16, height / 9)
        self._still = self._background()

    def at(self, seconds: float) -> RGB:
        """Draw the scene at a time. Return a new array, (height, width, 3)."""
        picture = self._still.copy()
        self._clouds(picture, seconds)
        self._hills_and_houses(picture)
        self._mill(picture, 0.80, 0.47, seconds)
        self._glitter(picture, seconds)
        self._boats(picture, seconds)
        self._walker(picture, seconds)
        return picture

    def _background(self) -> RGB:
        sky_rows = max(1, round(self.height * HORIZON))
        sky = _gradient(SKY_TOP, SKY_LOW, sky_rows)
        sea = _gradient(SEA_FAR, SEA_NEAR, self.height - sky_rows)
        picture = np.repeat(np.concatenate([sky, sea])[:, None, :], self.width, axis=1).astype(np.float32)
        x, y = np.meshgrid(np.arange(self.width), np.arange(self.height))
        distance = np.hypot(x - 0.27 * self.width, y - 0.24 * self.height) / self._unit
        glow = np.exp(-distance / 2.2)[..., None] * 0.8
        glow[sky_rows:] *= 0.25
        picture += (np.array(SUN, np.float32) - picture) * glow
        still = np.ascontiguousarray(picture.round().clip(0, 255).astype(np.uint8))
        self._disc(still, 0.27, 0.24, 0.85, SUN)
        return still

    def _clouds(self, picture: RGB, seconds: float) -> None:
        for number, (start, row, size) in enumerate(((0.05, 0.13, 1.0), (0.45, 0.22, 0.7), (0.75, 0.10, 1.2))):
            x = (start + seconds * (0.012 + 0.006 * number)) % 1.3 - 0.15
            for dx, dy, radius in PUFFS:
                shade = 1.0 - 0.06 * (dy > 0)
                self._ellipse(picture, x + dx * size, row + dy * size, radius * size * 1.5, radius * size * 0.62, shade)

    def _hills_and_houses(self, picture: RGB) -> None:
        """Draw the hills, which cover the clouds and so belong to every frame."""
        x = np.linspace(0, 1, 33)
        horizon = np.full_like(x, HORIZON)
        for layer, colour in enumerate(HILLS):
            rise = (0.16 - 0.045 * layer) * (0.6 + 0.4 * np.sin(x * (5 + 2.5 * layer) + 1.7 * layer + 0.6))
            line = np.stack([x, HORIZON - rise], axis=1)
            base = np.stack([x, horizon], axis=1)[::-1]
            self._polygon(picture, np.concatenate([line, base]), colour)
        for number in range(7):
            left = 0.40 + 0.048 * number
            self._house(picture, left, HORIZON - 0.012 * (number % 3), number)
        self._church(picture, 0.545)

    def _house(self, picture: RGB, left: float, bottom: float, number: int) -> None:
        wide, high = 0.036, 0.050 + 0.012 * (number % 2)
        self._box(picture, left, bottom - high, wide, high, WALLS[number % 3])
        roof = [
            (left - 0.006, bottom - high),
            (left + wide / 2, bottom - high - 0.05),
            (left + wide + 0.006, bottom - high),
        ]
        self._polygon(picture, np.array(roof), ROOFS[number % 3])
        self._box(picture, left + 0.007, bottom - high * 0.7, 0.007, 0.018, WOOD)
        self._box(picture, left + 0.022, bottom - high * 0.7, 0.007, 0.018, SUN)

    def _church(self, picture: RGB, left: float) -> None:
        self._box(picture, left, HORIZON - 0.17, 0.026, 0.17, WALLS[2])
        spire = [(left - 0.004, HORIZON - 0.17), (left + 0.013, HORIZON - 0.29), (left + 0.03, HORIZON - 0.17)]
        self._polygon(picture, np.array(spire), ROOFS[2])

    def _mill(self, picture: RGB, x: float, y: float, seconds: float) -> None:
        body = [(x - 0.018, HORIZON), (x - 0.010, y), (x + 0.010, y), (x + 0.018, HORIZON)]
        self._polygon(picture, np.array(body), WALLS[0])
        centre = np.array([x * self.width, y * self.height])
        for arm in range(4):
            angle = 0.9 * seconds + arm * math.pi / 2
            along = np.array([math.cos(angle), math.sin(angle)]) * self._unit * 1.2
            across = np.array([-along[1], along[0]]) * 0.16
            blade = np.stack([centre, centre + along, centre + along + across, centre + along * 0.2 + across])
            self._fill(picture, blade, SAILS[0])
            self._fill(picture, np.stack([centre, centre + along, centre + along * 1.02 + across * 0.2]), WOOD)
        self._disc(picture, x, y, 0.12, WOOD)

    def _glitter(self, picture: RGB, seconds: float) -> None:
        for number in range(26):
            depth = (number + 0.5) / 26
            y = HORIZON + 0.02 + (0.36 * depth**1.4)
            swing = math.sin(seconds * (1.1 + 0.13 * (number % 5)) + number * 2.4)
            half = (0.010 + 0.030 * depth) * (1.0 + 0.5 * swing)
            x = (0.27 + 0.05 * math.sin(number * 1.9) * (1 + depth)) + 0.006 * swing
            light = tuple(int(c * (0.94 - 0.25 * depth)) for c in SUN)
            self._box(picture, x - half, y, 2 * half, 0.004 + 0.006 * depth, (light[0], light[1], light[2]))
            wave_x = (number * 0.618 + 0.01 * seconds * (1 + depth)) % 1.1 - 0.05
            self._box(picture, wave_x, y + 0.01, 0.05 + 0.06 * depth, 0.004 + 0.003 * depth, (96, 140, 176))

    def _boats(self, picture: RGB, seconds: float) -> None:
        for number, (start, y, size, speed) in enumerate(FLEET):
            x = (start + speed * seconds) % 1.3 - 0.15
            bob = 0.006 * size * math.sin(seconds * 1.7 + number * 2)
            self._boat(picture, x, y + bob, size, SAILS[number], flip=speed < 0)

    def _boat(self, picture: RGB, x: float, y: float, size: float, sail: Colour, flip: bool) -> None:
        scale = np.array([-size if flip else size, size])
        at = np.array([x, y])
        hull = np.array([(-0.042, 0.0), (0.046, -0.004), (0.030, 0.030), (-0.030, 0.030)])
        main = np.array([(-0.002, -0.012), (-0.002, -0.165), (-0.036, -0.018)])
        jib = np.array([(0.004, -0.012), (0.004, -0.145), (0.036, -0.014)])
        mast = np.array([(-0.002, 0.0), (-0.002, -0.175), (0.003, -0.175), (0.003, 0.0)])
        for shape, colour in ((mast, WOOD), (main, sail), (jib, SAILS[0]), (hull, WOOD)):
            self._polygon(picture, at + shape * scale, colour)

    def _walker(self, picture: RGB, seconds: float) -> None:
        """Draw a walker on the shore: a stylization that loses a person is obvious at once."""
        shore = [(0.0, 0.94), (0.3, 0.955), (0.7, 0.93), (1.0, 0.95), (1.0, 1.0), (0.0, 1.0)]
        self._polygon(picture, np.array(shore), (214, 190, 140))
        x, y = (0.55 + 0.03 * seconds) % 1.2 - 0.1, 0.955
        step = math.sin(seconds * 5.0) * 0.014
        for foot in (step, -step):
            leg = [(x - 0.003, y - 0.055), (x + 0.005, y - 0.055), (x + foot + 0.005, y), (x + foot - 0.003, y)]
            self._polygon(picture, np.array(leg), FIGURE)
        coat = [(x - 0.007, y - 0.12), (x + 0.009, y - 0.12), (x + 0.012, y - 0.045), (x - 0.010, y - 0.045)]
        self._polygon(picture, np.array(coat), (176, 50, 46))
        self._disc(picture, x + 0.001, y - 0.138, 0.17, (232, 190, 160))
        self._box(picture, x - 0.010, y - 0.163, 0.022, 0.012, FIGURE)

    def _box(self, picture: RGB, x: float, y: float, wide: float, high: float, colour: Colour) -> None:
        self._polygon(picture, np.array([(x, y), (x + wide, y), (x + wide, y + high), (x, y + high)]), colour)

    def _disc(self, picture: RGB, x: float, y: float, radius: float, colour: Colour) -> None:
        centre = (_fixed(x * self.width), _fixed(y * self.height))
        cv2.circle(picture, centre, _fixed(radius * self._unit), colour, -1, cv2.LINE_AA, _SHIFT)

    def _ellipse(self, picture: RGB, x: float, y: float, wide: float, high: float, shade: float) -> None:
        centre = (_fixed(x * self.width), _fixed(y * self.height))
        axes = (_fixed(wide * self._unit), _fixed(high * self._unit))
        colour = (int(CLOUD[0] * shade), int(CLOUD[1] * shade), int(CLOUD[2] * shade))
        cv2.ellipse(picture, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)

    def _polygon(self, picture: RGB, shape: Points, colour: Colour) -> None:
        """Fill a shape, (N, 2), x and y as fractions of width and height."""
        self._fill(picture, shape * (self.width, self.height), colour)

    def _fill(self, picture: RGB, points: Points, colour: Colour) -> None:
        """Fill a polygon, (N, 2), pixels."""
        fixed = np.round(points * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(picture, [fixed], colour, cv2.LINE_AA, _SHIFT)


def _fixed(pixels: float) -> int:
    """Convert pixels to OpenCV's fixed point."""
    return round(pixels * (1 << _SHIFT))


def _gradient(top: Colour, bottom: Colour, rows: int) -> Points:
    """Return a vertical gradient, (rows, 3), float."""
    weight = np.linspace(0, 1, rows)[:, None] ** 0.8
    return np.array(top) * (1 - weight) + np.array(bottom) * weight
