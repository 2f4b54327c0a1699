"""Plain walls, a night sky, white paper and a slow pan: what every style paints where there is nothing to paint.

    python -m benchmarks.plain

The network sees cells of 4×4 pixels and paints cells of 2×2; a mesh or dots of these sizes stand out in a spectrum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import cv2
import numpy as np
import numpy.typing as npt
from skimage import data

import engines
from benchmarks.report import Row, Section, at_most
from benchmarks.subject import Subject
from engines.base import RGB
from engines.model.local_contrast import LUMINANCE
from engines.style_file import StyleModel
from rtstyle import style_library

WIDTH, HEIGHT, FRAMES = 640, 360, 16

PEAK = 1.5
"""The bar: power at the frequencies of the cells, by that of their neighbours."""

CELLS = (2, 4)
"""Sides of the cells, pixels."""

NEIGHBOURS = range(2, 8)
"""Which neighbours, in steps of the spectrum."""

FLOOR = 0.25
"""What nobody sees, as the standard deviation of white noise of 255; it is added to both powers."""

SMOOTH = 12.0
"""Standard deviation of the blur whose remainder counts as detail, pixels."""

BAND, AROUND = 36, 256
"""Pixels along the border in which a painted frame is measured, and what the larger picture has more on every side: the
period of the canvas, which must stay where it is."""

Plane = npt.NDArray[np.float64]


def wall(rng: np.random.Generator, around: int = 0) -> RGB:
    """Beige, lighter towards the window, with the noise of a camera; with ``around`` pixels more on every side."""
    y, x = np.mgrid[-around : HEIGHT + around, -around : WIDTH + around]
    light = 150 + 60 * np.exp(-((x / WIDTH - 0.2) ** 2 + (y / HEIGHT - 0.3) ** 2) / 0.3)
    return _with_noise(light[..., None] * (1.0, 0.95, 0.86), 1.5, rng)


def night(rng: np.random.Generator) -> RGB:
    """Dark blue, with the noise of a camera at night."""
    light = np.linspace(14, 38, HEIGHT)[:, None, None] * np.ones((1, WIDTH, 1))
    return _with_noise(light * (0.6, 0.8, 1.3), 3.0, rng)


def paper(rng: np.random.Generator) -> RGB:
    """White, hardly any noise."""
    return _with_noise(np.full((HEIGHT, WIDTH, 3), 250.0), 0.7, rng)


def _with_noise(rgb: Plane, sigma: float, rng: np.random.Generator) -> RGB:
    return np.clip(np.rint(rgb + rng.normal(0, sigma, rgb.shape)), 0, 255).astype(np.uint8)


def pan() -> Iterator[RGB]:
    """A photograph of a rocket in the evening (NASA, public domain) that moves by 3.3 pixels a frame."""
    whole = cv2.resize(data.rocket(), (WIDTH + 80, (WIDTH + 80) * 2 // 3), interpolation=cv2.INTER_AREA)
    for number in range(FRAMES):
        move = np.array([[1, 0, -3.3 * number], [0, 1, -0.7 * number]])
        yield cv2.warpAffine(whole, move, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR).astype(np.uint8)


STILL: Mapping[str, Callable[[np.random.Generator], RGB]] = {"wall": wall, "night sky": night, "paper": paper}


def detail(frames: list[RGB]) -> Plane:
    """Return what stands on the screen: the mean luminance of all frames, without what is smooth. (H, W), of 255."""
    mean: Plane = np.mean([frame.astype(np.float64) @ LUMINANCE for frame in frames], axis=0)
    return np.asarray(mean - cv2.GaussianBlur(mean, (0, 0), SMOOTH), np.float64)


def mesh(standing: Plane) -> tuple[float, float]:
    """Measure what has the size of the cells.

    Returns:
        the largest power at a frequency of the cells, by that of its neighbours; the standard deviation of all that
        exceeds the neighbours, of 255.
    """
    window = np.outer(np.hanning(standing.shape[0]), np.hanning(standing.shape[1]))
    power = np.abs(np.fft.fft2(standing * window)) ** 2
    floor = FLOOR**2 * float((window**2).sum())
    ratios, excess = [], 0.0
    for axis in (0, 1):
        along = power.mean(1 - axis)
        for cell in CELLS:
            at = len(along) // cell
            near = [float(along[(at + side * step) % len(along)]) for step in NEIGHBOURS for side in (-1, 1)]
            ratios.append((float(along[at]) + floor) / (float(np.mean(near)) + floor))
            lines = 1 if cell == 2 else 2  # below half a cycle per pixel, each frequency is there with both signs
            excess += max(0.0, float(along[at] - np.mean(near))) * power.shape[1 - axis] * lines
    return max(ratios), float(np.sqrt(excess / standing.size / (window**2).sum()))


def without_mesh() -> float:
    """Return the mean peak of white noise that repeats like a canvas, and has no mesh at all."""
    rng = np.random.default_rng(7)
    canvases = (np.tile(rng.normal(0, 3, (AROUND, AROUND)), (2, 3))[:HEIGHT, :WIDTH] for _ in range(30))
    return float(np.mean([mesh(canvas)[0] for canvas in canvases]))


def painted_frame(stylize: Callable[[RGB], RGB]) -> float:
    """Return how much the tone near the border of a wall changes when the picture is cut there, RMS of 255."""
    larger, inside = wall(np.random.default_rng(7), AROUND), np.s_[AROUND:-AROUND, AROUND:-AROUND]
    cut = stylize(np.ascontiguousarray(larger[inside])) @ np.array(LUMINANCE)
    tone = cv2.GaussianBlur(cut - (stylize(larger) @ np.array(LUMINANCE))[inside], (0, 0), SMOOTH)
    tone[BAND:-BAND, BAND:-BAND] = 0.0
    along = tone.size - (HEIGHT - 2 * BAND) * (WIDTH - 2 * BAND)
    return float(np.sqrt((tone**2).sum() / along))


def measure(_subject: Subject) -> Section:
    """Stylize every scene in every style."""
    rows, shown = list[Row](), scenes()
    for style in style_library.installed():
        model = StyleModel.open(style_library.find(style.name))
        engine = engines.load(model, "cpu:fp32")
        found, meshes, strengths = dict[str, float](), dict[str, float](), dict[str, float]()
        for name, frames in shown.items():
            standing = detail([engine(rgb) for rgb in frames])
            (found[name], meshes[name]), strengths[name] = mesh(standing), float(standing.std())
        frame = painted_frame(engine)
        engine.close()
        rows.append(at_most(f"`{style.name}`: peak", _listed(found, 2), max(found.values()), PEAK, " ×", 2))
        rows.append(Row("its mesh", "standard deviation of 255", _listed(meshes, 2)))
        rows.append(Row("all detail that stands", "standard deviation of 255", _listed(strengths, 1)))
        rows.append(Row("frame along the border of the wall", f"RMS of 255 in {BAND} pixels", f"{frame:.1f}"))
    rows.append(Row("white noise that repeats like a canvas: peak", "mean of 30", f"{without_mesh():.2f} ×"))
    notes = [
        f"{WIDTH}×{HEIGHT}, {FRAMES} frames each: scenes that stand still with fresh noise, and a photograph that "
        "moves by 3.3 pixels a frame. What stands is the mean of all frames; strokes that move with the photograph "
        "fade in it.",
        "Peak: mean power in the rows and columns of the spectrum at 1/2 and 1/4 of a cycle per pixel, by that of "
        f"{2 * len(NEIGHBOURS)} neighbours; white noise of {FLOOR} of 255 is added to both. Where next to nothing is "
        "painted, a mesh that nobody sees (below 1 of 255) is a tall peak all the same. What repeats every "
        f"{AROUND} pixels has lines in its spectrum, and gaps among the neighbours: its peak is above 1.",
        f"Frame: the wall against the same part of a wall with {AROUND} pixels more on every side, without details.",
    ]
    return Section("plain", "Plain walls", "all styles of the gallery", rows, notes)


def scenes() -> dict[str, list[RGB]]:
    """Return the frames of every scene."""
    rng = np.random.default_rng(7)
    return {name: [draw(rng) for _ in range(FRAMES)] for name, draw in STILL.items()} | {"slow pan": list(pan())}


def _listed(figures: Mapping[str, float], digits: int) -> str:
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in figures.items())


if __name__ == "__main__":
    from benchmarks.bench import main

    main("plain")
