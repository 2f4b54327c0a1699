"""Similarity of a stylized picture to its photograph: structure (SSIM) and content (deep features)."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from engines.base import RGB
from train.data.optical_flow import Float
from train.data.pictures import to_tensor, with_short_side
from train.losses.perceptual import content_loss
from train.losses.vgg_features import Vgg19

STRUCTURE_SIDE = 256
"""Short side at which self-similarity is compared, pixels: its matrices have a row and a column for each 4×4 pixels."""

_ROWS = 1024
"""Rows of the matrices that are in memory at a time."""


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


@torch.no_grad()
def structure_distance(network: Vgg19, stylized: RGB, original: RGB) -> float:
    """Return CFSD: how differently the parts of two pictures resemble each other; 0 for equal pictures.

    1/P Σᵢ KL(Sᵢ(x) ‖ Sᵢ(y)), S = softmax over j of Fᵢ·Fⱼ / C, with F the relu3_1 features of C channels at P places.
    A painting in quite other colours keeps it, as long as what looked alike in the photograph looks alike.

    Args:
        network: its last tap is relu3_1.
        stylized: y.
        original: x, of the same size.

    Source:
        Chung et al. 2024, CVPR (StyleID), arXiv:2312.09008, section 4.1.
    """
    x, y = (_places(network, picture) for picture in (original, stylized))
    total = 0.0
    for rows_x, rows_y in zip(torch.split(x, _ROWS), torch.split(y, _ROWS), strict=True):
        ours, theirs = (F.log_softmax(rows @ all_.T / all_.shape[1], 1) for rows, all_ in ((rows_y, y), (rows_x, x)))
        total += float(F.kl_div(ours, theirs, reduction="sum", log_target=True))
    return total / len(x)


def _places(network: Vgg19, picture: RGB) -> torch.Tensor:
    """Return the features of each place, (P, C)."""
    features: torch.Tensor = network(to_tensor(with_short_side(picture, STRUCTURE_SIDE)))[-1]
    return features[0].flatten(1).T
