"""What each step of a run is made from: photographs, and pairs of frames from real clips."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from train.config.schema import TrainConfig
from train.data.clips import ClipProgress, PairBatch, PairSet, build_pairs, clip_files
from train.data.pictures import Pictures, ahead, picture_files, split
from train.distributed import ALONE, World
from train.losses.vgg_features import cache_folder

CLIP_SIDE = 384
"""Short side of the clips' frames, pixels: that of photographs on the web, and more than most crops."""


@dataclass(frozen=True)
class Batch:
    """What one step sees.

    Attributes:
        x: photographs, (N, 3, crop, crop), float32 in [0, 1].
        pairs: ⌈N / 2⌉ pairs of frames where the step learns from real motion, else ``None``.
    """

    x: Tensor
    pairs: PairBatch | None

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with every tensor changed."""
        pairs = self.pairs
        if pairs is not None:
            pairs = PairBatch(*(change(part) for part in (pairs.first, pairs.second, pairs.flow, pairs.valid)))
        return Batch(change(self.x), pairs)

    def to(self, device: torch.device) -> Batch:
        """The same on a device; from pinned memory the host does not wait for the copy."""
        return self.each(lambda part: part.to(device, non_blocking=True))


def idle(config: TrainConfig) -> list[str]:
    """What was given and has no effect, a line each: one's own recipe need not ask for clips."""
    data, losses, found = config.data, config.losses, []
    if data.clips is not None and not _learns_from_clips(config):
        needed = "losses.temporal above 0" if not losses.temporal else "--set motion.source=both"
        found.append(f"nothing is learned from the clips {data.clips}: that needs {needed}")
    if data.style_picture is not None and data.style_pictures is not None and not losses.adversarial:
        needed = "--set losses.adversarial=1, or no --style-picture"
        found.append(f"nothing is learned from the works in {data.style_pictures}: that needs {needed}")
    return found


def _learns_from_clips(config: TrainConfig) -> bool:
    return config.motion.source in ("clips", "both") and config.losses.temporal > 0


class Material:
    """Batches as a function of the seed and the step alone, so that a resumed run sees what it would have seen.

    Args:
        config: of the run. Clips are decoded and matched here, once; later runs find that in the cache.
        on_warning: called with one line for each clip that cannot be used, and for each setting without effect.
        world: which of several processes this is; it sees its part of each batch.

    Raises:
        TrainError: no photographs, or no usable clip.
    """

    def __init__(self, config: TrainConfig, on_warning: Callable[[str], None], world: World = ALONE):
        data, motion = config.data, config.motion
        for text in idle(config):
            on_warning(text)
        files, self.held_out = split(picture_files(data.content), data.hold_out)
        self.config, self.on_gpu = config, world.device.type == "cuda"
        self.places = world.places(data.batch)
        self.pictures = Pictures(
            files, data.batch, data.crop, config.run.seed,
            places=self.places, in_memory=data.in_memory, on_skip=on_warning,
        )  # fmt: skip
        self.pairs: PairSet | None = None
        if data.clips is not None and _learns_from_clips(config):
            cache, side = cache_folder().parent / "pairs", max(CLIP_SIDE, data.crop)
            self.pairs = build_pairs(
                clip_files(data.clips), cache, side, motion.gap, on_progress=_tell, on_warning=on_warning
            )

    def __call__(self, step: int) -> Batch:
        """What a step sees. With both kinds of motion, real clips take every other step."""
        pairs = None
        if self.pairs is not None and (self.config.motion.source == "clips" or step % 2):
            rng = np.random.default_rng((self.config.run.seed, step, 1))
            whole = self.pairs.batch((self.config.data.batch + 1) // 2, self.config.data.crop, rng)
            own = slice(self.places.start // 2, (self.places.stop + 1) // 2)
            pairs = PairBatch(whole.first[own], whole.second[own], whole.flow[own], whole.valid[own])
        batch = Batch(self.pictures(step), pairs)
        return batch.each(Tensor.pin_memory) if self.on_gpu else batch

    def from_step(self, step: int) -> Iterator[Batch]:
        """Endless batches, the next ones being made while the last one is used."""
        return ahead(self, step, self.config.data.workers)


def _tell(progress: ClipProgress) -> None:
    """A line on standard error for each clip that took its time."""
    if progress.pairs and not progress.cached:
        text = f"motion of clip {progress.number} of {progress.total}: {progress.pairs} pairs of {progress.file.name}"
        print(text, file=sys.stderr, flush=True)
