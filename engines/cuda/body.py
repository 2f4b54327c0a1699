"""What goes through a stream pipeline: the compiled work for frames of one size."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Body(Protocol):
    """The compiled graph for one frame size, with its fixed buffers.

    A body may have an attribute ``bytes_beside``: device memory, in bytes, that it holds beside torch's.

    Attributes:
        frame, stylized: (1, height, width, 3) uint8, on the device.
        strength: (1,) float32, on the device.
    """

    frame: Tensor
    strength: Tensor
    stylized: Tensor

    def run(self) -> None:
        """Enqueue, on the current stream, the work from ``frame`` and ``strength`` to ``stylized``."""
        ...
