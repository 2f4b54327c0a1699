"""Several styles behind one engine, switched while frames flow, with a cross-fade."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition, Thread

import cv2
import numpy as np

from engines.base import RGB, Engine, EngineInfo, ForkableEngine, SharedGraphEngine, StrengthMap
from engines.errors import StylerError
from rtstyle.controls import Controls
from rtstyle.live.style_glide import Glider
from rtstyle.playlist import next_place
from rtstyle.style_mix import Mix, caption_of, without_textures

logger = logging.getLogger(__name__)

FADE_S = 0.3
"""How long the last frame in the old style fades into the new style, seconds.

The old frame stands still meanwhile: stylizing each frame twice would halve the frame rate.
"""

FIRST_SHARE = 0.3
"""Share of the new style in its first frame, so that a change is seen at once."""

PIXELS_KEPT = 10 * 640 * 360
"""Total pixels per frame of the engines that are kept if they share no graph; at least ``LEAST`` engines."""

LEAST = 2
"""Engines kept at any frame size: the shown style, and the one that it fades from."""

SLIDE_S = 0.3
"""How long a change between mixes that have a style in common takes, seconds: a slider moves, nothing fades."""

MIXES_KEPT = 4
"""Mixes kept beside the styles if they share a graph."""

REST_S = 1.0
"""Pause between engines that are loaded ahead, seconds; one that shares no graph takes a core for 0.4 s."""


@dataclass
class _Ready:
    """An engine, and the frame size (height, width) that it is compiled for."""

    engine: Engine
    size: tuple[int, int] | None
    used_s: float


class StyleSwitcher:
    """An engine that follows ``controls.style``.

    A thread loads and compiles the engine of a style; frames keep the old style until it is ready. Other styles are
    loaded ``ahead``, nearest first, so that a change shows at once. If a style cannot be loaded, or fails on its first
    frames, the old one stays and ``fault`` says why.

    With ``controls.glide``, and between mixes of the same styles, weights glide to the new style instead of a fade,
    where engines can be forked. ``controls.playlist`` changes the style by itself, from ``begin_turns`` on. With
    ``controls.mix_moves`` each frame has the weights of the mix that is wanted at that moment.
    """

    def __init__(
        self,
        load: Callable[[str], Engine],
        controls: Controls,
        *,
        ahead: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load, self._controls, self._ahead, self._clock = load, controls, ahead, clock
        self._shown = self._before = controls.style
        self._changed_s = -math.inf
        self._size: tuple[int, int] | None = None
        self._last: RGB | None = None  # the newest output
        self._leaving: RGB | None = None  # the old style's last frame, while it fades
        self._faults: dict[str, str] = {}
        self._unseen = ""  # the wanted style, if it is known that it cannot be shown
        self._spare: Engine | None = None  # keeps the graphs of the next size
        self._ready = {self._shown: _Ready(load(self._shown), None, self._clock())}
        self._change = Condition()
        self._closed = False
        self._glider = Glider()
        self._glide_to = ""  # the style for which the loader is asked to prepare a glide
        self._preparing = False  # it does
        self._fading: set[str] = set()  # styles to which nothing can glide
        self._slide: tuple[Mix, Mix] | None = None  # the ends of a slider that moves by itself
        self._newest = ""  # the mix that was prepared last, until it is shown
        self._turn, self._turn_place = self._shown, -1  # the newest style of a playlist, and where it is in it
        self._turn_s: float | None = None  # since when; nobody has seen it yet
        self._loader = Thread(target=self._run_loader, name="style loader", daemon=True)
        self._loader.start()

    @property
    def info(self) -> EngineInfo:
        """Description of the engine in use."""
        return self._ready[self._shown].engine.info

    @property
    def shown(self) -> str:
        """The style in use; ``controls.style`` is the wanted one."""
        return self._controls.style if self._slide and self._glider.held else self._shown

    @property
    def fault(self) -> str:
        """Why the wanted style is not shown; empty while it is shown or loading."""
        return self._faults.get(self._controls.style, "")

    def __call__(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> RGB:
        """Stylize one frame; see ``engines.base.Engine``."""
        now = self._clock()
        with self._change:
            self._follow_playlist(now)
            self._switch_if_ready((rgb.shape[0], rgb.shape[1]), now)
            gliding = self._gliding_engine(now)
            engine = gliding or self._ready[self._shown].engine
        share = FIRST_SHARE + (1.0 - FIRST_SHARE) * (now - self._changed_s) / FADE_S
        try:
            stylized = engine(rgb, strength, colours)
        except StylerError as error:
            if gliding is not None:
                self._end_glide(error, now)
                return self(rgb, strength, colours)
            if share >= 1.0 or self._before == self._shown:
                raise
            self._go_back(str(error))
            engine.close()
            return self(rgb, strength, colours)
        old = self._leaving
        if old is not None and share < 1.0 and old.shape == stylized.shape:
            stylized = np.asarray(cv2.addWeighted(stylized, share, old, 1.0 - share, 0.0), np.uint8)
        else:
            self._leaving = None
        self._last = stylized
        return stylized

    def prepare(self, height: int, width: int) -> None:
        """Compile for a frame size, in pixels, that comes next, without holding up frames; see ``SharedGraphEngine``.

        An engine that shares no graph is only tried: it compiles again with the first frame.
        """
        engine = self._load(self._shown)
        with self._change:
            before, self._spare = self._spare, engine
        if before is not None:
            before.close()
        _compile(engine, height, width)

    def begin_turns(self) -> None:
        """Count the time of the playlist's first style from now, when a frame is shown for the first time."""
        self._turn_s = self._clock()

    def close(self) -> None:
        """Free all engines; may be called twice."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._loader.join()
        self._glider.close()
        for engine in [ready.engine for ready in self._ready.values()] + ([self._spare] if self._spare else []):
            engine.close()

    def _switch_if_ready(self, size: tuple[int, int], now: float) -> None:
        """Switch to the wanted style if it is ready for this frame size; otherwise wake the loader."""
        wanted = self._controls.style
        if wanted != self._unseen and wanted in self._faults:
            logger.warning("%s cannot be shown: %s", caption_of(wanted), self._faults[wanted])
        self._unseen = wanted if wanted in self._faults else ""
        if size != self._size:
            self._size = size
            self._fading.clear()
            self._faults.clear()  # the old size may have been too large
            self._change.notify()
        if self._follow_slider():
            pass
        elif wanted == self._shown and self._glider.held:  # a slider has left it, and was taken back
            self._fade_to(wanted, now)
        elif wanted != self._shown and wanted not in self._faults:
            ready = self._ready.get(wanted)
            if ready is not None and ready.size == size:
                self._newest = ""
                self._leave_for(wanted, ready.engine, now)
            else:
                self._show_newest(wanted, size, now)
                self._change.notify()
        shown = self._ready[self._shown]
        shown.size, shown.used_s = size, now

    def _follow_slider(self) -> bool:
        """Let the mix follow a slider that moves by itself, as soon as the way is prepared; return False if none does.

        Engines that cannot be forked get each mix as it is prepared.
        """
        pair, mix = self._controls.pair, self._controls.mix
        ends = None if pair is None else (Mix(((pair[0], 1.0),)), Mix(((pair[1], 1.0),)))
        moves = self._controls.mix_moves and isinstance(self._ready[self._shown].engine, ForkableEngine)
        self._slide = ends if moves and pair is not None and pair[1] not in self._fading else None
        if self._slide is None or pair is None:
            return False
        if self._glider.hold(*self._slide, mix.share(pair[1])):
            self._leaving = None
        elif not self._preparing:
            self._glide_to = pair[1]
            self._change.notify()
        return True

    def _show_newest(self, wanted: str, size: tuple[int, int], now: float) -> None:
        """Show the mix that was prepared last, if it is one of the wanted styles.

        Under a slider that moves, the wanted mix has changed before it is prepared; without this nothing would move.
        """
        ready = self._ready.get(self._newest)
        if ready is None or ready.size != size or self._newest == self._shown:
            return
        read = self._controls.read
        if set(read(self._newest).styles) <= set(read(wanted).styles) | set(read(self._shown).styles):
            self._fade_to(self._newest, now)
            self._newest = ""

    def _fade_to(self, name: str, now: float) -> None:
        self._glider.stop()
        self._before, self._shown, self._changed_s = self._shown, name, now
        self._leaving = self._last

    def _leave_for(self, wanted: str, engine: Engine, now: float) -> None:
        """Begin to glide to a style that is ready as soon as that is prepared, or to fade into it now."""
        end, start = self._controls.mix, self._place()
        seconds = self._controls.glide or (SLIDE_S if set(start.styles) & set(end.styles) else 0.0)
        if seconds and wanted not in self._fading and isinstance(engine, ForkableEngine):
            if not self._glider.begin(start, end, now, seconds):
                if not self._preparing:
                    self._glide_to = wanted
                    self._change.notify()
                return
            self._before, self._shown, self._leaving = self._shown, wanted, None
            return
        self._fade_to(wanted, now)

    def _place(self) -> Mix:
        """Return the mix that is seen now."""
        return self._glider.place() or self._controls.read(self._shown)

    def _gliding_engine(self, now: float) -> Engine | None:
        """Return the engine that has the weights for a frame of a glide, if there is one."""
        try:
            return self._glider.engine(now)
        except StylerError as error:
            self._end_glide(error, now)
            return None

    def _end_glide(self, error: StylerError, now: float) -> None:
        """Fade from what is seen into the style of a glide that has failed; if it fails too, the old one returns."""
        self._fading.add(self._shown)
        logger.warning("the glide to %s failed: %s; it fades in instead", caption_of(self._shown), error)
        self._glider.stop()
        self._changed_s, self._leaving = now, self._last

    def _follow_playlist(self, now: float) -> None:
        """Ask for the next style of the playlist if its turn has come."""
        controls = self._controls
        if self._turn_s is None:
            return
        if controls.style != self._turn:
            if without_textures(controls.style) != without_textures(self._turn):  # else it is the same turn
                self._turn_place, self._turn_s = -1, now
            self._turn = controls.style
        if controls.playlist and now - self._turn_s >= controls.every:
            self._turn_place = next_place(controls.playlist, controls.style, self._turn_place)
            controls.style = self._turn = controls.playlist[self._turn_place]
            self._turn_s = now

    def _next_turn(self) -> str:
        """Return the style of the playlist that comes next; empty if there is none."""
        playlist = self._controls.playlist
        return playlist[next_place(playlist, self._controls.style, self._turn_place)] if playlist else ""

    def _go_back(self, fault: str) -> None:
        """Return from a style that failed on its first frames to the one before."""
        with self._change:
            self._faults[self._shown] = fault
            del self._ready[self._shown]
            self._shown, self._changed_s = self._before, -math.inf
            self._leaving = None

    def _run_loader(self) -> None:
        """Load the wanted style first, then its neighbours; the loader thread."""
        while True:
            with self._change:
                self._change.wait_for(
                    lambda: self._closed or self._next(urgent=True) is not None or bool(self._glide_to), REST_S
                )
                if self._closed:
                    return
                glide_to, self._glide_to = self._glide_to, ""
                self._preparing = bool(glide_to)
                surplus = self._take_surplus()
                name, size = self._next(), self._size
                # Taken out, since nobody else may call an engine while it compiles for another size.
                found = self._ready.pop(name, None) if name is not None else None
            for engine in surplus:
                engine.close()
            if glide_to:
                self._prepare_glide(glide_to)
            if name is not None and size is not None:
                self._prepare(name, size, found.engine if found else None)

    def _prepare_glide(self, name: str) -> None:
        """Prepare a glide from what is seen now to a style, or the way of a slider; if that is impossible, it fades."""
        with self._change:
            ready, size, slide = self._ready.get(self._shown if self._slide else name), self._size, self._slide
            start, end = slide or (self._place(), self._controls.read(name))
        try:
            if ready is not None and size is not None and isinstance(ready.engine, ForkableEngine):
                self._glider.prepare(ready.engine, size, start, end)
        except Exception as error:  # noqa: BLE001  # this thread must survive, and there is another way
            reason = str(error) or type(error).__name__
            logger.warning("%s cannot glide in: %s; it fades in instead", caption_of(name), reason)
            with self._change:
                self._fading.add(name)
        finally:
            with self._change:
                self._preparing = False

    def _prepare(self, name: str, size: tuple[int, int], engine: Engine | None) -> None:
        try:
            engine = engine or self._load(name)
            _compile(engine, *size)
        except Exception as error:  # noqa: BLE001  # this thread must survive; ``fault`` reports it
            with self._change:
                self._faults[name] = str(error) or type(error).__name__
            if engine is not None:
                engine.close()
            return
        with self._change:
            self._ready[name] = _Ready(engine, size, self._clock())
            if name not in self._controls.styles and name != self._next_turn():
                self._newest = name

    def _next(self, *, urgent: bool = False) -> str | None:
        """Return the style to load now; none until the first frame gives the size."""
        wanted, names = self._shown if self._slide else self._controls.style, self._controls.styles
        if self._size is None:
            return None
        fitting = {name for name, ready in self._ready.items() if ready.size == self._size}
        upcoming = self._next_turn()
        candidates = dict.fromkeys((*names, wanted, *filter(None, [upcoming])))  # a mix is not among the names
        missing = [n for n in candidates if n not in fitting and n not in self._faults and n not in self._in_use()]
        if wanted in missing:
            return wanted
        if urgent or not self._ahead:
            return None
        if upcoming in missing:
            return upcoming
        if len(self._ready) >= self._room():
            missing = [name for name in missing if name in self._ready]
        place = self._controls.place
        return min(missing, default=None, key=lambda name: _distance(names.index(name), place, len(names)))

    def _room(self) -> int:
        """Return how many engines may be ready."""
        if isinstance(self._ready[self._shown].engine, SharedGraphEngine):
            return len(self._controls.styles) + MIXES_KEPT
        return max(LEAST, PIXELS_KEPT // (self._size[0] * self._size[1])) if self._size else LEAST

    def _in_use(self) -> set[str]:
        """Return the styles whose engines the calling thread may be using."""
        # A frame that began during the fade may still be running.
        fading = self._clock() - self._changed_s < FADE_S + REST_S
        return {self._shown, self._before} if fading else {self._shown}

    def _take_surplus(self) -> list[Engine]:
        """Take out the least recently used engines that exceed the room, to be freed."""
        keep = {self._shown, self._before, self._controls.style, self._next_turn()}
        names = self._controls.styles
        others = [name for name in self._ready if name not in keep]
        others.sort(key=lambda name: (name in names, self._ready[name].used_s))  # mixes first: each is one of many
        return [self._ready.pop(name).engine for name in others[: max(0, len(self._ready) - self._room())]]


def _compile(engine: Engine, height: int, width: int) -> None:
    """Make an engine that nobody else uses ready for a frame size, in pixels."""
    if isinstance(engine, SharedGraphEngine):
        engine.prepare(height, width)
    else:
        engine(np.zeros((height, width, 3), np.uint8))


def _distance(one: int, other: int, count: int) -> int:
    """Return the number of key presses between two places, the shorter way round."""
    return min((one - other) % count, (other - one) % count)
