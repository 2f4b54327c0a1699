"""Gliding from one style to another: each frame has the weights of a mix a little further on the way.

The weights on the way are interpolated between mixes at most ``STEP`` apart, which a thread mixes beforehand: a frame
costs one pass over 180 000 weights and their upload, and nothing is compiled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from threading import Lock
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from engines.base import Engine, ForkableEngine, RestylableEngine
from engines.mixing.mixed_style import MixedStyle, with_weights
from engines.style_file import StyleModel
from rtstyle.style_library import open_style
from rtstyle.style_mix import Mix

STEP = 0.25
"""Largest part of a mix that changes from one mix on the way to the next; between them contrast falls by 3 %."""

_Flat: TypeAlias = npt.NDArray[np.float32]
"""All weights of a style in one array, in the order of their names."""


class StylePath:
    """The way from one mix to another. Raises StyleError if a style cannot be used, or they do not mix."""

    def __init__(self, start: Mix, end: Mix) -> None:
        self.start, self.end = start, end
        steps = max(1, math.ceil(start.distance(end) / STEP - 1e-6))
        models = [open_style(str(start.toward(end, step / steps))) for step in range(steps + 1)]
        self._style = with_weights(models[0], models[0].tensors())
        self._points = [_flat(model) for model in models]

    def begin_from(self, weights: _Flat) -> None:
        """Begin with these weights instead of those of ``start``: frames have gone on meanwhile."""
        self._points[0] = weights

    def weights(self, way: float) -> _Flat:
        """Return the weights after a part of the way, 0 … 1."""
        position = min(max(way, 0.0), 1.0) * (len(self._points) - 1)
        step = min(int(position), len(self._points) - 2)
        one, other = self._points[step], self._points[step + 1]
        return one + np.float32(position - step) * (other - one)

    def style(self, weights: _Flat) -> MixedStyle:
        """Return the style with these weights."""
        views, place = {}, 0
        for name, value in sorted(self._style.mixed.items()):
            views[name] = weights[place : place + value.size].reshape(value.shape)
            place += value.size
        return with_weights(self._style, views)


@dataclass
class _Running:
    """A glide that has begun, and its newest weights."""

    path: StylePath
    start_s: float
    seconds: float
    weights: _Flat
    way: float = 0.0


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
        path = StylePath(start, end)
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

    def engine(self, now: float) -> Engine | None:
        """Return the engine for a frame; ``None`` if no glide is going on. Raises StylerError if it failed."""
        running = self._running
        if running is None or self._engine is None:
            return None
        running.way = (now - running.start_s) / running.seconds
        if running.way >= 1.0:
            self.stop()
            return None
        running.weights = running.path.weights(running.way)
        self._engine.take_style(running.path.style(running.weights))
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


def _flat(style: StyleModel) -> _Flat:
    return np.concatenate([value.ravel() for _, value in sorted(style.tensors().items())], dtype=np.float32)
