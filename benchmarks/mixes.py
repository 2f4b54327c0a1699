"""What mixing two styles half-way leaves of their contrast and of their strokes, and what a frame of a glide costs.

``python -m benchmarks.mixes PHOTOS`` prints a line for each of twelve pairs: contrast (standard deviation of luma) and
gradients (their root mean square) of the painted photographs, relative to the mean of both styles alone.
"""

from __future__ import annotations

import argparse
import time
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

STEPS = 100
"""Steps of a glide that are timed."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="folder of photographs")
    photos = _photos(parser.parse_args().photos)
    print(machine())
    print(f"{'pair':26}{'the mean':>22}{'as mixed':>22}\n{'':26}{'contrast  gradients':>22}{'contrast  gradients':>22}")
    rows = []
    for pair in PAIRS:
        ends = [open_style(name) for name in Mix.parse(pair).names]
        plain = with_weights(ends[0], mean_of([one.tensors() for one in ends], [0.5, 0.5]))
        alone = np.mean([_look(one, photos) for one in ends], 0)
        rows.append([_look(plain, photos) / alone, _look(open_style(pair), photos) / alone])
        print(f"{pair:26}" + "".join(f"{contrast:12.2f}{gradients:10.2f}" for contrast, gradients in rows[-1]))
    for name, value in (("mean", np.mean(rows, 0)), ("least", np.min(rows, 0)), ("most", np.max(rows, 0))):
        print(f"{name:26}" + "".join(f"{contrast:12.2f}{gradients:10.2f}" for contrast, gradients in value))
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


def _look(style: StyleModel, photos: list[RGB]) -> npt.NDArray[np.float64]:
    """Return mean contrast and gradients of photographs in a style."""
    engine = SharedCpuEngine(style)
    looks = []
    for rgb in photos:
        light = engine(rgb).astype(np.float64) @ LUMA
        down, right = np.diff(light, axis=0)[:, :-1], np.diff(light, axis=1)[:-1]
        looks.append((light.std(), np.sqrt(np.mean(down**2 + right**2))))
    engine.close()
    return np.asarray(np.mean(looks, 0))


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
