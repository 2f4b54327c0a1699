"""How much the painting flickers while the scene moves: measured at every contact sheet, on the same few frames."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from engines.base import RGB
from engines.errors import StylerError
from rtstyle.sources.file import FileSource
from train.config.schema import MotionConfig, TrainConfig
from train.data.clips import clip_files
from train.data.pictures import Pictures, read_picture, to_picture, to_tensor, with_short_side
from train.data.synthetic_motion import inside, random_flow, sensor_noise, warp
from train.evaluate.temporal import ClipJudge, masked_error

FRAMES, SIDE = 6, 192
"""How many frames are painted, and the side of their squares, pixels: a fraction of a second on a CPU."""

START = 10
"""Frames of a clip that are passed over: the first ones are often a fade."""

Errors = Callable[[Sequence[RGB]], tuple[float, float]]
"""Ewarp and e_stab of painted frames, as ``ClipJudge`` defines them; values in [0, 1]."""


class Scene:
    """A few frames whose motion is known.

    Args:
        frames: unpainted, (SIDE, SIDE, 3) each.
        errors: what the motion says about as many frames.
    """

    def __init__(self, frames: Sequence[RGB], errors: Errors):
        self.frames, self.errors = frames, errors
        self._unpainted = errors(frames)

    def steadiness(self, paint: Callable[[RGB], RGB]) -> dict[str, float]:
        """``ewarp`` and ``e_stab`` of the paintings, and ``ewarp_unpainted`` and ``e_stab_unpainted`` of the frames."""
        ewarp, e_stab = self.errors([paint(rgb) for rgb in self.frames])
        return {
            "ewarp": ewarp,
            "e_stab": e_stab,
            "ewarp_unpainted": self._unpainted[0],
            "e_stab_unpainted": self._unpainted[1],
        }


def scene_of(config: TrainConfig, pictures: Pictures) -> Scene | None:
    """The first clip that can be used, where the run has clips, or the first photograph, moved.

    Args:
        config: of the run.
        pictures: photographs of the run.

    Returns:
        ``None`` where nothing can be read.
    """
    for clip in clip_files(config.data.clips) if config.data.clips is not None else ():
        with contextlib.suppress(StylerError):  # it has been told when training met it
            return filmed(clip)
    for photograph in pictures.files:
        with contextlib.suppress(StylerError):
            return moved(read_picture(photograph), config.motion)
    return None


def filmed(clip: Path) -> Scene:
    """Consecutive frames near the beginning of a clip; their motion is estimated.

    Raises:
        StylerError: it cannot be decoded, or none of the frames continues the one before.
    """
    with closing(FileSource(str(clip))) as source:
        frames = [_middle(frame.rgb) for frame in islice(source.frames(), START + FRAMES)][-FRAMES:]
    judge = ClipJudge(frames)
    return Scene(frames, lambda painted: (judge.warping_error(painted), judge.stability_error(painted)))


def moved(photograph: RGB, motion: MotionConfig) -> Scene:
    """A photograph as a camera in a restless hand would see it: the flow is exact, and every frame has its noise.

    Each moved frame is compared with the first one. The random numbers are the same in every run, so that runs on the
    same photographs can be compared.

    Args:
        photograph: (H, W, 3), of any size.
        motion: how far it moves, and how strong the noise is.
    """
    rng = torch.Generator().manual_seed(0)
    still = to_tensor(_middle(photograph))
    flow = random_flow(FRAMES - 1, (SIDE, SIDE), motion.shift, rng)
    clean = torch.cat([still, warp(still.expand(FRAMES - 1, -1, -1, -1), flow)])
    frames = [to_picture(x) for x in sensor_noise(clean, motion.noise_sigma, rng)]
    flows, seen = flow.numpy(), inside(flow)[:, 0].numpy() > 0

    def errors(painted: Sequence[RGB]) -> tuple[float, float]:
        squares = [masked_error(rgb, painted[0], flows[i], seen[i]) for i, rgb in enumerate(painted[1:])]
        return float(np.mean(squares)), float(np.sqrt(np.mean(squares * seen.mean((1, 2)))))

    return Scene(frames, errors)


def _middle(rgb: RGB) -> RGB:
    """The middle square of a picture, ``SIDE`` pixels a side."""
    side = min(rgb.shape[:2])
    top, left = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
    return with_short_side(rgb[top : top + side, left : left + side], SIDE)
