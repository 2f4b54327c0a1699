"""Render the moving picture of the README from photographs that may be shown.

python -m benchmarks.moving_picture     docs/rtstyle.webp
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image
from skimage import data

import rtstyle
from benchmarks.report import ROOT
from engines.base import RGB

OUT = ROOT / "docs" / "rtstyle.webp"
WIDTH, HEIGHT, FPS, FRAMES = 560, 316, 10, 24
"""Size in pixels, frames per second, and frames of each shot."""

LIMIT = 2_000_000
"""Largest file, bytes."""


@dataclass(frozen=True)
class Shot:
    """A camera move over one photograph.

    Attributes:
        photograph: name of the picture in scikit-image, in the public domain or CC0.
        style: that is wiped over it.
        zoom: at the start and at the end; 1 fills the frame.
        start, end: centre of the view within what is left of the picture, (x, y), 0 … 1.
    """

    photograph: str
    style: str
    zoom: tuple[float, float]
    start: tuple[float, float]
    end: tuple[float, float]


SHOTS = (
    Shot("astronaut", "vangogh", (1.15, 1.0), (0.3, 0.05), (0.7, 0.25)),
    Shot("coffee", "monet", (1.25, 1.0), (0.2, 0.3), (0.8, 0.7)),
    Shot("chelsea", "mosaic", (1.0, 1.25), (0.3, 0.3), (0.6, 0.5)),
)


def ease(t: float) -> float:
    """Return a smooth step from 0 to 1."""
    return t * t * (3 - 2 * t)


def view(photograph: RGB, shot: Shot, t: float) -> RGB:
    """Return the frame at ``t``, 0 … 1, of a camera move."""
    height, width = photograph.shape[:2]
    along = ease(t)
    scale = max(WIDTH / width, HEIGHT / height) * (shot.zoom[0] + (shot.zoom[1] - shot.zoom[0]) * along)
    left = (width - WIDTH / scale) * (shot.start[0] + (shot.end[0] - shot.start[0]) * along)
    top = (height - HEIGHT / scale) * (shot.start[1] + (shot.end[1] - shot.start[1]) * along)
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]], np.float32)
    return np.asarray(cv2.warpAffine(photograph, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC), np.uint8)


def frames(shot: Shot) -> list[RGB]:
    """Return the frames of one shot, with a wipe from the photograph to the style."""
    photograph = getattr(data, shot.photograph)()
    found = []
    with rtstyle.load(shot.style) as engine:
        for t in np.linspace(0, 1, FRAMES):
            frame = view(photograph, shot, float(t))
            edge = int(WIDTH * ease(min(1.0, max(0.0, (float(t) - 0.12) / 0.45))))
            frame[:, :edge] = engine(frame)[:, :edge]
            if 0 < edge < WIDTH:
                frame[:, max(0, edge - 1) : edge + 1] = 255
            found.append(frame)
    return found


def main() -> None:
    """Write the picture at the best quality that fits the limit."""
    first, *others = [Image.fromarray(frame) for shot in SHOTS for frame in frames(shot)]
    for quality in range(80, 20, -10):
        first.save(OUT, save_all=True, append_images=others, duration=1000 // FPS, loop=0, quality=quality, method=6)
        if OUT.stat().st_size <= LIMIT:
            break
    print(f"{OUT}: {OUT.stat().st_size} bytes at quality {quality}")


if __name__ == "__main__":
    main()
