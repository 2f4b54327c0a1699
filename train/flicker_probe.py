"""A quick measure of flicker during training, taken on the same few frames at every contact sheet."""

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
from train.data.pictures import Pictures, fill, read_picture, to_picture, to_tensor
from train.data.synthetic_motion import add_noise, inside, random_flow, sensor_noise, warp
from train.evaluate.temporal import TemporalConsistency, masked_error

FRAMES, SIDE = 6, 192
"""Number of frames and side of their squares, pixels: a fraction of a second on a CPU."""

START = 10
"""Frames of a clip to skip: it often starts with a fade."""

Errors = Callable[[Sequence[RGB]], tuple[float, float]]
"""Ewarp and e_stab of stylized frames, as ``TemporalConsistency`` defines them; values in [0, 1]."""


class FlickerProbe:
    """A few frames with known motion.

    Args:
        frames: input frames, (SIDE, SIDE, 3) each.
        errors: measures as many stylized frames against that motion.
    """

    def __init__(self, frames: Sequence[RGB], errors: Errors):
        self.frames, self.errors = frames, errors
        self._of_input = errors(frames)

    def measure(self, stylize: Callable[[RGB], RGB]) -> dict[str, float]:
        """Return ``ewarp`` and ``e_stab`` of the stylized frames, and the same of the input as ``…_unpainted``."""
        ewarp, e_stab = self.errors([stylize(rgb) for rgb in self.frames])
        of_input = dict(zip(("ewarp_unpainted", "e_stab_unpainted"), self._of_input, strict=True))
        return {"ewarp": ewarp, "e_stab": e_stab} | of_input


def make_probe(config: TrainConfig, pictures: Pictures) -> FlickerProbe | None:
    """Make a probe from the first usable clip of a run, or else its first photograph; ``None`` if none can be read."""
    for clip in clip_files(config.data.clips) if config.data.clips is not None else ():
        with contextlib.suppress(StylerError):  # training has warned about it
            return probe_from_clip(clip)
    for photograph in pictures.files:
        with contextlib.suppress(StylerError):
            return probe_from_photograph(read_picture(photograph), config.motion)
    return None


def probe_from_clip(clip: Path) -> FlickerProbe:
    """Make a probe from consecutive frames near the start of a clip; their motion is estimated.

    Raises:
        StylerError: the clip cannot be decoded, or has a cut before every frame.
    """
    with closing(FileSource(str(clip))) as source:
        frames = [fill(frame.rgb, SIDE, SIDE) for frame in islice(source.frames(), START + FRAMES)][-FRAMES:]
    consistency = TemporalConsistency(frames)
    return FlickerProbe(
        frames, lambda stylized: (consistency.warping_error(stylized), consistency.stability_error(stylized))
    )


def probe_from_photograph(photograph: RGB, motion: MotionConfig) -> FlickerProbe:
    """Make a probe that moves a photograph like an unsteady camera, with exact flow and new noise in every frame.

    Each moved frame is compared with the first one. The random numbers are the same in every run, so that runs on the
    same photographs can be compared.
    """
    rng = torch.Generator().manual_seed(0)
    still = to_tensor(fill(photograph, SIDE, SIDE))
    flow = random_flow(FRAMES - 1, (SIDE, SIDE), motion.shift, rng)
    clean = torch.cat([still, warp(still.expand(FRAMES - 1, -1, -1, -1), flow)])
    noise = sensor_noise(FRAMES, (SIDE, SIDE), motion.noise_sigma, rng)
    frames = [to_picture(x) for x in add_noise(clean, noise)]
    flows, seen = flow.numpy(), inside(flow)[:, 0].numpy() > 0

    def errors(stylized: Sequence[RGB]) -> tuple[float, float]:
        squares = [masked_error(rgb, stylized[0], flows[i], seen[i]) for i, rgb in enumerate(stylized[1:])]
        return float(np.mean(squares)), float(np.sqrt(np.mean(squares * seen.mean((1, 2)))))

    return FlickerProbe(frames, errors)
