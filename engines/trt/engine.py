"""The TensorRT engine: fp16 on an NVIDIA card, from a plan that was built on this machine for this frame size.

A plan is never built while a frame waits: ``PlanAhead`` has it built in another process, ``engines.hot_swap`` paints
meanwhile. ``engines.trt.builder`` builds, ``engines.trt.runtime`` runs, ``engines.trt.plan_cache`` keeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

import torch

from engines.base import RGB, EngineInfo, Pending, check_rgb, check_strength
from engines.cuda.engine import require
from engines.cuda.stream_pipeline import Overlap
from engines.errors import EngineError
from engines.style_file import StyleModel
from engines.trt import build_worker
from engines.trt.build_process import BuildProcess
from engines.trt.builder import BUILDER, DEVICE, OWN, PlanBuilder
from engines.trt.compat import import_tensorrt, installed
from engines.trt.plan_cache import PlanCache
from engines.trt.plan_record import Plan, PlanKey, gain_of, too_slow
from engines.trt.refit import RefitError
from engines.trt.runtime import DifferentError, PlanBody, load_body

__all__ = ["BUILDER", "BUILDERS", "OWN", "PlanAhead", "TensorRtEngine", "build_plan"]

POLL_S = 0.1
"""Time between two looks at a build that is waited for, seconds."""

BUILDERS: dict[str, PlanBuilder] = dict(zip(build_worker.BUILDERS, (BUILDER, OWN), strict=True))
"""Builders by the names that a build process knows them by, best first; the next is for where the one before fails."""


class TensorRtEngine:
    """Stylizes with built plans; see ``engines.base.OverlappedEngine`` for the promises. Several threads may call.

    A frame size whose plan is not in the cache raises an error: it is built by ``build_plan`` or ``PlanAhead``. Each
    engine holds a copy of the plan of its own on the card, with its style's weights, so that a change of style is a
    change of the engine and takes no time. Importing this imports torch: ``engines.cuda.engine.require``
    tells whether it can.

    Args:
        style: a verified style.
        threads: there is nothing to do for them; as for the other engines.
        cache: where the plans are; the user's unless told.
        device: for tests only, ``cpu`` with a stand-in for TensorRT.

    Raises:
        EngineError: there is no card, TensorRT is missing, its flavour does not run on this card, or the cache cannot
            be trusted.
        StyleError: the style's files cannot be read.
    """

    def __init__(
        self,
        style: StyleModel,
        threads: int | None = None,
        cache: PlanCache | None = None,
        *,
        device: torch.device | None = None,
    ) -> None:
        if threads is not None and threads < 1:
            raise EngineError(f"cannot run on {threads} threads", hint="give 1 or more")
        device = device or DEVICE
        require(device.type)
        self._flavour = installed()
        if device.type == "cuda":
            major, minor = torch.cuda.get_device_capability(device)
            self._flavour.check(f"{major}.{minor}")
        import_tensorrt(self._flavour)  # what does not load is told now
        self._style, self._device = style, device
        self._cache = cache or PlanCache()
        self._overlap = Overlap(self._body, str(device))
        self._info = EngineInfo(
            name="tensorrt",
            runtime=self._flavour.runtime,
            device=str(torch.cuda.get_device_name(device)) if device.type == "cuda" else str(device),
            precision="fp16",
            style=style.name,
        )

    @property
    def info(self) -> EngineInfo:
        """What this engine is."""
        return self._info

    def submit(self, rgb: RGB, strength: float = 1.0) -> Pending:
        """Begin with one frame; see ``engines.base.OverlappedEngine``.

        Raises:
            ShapeError: not an RGB picture, or outside the size limits; strength outside 0…1.
            EngineError: the engine is closed, no plan is built for this size, it cannot be trusted, or the card failed.
        """
        check_rgb(rgb)
        check_strength(strength)
        return self._overlap.submit(rgb, strength)

    def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
        """Stylize one frame; see ``submit``."""
        return self.submit(rgb, strength).result()

    def close(self) -> None:
        """Free what is on the card. Twice is fine."""
        self._overlap.close()

    def _body(self, height: int, width: int) -> PlanBody:
        """The best plan in the cache that proves itself."""
        for builder in BUILDERS.values():
            key = builder.key(self._style, height, width)
            if self._cache.fault(key) or (plan := self._cache.get(key)) is None:
                continue
            try:
                return load_body(self._flavour, plan, self._style, height, width, self._device)
            except (RefitError, DifferentError) as error:
                self._cache.refuse(key, error.problem)
        raise EngineError(
            f"no TensorRT engine is built for {width}×{height}",
            hint=f"rtstyle engine build {self._style.name} --size {width}x{height}",
        )


def gains(style: StyleModel, cache: PlanCache | None = None) -> dict[tuple[int, int], float]:
    """How many times as fast as the cuda engine what was built for this machine paints a style.

    Args:
        style: a verified style.
        cache: where plans are; the user's unless told.

    Returns:
        by (height, width) of a frame, pixels; without those that nobody has timed.

    Raises:
        EngineError: as ``PlanAhead``.
    """
    entries = {entry.key: entry for entry in (cache or PlanCache()).entries() if not entry.fault}
    found: dict[tuple[int, int], float] = {}
    for height, width in sorted({(key.height, key.width) for key in entries}):
        keys = (builder.key(style, height, width) for builder in BUILDERS.values())
        first = next((entries[key] for key in keys if key in entries), None)
        if first is not None and (gain := gain_of(first.extra)) is not None:
            found[height, width] = gain
    return found


class PlanAhead:
    """An engine for one style and frame size that is built in another process: an ``engines.hot_swap.Better``.

    Styles that share a plan wait for one and the same build, which goes on until the last of them gives it up. Builds
    of a program come one after the other: where each style needs its own, ten at once would leave nothing for frames.

    Args:
        style: a verified style.
        height, width: of a frame, pixels.
        cache: where plans are; the user's unless told.
        choosy: one that gains too little over the cuda engine counts as one that cannot be had.

    Raises:
        EngineError: none can be built here, or the cache cannot be trusted.
    """

    def __init__(
        self, style: StyleModel, height: int, width: int, cache: PlanCache | None = None, *, choosy: bool = False
    ) -> None:
        self._style, self._size, self._choosy = style, (height, width), choosy
        self._cache = cache or PlanCache()
        self._left = list(BUILDERS)
        self._keys: dict[str, PlanKey] = {}
        self._build: _Build | None = None
        self._engine = TensorRtEngine(style, cache=self._cache)  # what it lacks is told before anything is built
        self._is_loaded = False
        self.progress = ""

    def poll(self) -> str | None:
        """See ``engines.hot_swap.Better``."""
        if self._build is None:
            return self._begin()
        self.progress = self._build.process.progress
        fault = self._build.process.poll()
        if fault is None:
            return None
        if not fault:
            return self._verdict(self._cache.get(self._key(self._left[0])))
        self._let_go()
        self._left.pop(0)
        return self._begin() if self._left else fault

    def load(self) -> TensorRtEngine:
        """See ``engines.hot_swap.Better``."""
        self._is_loaded = True
        return self._engine

    def close(self) -> None:
        """See ``engines.hot_swap.Better``."""
        self._let_go()
        if not self._is_loaded:
            self._engine.close()

    def _begin(self) -> str | None:
        """Have built what is not in the cache, with the first builder that has not failed, when its turn comes."""
        fault = ""
        while self._left:
            key = self._key(self._left[0])
            fault = self._cache.fault(key)
            if not fault:
                if (plan := self._cache.get(key)) is not None:
                    return self._verdict(plan)
                self._build = _Build.join(key.digest, self._style.folder, self._size, self._left[0], self._cache.folder)
                self.progress = "" if self._build else "waits for another build"
                return None
            self._left.pop(0)
        return fault

    def _verdict(self, plan: Plan | None) -> str:
        """Why a plan that was built is not used; where it is gone again, loading tells."""
        return too_slow(plan.extra) if self._choosy and plan is not None else ""

    def _key(self, name: str) -> PlanKey:
        """Asked for at each look while it is not its turn, so it is computed once: files are hashed for it."""
        if name not in self._keys:
            self._keys[name] = BUILDERS[name].key(self._style, *self._size)
        return self._keys[name]

    def _let_go(self) -> None:
        build, self._build = self._build, None
        if build is not None:
            build.leave()


class _Build:
    """One build process of this program, and how many wait for it."""

    _running: dict[str, _Build] = {}  # noqa: RUF012  # all of the program's
    _lock = Lock()

    def __init__(self, digest: str, process: BuildProcess) -> None:
        self.digest, self.process, self._waiting = digest, process, 0

    @classmethod
    def join(cls, digest: str, style: Path, size: tuple[int, int], builder: str, folder: Path) -> _Build | None:
        """The build of the plan with this digest, begun now if need be; ``None`` while another one is under way.

        Raises:
            EngineError: no process can be started.
        """
        with cls._lock:
            build = cls._running.get(digest)
            if build is None:
                if any(other.process.poll() is None for other in cls._running.values()):
                    return None
                build = cls._running[digest] = cls(digest, BuildProcess(style, *size, builder=builder, folder=folder))
            build._waiting += 1
        return build

    def leave(self) -> None:
        """Wait no longer; the last one ends the process."""
        with self._lock:
            self._waiting -= 1
            if self._waiting:
                return
            del self._running[self.digest]
        self.process.close()


def build_plan(
    style: StyleModel, height: int, width: int, told: Callable[[str], None], cache: PlanCache | None = None
) -> str:
    """Have a plan built, and wait for it.

    Args:
        style: a verified style.
        height, width: of a frame, pixels.
        told: takes a line about how far it is, each one once.
        cache: where plans are; the user's unless told.

    Returns:
        empty when it is in the cache, else why not.

    Raises:
        EngineError: none can be built here, or the cache cannot be trusted.
    """
    ahead, last = PlanAhead(style, height, width, cache), ""
    try:
        while (fault := ahead.poll()) is None:
            if ahead.progress != last:
                last = ahead.progress
                told(last)
            time.sleep(POLL_S)
        return fault
    finally:
        ahead.close()
