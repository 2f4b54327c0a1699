"""Gliding from one style to another: each frame has the weights of a mix a little further on the way.

A thread prepares the way, so that a frame costs one pass over 180 000 weights and their upload. Nothing is compiled.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock, get_native_id

from engines.base import Engine, ForkableEngine, RestylableEngine
from rtstyle.style_mix import Mix
from rtstyle.style_path import FlatWeights, StylePath

NICE = 10
"""Added to the niceness of the thread that mixes."""


@dataclass
class _Running:
    """A glide that has begun, and its newest weights."""

    path: StylePath
    start_s: float
    seconds: float
    weights: FlatWeights
    way: float = 0.0
    held: bool = False  # it stays at ``way`` until that is changed
    taken: float | None = None  # the way whose weights the engine has


class Glider:
    """Stylizes the frames of a glide with an engine of its own.

    A thread prepares the path; then the thread of the frames begins the glide, and asks for the engine of each frame.
    """

    def __init__(self) -> None:
        self._engine: RestylableEngine | None = None
        self._size: tuple[int, int] | None = None
        self._ready: StylePath | None = None
        self._running: _Running | None = None
        self._lock = Lock()

    def prepare(self, engine: ForkableEngine, size: tuple[int, int], start: Mix, end: Mix) -> None:
        """Prepare a glide for a frame size, (height, width).

        Raises:
            StylerError: a style cannot be used, the styles do not mix, or the engine cannot start.
        """
        with ThreadPoolExecutor(1, "glide", _lower_priority) as pool:
            path = pool.submit(StylePath, start, end).result()
        if self._engine is None:
            self._engine = engine.fork()
        if self._size != size and self._running is None:
            self._engine.prepare(*size)
            self._size = size
        with self._lock:
            self._ready = path

    def begin(self, start: Mix, end: Mix, now: float, seconds: float) -> bool:
        """Begin the prepared glide, from where the present one is; return False if none between these is prepared."""
        with self._lock:
            path, self._ready = self._ready, None
        if path is None or path.end != end or (self._running is None and path.start != start):
            return False
        if self._running is not None:
            path.begin_from(self._running.weights)
        self._running = _Running(path, now, seconds, path.weights(0.0))
        return True

    def hold(self, start: Mix, end: Mix, way: float) -> bool:
        """Let the next frame have the weights at a part of the way between two; return False if it is not prepared."""
        running = self._running
        if running is None or not running.held or (running.path.start, running.path.end) != (start, end):
            with self._lock:
                path, self._ready = self._ready, None
            if path is None or (path.start, path.end) != (start, end):
                return False
            running = self._running = _Running(path, 0.0, 1.0, path.weights(way), held=True)
        running.way = way
        return True

    @property
    def held(self) -> bool:
        """True while ``hold`` says where the frames are."""
        return self._running is not None and self._running.held

    def engine(self, now: float) -> Engine | None:
        """Return the engine for a frame; ``None`` if no glide is going on. Raises StylerError if it failed."""
        running = self._running
        if running is None or self._engine is None:
            return None
        if not running.held:
            running.way = (now - running.start_s) / running.seconds
            if running.way >= 1.0:
                self.stop()
                return None
        if running.way != running.taken:
            running.weights = running.path.weights(running.way)
            self._engine.take_style(running.path.style(running.weights))
            running.taken = running.way
        return self._engine

    def place(self) -> Mix | None:
        """Return the mix that the newest frame has; ``None`` if no glide is going on."""
        running = self._running
        return None if running is None else running.path.start.toward(running.path.end, min(1.0, running.way))

    def stop(self) -> None:
        """End the glide at once."""
        self._running = None

    def close(self) -> None:
        """Free the engine; may be called twice."""
        self.stop()
        if self._engine is not None:
            self._engine.close()


def _lower_priority() -> None:
    """Let the frames go first: mixing takes a core for a few tenths of a second. Only Linux can do that by thread."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, get_native_id(), NICE)
