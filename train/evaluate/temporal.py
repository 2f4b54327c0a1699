"""Temporal consistency: flicker under motion and under sensor noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from engines.base import RGB
from engines.errors import TrainError
from train.data.optical_flow import Flow, Mask, backward_warp, estimate_flow, occluded

_TOO_FEW = "the warping error needs two or more frames, and as many originals"

CUT = 0.3
"""Two frames with less than this share of trusted motion are on either side of a cut.

In 25 real clips with fast pans and water the share was at least 0.39; between unrelated pictures at most 0.29.
"""


class _Motion(NamedTuple):
    """Flow between two frames in both directions, with masks of trusted pixels."""

    forward: Flow
    backward: Flow
    seen_after: Mask
    seen_before: Mask


class TemporalConsistency:
    """Measure stylized clips against the motion of the input clip, which is estimated once.

    The flow is DIS on the input, so that flicker in the stylized clip cannot pass as motion. Frame pairs across a cut
    are left out: the few pixels that seem to match do so by chance, and their errors would dominate.

    Args:
        originals: two or more consecutive frames of one size.

    Raises:
        TrainError: fewer than two frames.
    """

    def __init__(self, originals: Sequence[RGB]):
        if len(originals) < 2:
            raise TrainError(_TOO_FEW)
        self.count = len(originals)
        self._originals = originals
        all_motions = {i: _motion(a, b) for i, (a, b) in enumerate(pairwise(originals))}
        self._motions = {i: motion for i, motion in all_motions.items() if motion.seen_after.mean() > CUT}

    @property
    def pairs(self) -> int:
        """Number of frame pairs compared; 0 for a clip of unrelated pictures."""
        return len(self._motions)

    def warping_error(self, frames: Sequence[RGB]) -> float:
        """Return Ewarp: the masked squared error between a frame and its successor warped back, averaged over pairs.

        Args:
            frames: stylized clip, lossless, with as many frames of the same size as the originals.

        Returns:
            Mean squared error over unoccluded pixels and channels, values in [0, 1].

        Raises:
            TrainError: the number of frames differs, or no pair can be compared.

        Source:
            Lai et al. 2018, arXiv:1808.00449, eqs. 8 and 9.
        """
        self._check(frames)
        pairs = self._motions.items()
        errors = [masked_error(frames[i], frames[i + 1], motion.forward, motion.seen_after) for i, motion in pairs]
        return float(np.mean(errors))

    def consistency_ratio(self, frames: Sequence[RGB]) -> float:
        """Return Ewarp by the mean square change from each frame to the next.

        A style that hardly shows has little to flicker: its Ewarp is small, this ratio is not. It is 0 where nothing
        changes. The ratio of the input tells how much of its own change the motion does not explain.

        Args:
            frames: as for ``warping_error``.

        Raises:
            TrainError: as ``warping_error``.
        """
        error = self.warping_error(frames)
        change = np.mean([_mean_square(frames[i], frames[i + 1]) for i in self._motions])
        return float(error / change) if change else 0.0

    def long_warping_error(self, frames: Sequence[RGB]) -> float | None:
        """Return Ewarp between the first frame and each later one: what drifts slowly is small from frame to frame.

        Args:
            frames: as for ``warping_error``.

        Returns:
            as ``warping_error``; ``None`` if too little of the first frame is ever seen again.

        Raises:
            TrainError: the number of frames differs.

        Source:
            Lei et al. 2020, NeurIPS (Deep Video Prior), arXiv:2010.11838, section 4.2.
        """
        if len(frames) != self.count:
            raise TrainError(_TOO_FEW)
        errors = [masked_error(frames[0], frames[i], flow, seen) for i, (flow, seen) in self._long_motions.items()]
        return float(np.mean(errors)) if errors else None

    @cached_property
    def _long_motions(self) -> dict[int, tuple[Flow, Mask]]:
        first, found = self._originals[0], {}
        for i in range(1, self.count):
            motion = _motion(first, self._originals[i])
            if motion.seen_after.mean() > CUT:
                found[i] = (motion.forward, motion.seen_after)
        return found

    def stability_error(self, frames: Sequence[RGB]) -> float:
        """Return e_stab, which compares each frame with its warped predecessor.

        e_stab = √(1/(T−1) Σₜ 1/D Σ Mₜ (Oₜ − Wₜ(Oₜ₋₁))²), D = H W C.

        Unlike Ewarp it takes the root and divides by all pixels, so a clip with many occlusions looks steadier than it
        is: compare it with the value of the input, which has the same mask.

        Args:
            frames: as for ``warping_error``.

        Returns:
            Root mean squared error, values in [0, 1].

        Raises:
            TrainError: as ``warping_error``.

        Source:
            Huang et al. 2017, CVPR, section 4; Gao et al. 2018 (ReCoNet), arXiv:1807.01197, section 4.3.
        """
        self._check(frames)
        errors = [
            masked_error(frames[i + 1], frames[i], motion.backward, motion.seen_before) * motion.seen_before.mean()
            for i, motion in self._motions.items()
        ]
        return float(np.sqrt(np.mean(errors)))

    def _check(self, frames: Sequence[RGB]) -> None:
        if len(frames) != self.count:
            raise TrainError(_TOO_FEW)
        if not self._motions:
            raise TrainError("no frame continues the previous one", hint="give a clip without cuts")


def _motion(first: RGB, second: RGB) -> _Motion:
    forward, backward = estimate_flow(first, second), estimate_flow(second, first)
    return _Motion(forward, backward, ~occluded(forward, backward), ~occluded(backward, forward))


def warping_error(frames: Sequence[RGB], originals: Sequence[RGB]) -> float:
    """Return ``TemporalConsistency.warping_error`` of one clip."""
    return TemporalConsistency(originals).warping_error(frames)


def masked_error(first: RGB, second: RGB, flow: Flow, valid: Mask) -> float:
    """Return the mean squared error between the first frame and the second warped back, where valid; [0, 1]."""
    error = ((first.astype(np.float32) - backward_warp(second, flow)) / 255.0) ** 2
    return float(error[valid].mean()) if valid.any() else 0.0


def _mean_square(first: RGB, second: RGB) -> float:
    return float((((first.astype(np.float32) - second) / 255.0) ** 2).mean())


def noise_amplification(
    paint: Callable[[RGB], RGB], still: RGB, sigma: float = 2.0, frames: int = 16, seed: int = 0
) -> float:
    """Return the temporal standard deviation of a stylized noisy still relative to that of its input.

    It is the mean over pixels of std_t(G(x + nₜ)) / the mean of std_t(x + nₜ), with x + nₜ rounded to 8 bits. This is
    our own metric for the stability of Zheng et al. 2016, arXiv:1604.04326. ``sigma`` is the standard deviation of the
    Gaussian noise, in 8-bit steps, which is drawn anew for each frame.
    """
    rng = np.random.default_rng(seed)
    noise = rng.normal(0.0, sigma, (frames, *still.shape))
    noisy = np.clip(np.rint(still + noise), 0, 255).astype(np.uint8)
    stylized = np.stack([paint(x) for x in noisy])
    return float(stylized.std(0, dtype=np.float64).mean() / noisy.std(0, dtype=np.float64).mean())
