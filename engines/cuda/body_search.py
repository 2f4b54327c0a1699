"""Search for a frame size's fastest kernels while its frames run, and exchange the kernels between two frames.

cuDNN's search takes seconds for each frame size, and nobody should wait for a first frame that long. So the first body
of a size has the kernels that cuDNN guesses. Once frames of that size have run for a while, a thread makes another one,
with kernels that were timed.

What makes that safe:

    The thread        lives as long as the pipeline and never guesses: torch remembers what cuDNN chose for a layer in
                      each thread, guessed or timed alike. What an interrupted search has found is not lost either.
    The search        holds ``capture_lock``, for cuDNN's settings are those of the process. Whoever else wants to
                      capture, a new size above all, waits for one layer at most: then the search gives way and is
                      tried again. It runs on the stream for captures, and its work waits for no frame.
    The trial         is the last word. Each kernel is timed once, beside frames that disturb it, so the whole body is
                      timed again, against the first one and on the stream of the frames, where nothing disturbs. It
                      must also stylize a test frame as the first one did.
    The first body    is freed only after the device has passed the last frame that it works on.
    Any failure       leaves the first body where it is, for example if the memory is too small for two.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from threading import Condition, Thread
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from engines.cuda.body import Body
from engines.cuda.device_errors import is_out_of_memory
from engines.cuda.graph_capture import capture_lock
from engines.parity import detailed_frame, mismatch

SETTLED_FRAMES = 15
"""Frames of a size before its kernels are searched for, half a second of most cameras: sizes in passing cost none."""

TRIALS = 3
"""Runs of each body that are timed; the fastest counts."""

REST_S = 0.05
"""Between two timed runs, seconds: a frame that waits comes first."""

AGAIN_S = 0.5
"""From giving way until the search goes on, seconds."""

logger = logging.getLogger(__name__)


class GiveWayError(RuntimeError):
    """The search was interrupted, and may be tried again."""


class BodySearch:
    """A thread that exchanges the bodies of frame sizes, one after the other, until it is closed.

    Args:
        exchange: makes the other body for a height and a width, in pixels, inside of ``interruptible``, and lets it
            take the place of the first one if ``prefers`` returns True. Any exception leaves the first one.
    """

    def __init__(self, exchange: Callable[[int, int], None]) -> None:
        self._exchange = exchange
        self._asked: deque[tuple[int, int]] = deque()
        self._changed = Condition()
        self._closed = False
        self._thread: Thread | None = None

    def ask(self, height: int, width: int) -> None:
        """Exchange the body of this size as soon as possible. Never waits."""
        with self._changed:
            if self._closed or (height, width) in self._asked:
                return
            self._asked.append((height, width))
            if self._thread is None:
                self._thread = Thread(target=self._run, name="kernel search", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread and wait for it, for one layer of a search at most. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def interruptible(self) -> AbstractContextManager[object]:
        """Let this thread's operations raise GiveWayError if another one needs ``capture_lock``, and once closed."""
        return _Interruptible(lambda: self._closed or capture_lock.wanted)

    def prefers(self, other: Body, first: Body, turn: Callable[[], AbstractContextManager[object]]) -> bool:
        """Return True if another body stylizes as the first one does, and faster.

        Frames must wait inside of ``turn``, which has the stream of the frames as the current one.
        """
        name = frames_of(*first.frame.shape[1:3])
        if fault := _difference(first, other, turn):
            logger.warning("faster kernels for %s are not used: their image differs: %s", name, fault)
            return False
        first_s, other_s = (min(self._seconds(body, turn) for _ in range(TRIALS)) for body in (first, other))
        if other_s >= first_s:
            logger.info("the kernels for %s stay: cuDNN found none that are faster", name)
            return False
        return True

    def _seconds(self, body: Body, turn: Callable[[], AbstractContextManager[object]]) -> float:
        """Return the time that one run takes, seconds, after a rest."""
        if self._wait(REST_S):
            raise GiveWayError("closed")
        with turn():
            return run_seconds(body)

    def _run(self) -> None:
        while (size := self._next()) is not None:
            if not self._attempt(*size):
                with self._changed:
                    self._asked.appendleft(size)
                self._wait(AGAIN_S)

    def _attempt(self, height: int, width: int) -> bool:
        """Exchange one body, or leave it; return False if that should be tried again. Nothing holds its memory then."""
        try:
            self._exchange(height, width)
        except GiveWayError:
            return False
        except Exception as error:  # noqa: BLE001  # whatever a driver raises; frames must go on
            _log_failure(error, height, width)
        return True

    def _next(self) -> tuple[int, int] | None:
        """Wait for a size, and return it; ``None`` once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._asked)
            return None if self._closed else self._asked.popleft()

    def _wait(self, seconds: float) -> bool:
        """Wait this long, or until ``close``; return True once closed."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed, seconds)


class _Interruptible(TorchFunctionMode):
    """Raises GiveWayError before an operation on tensors as soon as ``wanted`` returns True; only in its own thread."""

    def __init__(self, wanted: Callable[[], bool]) -> None:
        super().__init__()
        self._wanted = wanted

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        # A capture takes milliseconds, and breaking it off would take longer.
        if self._wanted() and not _capturing():
            raise GiveWayError("another thread needs the device")
        return func(*args, **(kwargs or {}))


def _capturing() -> bool:
    started: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # asking would start CUDA
    return started and torch.cuda.is_current_stream_capturing()


def run_seconds(body: Body) -> float:
    """Return how long one run takes on the current stream, seconds, once everything before it is done."""
    device = body.frame.device
    _synchronize(device)
    start_s = time.perf_counter()
    body.run()
    _synchronize(device)
    return time.perf_counter() - start_s


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def _difference(first: Body, other: Body, turn: Callable[[], AbstractContextManager[object]]) -> str:
    """Describe how two bodies stylize a test frame differently; empty if nobody could see it."""
    _, height, width, _ = first.frame.shape
    picture = torch.from_numpy(detailed_frame(height, width))[None]
    with turn():  # one for both, so that the style does not change in between
        for body in (first, other):
            body.frame.copy_(picture)
            body.strength.fill_(1.0)
            body.run()
        # Copied on the CPU as well, where the next frame goes into the same memory.
        expected, actual = (body.stylized[0].clone().cpu().numpy() for body in (first, other))
    return mismatch(expected, actual)


def _log_failure(error: Exception, height: int, width: int) -> None:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    cause = "the GPU memory is too small for both" if is_out_of_memory(error, height * width) else lines[0]
    logger.info("the kernels for %s stay: %s", frames_of(height, width), cause)


def frames_of(height: int, width: int) -> str:
    """Return the words for frames of a size, in pixels."""
    return f"frames of {width}×{height}"
