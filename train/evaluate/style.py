"""How good a style is: style, content, steadiness. Each figure with its formula and its source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from engines.base import RGB
from engines.errors import TrainError
from train.data import read_picture, to_tensor, with_short_side
from train.features import Vgg19
from train.flow import Float, Flow, Mask, estimate_flow, occluded, pull
from train.losses import gram, style_distances

LAYERS = ("relu1_1", "relu2_1", "relu3_1")
PICTURE_SIDE, PAINTING_SIDE = 384, 512
"""Short sides, pixels, at which pictures and the painting are compared."""


@dataclass(frozen=True)
class StyleFigure:
    """Relative squared distance of Gram matrices to the painting's; 0 is a perfect match.

    Attributes:
        layers: mean over the pictures for each of ``LAYERS``.
    """

    layers: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the layers."""
        return sum(self.layers) / len(self.layers)

    @property
    def strokes(self) -> float:
        """relu3_1 alone, which recolouring cannot win."""
        return self.layers[-1]


class StyleJudge:
    """Measures how near pictures are to a painting.

    mean over pictures of ‖G(y) − G(s)‖² / ‖G(s)‖² (Frobenius), G = F Fᵀ / (H W), full-width VGG19, the painting at
    short side 512. Gatys et al. 2016, CVPR, eq. 4, made relative.

    Args:
        network: with the taps ``LAYERS``, float32.
        painting: the style picture.
    """

    def __init__(self, network: Vgg19, painting: RGB):
        self.network = network
        self.grams = self._grams(with_short_side(painting, PAINTING_SIDE))

    @torch.no_grad()
    def _grams(self, rgb: RGB) -> list[Tensor]:
        return [gram(f) for f in self.network(to_tensor(rgb))]

    @torch.no_grad()
    def __call__(self, pictures: Iterable[RGB]) -> StyleFigure:
        """Mean over the pictures, which are taken at their own size."""
        rows = [style_distances(self.network(to_tensor(rgb)), self.grams) for rgb in pictures]
        return StyleFigure(tuple(float(v) for v in torch.tensor(rows).mean(0)))


def grey(rgb: RGB) -> Float:
    """BT.601 luma, float32, 0 … 255. (H, W, 3) → (H, W)."""
    return np.asarray(cv2.cvtColor(rgb.astype(np.float32), cv2.COLOR_RGB2GRAY), dtype=np.float32)


def ssim(first: RGB, second: RGB) -> float:
    """Mean structural similarity of the grey pictures, window 11×11, σ 1.5, valid part only.

    Source: Wang et al. 2004, IEEE TIP 13(4), eq. 13, K1 = 0.01, K2 = 0.03, L = 255.
    """

    def blur(x: Float) -> Float:
        return np.asarray(cv2.GaussianBlur(x, (11, 11), 1.5)[5:-5, 5:-5], dtype=np.float32)

    a, b = grey(first), grey(second)
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float((top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())


def warping_error(frames: Sequence[RGB], originals: Sequence[RGB]) -> float:
    """Ewarp: mean over frame pairs of the masked squared error between a frame and its successor, warped back.

    Args:
        frames: the clip to judge, lossless.
        originals: the clip that the flow is estimated from; same sizes.
    Returns: mean squared error over unoccluded pixels and channels, values in [0, 1].
    Raises: TrainError: fewer than two frames.
    Source: Lai et al. 2018, arXiv:1808.00449, eqs. 8 and 9, with DIS flow in place of FlowNet2.
    """
    if len(frames) < 2 or len(frames) != len(originals):
        raise TrainError("the warping error needs two or more frames, and as many originals")
    errors = []
    for i in range(len(frames) - 1):
        forward = estimate_flow(originals[i], originals[i + 1])
        backward = estimate_flow(originals[i + 1], originals[i])
        errors.append(masked_error(frames[i], frames[i + 1], forward, ~occluded(forward, backward)))
    return float(np.mean(errors))


def masked_error(first: RGB, second: RGB, flow: Flow, valid: Mask) -> float:
    """Mean squared error between the first frame and the second, warped back, where valid; values in [0, 1]."""
    error = ((first.astype(np.float32) - pull(second, flow)) / 255.0) ** 2
    return float(error[valid].mean()) if valid.any() else 0.0


def noise_amplification(
    paint: Callable[[RGB], RGB], still: RGB, sigma: float = 2.0, frames: int = 16, seed: int = 0
) -> float:
    """Temporal standard deviation of the painted frames of a noisy still, divided by that of the frames.

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


def judge_pictures(paths: Iterable[Path]) -> list[RGB]:
    """Pictures at the short side at which they are compared."""
    return [with_short_side(read_picture(path), PICTURE_SIDE) for path in paths]
