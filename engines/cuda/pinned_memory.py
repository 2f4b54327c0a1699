"""Page-locked memory for frames on their way to a GPU and back, reused instead of freed.

torch's own allocator for such memory is not used for one reason: once a device is lost, freeing its memory ends the
process (https://github.com/pytorch/pytorch/pull/178154), and frames are freed wherever their last reference goes. Here
the memory is NumPy's, registered with CUDA, and giving a buffer back only puts it on a list.
"""

from __future__ import annotations

import logging
import math
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from engines.base import RGB
from engines.cuda.graph_capture import capture_lock

PAGE = 4096
"""Bytes that are locked together; no two buffers share a page."""

IDLE_BYTES = 128 << 20
"""Idle memory that is kept, bytes: a dozen 1920×1080 frames."""

LOCKED_BYTES = 1 << 30
"""Most memory that is locked at a time, bytes. Frames beyond it are in ordinary memory."""

TRIES = 2
"""Refusals after which no more memory is locked: WSL2 and containers may allow none, and each try takes time."""

CAPTURE_S = 0.05
"""How long to wait for another thread's capture, seconds; frames of others must not stall."""

logger = logging.getLogger(__name__)

_PORTABLE = 1
"""cudaHostRegisterPortable: locked for every device."""


class Event(Protocol):
    """An event on a stream of the device."""

    def query(self) -> bool:
        """Return True once the stream has reached it."""
        ...


class Buffer:
    """Page-aligned memory of a multiple of ``PAGE`` bytes, locked if CUDA can register it; else copies are slower.

    Attributes:
        locked: CUDA has registered it.
        refused: CUDA was asked to, and could not.
    """

    def __init__(self, size: int, *, locked: bool) -> None:
        self.size = size
        self._bytes = np.empty(size + PAGE, np.uint8)
        start = -self._bytes.ctypes.data % PAGE
        self._tensor = torch.from_numpy(self._bytes)[start : start + size]
        registered = _register(self._tensor, size) if locked else None
        self.locked, self.refused = registered is True, registered is False

    def tensor(self, shape: tuple[int, ...]) -> Tensor:
        """Return the beginning of the buffer as a uint8 tensor of this shape."""
        return self._tensor[: math.prod(shape)].view(shape)

    def unlock(self) -> bool:
        """Unregister an idle buffer. Returns: False if that has to wait; then it must not be freed yet."""
        if self.locked:
            with _no_capture() as free:
                if not free:
                    return False
                torch.cuda.cudart().cudaHostUnregister(self._tensor.data_ptr())  # type: ignore[no-untyped-call]
            self.locked = False
        return True


class PinnedPool:
    """Buffers to reuse, ``locked`` unless there is no GPU; one pool for each process, or for a test."""

    def __init__(self, *, locked: bool) -> None:
        self._locked, self._refusals = locked, 0
        self._lock = Lock()
        self._returned: deque[tuple[Buffer, Event | None]] = deque()  # by any thread, at any time
        self._idle: list[tuple[Buffer, Event | None]] = []
        self._held: dict[int, Buffer] = {}

    def take(self, shape: tuple[int, ...]) -> Buffer:
        """Return a free buffer for a uint8 array of this shape; give it back or lend it."""
        size = max(1, -(-math.prod(shape) // PAGE)) * PAGE
        with self._lock:
            buffer = self._reuse(size)
            if buffer is None:
                self._trim(IDLE_BYTES)
                locked = sum(held.size for held in self._held.values() if held.locked)
                buffer = Buffer(size, locked=self._locked and locked + size <= LOCKED_BYTES)
                self._count(buffer)
                # Held until it is unlocked: freed memory must not stay registered.
                self._held[id(buffer)] = buffer
            return buffer

    def give_back(self, buffer: Buffer, after: Event | None = None) -> None:
        """Allow a buffer to be reused after an event. Finalizers call this, so it makes no CUDA calls."""
        self._returned.append((buffer, after))

    def lend(self, buffer: Buffer, shape: tuple[int, ...], after: Event | None) -> RGB:
        """Return an array in a buffer that is given back when the array and all its views are gone."""
        array: RGB = buffer.tensor(shape).numpy()
        # Views keep this array alive: NumPy looks for an older owner among arrays only, and its owner is a tensor.
        weakref.finalize(array, self.give_back, buffer, after).atexit = False
        return array

    def trim(self, limit: int = 0) -> None:
        """Free idle memory beyond ``limit`` bytes, except buffers whose copies are still running."""
        with self._lock, suppress(RuntimeError):
            self._trim(limit)

    @property
    def held(self) -> int:
        """Return the bytes of all buffers."""
        with self._lock:
            return sum(buffer.size for buffer in self._held.values())

    def _count(self, buffer: Buffer) -> None:
        """Stop locking memory after ``TRIES`` refusals; from then on ordinary memory is reused instead."""
        self._refusals += buffer.refused
        if self._locked and self._refusals >= TRIES:
            self._locked = False
            logger.info("this system does not allow page-locked memory: copies to and from the GPU take longer")

    def _reuse(self, size: int) -> Buffer | None:
        """Return an idle buffer that is large enough and at most twice as large."""
        self._collect()
        for place, (buffer, after) in enumerate(self._idle):
            if size <= buffer.size <= 2 * size and _reached(after):
                del self._idle[place]
                return buffer
        return None

    def _trim(self, limit: int) -> None:
        """The oldest go first."""
        self._collect()
        excess = sum(buffer.size for buffer, _ in self._idle) - limit
        for buffer, after in tuple(self._idle):
            if excess <= 0:
                return
            if _reached(after) and buffer.unlock():
                self._idle.remove((buffer, after))
                del self._held[id(buffer)]
                excess -= buffer.size

    def _collect(self) -> None:
        for _ in range(len(self._returned)):
            buffer, after = self._returned.popleft()
            if buffer.locked or not self._locked:
                self._idle.append((buffer, after))
            elif _reached(after):  # a buffer that could not be locked is not reused
                del self._held[id(buffer)]
            else:  # a device that reads ordinary memory itself goes on copying after the call has returned
                self._returned.append((buffer, after))


def _reached(after: Event | None) -> bool:
    return after is None or after.query()


_process_pool = PinnedPool(locked=True)


def pinned_pool(device: torch.device) -> PinnedPool:
    """Return the buffers for frames of a device; all GPUs of a process share one pool."""
    return _process_pool if device.type == "cuda" else PinnedPool(locked=False)


@contextmanager
def _no_capture() -> Iterator[bool]:
    """Yield True while no other thread captures a graph, which calls that wait for the device would break."""
    free = capture_lock.acquire(timeout=CAPTURE_S)
    try:
        yield free
    finally:
        if free:
            capture_lock.release()


def _register(tensor: Tensor, size: int) -> bool | None:
    """Register memory with CUDA. Returns: True if that worked, ``None`` if it had to wait too long for a capture."""
    with _no_capture() as free:
        if not free:
            return None
        cuda = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        if int(cuda.cudaHostRegister(tensor.data_ptr(), size, _PORTABLE)) == 0:
            return True
        # CUDA would report the failure at the next launch, whatever that is; consume it here.
        with suppress(RuntimeError):
            torch.zeros(1, device="cuda")
    return False
