"""Stylize with one engine while a faster one is built, then switch between two frames.

Building a TensorRT engine takes minutes, and nobody should wait for it. The first engine works until the faster one for
the frame size is built, loaded and warm, and has stylized a real frame as the first one did. Whatever fails on the way
is logged once and changes nothing in the picture.
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import closing, suppress
from threading import Condition, Thread
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from engines.base import RGB, Engine, EngineInfo, PendingFrame, StrengthMap, check_rgb
from engines.errors import EngineError
from engines.parity import mismatch
from engines.strength_map import is_map, mean_strength
from engines.wrapper import EngineWrapper, submit_to

MIN_STRENGTH = 0.5
"""Frames of a lower strength are not compared: they are mostly the input, on which all engines agree."""

MIN_CONTRAST = 8
"""Frames whose values span less than this, of 255, are not compared: engines hardly differ on them."""

PATIENCE_S = 10.0
"""Seconds after which such a frame is compared anyway: a camera may be covered, or the strength low, for long."""

SETTLED_S = 0.5
"""Seconds for which a frame size must last before anything is built for it."""

POLL_S = 0.2
"""Seconds between two polls of a build."""

KEPT_SIZES = 3
"""Frame sizes whose faster engines are kept."""

logger = logging.getLogger(__name__)

T = TypeVar("T")


class EngineBuild(Protocol):
    """The build of an engine for one frame size. One thread at a time calls it, never the thread of the frames."""

    @property
    def progress(self) -> str:
        """The current step, as one line."""
        ...

    def poll(self) -> str | None:
        """Return ``None`` while the build runs, "" once it can be loaded, or why it failed. Does not wait."""
        ...

    def load(self) -> Engine:
        """Return the engine, which the caller must close, or raise EngineError. This may take a while."""
        ...

    def close(self) -> None:
        """Stop the build. May be called twice."""
        ...


class HotSwapEngine(EngineWrapper):
    """An engine that turns into a faster one while it runs.

    The first engine stylizes frames of a new size at once. A build that still runs for the previous size is stopped.
    ``submit`` and ``prepare`` exist if the first engine has them; ``prepare`` starts no build.

    Args:
        first: works until the faster engine can, and whenever that fails. It is closed together with this engine.
        start_build: starts the build for a height and a width, in pixels; called in another thread.
        settled_s: how long a frame size must last before ``start_build`` is called, seconds.
    """

    def __init__(
        self, first: Engine, start_build: Callable[[int, int], EngineBuild], *, settled_s: float = SETTLED_S
    ) -> None:
        super().__init__(first)
        self._start_build, self._settled_s, self._first_name = start_build, settled_s, first.info.name
        self._swaps: OrderedDict[tuple[int, int], _Swap] = OrderedDict()
        self._leaving: list[_Swap] = []
        self._closed = False

    @property
    def info(self) -> EngineInfo:
        """Description of the engine that works on the current frame size."""
        swap = self._last()
        return (swap.engine if swap is not None and swap.engine is not None else self._inner).info

    @property
    def progress(self) -> str:
        """The current step of the build for the current frame size, as one line; empty if there is none."""
        swap = self._last()
        return swap.progress if swap else ""

    def __call__(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> RGB:
        """Stylize one frame; see ``engines.base.Engine``."""
        swap = self._swap(rgb)
        if (engine := swap.engine) is not None:
            with suppress(EngineError):
                return swap.watch(lambda: engine(rgb, strength, colours))
        stylized = self._inner(rgb, strength, colours)
        wanted = swap.wants(rgb, strength)
        return swap.offer(_sample(rgb, strength, colours), stylized) if wanted else stylized

    def _submit(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> PendingFrame:
        """Start on one frame. A faster engine that fails only in ``result`` loses its frames; the first one goes on."""
        swap = self._swap(rgb)
        if (engine := swap.engine) is not None:
            with suppress(EngineError):
                fast = swap.watch(lambda: submit_to(engine, rgb, strength, colours))
                return _Pending(lambda: swap.watch(fast.result))
        wanted = swap.wants(rgb, strength)
        pending = super()._submit(rgb, strength, colours)
        if not wanted:
            return pending
        sample = _sample(rgb, strength, colours)
        return _Pending(lambda: swap.offer(sample, pending.result()))

    def close(self) -> None:
        """Free both engines and stop the builds. May be called twice."""
        self._closed = True
        swaps = [*self._leaving, *self._swaps.values()]
        for swap in swaps:
            swap.stop()
        for swap in swaps:
            swap.thread.join()
        self._leaving.clear()
        self._swaps.clear()
        super().close()

    def _last(self) -> _Swap | None:
        return next(reversed(self._swaps.values()), None)

    def _swap(self, rgb: RGB) -> _Swap:
        """Return the swap for the size of a frame, started now if there is none. Never waits."""
        if self._closed:
            raise EngineError("the engine is closed")
        check_rgb(rgb)
        size = (rgb.shape[0], rgb.shape[1])
        last = self._last()
        if last is not None and last.size == size:
            return last
        if last is not None and not last.settled:
            self._leave(last)
        if size not in self._swaps:
            self._swaps[size] = _Swap(size, self._start_build, self._settled_s, self._may_build)
        self._swaps.move_to_end(size)
        while len(self._swaps) > KEPT_SIZES:
            self._leave(next(iter(self._swaps.values())))
        return self._swaps[size]

    def _may_build(self) -> bool:
        """Return False if the card has failed, and another engine continues."""
        return self._inner.info.name == self._first_name

    def _leave(self, swap: _Swap) -> None:
        """Drop a size without waiting for its thread."""
        del self._swaps[swap.size]
        swap.stop()
        self._leaving = [*(one for one in self._leaving if one.thread.is_alive()), swap]


class _Swap:
    """The way from the first engine to the faster one, for one frame size; its own thread does all that takes time.

    Attributes:
        size: (height, width), in pixels.
        engine: the faster engine, once it may be used.
        progress: the current step, as one line; empty if there is none.
        settled: the faster engine is in use, or never will be.
        thread: once it has ended, everything is freed.
    """

    def __init__(
        self,
        size: tuple[int, int],
        start_build: Callable[[int, int], EngineBuild],
        settled_s: float,
        may_build: Callable[[], bool],
    ) -> None:
        self.size = size
        self.engine: Engine | None = None
        self.progress = ""
        self.settled = False
        self._start_build, self._settled_s, self._may_build = start_build, settled_s, may_build
        self._changed = Condition()
        self._stopped = self._waits_for_sample = False
        self._refused_s = math.inf  # when the first unsuitable frame came
        self._sample: tuple[_Sample, RGB] | None = None
        self.thread = Thread(target=self._run, name="hot-swap", daemon=True)
        self.thread.start()

    def wants(self, rgb: RGB, strength: float | StrengthMap) -> bool:
        """Return True if this frame should be offered for the comparison."""
        if not self._waits_for_sample:
            return False
        if mean_strength(strength) >= MIN_STRENGTH and int(np.ptp(rgb[::8, ::8])) >= MIN_CONTRAST:
            return True
        now = time.monotonic()
        self._refused_s = min(self._refused_s, now)
        return now >= self._refused_s + PATIENCE_S

    def offer(self, sample: _Sample, stylized: RGB) -> RGB:
        """Hand over a frame and the first engine's result; return the result."""
        with self._changed:
            if self._waits_for_sample:
                self._waits_for_sample, self._sample = False, (sample, stylized.copy())
                self._changed.notify_all()
        return stylized

    def watch(self, work: Callable[[], T]) -> T:
        """Let the faster engine work; stop using it if it fails."""
        try:
            return work()
        except EngineError as error:
            self.engine = None
            self._fail(f"it failed: {error}")
            self.stop()
            raise

    def stop(self) -> None:
        """Tell the thread to end, without waiting for it."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _run(self) -> None:
        candidate: Engine | None = None
        try:
            candidate = self._load()
            if candidate is not None and self._matches(candidate):
                self.progress, self.settled, self.engine = "", True, candidate
                logger.info("%s is in use from now on", self._name)
                self._wait(None)
        except Exception as error:  # noqa: BLE001  # anything a builder or a driver raises; frames must go on
            self._fail(str(error) or type(error).__name__)
        finally:
            self.engine = None
            if candidate is not None:
                candidate.close()

    def _load(self) -> Engine | None:
        """Return the faster engine once it is built, or ``None`` if it is time to stop."""
        if self._wait(self._settled_s) or not self._may_build():
            return None
        with closing(self._start_build(*self.size)) as build:
            while (fault := build.poll()) is None:
                self._set_progress(build.progress)
                if self._wait(POLL_S):
                    return None
            if fault:
                self._fail(fault, logging.INFO)
                return None
            self._set_progress("loading")
            return build.load()

    def _matches(self, candidate: Engine) -> bool:
        """Return True if the candidate stylizes the next suitable frame as the first engine did."""
        candidate(np.zeros((*self.size, 3), np.uint8))  # loads, compiles and captures what the first frame needs
        with self._changed:
            self._waits_for_sample = True
            self._changed.wait_for(lambda: self._stopped or self._sample is not None)
            found, self._sample = self._sample, None
        if found is None:
            return False
        sample, stylized = found
        if fault := mismatch(stylized, candidate(*sample)):
            self._fail(f"its image differs: {fault}")
        return not fault

    @property
    def _name(self) -> str:
        return f"the faster engine for {self.size[1]}×{self.size[0]}"

    def _set_progress(self, progress: str) -> None:
        if progress != self.progress:
            self.progress = progress
            if progress:
                logger.info("%s: %s", self._name, progress)

    def _wait(self, seconds: float | None) -> bool:
        """Wait this long, or until ``stop``; return True if it is time to stop."""
        with self._changed:
            return self._changed.wait_for(lambda: self._stopped, seconds)

    def _fail(self, fault: str, level: int = logging.WARNING) -> None:
        if not self._stopped:
            logger.log(level, "%s is not used: %s", self._name, fault)
        self.progress, self.settled = "", True


class _Sample(NamedTuple):
    """A frame that nobody changes afterwards, and the settings with which it was stylized."""

    rgb: RGB
    strength: float | StrengthMap
    colours: float


def _sample(rgb: RGB, strength: float | StrengthMap, colours: float) -> _Sample:
    return _Sample(rgb.copy(), strength.copy() if is_map(strength) else strength, colours)


class _Pending:
    """A frame under way, and the function that waits for it; see ``PendingFrame``."""

    def __init__(self, result: Callable[[], RGB]) -> None:
        self.result = result
