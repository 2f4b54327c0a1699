"""Optical flow with known answers, from Middlebury files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engines.errors import TrainError
from train.data.optical_flow import Flow


def read_flow(path: Path) -> Flow:
    """Read a Middlebury ``.flo`` file: (H, W, 2), pixels; unknown flow is above 1e9. Baker et al. 2011, IJCV.

    Raises:
        TrainError: it is not a ``.flo`` file, or damaged.
    """
    data = path.read_bytes()
    if data[:4] != b"PIEH":
        raise TrainError(f"not a Middlebury flow file: {path}")
    try:
        width, height = np.frombuffer(data, "<i4", 2, offset=4)
        return np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)
    except ValueError as error:
        raise TrainError(f"the flow file {path} is truncated or damaged") from error
