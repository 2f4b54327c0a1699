"""Several styles behind one engine: a style is changed while frames go on, and the old one fades away."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition, Thread

import cv2
import numpy as np

from engines.base import RGB, Engine, EngineInfo, SharingEngine
from engines.errors import StylerError
from rtstyle.pipeline import Controls

FADE_S = 0.3
"""How long the last painting of the old style fades into those of the new one, seconds.

It stands still meanwhile: to paint each frame in both styles takes twice as long, and a change would cost frames.
"""

FIRST_SHARE = 0.3
"""Of the new style in its first painting, so that a change is seen at once."""

PIXELS_KEPT = 10 * 640 * 360
"""Engines that share nothing are kept while their frames have so many pixels together; never fewer than ``LEAST``."""

LEAST = 2
"""Engines that are kept whatever their size: the style that is shown, and the one that it fades from."""

REST_S = 1.0
"""Time between two engines that are made ready before anybody asks: one that shares nothing takes a core for 0.4 s."""


@dataclass
class _Ready:
    """An engine, and the size of frame, (height, width), that it is compiled for."""

    engine: Engine
    size: tuple[int, int] | None
    used_s: float


class Palette:
    """An engine that paints in the style that ``controls`` name.

    The engine of a style is loaded and compiled in another thread, and frames are painted in the old style until it is
    ready. Styles that nobody has asked for are made ready as well, nearest first, so that a change shows at once.
    One that cannot be loaded, or fails at once, changes nothing; ``fault`` says why.

    Args:
        load: makes the engine of a style.
        controls: which styles there are, and which one is wanted.
        ahead: make engines ready before they are asked for.

    Raises:
        what ``load`` raises for the first style.
    """

    def __init__(self, load: Callable[[str], Engine], controls: Controls, *, ahead: bool = True) -> None:
        self._load, self._controls, self._ahead = load, controls, ahead
        self._shown = self._before = controls.style
        self._changed_s = -math.inf
        self._size: tuple[int, int] | None = None
        self._last: RGB | None = None  # what was given last
        self._leaving: RGB | None = None  # what fades away
        self._faults: dict[str, str] = {}
        self._ready = {self._shown: _Ready(load(self._shown), None, time.monotonic())}
        self._change = Condition()
        self._closed = False
        self._loader = Thread(target=self._make_ready, name="palette", daemon=True)
        self._loader.start()

    @property
    def info(self) -> EngineInfo:
        """Of the engine that paints now."""
        return self._ready[self._shown].engine.info

    @property
    def shown(self) -> str:
        """Name of the style that is painted now; ``controls.style`` is the one that is wanted."""
        return self._shown

    @property
    def fault(self) -> str:
        """Why the style that is wanted is not shown; empty when it is, or is being loaded."""
        return self._faults.get(self._controls.style, "")

    def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
        """Stylize one frame; see ``engines.base.Engine``."""
        now = time.monotonic()
        with self._change:
            self._look_at((rgb.shape[0], rgb.shape[1]), now)
            engine = self._ready[self._shown].engine
        share = FIRST_SHARE + (1.0 - FIRST_SHARE) * (now - self._changed_s) / FADE_S
        try:
            painting = engine(rgb, strength)
        except StylerError as error:
            if share >= 1.0 or self._before == self._shown:
                raise
            self._go_back(str(error))
            engine.close()
            return self(rgb, strength)
        old = self._leaving
        if old is not None and share < 1.0 and old.shape == painting.shape:
            painting = np.asarray(cv2.addWeighted(painting, share, old, 1.0 - share, 0.0), np.uint8)
        else:
            self._leaving = None
        self._last = painting
        return painting

    def close(self) -> None:
        """Free all engines. Twice is fine."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._loader.join()
        for ready in self._ready.values():
            ready.engine.close()

    def _look_at(self, size: tuple[int, int], now: float) -> None:
        """Take the style that is wanted where it is ready for frames of this size; wake the loader where it is not."""
        wanted = self._controls.style
        if size != self._size:
            self._size = size
            self._faults.clear()  # what failed may have been too large
            self._change.notify()
        if wanted != self._shown and wanted not in self._faults:
            ready = self._ready.get(wanted)
            if ready is not None and ready.size == size:
                self._before, self._shown, self._changed_s = self._shown, wanted, now
                self._leaving = self._last
            else:
                self._change.notify()
        shown = self._ready[self._shown]
        shown.size, shown.used_s = size, now

    def _go_back(self, fault: str) -> None:
        """From a style that failed when it was shown to the one before."""
        with self._change:
            self._faults[self._shown] = fault
            del self._ready[self._shown]
            self._shown, self._changed_s = self._before, -math.inf
            self._leaving = None

    def _make_ready(self) -> None:
        """Loader thread: the style that is wanted first, then those beside it."""
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closed or self._next(urgent=True) is not None, REST_S)
                if self._closed:
                    return
                superfluous = self._superfluous()
                name, size = self._next(), self._size
                # Nobody else may call an engine while it is compiled for another size.
                found = self._ready.pop(name, None) if name is not None else None
            for engine in superfluous:
                engine.close()
            if name is not None and size is not None:
                self._make(name, size, found.engine if found else None)

    def _make(self, name: str, size: tuple[int, int], engine: Engine | None) -> None:
        try:
            engine = engine or self._load(name)
            if isinstance(engine, SharingEngine):
                engine.prepare(*size)
            else:
                engine(np.zeros((*size, 3), np.uint8))  # compiles for this size
        except Exception as error:  # noqa: BLE001  # whatever it is: this thread must live, and ``fault`` tells it
            with self._change:
                self._faults[name] = str(error) or type(error).__name__
            if engine is not None:
                engine.close()
            return
        with self._change:
            self._ready[name] = _Ready(engine, size, time.monotonic())

    def _next(self, *, urgent: bool = False) -> str | None:
        """The style to make ready now. Until the first frame nobody knows for which size."""
        wanted, names = self._controls.style, self._controls.styles
        if self._size is None:
            return None
        fitting = {name for name, ready in self._ready.items() if ready.size == self._size}
        missing = [n for n in names if n not in fitting and n not in self._faults and n not in self._in_use()]
        if wanted in missing:
            return wanted
        if urgent or not self._ahead:
            return None
        if len(self._ready) >= self._room():
            missing = [name for name in missing if name in self._ready]
        place = names.index(wanted)
        return min(missing, default=None, key=lambda name: _apart(names.index(name), place, len(names)))

    def _room(self) -> int:
        """How many engines may be ready."""
        if isinstance(self._ready[self._shown].engine, SharingEngine):
            return len(self._controls.styles)
        return max(LEAST, PIXELS_KEPT // (self._size[0] * self._size[1])) if self._size else LEAST

    def _in_use(self) -> set[str]:
        """Styles whose engines the frames' thread may call."""
        # A frame that began while it faded may take a while.
        fading = time.monotonic() - self._changed_s < FADE_S + REST_S
        return {self._shown, self._before} if fading else {self._shown}

    def _superfluous(self) -> list[Engine]:
        """Engines that are to be freed, taken out: those that were not used for longest."""
        keep = {self._shown, self._before, self._controls.style}
        others = sorted((name for name in self._ready if name not in keep), key=lambda name: self._ready[name].used_s)
        return [self._ready.pop(name).engine for name in others[: max(0, len(self._ready) - self._room())]]


def _apart(one: int, other: int, count: int) -> int:
    """Presses of a key from one place to the other, the shorter way round."""
    return min((one - other) % count, (other - one) % count)
