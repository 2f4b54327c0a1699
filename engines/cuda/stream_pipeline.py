"""Frames to the device, through a compiled body and back, in order; neighbouring frames overlap on three streams.

While one frame is computed, the next is uploaded and the one before downloaded. No step waits on the host: each stream
waits, on the device, for an event of the one before. Only ``PendingFrame.result`` makes the host wait.

    host      copy 2 ──────► copy 3 ──────► …
    upload          2 up          3 up
    compute   1 run         2 run         3 run
    download        1 down        2 down

Host memory is page-locked and reused (``engines.cuda.pinned_memory``): a stylized frame is the very memory that the GPU
wrote to. On the device ``cpu`` the same code runs step by step, for tests only.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from threading import RLock
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from engines.base import RGB, PendingFrame
from engines.cuda.body import Body
from engines.cuda.body_search import SETTLED_FRAMES, BodySearch, frames_of
from engines.cuda.device_errors import AMPLE, as_engine_error, free_bytes, is_out_of_memory
from engines.cuda.graph_capture import capture_lock, streams, with_index
from engines.cuda.pinned_memory import Buffer, pinned_pool
from engines.errors import EngineError

logger = logging.getLogger(__name__)

T = TypeVar("T")

STAGING_BUFFERS = 3
"""Frames of one size that may be on the device at once: one uploading, one in the graph, one downloading."""

BYTES_KEPT = 1 << 30
"""Device memory for all frame sizes of a pipeline, bytes. A 1920×1080 frame takes some 200 MB."""


class StreamPipeline:
    """Sends frames through bodies, in order. Several engines and threads may share one.

    All pipelines of a process share three streams, see ``engines.cuda.graph_capture.streams``. Each wait is for work
    that was enqueued before it, so their frames may interleave in any way.

    Args:
        make: compiles the body for a height and a width, in pixels; called with the compute stream as the current one.
        device: ``cuda``, ``cuda:1`` … or ``cpu``.
        bytes_kept: device memory for all sizes, bytes; the least recently used size goes first. The current one stays,
            however large it is.
        faster: compiles a body that is worth waiting for, while frames go through the one of ``make``; see
            ``engines.cuda.body_search``.
    """

    def __init__(
        self,
        make: Callable[[int, int], Body],
        device: str,
        bytes_kept: int = BYTES_KEPT,
        faster: Callable[[int, int], Body] | None = None,
    ) -> None:
        self._make, self._bytes_kept = make, bytes_kept
        self._device = with_index(device)
        cuda_streams = streams(self._device)[:3] if self._device.type == "cuda" else (None,) * 3
        self._streams = [_Stream(stream) for stream in cuda_streams]
        self._compiled: OrderedDict[tuple[int, int], _CompiledSize] = OrderedDict()
        self._pinned = pinned_pool(self._device)
        self._lock = RLock()
        self._closed = False
        self._search = None if faster is None else BodySearch(partial(self._exchange, faster))

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width, in pixels, of what is compiled, the most recently used last."""
        with self._lock:
            return tuple(self._compiled)

    def submit(self, rgb: RGB, strength: float, before: Callable[[Body], None] | None = None) -> PendingFrame:
        """Start on one frame, which may be changed as soon as this returns.

        ``before`` is called with the body and enqueues work on the compute stream before it runs, e.g. a copy of other
        weights.

        Raises:
            EngineError: the pipeline is closed, the device failed, or its memory is too small for this size. In the
                last case frames of other sizes still work.
        """
        taken: list[Buffer] = []

        def enqueue() -> PendingFrame:
            taken.append(self._to_pinned(rgb))
            taken.append(self._pinned.take(rgb.shape))
            with self._lock:
                return self._enqueue(self._for_size(*rgb.shape[:2]), rgb.shape, taken, strength, before)

        return self._guarded(enqueue, rgb.shape[0], rgb.shape[1], taken)

    def prepare(self, height: int, width: int) -> None:
        """Compile for frames of this size, in pixels, without running any. Errors are those of ``submit``."""
        self._guarded(lambda: self._for_size(height, width), height, width, [])

    def body(self, height: int, width: int) -> Body:
        """Return the body for frames of this size, in pixels, compiled now if necessary. For measurements."""
        with torch.no_grad():
            return self._for_size(height, width).body

    @contextmanager
    def on_compute(self) -> Iterator[None]:
        """Make the compute stream the current one, and hold back new frames meanwhile."""
        with self._lock, self._streams[1].entered(), torch.no_grad():
            yield

    def close(self) -> None:
        """Wait for the frames under way and free everything. Pending frames stay valid. May be called twice."""
        with self._lock, suppress(RuntimeError):
            self._closed = True
            self._wait()
        if self._search is not None:  # without the lock, for which its thread may wait
            self._search.close()
        with self._lock:
            with suppress(RuntimeError):
                self._forget(0)
            self._compiled.clear()  # also on a lost device
            self._pinned.trim()

    def _guarded(self, work: Callable[[], T], height: int, width: int, taken: list[Buffer]) -> T:
        """Run ``work``; after a failure recover the memory and raise an EngineError."""
        fault: EngineError
        try:
            with torch.no_grad():
                return work()
        except EngineError:
            self._recover(taken)
            raise
        except (RuntimeError, MemoryError) as error:
            fault = as_engine_error(error, height, width)
        # Outside of the handler nothing holds the traceback any more, nor the tensors of the failed work in it.
        self._recover(taken)
        raise fault

    def _to_pinned(self, rgb: RGB) -> Buffer:
        """Copy a frame to page-locked memory."""
        buffer = self._pinned.take(rgb.shape)
        # Not by torch, whose copy waits for threads on all cores: on a busy machine that takes longer than the copy.
        np.copyto(buffer.tensor(rgb.shape).numpy(), rgb)
        return buffer

    def _enqueue(
        self,
        compiled: _CompiledSize,
        shape: tuple[int, ...],
        buffers: list[Buffer],
        strength: float,
        before: Callable[[Body], None] | None,
    ) -> PendingFrame:
        """Enqueue all steps of one frame; ``buffers`` are its host memory for the upload and the download."""
        upload, compute, download = self._streams
        compiled.staging.rotate(-1)
        staging, body = compiled.staging[0], compiled.body
        with upload.entered():
            upload.wait(staging.read)
            staging.frame[0].copy_(buffers[0].tensor(shape), non_blocking=True)
            uploaded = upload.mark()
        with compute.entered():
            compute.wait(uploaded)
            body.frame.copy_(staging.frame)
            staging.read = compute.mark()
            body.strength.fill_(strength)
            if before is not None:
                before(body)
            body.run()
            compute.wait(staging.fetched)
            staging.stylized.copy_(body.stylized)
            computed = compute.mark()
        with download.entered():
            download.wait(computed)
            buffers[1].tensor(shape).copy_(staging.stylized[0], non_blocking=True)
            staging.fetched = download.mark(awaited=True)
        self._pinned.give_back(buffers[0], uploaded)
        compiled.frames += 1
        if compiled.frames == SETTLED_FRAMES and self._search is not None:
            self._search.ask(shape[0], shape[1])
        return _Download(self._pinned.lend(buffers[1], shape, staging.fetched), staging.fetched)

    def _recover(self, taken: list[Buffer]) -> None:
        """After a failed frame, wait for the device and give its buffers back."""
        # A lost device finishes nothing, so its buffers must never be reused.
        with self._lock, capture_lock, suppress(RuntimeError):
            self._wait()
            for buffer in taken:
                self._pinned.give_back(buffer)
            self._empty_cache()

    def _for_size(self, height: int, width: int) -> _CompiledSize:
        """Return what one size needs, made now if necessary. Raises: EngineError: closed."""
        size = (height, width)
        with self._lock:
            if self._closed:
                raise EngineError("the engine is closed")
            if size not in self._compiled:
                self._compiled[size] = self._compile_or_make_room(height, width)
                self._forget(self._bytes_kept, spare=1)
            self._compiled.move_to_end(size)
            return self._compiled[size]

    def _compile_or_make_room(self, height: int, width: int) -> _CompiledSize:
        with capture_lock:
            try:
                return self._compile(self._make, height, width)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error, height * width) or not self._compiled:
                    raise
            # The exception is gone, and what it held with it: try once more without the other sizes.
            self._forget(0)
            return self._compile(self._make, height, width)

    def _exchange(self, make: Callable[[int, int], Body], height: int, width: int) -> None:
        """Compile a faster body for a size, and let it take the place of the first; in the thread of the search.

        Frames go on meanwhile, and wait only for the trial. The first body stays if the size is forgotten or the
        pipeline closed before that, and if anything fails.
        """
        size, search = (height, width), self._search
        assert search is not None
        with self._lock:
            first = self._compiled.get(size)
        if first is None:
            return
        if self._device.type == "cuda" and free_bytes() < first.held + AMPLE[0] + AMPLE[1] * height * width:
            raise MemoryError("not enough memory")
        del first  # a frame of another size may have to take its memory
        with capture_lock, torch.no_grad(), search.interruptible():
            leaving = [self._compile(make, height, width)]
        try:
            self._replace(size, leaving, search)
        finally:  # nothing may be freed that the device still uses; a lost one uses nothing
            with suppress(RuntimeError):
                self._wait()
            with capture_lock:
                leaving.clear()
                self._empty_cache()

    def _replace(self, size: tuple[int, int], leaving: list[_CompiledSize], search: BodySearch) -> None:
        """Exchange what is in ``leaving`` for the first body of a size, if that is better."""
        with self._lock:
            first = self._compiled.get(size)
        if first is None or not search.prefers(leaving[0].body, first.body, self.on_compute):
            return
        with self._lock:
            if self._compiled.get(size) is first:
                leaving[0].frames = first.frames
                self._compiled[size], leaving[0] = leaving[0], first
                logger.info("faster kernels for %s are in use from now on", frames_of(*size))

    def _compile(self, make: Callable[[int, int], Body], height: int, width: int) -> _CompiledSize:
        self._empty_cache()
        reserved = self._reserved()
        with self._streams[1].entered():
            body = make(height, width)
            staging = deque(
                _Staging(torch.empty_like(body.frame), torch.empty_like(body.frame)) for _ in range(STAGING_BUFFERS)
            )
        self._wait()  # other streams may use the staging buffers only once nothing older works in their memory
        self._empty_cache()
        beside = int(getattr(body, "bytes_beside", 0))
        held = max(self._reserved() - reserved, 2 * STAGING_BUFFERS * body.frame.nbytes)
        return _CompiledSize(body, staging, held + beside)

    def _forget(self, limit: int, spare: int = 0) -> None:
        """Free the least recently used sizes until ``limit`` bytes or ``spare`` sizes are left."""
        waited = False
        while len(self._compiled) > spare and sum(size.held for size in self._compiled.values()) > limit:
            if not waited:  # all three streams use the buffers, so none may be freed before they are done
                self._wait()
            with capture_lock:  # TensorRT frees device memory itself
                self._compiled.popitem(last=False)
            waited = True
        if waited:
            with capture_lock:
                self._empty_cache()

    def _wait(self) -> None:
        for stream in self._streams:
            stream.synchronize()

    def _empty_cache(self) -> None:
        """Return torch's cached memory to the device, including the pools of graphs that are gone."""
        if self._device.type == "cuda":
            with suppress(RuntimeError):
                torch.cuda.empty_cache()

    def _reserved(self) -> int:
        return torch.cuda.memory_reserved(self._device) if self._device.type == "cuda" else 0


class _Stream:
    """A CUDA stream; on the CPU, program order."""

    def __init__(self, stream: torch.cuda.Stream | None) -> None:
        self._stream = stream

    def entered(self) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def mark(self, *, awaited: bool = False) -> torch.cuda.Event | None:
        """Return an event after everything enqueued so far; always a new one, so that nobody waits for a later one.

        A thread that waits for an ``awaited`` one sleeps; for others it would keep a core busy.
        """
        if self._stream is None:
            return None
        event = torch.cuda.Event(blocking=True) if awaited else None  # type: ignore[no-untyped-call]
        marked: torch.cuda.Event = self._stream.record_event(event)
        return marked

    def wait(self, mark: torch.cuda.Event | None) -> None:
        if self._stream is not None and mark is not None:
            self._stream.wait_event(mark)

    def synchronize(self) -> None:
        if self._stream is not None:
            self._stream.synchronize()


@dataclass(eq=False)
class _Staging:
    """Device buffers in which a frame waits for its turn, and its result for the download.

    Attributes:
        read: the compute stream has read ``frame``.
        fetched: the download stream has read ``stylized``.
    """

    frame: Tensor
    stylized: Tensor
    read: torch.cuda.Event | None = None
    fetched: torch.cuda.Event | None = None


@dataclass(eq=False)
class _CompiledSize:
    """The body and the staging buffers of one frame size.

    Attributes:
        held: device memory of both, bytes.
        frames: how many were enqueued.
    """

    body: Body
    staging: deque[_Staging]
    held: int
    frames: int = 0


class _Download:
    """A stylized frame on its way to the host, and the event of its arrival."""

    def __init__(self, stylized: RGB, arrived: torch.cuda.Event | None) -> None:
        self._stylized, self._arrived = stylized, arrived

    def result(self) -> RGB:
        """See ``PendingFrame``."""
        fault: EngineError | None = None
        if self._arrived is not None:
            try:
                self._arrived.synchronize()  # torch releases the GIL here
            except RuntimeError as error:
                fault = as_engine_error(error, *self._stylized.shape[:2])
        if fault is not None:
            raise fault
        return self._stylized
