"""Frames to the device, through a compiled body and back: neighbouring frames overlap, on three streams, in order.

While one frame is painted, the next is on its way up and the one before on its way down. No step waits on the host:
each stream waits, on the device, for an event of the one before. The host waits in ``Pending.result`` alone.

    host      copy 2 ──────► copy 3 ──────► …
    upload          2 up          3 up
    compute   1 painted     2 painted     3 painted
    download        1 down        2 down

Host memory is page-locked and used again (``engines.cuda.pinned_memory``): a painting is the very memory that the card
wrote to. On the device ``cpu`` the same code runs step by step, which is for tests only.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from threading import RLock
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from engines.base import RGB, Pending
from engines.cuda.graph_capture import alone, capture, streams, with_index
from engines.cuda.pinned_memory import Buffer, pinned
from engines.errors import EngineError

__all__ = ["Body", "Overlap", "Pending", "as_engine_error", "capture"]

SLOTS = 3
"""Frames of one size that may be on the device at once: one on its way up, one being painted, one on its way down."""

BYTES_KEPT = 1 << 30
"""Device memory for all frame sizes of an ``Overlap``, bytes. A 1920×1080 frame takes some 200 MB."""

SMALLER = (1080, 720, 480, 360)
"""Heights, in pixels, that are proposed where the memory is too small."""

_LACKS_MEMORY = ("out of memory", "unable to find an engine", "ALLOC_FAILED", "OutOfMemory", "not enough memory")
"""How torch, CUDA, cuDNN, cuBLAS and TensorRT say it; cuDNN finds no engine whose scratch memory can be had."""


class Body(Protocol):
    """One frame size, compiled: buffers that stay where they are, and what is done to them.

    A body may have an attribute ``bytes_beside``: device memory, in bytes, that it holds beside torch's.

    Attributes:
        frame: (1, height, width, 3) uint8, on the device.
        strength: (1,) float32, on the device.
        painting: (1, height, width, 3) uint8, on the device.
    """

    frame: Tensor
    strength: Tensor
    painting: Tensor

    def run(self) -> None:
        """Enqueue, on the current stream, what makes ``painting`` of ``frame`` and ``strength``."""
        ...


class Overlap:
    """Frames through bodies, in order. Several engines may share one and call it from several threads.

    All of a process share three streams, see ``engines.cuda.graph_capture.streams``. Each wait is for
    something that was enqueued before it, so they may take turns on them in any way.

    Args:
        make: compiles the body for a height and a width, in pixels; called with the compute stream as the current one.
        device: ``cuda``, ``cuda:1`` … or ``cpu``.
        bytes_kept: device memory for all sizes, bytes; the size that was used longest ago goes first. The one at hand
            stays, however large it is.
    """

    def __init__(self, make: Callable[[int, int], Body], device: str, bytes_kept: int = BYTES_KEPT) -> None:
        self._make, self._bytes_kept = make, bytes_kept
        self._device = with_index(device)
        ours = streams(self._device)[:3] if self._device.type == "cuda" else (None,) * 3
        self._streams = [_Stream(stream) for stream in ours]
        self._lanes: OrderedDict[tuple[int, int], _Lane] = OrderedDict()
        self._pinned = pinned(self._device)
        self._lock = RLock()
        self._closed = False

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width, in pixels, of what is compiled, the one used last at the end."""
        with self._lock:
            return tuple(self._lanes)

    def submit(self, rgb: RGB, strength: float, before: Callable[[], None] | None = None) -> Pending:
        """Begin with one frame.

        Args:
            rgb: (height, width, 3), uint8; it may be changed as soon as this returns.
            strength: 0 … 1.
            before: enqueued on the compute stream before the body runs: puts other weights into its static tensors.

        Raises:
            EngineError: closed, the device failed, or its memory is too small for this size. In the last case
            frames of other sizes still can be painted.
        """
        height, width = rgb.shape[:2]
        taken: list[Buffer] = []
        fault: EngineError
        try:
            taken.append(self._lifted(rgb))
            taken.append(self._pinned.take(rgb.shape))
            with self._lock, torch.no_grad():
                if self._closed:
                    raise EngineError("the engine is closed")
                return self._enqueue(self._lane(height, width), rgb.shape, taken, strength, before)
        except EngineError:  # closed, or of the body's maker
            self._clear_away(taken)
            raise
        except (RuntimeError, MemoryError) as error:
            fault = as_engine_error(error, height, width)
        # Out here nothing holds the traceback any more, which holds the tensors of what has failed.
        self._clear_away(taken)
        raise fault

    def prepare(self, height: int, width: int) -> None:
        """Compile for frames of this size, in pixels, and paint nothing. Raises: EngineError: as ``submit``."""
        fault: EngineError
        try:
            with self._lock, torch.no_grad():
                if self._closed:
                    raise EngineError("the engine is closed")
                self._lane(height, width)
                return
        except EngineError:
            raise
        except (RuntimeError, MemoryError) as error:
            fault = as_engine_error(error, height, width)
        self._clear_away([])
        raise fault

    def body(self, height: int, width: int) -> Body:
        """What is compiled for frames of this size, in pixels; made now if need be. For measurements."""
        with self._lock, torch.no_grad():
            return self._lane(height, width).body

    @contextmanager
    def on_compute(self) -> Iterator[None]:
        """What is enqueued or allocated inside belongs to the compute stream; nothing is submitted meanwhile."""
        with self._lock, self._streams[1].entered(), torch.no_grad():
            yield

    def close(self) -> None:
        """Wait for what is under way and free everything. Frames that are pending stay. Twice is fine."""
        with self._lock:
            self._closed = True
            with suppress(RuntimeError):
                self._forget(0)
            self._lanes.clear()  # of a card that is lost, too
            self._pinned.trim()

    def _lifted(self, rgb: RGB) -> Buffer:
        """A copy of a frame in page-locked memory."""
        buffer = self._pinned.take(rgb.shape)
        copy = buffer.tensor(rgb.shape)
        if rgb.flags.c_contiguous and rgb.flags.writeable:
            copy.copy_(torch.from_numpy(rgb))  # on several cores, without the GIL
        else:
            np.copyto(copy.numpy(), rgb)
        return buffer

    def _enqueue(
        self,
        lane: _Lane,
        shape: tuple[int, ...],
        buffers: list[Buffer],
        strength: float,
        before: Callable[[], None] | None,
    ) -> Pending:
        """Everything that happens to one frame; ``buffers`` are its own on the way up and on the way down."""
        up, compute, down = self._streams
        slot, body = lane.next_slot(), lane.body
        with up.entered():
            up.wait(slot.taken)
            slot.frame[0].copy_(buffers[0].tensor(shape), non_blocking=True)
            uploaded = up.mark()
        with compute.entered():
            compute.wait(uploaded)
            body.frame.copy_(slot.frame)
            slot.taken = compute.mark()
            body.strength.fill_(strength)
            if before is not None:
                before()
            body.run()
            compute.wait(slot.fetched)
            slot.painting.copy_(body.painting)
            painted = compute.mark()
        with down.entered():
            down.wait(painted)
            buffers[1].tensor(shape).copy_(slot.painting[0], non_blocking=True)
            slot.fetched = down.mark()
        self._pinned.give_back(buffers[0], uploaded)
        return _Painting(self._pinned.lend(buffers[1], shape, slot.fetched), slot.fetched)

    def _clear_away(self, taken: list[Buffer]) -> None:
        """After a frame that failed: what is under way ends, and its memory may be used again."""
        # From a card that is lost nothing comes back, and nobody may use its buffers again.
        with self._lock, alone, suppress(RuntimeError):
            self._wait()
            for buffer in taken:
                self._pinned.give_back(buffer)
            self._empty()

    def _lane(self, height: int, width: int) -> _Lane:
        """What one size needs, made now if need be."""
        size = (height, width)
        if size in self._lanes:
            self._lanes.move_to_end(size)
            return self._lanes[size]
        lane = self._made(height, width)
        self._lanes[size] = lane
        self._forget(self._bytes_kept, spare=1)
        return lane

    def _made(self, height: int, width: int) -> _Lane:
        with alone:
            try:
                return self._new_lane(height, width)
            except (RuntimeError, MemoryError) as error:
                if not lacks_memory(error) or not self._lanes:
                    raise
            # The exception is gone, and with it what it held: room for a second try without the other sizes.
            self._forget(0)
            return self._new_lane(height, width)

    def _new_lane(self, height: int, width: int) -> _Lane:
        self._empty()
        held = self._reserved()
        with self._streams[1].entered():
            body = self._make(height, width)
            slots = deque(_Slot(torch.empty_like(body.frame), torch.empty_like(body.frame)) for _ in range(SLOTS))
        self._wait()  # the other streams may use the slots only when nothing older works in their memory
        self._empty()
        beside = int(getattr(body, "bytes_beside", 0))
        return _Lane(body, slots, max(self._reserved() - held, 2 * SLOTS * body.frame.nbytes) + beside)

    def _forget(self, limit: int, spare: int = 0) -> None:
        """Free what was used longest ago until the rest fits into ``limit`` bytes, or ``spare`` sizes are left."""
        gone = False
        while len(self._lanes) > spare and sum(lane.held for lane in self._lanes.values()) > limit:
            if not gone:  # buffers are used on all three streams, so none may be freed before they are through
                self._wait()
            with alone:  # TensorRT gives memory back to the device itself
                self._lanes.popitem(last=False)
            gone = True
        if gone:
            with alone:
                self._empty()

    def _wait(self) -> None:
        for stream in self._streams:
            stream.synchronize()

    def _empty(self) -> None:
        """Give back to the device what torch keeps for later: also the pools of graphs that are no more."""
        if self._device.type == "cuda":
            with suppress(RuntimeError):
                torch.cuda.empty_cache()

    def _reserved(self) -> int:
        return torch.cuda.memory_reserved(self._device) if self._device.type == "cuda" else 0


def as_engine_error(error: BaseException, height: int, width: int) -> EngineError:
    """What a runtime says of a failed frame of this size, in pixels, as one line with what can be done."""
    frame = f"a frame of {width}×{height}"
    if lacks_memory(error):
        smaller = next((side for side in SMALLER if side < height), None)
        hint = f"a smaller working size needs less: --height {smaller}" if smaller else "close what else uses the card"
        return EngineError(f"the graphics memory is too small for {frame}", hint=hint)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return EngineError(
        f"the graphics card failed on {frame}: {lines[0].strip().rstrip('.')}",
        hint="start again; if it stays, nvidia-smi tells whether the card is still there",
    )


class _Stream:
    """A CUDA stream, or the order of the program where there is none."""

    def __init__(self, stream: torch.cuda.Stream | None) -> None:
        self._stream = stream

    def entered(self) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def mark(self) -> torch.cuda.Event | None:
        """An event after all that was enqueued so far; new each time, so that nobody waits for a later one."""
        return None if self._stream is None else self._stream.record_event()

    def wait(self, mark: torch.cuda.Event | None) -> None:
        if self._stream is not None and mark is not None:
            self._stream.wait_event(mark)

    def synchronize(self) -> None:
        if self._stream is not None:
            self._stream.synchronize()


class _Slot:
    """Where a frame waits for its turn, and its painting for the way down.

    Attributes:
        taken: the compute stream has read ``frame``.
        fetched: the download stream has read ``painting``.
    """

    def __init__(self, frame: Tensor, painting: Tensor) -> None:
        self.frame, self.painting = frame, painting
        self.taken: torch.cuda.Event | None = None
        self.fetched: torch.cuda.Event | None = None


class _Lane:
    """One frame size: its body, its slots in turn, and the bytes that they hold on the device."""

    def __init__(self, body: Body, slots: deque[_Slot], held: int) -> None:
        self.body, self.held = body, held
        self._slots = slots

    def next_slot(self) -> _Slot:
        self._slots.rotate(-1)
        return self._slots[0]


class _Painting:
    """A painting on its way down, and the event after which it is there."""

    def __init__(self, painting: RGB, arrived: torch.cuda.Event | None) -> None:
        self._painting, self._arrived = painting, arrived

    def result(self) -> RGB:
        """See ``Pending``."""
        fault: EngineError | None = None
        if self._arrived is not None:
            try:
                self._arrived.synchronize()  # torch lets go of the GIL here
            except RuntimeError as error:
                fault = as_engine_error(error, *self._painting.shape[:2])
        if fault is not None:
            raise fault
        return self._painting


def lacks_memory(error: BaseException) -> bool:
    """Whether a runtime says that it got no memory."""
    text = str(error)
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(told in text for told in _LACKS_MEMORY)
