"""Similarity of a stylized picture to its photograph: structure (SSIM) and content (deep features)."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from engines.base import RGB
from train.data.optical_flow import Float
from train.data.pictures import to_tensor
from train.losses.perceptual import content_loss
from train.losses.vgg_features import Vgg19


def grey(rgb: RGB) -> Float:
    """Return BT.601 luma, float32, 0 … 255. (H, W, 3) → (H, W)."""
    return np.asarray(cv2.cvtColor(rgb.astype(np.float32), cv2.COLOR_RGB2GRAY), dtype=np.float32)


def ssim(first: RGB, second: RGB) -> float:
    """Return the mean structural similarity of luma, window 11×11, σ 1.5, valid region only.

    Source:
        Wang et al. 2004, IEEE TIP 13(4), eq. 13, K1 = 0.01, K2 = 0.03, L = 255.
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


@torch.no_grad()
def content_distance(network: Vgg19, stylized: RGB, original: RGB) -> float:
    """Return ‖F(y) − F(x)‖² / ‖F(x)‖² with F the deepest tap of the network (relu4_1); 0 for equal pictures.

    Source:
        Gatys et al. 2016, CVPR, eq. 1, made relative.
    """
    return float(content_loss(network(to_tensor(stylized))[-1], network(to_tensor(original))[-1]))
