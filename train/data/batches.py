"""Training batches: photographs, pairs of frames from real clips, and the random numbers of the step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engines.cache_dirs import cache_folder
from engines.model.generator import CANVAS
from train.config.schema import TrainConfig
from train.data.clips import PairBatch, PairSet, build_pairs, clip_files
from train.data.face_finder import FaceFinder
from train.data.pictures import Pictures, picture_files, prefetch, split
from train.data.synthetic_motion import random_flow, sensor_noise
from train.distributed import SINGLE_PROCESS, ProcessGroup

logger = logging.getLogger(__name__)

CLIP_SIDE = 384
"""Short side of the clips' frames, pixels: that of photographs on the web, and more than most crops."""


@dataclass(frozen=True)
class Draws:
    """The random numbers of one step, all drawn on the CPU.

    They depend on the seed, the step and a picture's place in the whole batch alone, however many processes share it.

    Attributes:
        shift: shift of the canvas, (y, x), in cells.
        flow: synthetic motion of every other picture, from the first, (⌈N / 2⌉, H, W, 2), pixels; ``None`` without.
        moved_noise: noise of the moved pictures, (⌈N / 2⌉, 3, H, W); ``None`` without synthetic motion.
        still_noise: noise of the pictures that do not move, (max(1, ⌊N / 2⌋), 3, H, W); ``None`` without a noise loss.
    """

    shift: tuple[int, int]
    flow: Tensor | None = None
    moved_noise: Tensor | None = None
    still_noise: Tensor | None = None

    @classmethod
    def of_step(cls, config: TrainConfig, step: int, places: range, *, has_pairs: bool = False) -> Draws:
        """Draw the random numbers of a step.

        Args:
            config: settings of the run.
            step: number of the step.
            places: places of this process's pictures in the whole batch.
            has_pairs: True if the step learns from real motion, which takes the place of the synthetic one.
        """

        def rng(place: int) -> torch.Generator:
            return torch.Generator().manual_seed((config.run.seed * 1_000_003 + step) * 1009 + place + 1)

        size, motion = (config.data.crop, config.data.crop), config.motion
        y, x = torch.randint(CANVAS, (2,), generator=rng(-1)).tolist()
        flow = moved_noise = still_noise = None
        if not has_pairs and motion.source != "none" and config.losses.temporal:
            rngs = [rng(place) for place in places[::2]]
            flow = torch.cat([random_flow(1, size, motion.shift, one) for one in rngs])
            moved_noise = torch.cat([sensor_noise(1, size, motion.noise_sigma, one) for one in rngs])
        if config.losses.noise:
            still = [places.start + 2 * number + 1 for number in range(max(1, len(places) // 2))]
            still_noise = torch.cat([sensor_noise(1, size, motion.noise_sigma, rng(place)) for place in still])
        return cls((y, x), flow, moved_noise, still_noise)


@dataclass(frozen=True)
class Batch:
    """The input of one step.

    Attributes:
        x: photographs, (N, 3, crop, crop), float32 in [0, 1].
        draws: random numbers.
        pairs: ⌈N / 2⌉ pairs of frames if the step learns from real motion, else ``None``.
        faces: 1 where faces are, (N, 1, crop, crop); ``None`` unless they have a weight of their own.
    """

    x: Tensor
    draws: Draws
    pairs: PairBatch | None = None
    faces: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch with a function applied to every tensor."""
        pairs, draws = self.pairs, self.draws
        if pairs is not None:
            pairs = PairBatch(*(change(part) for part in (pairs.first, pairs.second, pairs.flow, pairs.valid)))
        parts = (None if part is None else change(part) for part in (draws.flow, draws.moved_noise, draws.still_noise))
        faces = None if self.faces is None else change(self.faces)
        return Batch(change(self.x), Draws(draws.shift, *parts), pairs, faces)

    def to(self, device: torch.device) -> Batch:
        """Copy the batch to a device; the host does not wait for copies from pinned memory."""
        return self.map(lambda part: part.to(device, non_blocking=True))


def unused_inputs(config: TrainConfig) -> list[str]:
    """Return a warning for each folder that was given but has no effect."""
    data, losses, found = config.data, config.losses, []
    if data.clips is not None and not _learns_from_clips(config):
        needed = "losses.temporal above 0" if not losses.temporal else "--set motion.source=both"
        found.append(f"the clips in {data.clips} are not used: that needs {needed}")
    if data.style_picture is not None and data.style_pictures is not None and not losses.adversarial:
        needed = "--set losses.adversarial=1, or no --style-picture"
        found.append(f"the works in {data.style_pictures} are not used: that needs {needed}")
    return found


def _learns_from_clips(config: TrainConfig) -> bool:
    return config.motion.source in ("clips", "both") and config.losses.temporal > 0


class BatchLoader:
    """Loads batches; each is a function of the seed and the step, so that a resumed run sees the same ones.

    Clips are decoded and matched once, in the constructor; later runs find the pairs in the cache. A process of a group
    loads its part of each batch.

    Raises:
        TrainError: there are no photographs, or no usable clip.
    """

    def __init__(self, config: TrainConfig, group: ProcessGroup = SINGLE_PROCESS):
        data, motion = config.data, config.motion
        for text in unused_inputs(config):
            logger.warning("%s", text)
        files, self.held_out = split(picture_files(data.content), data.hold_out)
        self.config, self.pin_memory = config, group.device.type == "cuda"
        self.places = group.places(data.batch)
        self.pictures = Pictures(
            files, data.batch, data.crop, config.run.seed, places=self.places, in_memory=data.in_memory
        )
        self.find_faces = FaceFinder() if config.losses.faces else None
        self.pairs: PairSet | None = None
        if data.clips is not None and _learns_from_clips(config):
            cache, side = cache_folder("features").parent / "pairs", max(CLIP_SIDE, data.crop)
            self.pairs = build_pairs(clip_files(data.clips), cache, side, motion.gap)

    def __call__(self, step: int) -> Batch:
        """Load the batch of a step. With both kinds of motion, real clips take every other step."""
        pairs = None
        if self.pairs is not None and (self.config.motion.source == "clips" or step % 2):
            rng = np.random.default_rng((self.config.run.seed, step, 1))
            whole = self.pairs.batch((self.config.data.batch + 1) // 2, self.config.data.crop, rng)
            own = slice(self.places.start // 2, (self.places.stop + 1) // 2)
            pairs = PairBatch(whole.first[own], whole.second[own], whole.flow[own], whole.valid[own])
        draws = Draws.of_step(self.config, step, self.places, has_pairs=pairs is not None)
        x = self.pictures(step)
        batch = Batch(x, draws, pairs, self.find_faces(x) if self.find_faces is not None else None)
        return batch.map(Tensor.pin_memory) if self.pin_memory else batch

    def from_step(self, step: int) -> Iterator[Batch]:
        """Yield batches without end; threads load the next ones while the last one is used."""
        return prefetch(self, step, self.config.data.workers)

    def log_summary(self) -> None:
        """Log how many photographs, works and pairs of frames there are, and warn if photographs are short."""
        data, rest, held = self.config.data, len(self.pictures.files), len(self.held_out)
        parts = [f"{_counted(rest, 'photograph')} ({held} held out)"]
        if data.style_picture is not None:
            parts.append("1 painting")
        if data.style_pictures is not None and (self.config.losses.adversarial or data.style_picture is None):
            parts.append(_counted(len(picture_files(data.style_pictures, "--style-pictures")), "work"))
        if self.pairs is not None:
            clips = _counted(len(self.pairs.entries), "clip")
            parts.append(f"{_counted(len(self.pairs), 'pair')} of frames from {clips}")
        logger.info("learning from %s", ", ".join(parts))
        if held < data.hold_out:
            text = "only %d of %d photographs can be held out: stills of clips (frame_…) never are"
            logger.warning(text, held, data.hold_out)
        if rest < held:
            text = "%d of %d photographs are held out, which leaves %d to learn from: lower --hold-out"
            logger.warning(text, held, rest + held, rest)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
