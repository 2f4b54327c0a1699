"""Several frames at once on the CPU, each on a core of its own, for clips: nobody waits for the single frame there.

All cores together finish one frame sooner, but wait for each other after every layer, and for whatever decodes and
encodes beside them.

Source: https://docs.openvino.ai/2026/openvino-workflow/running-inference/optimize-inference/optimizing-throughput.html
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.base import RGB
from engines.openvino.runtime import as_engine_errors, import_openvino

if TYPE_CHECKING:
    import openvino as ov

    from engines.openvino.quantized_graph import Floats

FIRST_WEIGHT = 2
"""Index of the first weight among the inputs: the frame and the strength come before."""

MOST_STREAMS = 16
"""Most frames at once: more cores share them, since no decoder keeps up with more."""

MOST_BYTES, BYTES_PER_PIXEL = 1 << 30, 64
"""Memory for the streams, and what a frame takes for each pixel of it; rounded up from 110 MB at 1920×1080."""


def stream_options(options: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    """Return the options with which a graph for one frame, in pixels, takes several: as many as there are cores.

    Large frames are fewer, each on more cores, so that their memory is bounded.
    """
    most = min(MOST_STREAMS, max(1, MOST_BYTES // (BYTES_PER_PIXEL * height * width)))
    return {**options, "PERFORMANCE_HINT": "THROUGHPUT", "PERFORMANCE_HINT_NUM_REQUESTS": most}


class FrameStreams:
    """Stylizes several frames of one size at once. Only one thread at a time may call it or its frames.

    Args:
        graph: compiled with ``stream_options``.
        height: of the frames, pixels.
        width: likewise.
        owner: must live as long as this does.

    Attributes:
        count: frames that may be under way.
        bytes: of memory that its frames may take, estimated.
    """

    def __init__(self, graph: ov.CompiledModel, height: int, width: int, owner: object = None) -> None:
        self._owner = owner
        # One more than there are streams: it waits for the first to be free, while the painting of another is copied.
        self.count: int = graph.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 1
        self.bytes = self.count * height * width * BYTES_PER_PIXEL
        self._free = deque(_Slot(graph, height, width) for _ in range(self.count))
        self._busy: deque[StreamedFrame] = deque()

    def submit(self, rgb: RGB, strength: float, weights: Sequence[Floats]) -> StreamedFrame:
        """Start on one frame; if all streams are busy, wait for the oldest frame first.

        Args:
            rgb: (height, width, 3); may change as soon as this returns.
            strength: share of the style.
            weights: of the graph's inputs after the first two; not copied, and they must not change.
        """
        # Frames that were fetched, and one more if there is no room: its painting waits, and holds no stream.
        while self._busy and (self._busy[0].is_finished or not self._free):
            self._busy.popleft().finish()
        slot = self._free.popleft()
        try:
            slot.start(rgb, strength, weights)
        except BaseException:
            self._free.append(slot)
            raise
        frame = StreamedFrame(slot, self._free)
        self._busy.append(frame)
        return frame


class StreamedFrame:
    """A frame under way; see ``engines.base.PendingFrame``."""

    def __init__(self, slot: _Slot, free: deque[_Slot]) -> None:
        self._slot: _Slot | None = slot
        self._free = free
        self._painting: RGB | None = None
        self._failure: BaseException | None = None

    @property
    def is_finished(self) -> bool:
        """True if it holds no stream any more."""
        return self._slot is None

    def result(self) -> RGB:
        """See ``PendingFrame``."""
        self.finish()
        if self._failure is not None:
            raise self._failure
        assert self._painting is not None
        return self._painting

    def finish(self) -> None:
        """Wait for the painting, take it, and free its stream; a failure is left to ``result``."""
        slot, self._slot = self._slot, None
        if slot is None:
            return
        try:
            self._painting = slot.finish()
        except Exception as error:  # noqa: BLE001  # it belongs to this frame, whoever waits for it
            self._failure = error
        self._free.append(slot)


class _Slot:
    """A request to the runtime, and its inputs."""

    def __init__(self, graph: ov.CompiledModel, height: int, width: int) -> None:
        tensor = import_openvino().Tensor
        self._request = graph.create_infer_request()
        self._frame, self._strength = np.empty((1, height, width, 3), np.uint8), np.empty(1, np.float32)
        self._request.set_input_tensor(0, tensor(self._frame, shared_memory=True))
        self._request.set_input_tensor(1, tensor(self._strength, shared_memory=True))
        self._weights: Sequence[Floats] | None = None

    def start(self, rgb: RGB, strength: float, weights: Sequence[Floats]) -> None:
        with as_engine_errors(rgb.shape[0], rgb.shape[1]):
            if weights is not self._weights:
                for index, weight in enumerate(weights, start=FIRST_WEIGHT):
                    self._request.set_input_tensor(index, import_openvino().Tensor(weight, shared_memory=True))
                self._weights = weights
            np.copyto(self._frame[0], rgb)
            self._strength[0] = strength
            self._request.start_async()

    def finish(self) -> RGB:
        with as_engine_errors(self._frame.shape[1], self._frame.shape[2]):
            self._request.wait()
            painting: RGB = self._request.get_output_tensor(0).data[0].copy()
        return painting
