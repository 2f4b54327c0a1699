"""Page-locked memory for frames on their way to a card and back: buffers that are used again, never freed in between.

torch has an allocator for such memory, too, and it is not used here for one reason: when a card is lost, freeing what
it gave ends the process (https://github.com/pytorch/pytorch/pull/178154), and paintings are freed wherever the last one
who looks at them lets go. Here memory is NumPy's own, registered with CUDA, and a buffer that comes back is only noted.
"""

from __future__ import annotations

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
from engines.cuda.graph_capture import alone

PAGE = 4096
"""Bytes that are locked together; buffers share none."""

IDLE_BYTES = 128 << 20
"""Memory that waits to be used again, bytes: a dozen 1920×1080 frames. More is given back."""

LOCKED_BYTES = 1 << 30
"""Most memory that is locked at a time, bytes. Who keeps more paintings gets them in ordinary memory."""

CAPTURE_S = 0.05
"""How long to wait for the end of another thread's capture, seconds; frames of others shall not stand still for it."""

_PORTABLE = 1
"""cudaHostRegisterPortable: locked for every card."""


class Moment(Protocol):
    """An event on a card's stream."""

    def query(self) -> bool:
        """Whether it has come."""
        ...


class Buffer:
    """Some memory that is a multiple of ``PAGE`` long and lies on its bounds.

    Args:
        size: bytes.
        locked: whether CUDA shall know it; where that fails it is ordinary memory, and copies are slower.
    """

    def __init__(self, size: int, *, locked: bool) -> None:
        self.size = size
        self._bytes = np.empty(size + PAGE, np.uint8)
        start = -self._bytes.ctypes.data % PAGE
        self._tensor = torch.from_numpy(self._bytes)[start : start + size]
        self.locked = locked and _registered(self._tensor, size)

    def tensor(self, shape: tuple[int, ...]) -> Tensor:
        """As much of it as a uint8 array of this shape needs."""
        return self._tensor[: _length(shape)].view(shape)

    def unlock(self) -> bool:
        """Once nothing is under way: CUDA forgets it. False where that has to wait; then it must not be freed yet."""
        if self.locked:
            with _not_captured() as free:
                if not free:
                    return False
                torch.cuda.cudart().cudaHostUnregister(self._tensor.data_ptr())  # type: ignore[no-untyped-call]
            self.locked = False
        return True


class Pinned:
    """The buffers of a process, or of a test.

    Args:
        locked: False where there is no card.
    """

    def __init__(self, *, locked: bool) -> None:
        self._locked = locked
        self._lock = Lock()
        self._returned: deque[tuple[Buffer, Moment | None]] = deque()  # by whoever, at whatever moment
        self._idle: list[tuple[Buffer, Moment | None]] = []
        self._held: dict[int, Buffer] = {}

    def take(self, shape: tuple[int, ...]) -> Buffer:
        """A buffer for a uint8 array of this shape, which nobody else uses. It is to be given back, or lent.

        Raises:
            MemoryError; RuntimeError: the card is lost.
        """
        size = max(1, -(-_length(shape) // PAGE)) * PAGE
        with self._lock:
            buffer = self._found(size)
            if buffer is None:
                self._trim(IDLE_BYTES)
                locked = sum(held.size for held in self._held.values() if held.locked)
                buffer = Buffer(size, locked=self._locked and locked + size <= LOCKED_BYTES)
                # Held until it is unlocked: CUDA must not know memory that is freed.
                self._held[id(buffer)] = buffer
            return buffer

    def give_back(self, buffer: Buffer, after: Moment | None = None) -> None:
        """It may be used again once ``after`` has come. Called wherever Python frees things: it asks CUDA nothing."""
        self._returned.append((buffer, after))

    def lend(self, buffer: Buffer, shape: tuple[int, ...], after: Moment | None) -> RGB:
        """An array in a buffer, which is given back when the array and all its views are gone."""
        array: RGB = buffer.tensor(shape).numpy()
        # Views of it keep it alive: NumPy looks for an older owner among arrays only, and its own is a tensor.
        weakref.finalize(array, self.give_back, buffer, after).atexit = False
        return array

    def trim(self, limit: int = 0) -> None:
        """Give back idle memory beyond so many bytes, as far as nothing is under way in it."""
        with self._lock, suppress(RuntimeError):
            self._trim(limit)

    @property
    def held(self) -> int:
        """Bytes of all buffers."""
        with self._lock:
            return sum(buffer.size for buffer in self._held.values())

    def _found(self, size: int) -> Buffer | None:
        """An idle buffer that is large enough and not twice as large."""
        self._sort()
        for place, (buffer, after) in enumerate(self._idle):
            if size <= buffer.size <= 2 * size and _has_come(after):
                del self._idle[place]
                return buffer
        return None

    def _trim(self, limit: int) -> None:
        """The oldest go first."""
        self._sort()
        excess = sum(buffer.size for buffer, _ in self._idle) - limit
        for buffer, after in tuple(self._idle):
            if excess <= 0:
                return
            if _has_come(after) and buffer.unlock():
                self._idle.remove((buffer, after))
                del self._held[id(buffer)]
                excess -= buffer.size

    def _sort(self) -> None:
        for _ in range(len(self._returned)):
            buffer, after = self._returned.popleft()
            if buffer.locked or not self._locked:
                self._idle.append((buffer, after))
            elif _has_come(after):  # a makeshift is not used again
                del self._held[id(buffer)]
            else:  # where a card reads ordinary memory itself, its copies go on after their call has returned
                self._returned.append((buffer, after))


def _has_come(after: Moment | None) -> bool:
    return after is None or after.query()


_of_process = Pinned(locked=True)


def pinned(device: torch.device) -> Pinned:
    """The buffers for frames of a device; all cards of a process share theirs."""
    return _of_process if device.type == "cuda" else Pinned(locked=False)


def _length(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))


@contextmanager
def _not_captured() -> Iterator[bool]:
    """Whether no other thread captures a graph, which calls that wait for the whole card would spoil."""
    free = alone.acquire(timeout=CAPTURE_S)
    try:
        yield free
    finally:
        if free:
            alone.release()


def _registered(tensor: Tensor, size: int) -> bool:
    """Whether CUDA has locked it."""
    with _not_captured() as free:
        if not free:
            return False
        cuda = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        if int(cuda.cudaHostRegister(tensor.data_ptr(), size, _PORTABLE)) == 0:
            return True
        # CUDA would tell of this at the next launch, whatever that is; so it is told here, to nobody.
        with suppress(RuntimeError):
            torch.zeros(1, device="cuda")
    return False
