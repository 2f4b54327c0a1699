"""Choose the size at which live frames are stylized: smaller than they are while the engine is too slow for that.

``RateController`` decides, from how long frames take, at which share of each side to work; it knows time only as an
argument. ``RateHold`` measures, carries out the decision, and compiles for the next size in a thread, so that frames go
on meanwhile; likewise when the user chooses another size of strokes. ``rtstyle.stroke_scale`` brings the smaller
picture back to its size, with sharp edges; its strokes are larger, as with ``--scale``.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from statistics import median
from threading import Thread

import numpy as np

from engines.base import RGB, Engine, SharedGraphEngine, StrengthMap
from engines.errors import StylerError
from engines.wrapper import EngineWrapper
from rtstyle.controls import Controls
from rtstyle.frame import Frame, SourceInfo
from rtstyle.stroke_scale import nearest_scale, stylize, work_size

SHARES = (1.0, 0.8, 0.64, 0.5, 0.4)
"""Sizes to work at, as shares of each side. From one to the next the number of pixels changes by about a third."""

TOO_SLOW = 0.88
"""Share of the time between two frames, above which stylizing one takes too long: the rest evens out slow frames."""

ROOM = 0.75
"""Expected share that another size may take. Well below ``TOO_SLOW``, so that no load makes the size go to and fro."""

WINDOW_S = 1.0
"""Seconds over which the median of the times is taken; a compilation or another program's peak changes nothing."""

LEAST_FRAMES = 6
"""Frames in the window before anything is decided."""

ROOM_S = 3.0
"""Seconds for which a larger size must seem possible."""

PAUSE_S, LONGEST_PAUSE_S = 5.0, 320.0
"""Seconds from one change until the size grows: at first, and at most. Twice as long after each growth in vain."""

VAIN_S = 30.0
"""A growth that lasts less than this, seconds, was in vain."""

RATE_S = 2.0
"""Seconds over which a source's rate is measured."""

NOMINAL = 0.75
"""Share of its nominal rate below which a source is believed to be slower, as a camera in the dark is."""

REHEARSALS = 3
"""Frames that are stylized before the first one, to begin at the right size; the fastest one counts."""

logger = logging.getLogger(__name__)


class RateController:
    """Chooses among ``SHARES`` the largest size at which an engine keeps up."""

    def __init__(self) -> None:
        self.place = 0
        self._window: deque[tuple[float, float, float, float]] = deque()  # now_s, engine_s, other_s, period_s
        self._changed_s = self._grown_s = -LONGEST_PAUSE_S
        self._room_since_s: float | None = None
        self._pause_s = PAUSE_S

    @property
    def share(self) -> float:
        """The size to work at, as a share of each side."""
        return SHARES[self.place]

    def note(self, now_s: float, engine_s: float, other_s: float, period_s: float) -> int:
        """Take the times of one frame, and return the place in ``SHARES`` that fits better, or the present one.

        Args:
            now_s: monotonic time.
            engine_s: what the engine took, which grows with the number of pixels.
            other_s: what else stylizing took; nothing, where the frame is not resized.
            period_s: from one frame of the source to the next.
        """
        self._window.append((now_s, engine_s, other_s, period_s))
        while now_s - self._window[0][0] > WINDOW_S and len(self._window) > LEAST_FRAMES:
            self._window.popleft()
        if len(self._window) < LEAST_FRAMES:
            return self.place
        engine, other, period = (median(values) for values in list(zip(*self._window, strict=True))[1:])
        if engine + other > TOO_SLOW * period:
            self._room_since_s = None
            return self.fitting(engine, other, period)
        return self._grown(now_s, engine, other, period)

    def fitting(self, engine_s: float, other_s: float, period_s: float) -> int:
        """Return the largest smaller size at which the engine would keep up, given the times at the present size."""
        smaller = range(self.place + 1, len(SHARES))
        return next((i for i in smaller if self._expected(i, engine_s, other_s) <= ROOM * period_s), len(SHARES) - 1)

    def change(self, place: int, now_s: float) -> None:
        """Go to another place in ``SHARES``."""
        if place > self.place:
            vain = now_s - self._grown_s < VAIN_S
            self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s) if vain else PAUSE_S
        else:
            self._grown_s = now_s
        self.place, self._changed_s = place, now_s
        self.forget()

    def forget(self) -> None:
        """Forget the times, because frames or strokes have another size now."""
        self._window.clear()
        self._room_since_s = None

    def _grown(self, now_s: float, engine_s: float, other_s: float, period_s: float) -> int:
        """Return the largest larger size that has seemed possible for ``ROOM_S``, or the present one."""
        larger = range(self.place)
        place = next((i for i in larger if self._expected(i, engine_s, other_s) <= ROOM * period_s), None)
        if place is None:
            self._room_since_s = None
            return self.place
        if self._room_since_s is None:
            self._room_since_s = now_s
        ripe = now_s - self._room_since_s >= ROOM_S and now_s - self._changed_s >= self._pause_s
        return place if ripe else self.place

    def _expected(self, place: int, engine_s: float, other_s: float) -> float:
        """Return the time that a frame would take at another place, from those at the present one."""
        return engine_s * (SHARES[place] / self.share) ** 2 + (other_s if place else 0.0)


class SourceRate:
    """Measures the time between two frames of a source, also those that were dropped since.

    Args:
        fps: nominal frames per second; 0 if unknown.
    """

    def __init__(self, fps: Fraction) -> None:
        self._nominal_s = float(1 / fps) if fps > 0 else 0.0
        self._seen: deque[tuple[int, float]] = deque()

    def period_s(self, index: int, captured_s: float) -> float:
        """Take a frame's number and its time of capture, and return seconds per frame; 0 while they are unknown."""
        if self._seen and index <= self._seen[-1][0]:
            self._seen.clear()  # the source has begun again
        self._seen.append((index, captured_s))
        while captured_s - self._seen[0][1] > RATE_S and len(self._seen) > 2:
            self._seen.popleft()
        (first, first_s), nominal_s = self._seen[0], self._nominal_s
        if index == first or captured_s - first_s < RATE_S / 2:
            return nominal_s
        measured_s = (captured_s - first_s) / (index - first)
        return nominal_s if nominal_s <= measured_s <= nominal_s / NOMINAL else measured_s


class RateHold(EngineWrapper):
    """An engine that measures itself, and says at which ``share`` of their size frames should be stylized.

    One thread at a time calls it. The share is 1 while ``controls.hold_fps`` is off, and for sources that are not live.
    ``scale`` follows ``controls.scale`` as fast as sizes can be compiled: those that a slider passes through meanwhile
    are left out, and no frame waits.
    """

    def __init__(
        self, inner: Engine, controls: Controls, info: SourceInfo, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(inner)
        self._controls, self._info, self._clock = controls, info, clock
        self._rate, self._control = SourceRate(info.fps), RateController()
        self._engine_s = 0.0
        self._work: tuple[int, int, float] | None = None  # height and width of the frames, and scale
        self._preparing: _Preparation | None = None
        self._impossible = self._said = False
        self._scale = controls.scale
        self._refused_scale = math.nan

    def __call__(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> RGB:
        """Stylize one frame, and measure it; see ``engines.base.Engine``."""
        start_s = self._clock()
        stylized = self._inner(rgb, strength, colours)
        self._engine_s = self._clock() - start_s
        return stylized

    @property
    def share(self) -> float:
        """The size to stylize the next frame at, as a share of each side."""
        return self._control.share

    @property
    def scale(self) -> float:
        """The size of the strokes of the next frame; see ``Controls.scale``."""
        return self._scale

    def rehearse(self, height: int, width: int) -> None:
        """Compile for the first frame, of this size in pixels, and begin smaller if the engine is too slow for it."""
        blank, scale = np.zeros((height, width, 3), np.uint8), self._controls.scale
        self._scale = scale
        stylize(self, blank, scale=scale)
        period_s = float(1 / self._info.fps) if self._info.fps > 0 else 0.0
        if not self._holding or not period_s:
            return
        taken_s = min(self._timed(blank, scale) for _ in range(REHEARSALS))
        if taken_s <= TOO_SLOW * period_s:
            return
        place = self._control.fitting(taken_s, 0.0, period_s)
        try:
            stylize(self, blank, scale=scale, share=SHARES[place])
        except StylerError as error:
            self._refuse(str(error))
            return
        self._go(place, height, width, period_s)

    def note(self, frame: Frame, busy_s: float) -> None:
        """Take the time that one frame took, and change ``share`` if another one fits better."""
        height, width = frame.rgb.shape[:2]
        period_s = self._rate.period_s(frame.index, frame.captured_s)
        if not self._holding and self._control.place:
            self._control = RateController()
        if (height, width, self._scale) != self._work:
            self._work, self._impossible, self._refused_scale = (height, width, self._scale), False, math.nan
            self._control.forget()
        if self._compiles(height, width, period_s):
            return
        # Without strength nothing may be computed, and a frame that is repeated says nothing about the source.
        idle = not self._holding or self._impossible or not self._controls.strength or bool(frame.notice)
        if idle or not period_s:
            return
        place = self._control.note(self._clock(), self._engine_s, max(0.0, busy_s - self._engine_s), period_s)
        if place == self._control.place:
            return
        if isinstance(self._inner, SharedGraphEngine):
            self._preparing = _Preparation(self._inner, place, (height, width, self._scale))
        else:  # it compiles with its first frame of that size
            self._go(place, height, width, period_s)

    def close(self) -> None:
        """Wait for a compilation, if one runs, and close the inner engine; may be called twice."""
        if self._preparing is not None:
            self._preparing.thread.join()
            self._preparing = None
        super().close()

    @property
    def _holding(self) -> bool:
        return self._controls.hold_fps and self._info.live

    def _timed(self, rgb: RGB, scale: float) -> float:
        start_s = self._clock()
        stylize(self, rgb, scale=scale)
        return self._clock() - start_s

    def _compiles(self, height: int, width: int, period_s: float) -> bool:
        """Take what is compiled, or start on a scale that is wanted; return False if there is neither."""
        if self._preparing is None:
            return self._follow_scale(height, width)
        if not self._preparing.thread.is_alive():
            prepared, self._preparing = self._preparing, None
            self._take(prepared, period_s)
        return True

    def _follow_scale(self, height: int, width: int) -> bool:
        """Take the scale that is wanted, if it needs no compilation; otherwise start that, and return True."""
        wanted = self._controls.scale
        if wanted in (self._scale, self._refused_scale):
            return False
        before, after = (
            work_size(height, width, nearest_scale(scale, height, width), self.share) for scale in (self._scale, wanted)
        )
        if before != after and isinstance(self._inner, SharedGraphEngine):
            self._preparing = _Preparation(self._inner, self._control.place, (height, width, wanted))
            return True
        self._scale = wanted
        return False

    def _take_scale(self, prepared: _Preparation) -> None:
        """Take a scale that is compiled, also if a slider has moved on, but not if it has come back."""
        height, width, scale = prepared.work
        if prepared.fault:
            self._refused_scale = scale
            logger.warning("strokes of size %.2f are not possible, and stay as they are: %s", scale, prepared.fault)
        elif self._controls.scale != self._scale and (height, width, self._scale) == self._work:
            self._scale = scale

    def _take(self, prepared: _Preparation, period_s: float) -> None:
        if prepared.work[2] != self._scale:
            self._take_scale(prepared)
        elif prepared.fault:
            self._refuse(prepared.fault)
        elif prepared.work == self._work and self._holding:
            self._go(prepared.place, prepared.work[0], prepared.work[1], period_s)

    def _refuse(self, fault: str) -> None:
        self._impossible = True
        logger.warning("the frame rate cannot be held by working at a smaller size: %s", fault)

    def _go(self, place: int, height: int, width: int, period_s: float) -> None:
        self._control.change(place, self._clock())
        if not place or self._said:
            return
        self._said = True
        work = work_size(height, width, nearest_scale(self._scale, height, width), SHARES[place])
        logger.info(
            "%d×%d is too much for this machine at %.4g fps: it is stylized at %d×%d, with larger strokes, until there "
            "is room; --no-hold-fps drops frames instead",
            *(width, height, 1 / period_s, work[1], work[0]),
        )


class _Preparation:
    """Compiles for a share of the frames' size in a thread.

    Attributes:
        work: height and width of the frames, and scale.
        fault: why the engine cannot work at that size; empty if it can. Complete once the thread has ended.
    """

    def __init__(self, engine: SharedGraphEngine, place: int, work: tuple[int, int, float]) -> None:
        self.place, self.work, self.fault = place, work, ""
        self._engine = engine
        self.thread = Thread(target=self._run, name="rate hold", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        height, width, scale = self.work
        try:
            self._engine.prepare(*work_size(height, width, nearest_scale(scale, height, width), SHARES[self.place]))
        except Exception as error:  # noqa: BLE001  # the frames must go on; ``fault`` reports it
            self.fault = str(error) or type(error).__name__
