"""MediaPipe's selfie segmentation in OpenVINO: where the people in a frame are, at the network's own small size."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from engines.base import RGB
from engines.errors import EngineError
from engines.openvino.runtime import as_engine_errors
from engines.vision.converted import ConvertedNetworks

FOLDER = Path(__file__).parent / "person"
"""The networks, converted by ``engines.vision.convert``, with their licence."""

SHAPES = {"wide": (144, 256), "square": (256, 256)}
"""(height, width) of the frames that each network takes, pixels."""

WIDE = 1.5
"""Frames at least this many times as wide as high go to the network for wide ones."""

Probability: TypeAlias = npt.NDArray[np.float32]
"""How likely there is a person at each pixel: float32, (height, width), 0…1."""


class PersonNetwork:
    """Finds people on one CPU core: 2 ms a frame. Only one thread at a time may call it.

    Args:
        folder: of what ``engines.vision.convert`` has made.

    Raises:
        StyleError: a file is missing or altered.
        EngineError: OpenVINO is missing or cannot run here.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._networks = ConvertedNetworks(folder)

    def __call__(self, rgb: RGB) -> Probability:
        """Return the probability of a person at each pixel of a frame that was resized to ``size_for`` its size.

        Raises:
            EngineError: there is no network for this size, or the runtime failed.
        """
        size = rgb.shape[:2]
        shape = next((name for name, taken in SHAPES.items() if taken == size), None)
        if shape is None:
            raise EngineError(f"no network finds people in a frame of {size[1]}×{size[0]}", hint="resize it first")
        request = self._networks.request(shape, *size)
        with as_engine_errors(*size):
            outputs = request.infer({0: np.ascontiguousarray(rgb)[None]}, share_inputs=True, share_outputs=True)
            return np.array(outputs[0][0, :, :, 0])

    def prepare(self, height: int, width: int) -> None:
        """Compile what the first frame of a size needs; 0.3 s."""
        self._networks.request(shape_for(height, width), height, width)


def shape_for(height: int, width: int) -> str:
    """Return which of ``SHAPES`` suits a frame size."""
    return "wide" if width >= WIDE * height else "square"


def size_for(height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) to which a frame is resized for the network."""
    return SHAPES[shape_for(height, width)]
