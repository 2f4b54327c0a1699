"""MediaPipe's face detection (full range) in OpenVINO: where the faces in a frame are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from engines.base import RGB
from engines.errors import EngineError
from engines.openvino.runtime import as_engine_errors
from engines.vision.converted import ConvertedNetworks

FOLDER = Path(__file__).parent / "face"
"""The network, converted by ``engines.vision.convert``, with its licence."""

NAME = "face"

SIDE = 192
"""Height and width of the frames that the network takes, pixels."""

CELLS = 48
"""Cells in a row and in a column of the frame; each predicts one face."""

LEAST_SCORE = 0.5
"""Probability from which on a prediction counts as a face."""

SAME_FACE = 0.3
"""Intersection over union from which on two predictions are one face."""

EYES = slice(4, 8)
"""Where the network puts the person's right and left eye among its 16 numbers; the first four are the box."""

Predictions: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Face:
    """A face, in shares of the side of the square frame.

    Attributes:
        x, y: centre of the box around it, which ends above the eyebrows and below the chin.
        width, height: of the box.
        roll: angle of the line from its right to its left eye, clockwise as seen, radians; 0 is level.
        score: probability that it is one, 0 … 1.
    """

    x: float
    y: float
    width: float
    height: float
    roll: float
    score: float


class FaceNetwork:
    """Finds faces on one CPU core: 3 ms a frame. Only one thread at a time may call it.

    Args:
        folder: of what ``engines.vision.convert`` has made.

    Raises:
        StyleError: a file is missing or altered.
        EngineError: OpenVINO is missing or cannot run here.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._networks = ConvertedNetworks(folder)

    def __call__(self, rgb: RGB) -> list[Face]:
        """Return the faces in a square frame of ``SIDE`` pixels, the surest first.

        Raises:
            EngineError: the frame has another size, or the runtime failed.
        """
        if rgb.shape != (SIDE, SIDE, 3):
            problem = f"the network that finds faces takes {SIDE}×{SIDE} pixels, not {rgb.shape[1]}×{rgb.shape[0]}"
            raise EngineError(problem, hint="resize the frame first")
        request = self._networks.request(NAME, SIDE, SIDE)
        with as_engine_errors(SIDE, SIDE):
            outputs = request.infer({0: np.ascontiguousarray(rgb)[None]}, share_inputs=True, share_outputs=True)
            return faces(np.array(outputs[0][0]), np.array(outputs[1][0, :, 0]))

    def prepare(self) -> None:
        """Compile the network; 0.3 s."""
        self._networks.request(NAME, SIDE, SIDE)


def faces(places: Predictions, logits: Predictions) -> list[Face]:
    """Decode what the network says of every cell, and merge what it says of one face.

    Args:
        places: (``CELLS`` ², 16): centre relative to that of the cell, size, and six points, in pixels.
        logits: (``CELLS`` ²,): how sure it is, before the sigmoid.

    Source:
        Bazarevsky et al. 2019 (BlazeFace), arXiv:1907.05047, section 3.2: overlapping predictions are averaged by their
        scores, which is steadier than the best of them.
    """
    sure = np.flatnonzero(logits > np.log(LEAST_SCORE / (1.0 - LEAST_SCORE)))
    scores = 1.0 / (1.0 + np.exp(-logits[sure].astype(np.float64)))
    cells = (np.stack([sure % CELLS, sure // CELLS], 1) + 0.5) / CELLS
    found = places[sure].astype(np.float64) / SIDE
    boxes = np.concatenate([found[:, :2] + cells, found[:, 2:4]], 1)
    left = np.ones(len(sure), bool)
    merged = []
    for best in np.argsort(-scores):
        if not left[best]:
            continue
        same = left & (_overlaps(boxes[best], boxes) > SAME_FACE)
        same[best] = True
        left &= ~same
        x, y, width, height = np.average(boxes[same], axis=0, weights=scores[same])
        eyes = found[best, EYES]
        roll = np.arctan2(eyes[3] - eyes[1], eyes[2] - eyes[0])
        merged.append(Face(float(x), float(y), float(width), float(height), float(roll), float(scores[best])))
    return merged


def _overlaps(box: npt.NDArray[np.float64], boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the intersection over union of a box with others, each as centre and size."""
    low = np.maximum(box[:2] - box[2:] / 2, boxes[:, :2] - boxes[:, 2:] / 2)
    high = np.minimum(box[:2] + box[2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2)
    common = np.prod(np.maximum(high - low, 0.0), 1)
    overlaps: npt.NDArray[np.float64] = common / (np.prod(box[2:]) + np.prod(boxes[:, 2:], 1) - common)
    return overlaps
