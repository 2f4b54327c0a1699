"""MediaPipe's selfie segmentation in OpenVINO: where the people in a frame are, at the network's own small size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from engines.base import RGB
from engines.errors import EngineError, StyleError
from engines.openvino.engine import as_engine_errors, shared_core
from engines.style_file import sha256

if TYPE_CHECKING:
    import openvino as ov

FOLDER = Path(__file__).parent / "person"
"""The networks, converted by ``engines.segmentation.convert``, with their licence."""

MANIFEST = "person.json"

SHAPES = {"wide": (144, 256), "square": (256, 256)}
"""(height, width) of the frames that each network takes, pixels."""

WIDE = 1.5
"""Frames at least this many times as wide as high go to the network for wide ones."""

Probability: TypeAlias = npt.NDArray[np.float32]
"""How likely there is a person at each pixel: float32, (height, width), 0…1."""


class PersonNetwork:
    """Finds people on one CPU core: 2 ms a frame. Only one thread at a time may call it.

    Args:
        folder: of the networks.

    Raises:
        StyleError: a file is missing or altered.
        EngineError: OpenVINO is missing or cannot run here.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        _check(folder)
        self._folder, self._core = folder, shared_core()
        self._requests: dict[str, ov.InferRequest] = {}

    def __call__(self, rgb: RGB) -> Probability:
        """Return the probability of a person at each pixel of a frame that was resized to ``size_for`` its size.

        Raises:
            EngineError: there is no network for this size, or the runtime failed.
        """
        size = rgb.shape[:2]
        shape = next((name for name, taken in SHAPES.items() if taken == size), None)
        if shape is None:
            raise EngineError(f"no network finds people in a frame of {size[1]}×{size[0]}", hint="resize it first")
        with as_engine_errors(*size):
            request = self._request(shape)
            outputs = request.infer({0: np.ascontiguousarray(rgb)[None]}, share_inputs=True, share_outputs=True)
            return np.array(outputs[0][0, :, :, 0])

    def prepare(self, height: int, width: int) -> None:
        """Compile what the first frame of a size needs; 0.3 s."""
        with as_engine_errors(height, width):
            self._request(shape_for(height, width))

    def _request(self, shape: str) -> ov.InferRequest:
        if shape not in self._requests:
            graph = self._core.read_model(self._folder / f"{shape}.xml")
            options: dict[str, Any] = {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": 1,
                "INFERENCE_PRECISION_HINT": "f32",
            }
            self._requests[shape] = self._core.compile_model(graph, "CPU", options).create_infer_request()
        return self._requests[shape]


def shape_for(height: int, width: int) -> str:
    """Return which of ``SHAPES`` suits a frame size."""
    return "wide" if width >= WIDE * height else "square"


def size_for(height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) to which a frame is resized for the network."""
    return SHAPES[shape_for(height, width)]


def _check(folder: Path) -> None:
    """Raise StyleError unless the files are as they were converted."""
    try:
        files: dict[str, str] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        altered = next((name for name, expected in files.items() if sha256(folder / name) != expected), None)
    except (OSError, ValueError, KeyError) as error:
        raise StyleError(f"the network that finds people cannot be read: {error}", hint=_HINT) from error
    if altered is not None:
        raise StyleError(f"{folder / altered} is truncated or altered", hint=_HINT)


_HINT = "pip install --force-reinstall --no-deps rtstyle"
