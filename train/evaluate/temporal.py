"""How still a style holds: under the motion of a clip, and under the noise of a sensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from engines.base import RGB
from engines.errors import TrainError
from train.data.optical_flow import Flow, Mask, estimate_flow, occluded, pull

_TOO_FEW = "the warping error needs two or more frames, and as many originals"

CUT = 0.3
"""Where less of a frame than this share can be followed into the next one, a cut lies between them.

In 25 real clips with fast pans and water at least 0.39 could be followed; of unrelated pictures up to 0.29, by chance.
"""


@dataclass(frozen=True)
class _Motion:
    """From one frame to the next and back, with the pixels of each whose motion can be trusted."""

    forward: Flow
    backward: Flow
    seen_after: Mask
    seen_before: Mask


class ClipJudge:
    """Measures clips against the motion of one original, which is estimated once.

    The flow comes from DIS instead of the learned networks of the papers, and is always that of the original: a
    painting that boils must not explain its boiling as motion. Two frames on either side of a cut are left out: the
    few pixels that seem to continue do so by chance, and their errors would outweigh all others.

    Args:
        originals: two or more consecutive frames of one size.

    Raises:
        TrainError: fewer than two frames.
    """

    def __init__(self, originals: Sequence[RGB]):
        if len(originals) < 2:
            raise TrainError(_TOO_FEW)
        self.count = len(originals)
        all_motions = {i: _motion(a, b) for i, (a, b) in enumerate(pairwise(originals))}
        self._motions = {i: motion for i, motion in all_motions.items() if motion.seen_after.mean() > CUT}

    @property
    def pairs(self) -> int:
        """Pairs of frames that are compared; 0 for a clip of unrelated pictures."""
        return len(self._motions)

    def warping_error(self, frames: Sequence[RGB]) -> float:
        """Ewarp: mean over frame pairs of the masked squared error between a frame and its successor, warped back.

        Args:
            frames: the clip to judge, lossless, as many and as large as the originals.

        Returns:
            mean squared error over unoccluded pixels and channels, values in [0, 1].

        Raises:
            TrainError: not as many frames, or no pair to compare.

        Source:
            Lai et al. 2018, arXiv:1808.00449, eqs. 8 and 9.
        """
        self._check(frames)
        errors = [
            masked_error(frames[i], frames[i + 1], motion.forward, motion.seen_after)
            for i, motion in self._motions.items()
        ]
        return float(np.mean(errors))

    def stability_error(self, frames: Sequence[RGB]) -> float:
        """e_stab = √(1/(T−1) Σₜ 1/D Σ Mₜ (Oₜ − Wₜ(Oₜ₋₁))²), D = H W C: every frame against its warped predecessor.

        It differs from Ewarp in the root, and in that it divides by all pixels, so that a clip that is occluded
        often looks steadier than it is: compare it with the original's, which has the same mask.

        Args:
            frames: as for ``warping_error``.

        Returns:
            root of a mean squared error, values in [0, 1].

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
            raise TrainError("none of the frames continues the one before", hint="give a clip without a cut")


def _motion(first: RGB, second: RGB) -> _Motion:
    forward, backward = estimate_flow(first, second), estimate_flow(second, first)
    return _Motion(forward, backward, ~occluded(forward, backward), ~occluded(backward, forward))


def warping_error(frames: Sequence[RGB], originals: Sequence[RGB]) -> float:
    """``ClipJudge.warping_error`` of one clip.

    Raises:
        TrainError: fewer than two frames, not as many originals, or a cut after every frame.
    """
    return ClipJudge(originals).warping_error(frames)


def masked_error(first: RGB, second: RGB, flow: Flow, valid: Mask) -> float:
    """Mean squared error between the first frame and the second, warped back, where valid; values in [0, 1]."""
    error = ((first.astype(np.float32) - pull(second, flow)) / 255.0) ** 2
    return float(error[valid].mean()) if valid.any() else 0.0


def noise_amplification(
    paint: Callable[[RGB], RGB], still: RGB, sigma: float = 2.0, frames: int = 16, seed: int = 0
) -> float:
    """Temporal standard deviation of the painted frames of a noisy still, divided by that of the frames.

    mean over pixels of std_t(G(x + nₜ)) / mean over pixels of std_t(x + nₜ), x + nₜ rounded to 8 bits. Our own
    figure; the stability that it measures is that of Zheng et al. 2016, arXiv:1604.04326.

    Args:
        paint: frame in, frame out.
        still: the picture that does not move.
        sigma: of the Gaussian noise, 8-bit steps, drawn anew for each frame.
        frames: how many.
        seed: of the noise.
    """
    rng = np.random.default_rng(seed)
    noise = rng.normal(0.0, sigma, (frames, *still.shape))
    noisy = np.clip(np.rint(still + noise), 0, 255).astype(np.uint8)
    painted = np.stack([paint(x) for x in noisy])
    return float(painted.std(0, dtype=np.float64).mean() / noisy.std(0, dtype=np.float64).mean())
