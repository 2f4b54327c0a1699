"""What mixing two styles half-way leaves of their contrast and of their strokes, and what a frame of a glide costs.

``python -m benchmarks.mixes PHOTOS`` prints a line for each of twelve pairs: contrast (standard deviation of luma) and
gradients (their root mean square) of the painted photographs, relative to the mean of both styles alone, and how far
the colours of large areas are from the mean of theirs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.machine import machine
from engines.base import RGB
from engines.mixing.mixed_style import with_weights
from engines.mixing.mixed_weights import mean_of
from engines.model.own_colours import LUMA
from engines.openvino.shared_weights import SharedCpuEngine
from engines.style_file import StyleModel
from rtstyle.style_library import open_style
from rtstyle.style_mix import Mix
from rtstyle.style_path import StylePath

PAIRS = (
    "vangogh+wave", "vangogh+scream", "vangogh+mosaic", "wave+scream", "udnie+klimt", "monet+engraving",
    "mosaic+udnie", "pointillism+composition", "composition+wave", "engraving+wave", "monet+scream", "klimt+vangogh",
)  # fmt: skip

PHOTOS, SIZE = 6, (272, 480)
"""Photographs that are used, spread over the folder, and their (height, width)."""

AREA = 16
"""Side of a large area, pixels."""

STEPS = 100
"""Steps of a glide that are timed."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="folder of photographs")
    photos = _photos(parser.parse_args().photos)
    print(machine())
    what = f"{'contrast':>12}{'gradients':>11}{'colours':>9}"
    print(f"{'pair':26}{'the mean':>32}{'as mixed':>32}\n{'':26}{what}{what}")
    rows = []
    for pair in PAIRS:
        ends = [open_style(name) for name in Mix.parse(pair).names]
        plain = with_weights(ends[0], mean_of([one.tensors() for one in ends], [0.5, 0.5]))
        alone = [_paint(one, photos) for one in ends]
        rows.append([_compare(_paint(one, photos), alone) for one in (plain, open_style(pair))])
        print(f"{pair:26}" + _line(rows[-1]))
    for name, value in (("mean", np.mean(rows, 0)), ("least", np.min(rows, 0)), ("most", np.max(rows, 0))):
        print(f"{name:26}" + _line(value))
    print(f"weights of a frame of a glide: {_step_ms():.2f} ms")


def _photos(folder: Path) -> list[RGB]:
    names = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".jpg")
    photos = []
    for name in names[:: max(1, len(names) // PHOTOS)][:PHOTOS]:
        rgb = np.asarray(cv2.imread(str(name)))[..., ::-1]
        scale = max(SIZE[0] / rgb.shape[0], SIZE[1] / rgb.shape[1])
        size = (round(rgb.shape[1] * scale + 0.49), round(rgb.shape[0] * scale + 0.49))
        rgb = cv2.resize(np.ascontiguousarray(rgb), size, interpolation=cv2.INTER_AREA)
        top, left = (rgb.shape[0] - SIZE[0]) // 2, (rgb.shape[1] - SIZE[1]) // 2
        photos.append(np.ascontiguousarray(rgb[top : top + SIZE[0], left : left + SIZE[1]], np.uint8))
    return photos


def _line(values: Iterable[Iterable[float]]) -> str:
    return "".join(f"{contrast:12.2f}{gradients:11.2f}{colours:9.1f}" for contrast, gradients, colours in values)


def _paint(style: StyleModel, photos: list[RGB]) -> npt.NDArray[np.float64]:
    """Return the photographs in a style, (N, H, W, 3)."""
    engine = SharedCpuEngine(style)
    painted = np.stack([engine(rgb) for rgb in photos]).astype(np.float64)
    engine.close()
    return painted


def _compare(mixed: npt.NDArray[np.float64], alone: list[npt.NDArray[np.float64]]) -> tuple[float, float, float]:
    """Return contrast and gradients by the mean of both styles', and the colours' difference from that, of 255."""
    contrast, gradients = _look(mixed) / np.mean([_look(one) for one in alone], 0)
    off = _areas(mixed) - np.mean([_areas(one) for one in alone], 0)
    return float(contrast), float(gradients), float(np.sqrt(np.mean(off**2)))


def _look(painted: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return mean contrast and gradients."""
    light = painted @ LUMA
    down, right = np.diff(light, axis=1)[..., :-1], np.diff(light, axis=2)[:, :-1]
    return np.array([light.std((1, 2)).mean(), np.sqrt(np.mean(down**2 + right**2, (1, 2))).mean()])


def _areas(painted: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean colours of large areas."""
    count, height, width, _ = painted.shape
    squares = painted.reshape(count, height // AREA, AREA, width // AREA, AREA, 3)
    return np.asarray(squares.mean((2, 4)))


def _step_ms() -> float:
    """Return the median time in which a frame of a glide gets its weights, milliseconds."""
    path, engine = StylePath(Mix.parse("vangogh"), Mix.parse("wave")), SharedCpuEngine(open_style("vangogh"))
    engine(np.zeros((*SIZE, 3), np.uint8))
    times = []
    for step in range(STEPS):
        start_s = time.perf_counter()
        engine.take_style(path.style(path.weights(step / STEPS)))
        times.append(time.perf_counter() - start_s)
    engine.close()
    return 1000 * float(np.median(times))


if __name__ == "__main__":
    main()
