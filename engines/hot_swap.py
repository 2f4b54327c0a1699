"""Frames at once from one engine while a better one is made, then a change between two frames.

Building a TensorRT engine takes minutes; nobody waits for it. The first engine paints until the better one for this
frame size is built, loaded and warm, and has painted a real frame as the first one did. Whatever goes wrong on the way
there is told once, and changes nothing in the picture.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import closing
from threading import Condition, Thread
from typing import Protocol

import numpy as np

from engines.base import RGB, Engine, EngineInfo, OverlappedEngine, Pending, check_rgb
from engines.errors import EngineError
from engines.parity import difference

TELLING_STRENGTH = 0.5
"""Smallest strength of a frame that is compared: less is mostly the frame itself, which every engine paints alike."""

FLAT = 8
"""A frame whose values differ by less, of 255, is not compared: engines could hardly differ on it."""

PATIENCE_S = 10.0
"""How long frames that tell nothing are passed over, seconds: a camera may be covered, or the strength low for long."""

SETTLED_S = 0.5
"""How long a frame size must last before anything is built for it, seconds."""

POLL_S = 0.2
"""Time between two looks at a build, seconds."""

KEPT_SIZES = 3
"""Frame sizes whose better engines are kept."""


class Better(Protocol):
    """An engine for one frame size that is not there yet. One thread at a time calls it, never that of the frames."""

    @property
    def progress(self) -> str:
        """What is being done, as one line."""
        ...

    def poll(self) -> str | None:
        """Look without waiting. Returns: ``None`` while it is built, "" when it can be loaded, else why it cannot."""
        ...

    def load(self) -> Engine:
        """The engine, which is the caller's to close; this may take a while.

        Raises:
            EngineError: it cannot be loaded.
        """
        ...

    def close(self) -> None:
        """Give up what is being built. Twice is fine."""
        ...


class TakeOver:
    """An engine that becomes a faster one while it runs; see ``engines.base.OverlappedEngine`` for the promises.

    Frames of a new size are painted by the first engine, at once. A build that is still under way for the size before
    is given up. Where an engine has no ``submit``, ``submit`` waits for it.

    Args:
        first: paints until the better engine can, and whenever that cannot; closed with this.
        better: begins to make the engine for a height and a width, in pixels; called by another thread.
        on_fault: takes one line when a better engine cannot be had; for a frame size it is told once, by any thread.
        on_progress: takes one line about how far a better engine is, each once, in another thread.
        settled_s: how long a frame size must last before ``better`` is called, seconds.
    """

    def __init__(
        self,
        first: Engine,
        better: Callable[[int, int], Better],
        *,
        on_fault: Callable[[str], None] = lambda _: None,
        on_progress: Callable[[str], None] = lambda _: None,
        settled_s: float = SETTLED_S,
    ) -> None:
        self._first, self._better, self._settled_s = first, better, settled_s
        self._on_fault, self._on_progress = on_fault, on_progress
        self._changes: OrderedDict[tuple[int, int], _Change] = OrderedDict()
        self._leaving: list[_Change] = []
        self._closed = False

    @property
    def info(self) -> EngineInfo:
        """Of the engine that paints frames of the size that came last."""
        change = self._last()
        better = change.engine if change else None
        return (better or self._first).info

    @property
    def progress(self) -> str:
        """What is being made for the size that came last, as one line; empty when nothing is."""
        change = self._last()
        return change.progress if change else ""

    def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
        """Stylize one frame; see ``engines.base.Engine``."""
        change = self._change(rgb)
        if (engine := change.engine) is not None:
            try:
                return engine(rgb, strength)
            except EngineError as error:
                change.give_up(f"it failed: {error}")
        painting = self._first(rgb, strength)
        if change.asks_for(rgb, strength):
            change.show(rgb.copy(), strength, painting.copy())
        return painting

    def submit(self, rgb: RGB, strength: float = 1.0) -> Pending:
        """Begin with one frame; see ``engines.base.OverlappedEngine``.

        A better engine that fails only at ``Pending.result`` loses the frames that it had; the first one paints on.
        """
        change = self._change(rgb)
        if (engine := change.engine) is not None:
            try:
                return _Watched(_submitted(engine, rgb, strength), change)
            except EngineError as error:
                change.give_up(f"it failed: {error}")
        asked = change.asks_for(rgb, strength)
        pending = _submitted(self._first, rgb, strength)
        return _Shown(pending, change, rgb.copy(), strength) if asked else pending

    def close(self) -> None:
        """Free both engines and give up what is being built. Twice is fine."""
        self._closed = True
        changes = [*self._leaving, *self._changes.values()]
        for change in changes:
            change.stop()
        for change in changes:
            change.join()
        self._leaving.clear()
        self._changes.clear()
        self._first.close()

    def _last(self) -> _Change | None:
        return next(reversed(self._changes.values()), None)

    def _change(self, rgb: RGB) -> _Change:
        """What there is for frames of this size; never waits.

        Raises:
            EngineError, ShapeError: closed; no frame.
        """
        if self._closed:
            raise EngineError("the engine is closed")
        check_rgb(rgb)
        size = (rgb.shape[0], rgb.shape[1])
        last = self._last()
        if last is not None and last.size == size:
            return last
        if last is not None and not last.settled:
            self._leave(last)
        if size not in self._changes:
            self._changes[size] = _Change(size, self._better, self._on_fault, self._on_progress, self._settled_s)
        self._changes.move_to_end(size)
        while len(self._changes) > KEPT_SIZES:
            self._leave(next(iter(self._changes.values())))
        return self._changes[size]

    def _leave(self, change: _Change) -> None:
        """Let a size go without waiting for it."""
        del self._changes[change.size]
        change.stop()
        self._leaving = [*(one for one in self._leaving if one.alive), change]


class _Change:
    """From the first engine to the better one, for one frame size; a thread of its own does all that takes time.

    Attributes:
        size: (height, width), in pixels.
        engine: the better one, once it may be used.
        progress: what is being done, as one line; empty when nothing is.
        settled: the better engine is in use, or will not be.
    """

    def __init__(
        self,
        size: tuple[int, int],
        better: Callable[[int, int], Better],
        on_fault: Callable[[str], None],
        on_progress: Callable[[str], None],
        settled_s: float,
    ) -> None:
        self.size = size
        self.engine: Engine | None = None
        self.progress = ""
        self.settled = False
        self._better, self._settled_s = better, settled_s
        self._on_fault, self._on_progress = on_fault, on_progress
        self._news = Condition()
        self._stopped = self._asks = False
        self._refused_s = math.inf  # when the first frame that tells nothing came
        self._sample: tuple[RGB, float, RGB] | None = None
        self._thread = Thread(target=self._run, name="take-over", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """The thread has not ended."""
        return self._thread.is_alive()

    def asks_for(self, rgb: RGB, strength: float) -> bool:
        """Is a painting of this frame wanted, to compare with? Without copying it."""
        if not self._asks:
            return False
        if strength >= TELLING_STRENGTH and int(np.ptp(rgb[::8, ::8])) >= FLAT:
            return True
        now = time.monotonic()
        self._refused_s = min(self._refused_s, now)
        return now >= self._refused_s + PATIENCE_S

    def show(self, rgb: RGB, strength: float, painting: RGB) -> None:
        """A frame, and what the first engine made of it; nobody else may change the arrays."""
        with self._news:
            if self._asks:
                self._asks, self._sample = False, (rgb, strength, painting)
                self._news.notify_all()

    def give_up(self, fault: str) -> None:
        """The better engine is not to be used any more."""
        self.engine = None
        self._tell(fault)
        self.stop()

    def stop(self) -> None:
        """End soon, without waiting."""
        with self._news:
            self._stopped = True
            self._news.notify_all()

    def join(self) -> None:
        """Wait until all is freed."""
        self._thread.join()

    def _run(self) -> None:
        """The whole change. What is raised here is told: the frames' thread must not hear of it."""
        candidate: Engine | None = None
        try:
            candidate = self._loaded()
            if candidate is not None and self._paints_alike(candidate):
                self.progress, self.settled, self.engine = "", True, candidate
                self._on_progress(f"{self._what} paints from now on")
                self._wait(None)
        except Exception as error:  # noqa: BLE001  # whatever a builder or a driver raises
            self._tell(str(error) or type(error).__name__)
        finally:
            self.engine = None
            if candidate is not None:
                candidate.close()

    def _loaded(self) -> Engine | None:
        """The better engine, loaded and warm, or ``None``."""
        if self._wait(self._settled_s):
            return None
        with closing(self._better(*self.size)) as better:
            while (fault := better.poll()) is None:
                self._go(better.progress)
                if self._wait(POLL_S):
                    return None
            if fault:
                raise EngineError(fault)
            self._go("loading")
            return better.load()

    def _paints_alike(self, candidate: Engine) -> bool:
        """Compare with the first engine on a frame that it paints anyway."""
        candidate(np.zeros((*self.size, 3), np.uint8))  # loads, compiles and captures what the first frame needs
        with self._news:
            self._asks = True
            self._news.wait_for(lambda: self._stopped or self._sample is not None)
            sample, self._sample = self._sample, None
        if sample is None:
            return False
        rgb, strength, painting = sample
        if fault := difference(painting, candidate(rgb, strength)):
            self._tell(f"it paints another picture: {fault}")
        return not fault

    @property
    def _what(self) -> str:
        return f"the faster engine for {self.size[1]}×{self.size[0]}"

    def _go(self, progress: str) -> None:
        if progress != self.progress:
            self.progress = progress
            if progress:
                self._on_progress(f"{self._what}: {progress}")

    def _wait(self, seconds: float | None) -> bool:
        """Wait so long, or until ``stop``. Returns: it is time to stop."""
        with self._news:
            return self._news.wait_for(lambda: self._stopped, seconds)

    def _tell(self, fault: str) -> None:
        if not self._stopped:
            self._on_fault(f"{self._what} is not used: {fault}")
        self.progress, self.settled = "", True


class _Shown:
    """A painting of the first engine that is handed to a change, too."""

    def __init__(self, pending: Pending, change: _Change, rgb: RGB, strength: float) -> None:
        self._pending, self._change, self._rgb, self._strength = pending, change, rgb, strength

    def result(self) -> RGB:
        """See ``Pending``."""
        painting = self._pending.result()
        self._change.show(self._rgb, self._strength, painting.copy())
        return painting


class _Watched:
    """A painting of the better engine, which is given up when it fails."""

    def __init__(self, pending: Pending, change: _Change) -> None:
        self._pending, self._change = pending, change

    def result(self) -> RGB:
        """See ``Pending``."""
        try:
            return self._pending.result()
        except EngineError as error:
            self._change.give_up(f"it failed: {error}")
            raise


class _Painted:
    """A painting that was waited for."""

    def __init__(self, painting: RGB) -> None:
        self._painting = painting

    def result(self) -> RGB:
        """See ``Pending``."""
        return self._painting


def _submitted(engine: Engine, rgb: RGB, strength: float) -> Pending:
    if isinstance(engine, OverlappedEngine):
        return engine.submit(rgb, strength)
    return _Painted(engine(rgb, strength))
