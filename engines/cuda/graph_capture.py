"""CUDA graphs: what a card does for a frame, recorded once and replayed with one call."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import NamedTuple

import torch

WARM_UPS = 3
"""Runs before a capture: libraries load, kernels are chosen, and memory that is too small is noticed."""

alone = RLock()
"""Held while something is captured, and around all that may wait for the whole card, which would spoil the capture of
another thread: freeing memory, locking pages. torch allows one capture at a time in a process anyhow."""


def capture(work: Callable[[], None], device: str | torch.device) -> Callable[[], None]:
    """Warm up, capture as a CUDA graph, and return what replays it on the current stream.

    Captured is what ``work`` enqueues on the current stream, which is one for captures alone: whatever another thread
    enqueued on it meanwhile would become a part of the graph. The memory that the graph works in is freed when what is
    returned is dropped. On ``cpu`` the work itself is returned.

    Args:
        work: reads and writes tensors that outlive the graph; it must not wait for the device.
        device: where its tensors are.

    Raises:
        RuntimeError: of torch; out of memory is told by the warm-up, before a capture is begun.
    """
    device = with_index(device)
    if device.type != "cuda":
        work()
        return work
    with alone, torch.cuda.device(device), torch.no_grad():
        current, stream = torch.cuda.current_stream(device), streams(device).capture
        # Entered here, too: torch's own context leaves the stream entered when a capture fails.
        with torch.cuda.stream(stream):
            stream.wait_stream(current)
            try:
                for _ in range(WARM_UPS):
                    work()
            finally:  # also where it failed: its tensors are not of this stream, and are freed without waiting for it
                stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            _record(graph, work, stream)
        return graph.replay


def _record(graph: torch.cuda.CUDAGraph, work: Callable[[], None], stream: torch.cuda.Stream) -> None:
    """Capture ``work``. Raises what failed first: the end of a capture that has failed fails, too, and says less."""
    faults: list[RuntimeError] = []
    try:
        # Only this thread is watched: others go on painting meanwhile.
        with _no_collection(), torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            try:
                work()
            except RuntimeError as error:
                faults.append(error)
    except RuntimeError as error:
        faults.append(error)
    if faults:
        graph.reset()
        first = faults.pop(0).with_traceback(None)  # which holds the tensors of what has failed
        try:
            raise first
        finally:
            del first


@contextmanager
def _no_collection() -> Iterator[None]:
    """Python frees no cycles meanwhile: a graph or a pinned buffer in one of them would spoil the capture."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Streams(NamedTuple):
    """Of a process on one card: frames go up, are painted and come down; and graphs are captured, beside them."""

    up: torch.cuda.Stream
    compute: torch.cuda.Stream
    down: torch.cuda.Stream
    capture: torch.cuda.Stream


@functools.cache
def streams(device: torch.device) -> Streams:
    """The streams of this process on a CUDA device, which has an index.

    torch has 32 streams and hands them out in turn. Whoever takes new ones again and again gets some that are in use
    elsewhere, and in the end the one on which another thread captures.
    """
    return Streams(*(torch.cuda.Stream(device) for _ in Streams._fields))  # type: ignore[no-untyped-call]


def with_index(device: str | torch.device) -> torch.device:
    """Another thread may have another current device, so ``cuda`` is pinned down."""
    known = torch.device(device)
    return torch.device("cuda", torch.cuda.current_device()) if known == torch.device("cuda") else known
