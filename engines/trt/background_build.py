"""TensorRT engines that are built in another process while frames go on."""

from __future__ import annotations

import logging
import time

from engines.mixing.mixed_style import MixedStyle
from engines.shared_pool import SharedPool
from engines.style_file import StyleModel
from engines.trt import builder
from engines.trt.build_process import BuildProcess
from engines.trt.engine import TensorRtEngine
from engines.trt.plan_cache import BusyError, PlanCache
from engines.trt.plan_record import Plan, PlanKey, speedup_of, too_slow

POLL_S = 0.1
"""Time between two polls of a build that is waited for, seconds."""

logger = logging.getLogger(__name__)

_builds: SharedPool[str, BuildProcess] = SharedPool()
"""The running build of this program, by the digest of its key. Styles that share a plan share its build."""


class BackgroundBuild:
    """Builds the engine for one style and frame size in another process: an ``engines.hot_swap.EngineBuild``.

    Styles that share a plan wait for the same build, which runs until the last of them gives up. The builds of a
    program run one after the other: ten at once, where each style needs its own, would leave nothing for the frames.

    Args:
        height, width: of a frame, pixels.
        cache: where the plans are; by default the user's cache.
        min_speedup: an engine that is known to be fewer times as fast as the cuda engine counts as failed.

    Attributes:
        progress: what is being done, as one line.

    Raises:
        EngineError: nothing can be built here, or the cache is not safe to use.
    """

    def __init__(
        self, style: StyleModel, height: int, width: int, cache: PlanCache | None = None, *, min_speedup: float = 0.0
    ) -> None:
        self._style, self._size, self._min_speedup = style, (height, width), min_speedup
        self._cache = cache or PlanCache()
        names = list(builder.BUILDERS)
        # The second builder reads the weights from a folder, which a mix does not have.
        self._untried = names[:1] if isinstance(style, MixedStyle) else names
        self._keys: dict[str, PlanKey] = {}
        self._build: tuple[str, BuildProcess] | None = None
        self._engine = TensorRtEngine(style, cache=self._cache)  # fail now if anything is missing
        self._is_loaded = False
        self.progress = ""

    def poll(self) -> str | None:
        """See ``engines.hot_swap.EngineBuild``."""
        if self._build is None:
            return self._begin()
        _, process = self._build
        self.progress = process.progress
        fault = process.poll()
        if fault is None:
            return None
        if not fault:
            return self._check_speed(self._cache.get(self._key(self._untried[0])))
        self._leave()
        self._untried.pop(0)
        return self._begin() if self._untried else fault

    def load(self) -> TensorRtEngine:
        """See ``engines.hot_swap.EngineBuild``."""
        self._is_loaded = True
        return self._engine

    def close(self) -> None:
        """See ``engines.hot_swap.EngineBuild``."""
        self._leave()
        if not self._is_loaded:
            self._engine.close()

    def _begin(self) -> str | None:
        """Start or join a build with the first builder that has not failed, unless its plan is in the cache."""
        fault = ""
        while self._untried:
            key = self._key(self._untried[0])
            fault = self._cache.fault(key)
            if not fault:
                if (plan := self._cache.get(key)) is not None:
                    return self._check_speed(plan)
                try:
                    self._build = key.digest, _builds.borrow(key.digest, self._start)
                    self.progress = ""
                except BusyError:
                    self.progress = "waiting for another build"
                return None
            self._untried.pop(0)
        return fault

    def _start(self) -> BuildProcess:
        """Start a build. Raises: BusyError: another one is running."""
        if any(process.poll() is None for process in _builds.values()):
            raise BusyError("another engine is being built")
        return BuildProcess(self._style.folder, *self._size, builder=self._untried[0], folder=self._cache.folder)

    def _check_speed(self, plan: Plan | None) -> str:
        """Return why a built plan is not used; if it is gone again, loading fails."""
        return "" if plan is None else too_slow(plan.extra, self._min_speedup)

    def _key(self, name: str) -> PlanKey:
        """Computed once, since files are hashed for it and each poll needs it."""
        if name not in self._keys:
            self._keys[name] = builder.BUILDERS[name].key(self._style, *self._size)
        return self._keys[name]

    def _leave(self) -> None:
        build, self._build = self._build, None
        if build is not None:
            _builds.give_back(build[0])


def build_plan(style: StyleModel, height: int, width: int, cache: PlanCache | None = None) -> str:
    """Build a plan, log the progress, and return why it failed; empty if it is in the cache now.

    Arguments and errors are those of ``BackgroundBuild``.
    """
    build, last = BackgroundBuild(style, height, width, cache), ""
    try:
        while (fault := build.poll()) is None:
            if build.progress != last:
                last = build.progress
                logger.info("%s", last)
            time.sleep(POLL_S)
        return fault
    finally:
        build.close()


def speedups(style: StyleModel, cache: PlanCache | None = None) -> dict[tuple[int, int], float]:
    """Return the speedups over the cuda engine of a style's built and timed engines, by (height, width) in pixels."""
    entries = {entry.key: entry for entry in (cache or PlanCache()).entries() if not entry.fault}
    found: dict[tuple[int, int], float] = {}
    for height, width in sorted({(key.height, key.width) for key in entries}):
        keys = (plan_builder.key(style, height, width) for plan_builder in builder.BUILDERS.values())
        first = next((entries[key] for key in keys if key in entries), None)
        if first is not None and (speedup := speedup_of(first.extra)) is not None:
            found[height, width] = speedup
    return found
