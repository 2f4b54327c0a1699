"""A style that keeps the colours of the frame, as other weights of the same network.

The frame x keeps its own colours by taking only the luma of the painting y: x + Y(y) − Y(x). The last layer of the
network and the blur of the frame, whose sum is y, are linear, and so is luma. So any share c of own colours,
(1 − c) y + c (x + Y(y) − Y(x)), is the same network with three other weights: it costs no time per frame, needs no
other graph, and uses no statistics of the image, so that nothing pumps. The sum is clamped to [0, 1] afterwards; only
engines that cannot exchange weights between two frames clamp y first.

Luma and chroma of gamma-encoded values are perceptual enough: with lightness from CIELAB or OKLab instead the pictures
looked the same, in every style tried.

Source: luminance-only transfer, Gatys et al. 2016, arXiv:1606.05897, section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

LUMA = (0.2126, 0.7152, 0.0722)
"""Weights of red, green and blue, ITU-R BT.709."""

HEAD, BIAS, BLUR = "head.conv.weight", "head.conv.bias", "softening"
"""Names of the weights that change: of the last layer, its bias, and of the blur of the frame."""

Floats: TypeAlias = npt.NDArray[np.float32]


def with_own_colours(weights: Mapping[str, npt.NDArray[np.floating]], colours: float) -> dict[str, Floats]:
    """Return the weights of a style that change with the share of own colours.

    Args:
        weights: of the style: ``HEAD`` (C, in, 3, 3), ``BIAS`` (C,) and ``BLUR`` (C, C, 3, 3), whose C channels are the
            red, green and blue of the pixels of a cell.
        colours: 0 for the colours of the style … 1 for those of the frame.
    """
    head, bias, blur = (np.asarray(weights[name], np.float32) for name in (HEAD, BIAS, BLUR))
    one = np.eye(len(bias), dtype=np.float32)
    luma = np.kron(np.eye(len(bias) // 3, dtype=np.float32), np.tile(np.asarray(LUMA, np.float32), (3, 1)))
    mix = one + colours * (luma - one)
    mixed = np.tensordot(mix, blur, 1)
    mixed[:, :, 1, 1] += colours * (one - luma)  # the pixels themselves, which the blur has at its centre
    return {HEAD: np.tensordot(mix, head, 1), BIAS: mix @ bias, BLUR: mixed}
