"""Optical flow between two frames: estimation, warping and occlusion."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from engines.base import RGB

Float: TypeAlias = npt.NDArray[np.float32]
Flow: TypeAlias = npt.NDArray[np.float32]
"""(H, W, 2), pixels, (x, y)."""
Mask: TypeAlias = npt.NDArray[np.bool_]


def estimate_flow(first: RGB, second: RGB) -> Flow:
    """Estimate the flow from the first frame to the second by DIS (medium). Kroeger et al. 2016, arXiv:1603.03590.

    Returns:
        (H, W, 2), pixels, (x, y): first(p) corresponds to second(p + flow(p)).
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    a, b = (cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (first, second))
    return np.asarray(dis.calc(a, b, None), dtype=np.float32)  # type: ignore[call-overload]


def backward_warp(x: npt.NDArray[np.generic], flow: Flow) -> Float:
    """Return x(p + flow(p)), bilinear, float32; the border is repeated. (H, W[, C]) → same shape."""
    height, width = flow.shape[:2]
    grid_x, grid_y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(
        x.astype(np.float32),
        grid_x + flow[..., 0],
        grid_y + flow[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(moved, dtype=np.float32)


def occluded(forward: Flow, backward: Flow) -> Mask:
    """Mark pixels of the first frame with unreliable flow.

    Args:
        forward: flow t to t+1 on the grid of t.
        backward: flow t+1 to t on the grid of t+1.

    Returns:
        (H, W), True where the two flows do not cancel, at motion boundaries, and where the flow leaves the picture.

    Source:
        Ruder et al. 2016, arXiv:1604.08610, section 4.2, eqs. 5 and 6.
    """
    returned = backward_warp(backward, forward)
    squares = (forward**2).sum(-1) + (returned**2).sum(-1)
    lost = ((forward + returned) ** 2).sum(-1) > 0.01 * squares + 0.5
    gradient = sum((np.gradient(forward[..., i], axis=axis) ** 2 for i in (0, 1) for axis in (0, 1)), np.float32(0))
    boundary = gradient > 0.01 * (forward**2).sum(-1) + 0.002
    height, width = forward.shape[:2]
    x = forward[..., 0] + np.arange(width, dtype=np.float32)
    y = forward[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    outside = (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)
    return np.asarray(lost | boundary | outside, dtype=np.bool_)
