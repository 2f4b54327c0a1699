"""What tests of masks share: pictures and clips that are masks, and a network that answers as it is told."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

from engines.base import RGB
from engines.vision.person_network import PersonNetwork, Probability


def half(path: Path, height: int = 48, width: int = 64) -> Path:
    """A picture that is black on the left and white on the right."""
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 255
    assert cv2.imwrite(str(path), mask)
    return path


def clip_of_masks(path: Path, levels: list[int], fps: int) -> Path:
    """A clip of even grey frames of these levels, 0 … 255, without loss."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("ffv1", rate=fps)
        video.width, video.height, video.pix_fmt = 64, 48, "gray"
        for level in levels:
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.full((48, 64), level, np.uint8), format="gray")))
        out.mux(video.encode(None))
    return path


class Told(PersonNetwork):
    """Finds people where ``answer`` says so; ``prepared`` are the sizes that were prepared."""

    def __init__(self, answer: Probability | None = None) -> None:
        super().__init__()
        self.answer = answer
        self.prepared: list[tuple[int, int]] = []

    def __call__(self, rgb: RGB) -> Probability:
        assert self.answer is not None
        return np.asarray(cv2.resize(self.answer, rgb.shape[1::-1], interpolation=cv2.INTER_AREA), np.float32)

    def prepare(self, height: int, width: int) -> None:
        self.prepared.append((height, width))
