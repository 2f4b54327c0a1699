"""Several styles behind one engine: a style is changed while frames go on, and the new one fades in."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Condition, Thread

import cv2
import numpy as np

from engines.base import RGB, Engine, EngineInfo
from engines.errors import StylerError
from rtstyle.pipeline import Controls

FADE_S = 0.3
"""How long the old style fades into the new one, seconds; both are painted meanwhile."""

PIXELS_KEPT = 10 * 640 * 360
"""Engines are kept ready while their frames have so many pixels together, about 300 MB; never fewer than ``LEAST``."""

LEAST = 2
"""Engines that are kept whatever their size: the style that is shown, and the one that it fades from."""

REST_S = 1.0
"""Time between two engines that are made ready before anybody asks: making one takes a core for about 0.2 s."""


class Palette:
    """An engine that paints in the style that ``controls`` name.

    The engine of a style is loaded and compiled in another thread, and frames are painted in the old style until it is
    ready. Styles that nobody has asked for are made ready as well, nearest first, so that a change shows at once.
    One that cannot be loaded changes nothing; ``fault`` says why.

    Args:
        load: makes the engine of a style.
        controls: which styles there are, and which one is wanted.
        ahead: make engines ready before they are asked for.
    Raises: what ``load`` raises for the first style.
    """

    def __init__(self, load: Callable[[str], Engine], controls: Controls, *, ahead: bool = True) -> None:
        self._load, self._controls, self._ahead = load, controls, ahead
        self._shown = self._before = controls.style
        self._changed_s = float("-inf")
        self._size: tuple[int, int] | None = None
        self._faults: dict[str, str] = {}
        self._ready = {self._shown: load(self._shown)}
        self._last_used = {self._shown: time.monotonic()}
        self._change = Condition()
        self._closed = False
        self._loader = Thread(target=self._make_ready, name="palette", daemon=True)
        self._loader.start()

    @property
    def info(self) -> EngineInfo:
        """Of the engine that paints now."""
        return self._ready[self._shown].info

    @property
    def fault(self) -> str:
        """Why the style that is wanted is not shown; empty when it is, or is being loaded."""
        return self._faults.get(self._controls.style, "")

    def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
        """Stylize one frame; see ``engines.base.Engine``."""
        size, wanted = (rgb.shape[0], rgb.shape[1]), self._controls.style
        now = time.monotonic()
        with self._change:
            if size != self._size:
                self._size = size
                self._change.notify()
            if wanted != self._shown:
                if wanted in self._ready:
                    self._before, self._shown, self._changed_s = self._shown, wanted, now
                else:
                    self._change.notify()
            self._last_used[self._shown] = now
            new, old = self._ready[self._shown], self._ready.get(self._before)
        share = (now - self._changed_s) / FADE_S
        painting = new(rgb, strength)
        if share < 1.0 and old is not None and old is not new:
            painting = np.asarray(cv2.addWeighted(painting, share, old(rgb, strength), 1.0 - share, 0.0), np.uint8)
        return painting

    def close(self) -> None:
        """Free all engines. Twice is fine."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._loader.join()
        for engine in self._ready.values():
            engine.close()

    def _make_ready(self) -> None:
        """Loader thread: the style that is wanted first, then those beside it."""
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closed or self._next(urgent=True) is not None, REST_S)
                if self._closed:
                    return
                name, size = self._next(), self._size
            if name is None or size is None:
                continue
            try:
                engine = self._load(name)
                engine(np.zeros((*size, 3), np.uint8))  # compiles for this size
            except StylerError as error:
                self._faults[name] = str(error)
                continue
            with self._change:
                self._ready[name] = engine
                self._last_used[name] = time.monotonic()
                superfluous = self._superfluous()
            for one in superfluous:
                one.close()

    def _next(self, *, urgent: bool = False) -> str | None:
        """The style to make ready now. Until the first frame nobody knows for which size."""
        wanted, names = self._controls.style, self._controls.styles
        missing = [name for name in names if name not in self._ready and name not in self._faults]
        if self._size is None or not missing:
            return None
        if wanted in missing:
            return wanted
        if urgent or not self._ahead or len(self._ready) >= self._room():
            return None
        place = names.index(wanted)
        around = [(names.index(name) - place) % len(names) for name in missing]
        return min(zip(around, missing, strict=True), key=lambda one: min(one[0], len(names) - one[0]))[1]

    def _room(self) -> int:
        """How many engines may be ready."""
        assert self._size is not None  # asked after the first frame only
        return max(LEAST, PIXELS_KEPT // (self._size[0] * self._size[1]))

    def _superfluous(self) -> list[Engine]:
        """Engines that are to be freed, taken out: those that were not used for longest."""
        in_use = {self._shown, self._before, self._controls.style}
        others = sorted((name for name in self._ready if name not in in_use), key=lambda name: self._last_used[name])
        return [self._ready.pop(name) for name in others[: max(0, len(self._ready) - self._room())]]
