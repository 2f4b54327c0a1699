"""Masks of people: time, edges and flicker on scenes whose true mask is known.

python -m benchmarks.masks [--style NAME|DIR]

A photograph of a person (scikit-image's ``astronaut``, NASA, public domain) is cut out along a drawn outline and moved
over other pictures. The cut is the true mask.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from skimage import data

from benchmarks.report import Row, Section, at_least, at_most
from benchmarks.subject import Subject
from engines.base import RGB
from engines.strength_map import blend
from engines.vision.person_network import PersonNetwork, Probability
from rtstyle.controls import Controls
from rtstyle.frame import Frame
from rtstyle.masks.person import PersonMask
from rtstyle.masks.strength_maps import StrengthMaps
from rtstyle.sources.scene import Scene

WIDTH, HEIGHT, FRAMES, FPS = 640, 360, 60, 30

MASK_MS, IOU, FLICKER = 6.0, 0.9, 1.5
"""The bars: milliseconds, boundary IoU, and change from frame to frame relative to the true mask's."""

OUTLINE = (
    (225, 15), (255, 18), (280, 38), (297, 65), (300, 90), (292, 115), (275, 132), (266, 150), (262, 176), (285, 190),
    (298, 212), (304, 240), (301, 258), (325, 252), (347, 280), (357, 320), (361, 345), (30, 345), (40, 300), (55, 255),
    (85, 228), (122, 215), (113, 200), (118, 180), (140, 158), (165, 150), (187, 152), (184, 130), (172, 125),
    (160, 110), (153, 85), (160, 55), (180, 30), (200, 18),
)  # fmt: skip
"""Of the person in the upper 345 rows of the photograph, (x, y), to within a few pixels."""

BAND = 0.02
"""Distance from the edge that counts for the edge IoU, as a share of the diagonal."""

NOISE = 3.0
"""Standard deviation of the camera's noise, of 255."""

Matte: TypeAlias = npt.NDArray[np.float32]
Shot: TypeAlias = Callable[[float], tuple[RGB, Matte]]


def person() -> tuple[RGB, Matte]:
    """Return the photograph and the true mask of the person in it, with the outline brought to the nearest edges."""
    photograph = np.ascontiguousarray(data.astronaut()[:345])
    drawn = np.zeros(photograph.shape[:2], np.uint8)
    cv2.fillPoly(drawn, [np.array(OUTLINE)], 1)
    square = np.ones((15, 15), np.uint8)
    inner, outer = cv2.erode(drawn, square, borderValue=1), cv2.dilate(drawn, square)
    labels = np.where(drawn > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    labels = np.where(inner > 0, cv2.GC_FGD, np.where(outer > 0, labels, cv2.GC_BGD)).astype(np.uint8)
    cv2.setRNGSeed(0)
    cv2.grabCut(photograph, labels, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    cut, small = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32), np.ones((5, 5), np.uint8)
    smooth = cv2.morphologyEx(cv2.morphologyEx(cut, cv2.MORPH_OPEN, small), cv2.MORPH_CLOSE, small)
    return photograph, np.asarray(cv2.GaussianBlur(smooth, (0, 0), 1.0), np.float32)


def shots() -> dict[str, Shot]:
    """Return the scenes by name: each gives its frame and true mask at a time in seconds."""
    photograph, cut = person()
    size = (WIDTH, HEIGHT)
    bricks = cv2.cvtColor(cv2.resize(data.brick(), size), cv2.COLOR_GRAY2RGB)
    garage = cv2.resize(data.stereo_motorcycle()[0], size, interpolation=cv2.INTER_AREA)
    scene = Scene(*size)

    def shot(ground: Callable[[float], Any], seconds: float) -> tuple[RGB, Matte]:
        angle, scale = 4.0 * math.sin(2.4 * seconds), 0.95 + 0.05 * math.sin(1.3 * seconds)
        matrix = cv2.getRotationMatrix2D((200.0, 345.0), angle, scale)
        matrix = matrix + np.array([[0.0, 0.0, 120.0 + 90.0 * math.sin(2.8 * seconds)], [0.0, 0.0, HEIGHT - 345.0]])
        moved = cv2.warpAffine(photograph, matrix, size, flags=cv2.INTER_LINEAR)
        matte = np.asarray(cv2.warpAffine(cut, matrix, size, flags=cv2.INTER_LINEAR), np.float32)
        mixed = ground(seconds) * (1.0 - matte[..., None]) + moved * matte[..., None]
        noise = np.random.default_rng(round(1000 * seconds)).normal(0.0, NOISE, mixed.shape)
        return np.clip(np.rint(mixed + noise), 0, 255).astype(np.uint8), matte

    return {
        "bricks": partial(shot, lambda _: bricks),
        "a moving drawing": partial(shot, scene.at),
        "a full garage": partial(shot, lambda _: garage),
    }


def frames(shot: Shot) -> Iterator[tuple[RGB, Matte]]:
    """Yield the frames of a scene."""
    for number in range(FRAMES):
        yield shot(number / FPS)


def edge_iou(found: Matte, true: Matte) -> float:
    """Return the boundary IoU of two masks: the IoU of what lies in them near their edges.

    Source: Cheng et al. 2021, arXiv:2103.16562.
    """
    radius = round(BAND * math.hypot(*true.shape))
    square = np.ones((2 * radius + 1,) * 2, np.uint8)

    def rim(mask: Matte) -> npt.NDArray[np.bool_]:
        hard = (mask > 0.5).astype(np.uint8)
        return (hard - cv2.erode(hard, square)).astype(bool)

    one, other = rim(found), rim(true)
    return float((one & other).sum() / max(1, (one | other).sum()))


def flicker(masks: list[Matte]) -> float:
    """Return the mean change of a mask from frame to frame."""
    return float(np.mean([np.abs(after - before).mean() for before, after in pairwise(masks)]))


class TrueMask(PersonNetwork):
    """A network that knows the true mask of each frame, at the size of the real one."""

    def __init__(self) -> None:
        super().__init__()
        self.matte: Matte = np.zeros((HEIGHT, WIDTH), np.float32)

    def __call__(self, rgb: RGB) -> Probability:
        """Return the true mask."""
        return np.asarray(cv2.resize(self.matte, rgb.shape[1::-1], interpolation=cv2.INTER_AREA), np.float32)


@dataclass(frozen=True)
class Figures:
    """Mean edge IoU, and flicker relative to the true mask's."""

    iou: float
    flicker: float


def follow(shot: Shot, network: PersonNetwork) -> Figures:
    """Find the person in all frames of a scene."""
    mask, ious = PersonMask(network), list[float]()
    found, true = list[Matte](), list[Matte]()
    for rgb, matte in frames(shot):
        if isinstance(network, TrueMask):
            network.matte = matte
        found.append(mask(rgb))
        true.append(matte)
        ious.append(edge_iou(found[-1], matte))
    return Figures(float(np.mean(ious)), flicker(found) / flicker(true))


def cost(shot: Shot) -> Iterator[Row]:
    """Measure what ``--only person`` adds to a frame: its mask, and blending by it."""
    maps, times, processor = StrengthMaps(Controls(only="person")), list[float](), list[float]()
    for number, (rgb, _) in enumerate(frames(shot)):
        frame = Frame(rgb, number, number, Fraction(1, FPS), 0.0)
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        blend(rgb, rgb, maps(frame))
        times.append(1000.0 * (time.perf_counter() - began_s))
        processor.append(1000.0 * (time.process_time() - began_cpu_s))
    maps.close()
    size = f"{WIDTH}×{HEIGHT}, mask and blending, median of {FRAMES}"
    yield at_most("`--only person`, one frame", size, median(times), MASK_MS, " ms")
    yield Row("for comparison: processor time", "of all threads", f"{median(processor):.1f} ms")


def measure(subject: Subject) -> Section:
    """Follow the person through each scene."""
    network, known = PersonNetwork(), TrueMask()
    rows = [*cost(shots()["bricks"])]
    for name, shot in shots().items():
        kept, found = follow(shot, known), follow(shot, network)
        rows += [
            at_least(f"edge IoU over {name}", "true mask in the size of the network", kept.iou, IOU, "", 2),
            at_most(f"flicker over {name}", "likewise, relative to the true mask", kept.flicker, FLICKER, " ×", 2),
            at_least(f"edge IoU over {name}", "mask of the network", found.iou, IOU, "", 2),
            at_most(f"flicker over {name}", "likewise, relative to the true mask", found.flicker, FLICKER, " ×", 2),
        ]
    notes = [
        "One person, cut out of one photograph and moved over three backgrounds. With the true mask in the size of the "
        "network, the figures say what enlarging and smoothing keep; with the network's own mask, they also hold what "
        "the network takes for a person in these scenes.",
        f"Edge IoU is the boundary IoU of Cheng et al. 2021, within {BAND:.0%} of the diagonal.",
    ]
    return Section("masks", "Masks of people", subject.label, rows, notes)


if __name__ == "__main__":
    from benchmarks.bench import main

    main("masks")
