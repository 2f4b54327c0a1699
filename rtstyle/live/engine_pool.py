"""Engines that several sessions share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from threading import Lock

from engines.base import RGB, Engine, PendingFrame, RestylableEngine, SharedGraphEngine, StrengthMap
from engines.shared_pool import SharedPool
from engines.wrapper import EngineWrapper


class EnginePool:
    """Load each style once for several sessions, and let one session at a time call it."""

    def __init__(self, load: Callable[[str], Engine]) -> None:
        self._load = load
        self._shared: SharedPool[str, _Shared] = SharedPool()

    def load(self, style: str) -> Engine:
        """Return an engine of this style; it is freed when all who loaded it have closed it."""
        shared = self._shared.borrow(style, lambda: _Shared(self._load(style)))
        return _Borrowed(shared, partial(self._load, style), lambda: self._shared.give_back(style))


class _Shared:
    """An engine and the lock that its users take in turn."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.lock = engine, Lock()

    def close(self) -> None:
        with self.lock:
            self.engine.close()


class _Borrowed(EngineWrapper):
    """An engine of a pool; each call waits while another session uses it."""

    def __init__(self, shared: _Shared, load: Callable[[], Engine], give_back: Callable[[], None]) -> None:
        super().__init__(shared.engine)
        self._lock, self._load, self._give_back = shared.lock, load, give_back
        self._closed = False

    def __call__(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> RGB:
        with self._lock:
            return super().__call__(rgb, strength, colours)

    def close(self) -> None:
        """Return the engine to its pool; may be called twice."""
        if not self._closed:
            self._closed = True
            self._give_back()

    def _submit(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> PendingFrame:
        with self._lock:
            return super()._submit(rgb, strength, colours)

    def _fork(self) -> RestylableEngine:
        with self._lock:
            return super()._fork()

    def _prepare(self, height: int, width: int) -> None:
        with closing(self._load()) as other:
            # Compiled outside the lock, so that the frames of other sessions go on; the graph is shared.
            if isinstance(other, SharedGraphEngine):
                other.prepare(height, width)
            with self._lock:
                super()._prepare(height, width)
