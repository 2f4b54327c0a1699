"""CUDA graphs: the GPU's work for one frame, recorded once and replayed with one call."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, RLock
from typing import NamedTuple

import torch

WARM_UPS = 3
"""Runs before a capture: libraries load, kernels are chosen, and a lack of memory shows."""


class CaptureLock:
    """A reentrant lock whose holder sees that another thread waits for it."""

    def __init__(self) -> None:
        self._lock, self._count, self._waiting = RLock(), Lock(), 0

    @property
    def wanted(self) -> bool:
        """True while another thread waits."""
        return self._waiting > 0

    def acquire(self, timeout: float = -1.0) -> bool:
        """Wait at most ``timeout`` seconds, or without end if it is negative; return False if that was in vain."""
        if self._lock.acquire(blocking=False):
            return True
        with self._count:
            self._waiting += 1
        try:
            return self._lock.acquire(timeout=timeout)
        finally:
            with self._count:
                self._waiting -= 1

    def release(self) -> None:
        """Undo one ``acquire``."""
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


capture_lock = CaptureLock()
"""Held during a capture, and around calls that may wait for the whole device (freeing memory, locking pages), which
would break the capture of another thread. torch allows one capture at a time in a process anyway. Also held
while cuDNN has other settings, which are those of the process, see ``engines.cuda.fp16.without_tf32``."""


def capture(
    work: Callable[[], None],
    device: str | torch.device,
    can_capture: Callable[[torch.cuda.Stream], bool] = lambda _: True,
) -> Callable[[], None]:
    """Warm up, capture as a CUDA graph, and return the function that replays it on the current stream.

    ``work`` is captured on a stream that serves nothing else: anything that another thread enqueued there would become
    part of the graph. It reads and writes tensors that outlive the graph, and must not wait for the device. The graph's
    memory is freed when the returned function is dropped. On ``cpu``, and if ``can_capture`` says no after the warm-up,
    ``work`` itself is returned.

    Raises:
        RuntimeError: torch failed; a lack of memory shows in the warm-up, before the capture starts.
    """
    device = with_index(device)
    if device.type != "cuda":
        work()
        return work
    with capture_lock, torch.cuda.device(device), torch.no_grad():
        current, stream = torch.cuda.current_stream(device), streams(device).capture
        # Entered here as well: torch's own context does not leave the stream when a capture fails.
        with torch.cuda.stream(stream):
            stream.wait_stream(current)
            try:
                for _ in range(WARM_UPS):
                    work()
            finally:  # also on failure: its tensors belong to another stream and are freed without waiting for this one
                stream.synchronize()
            if not can_capture(stream):
                return work
            graph = torch.cuda.CUDAGraph()
            _record(graph, work, stream)
        return graph.replay


def _record(graph: torch.cuda.CUDAGraph, work: Callable[[], None], stream: torch.cuda.Stream) -> None:
    """Capture ``work`` and raise the first error: ending a failed capture fails as well, and says less."""
    errors: list[RuntimeError] = []
    try:
        # Only this thread is checked: others keep launching work.
        with _no_collection(), torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            try:
                work()
            except RuntimeError as error:
                errors.append(error)
    except RuntimeError as error:
        errors.append(error)
    if errors:
        graph.reset()
        first = errors.pop(0).with_traceback(None)  # the traceback holds the tensors of the failed work
        try:
            raise first
        finally:
            del first


@contextmanager
def _no_collection() -> Iterator[None]:
    """Pause the garbage collector: freeing a graph or a pinned buffer in a cycle would break the capture."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Streams(NamedTuple):
    """The streams of a process on one GPU: upload, compute and download of frames, and one for captures."""

    up: torch.cuda.Stream
    compute: torch.cuda.Stream
    down: torch.cuda.Stream
    capture: torch.cuda.Stream


@functools.cache
def streams(device: torch.device) -> Streams:
    """Return the streams of this process on a CUDA device with an index.

    torch has 32 streams and hands them out in turn, so taking new ones again and again yields streams that are in use
    elsewhere, in the end the one on which another thread captures.
    """
    return Streams(*(torch.cuda.Stream(device) for _ in Streams._fields))  # type: ignore[no-untyped-call]


def with_index(device: str | torch.device) -> torch.device:
    """Give ``cuda`` its index: another thread may have another current device."""
    known = torch.device(device)
    return torch.device("cuda", torch.cuda.current_device()) if known == torch.device("cuda") else known
