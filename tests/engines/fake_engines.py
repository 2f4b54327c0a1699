"""Stand-ins for two engines and for the build of the better one."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, get_ident

import numpy as np

from engines.base import RGB, EngineInfo, PendingFrame
from engines.errors import EngineError
from engines.hot_swap import HotSwapEngine

LONG_S = 10.0
"""More than any of these tests takes, seconds."""


class FakeEngine:
    """An engine that adds a number, remembers which threads called it, and is slow or broken on request."""

    def __init__(self, name: str, add: int = 0) -> None:
        self.name, self.add = name, add
        self.calls, self.closed = 0, 0
        self.threads: set[int] = set()
        self.fault = ""

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(self.name, "stand-in", "cpu", "fp32", "none")

    def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
        assert not self.closed, "a frame for an engine that is closed"
        self.calls += 1
        self.threads.add(get_ident())
        if self.fault:
            raise EngineError(self.fault)
        return np.asarray(rgb + self.add, np.uint8)

    def close(self) -> None:
        self.closed += 1


class FakePipelinedEngine(FakeEngine):
    """The same with ``submit``; it fails when the painting is fetched."""

    def submit(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> PendingFrame:
        kept = rgb.copy()

        class _Late:
            def result(inner) -> RGB:  # noqa: N805
                return self(kept, strength)

        return _Late()


class Build:
    """A better engine that is built when ``built`` is set."""

    def __init__(self, engine: FakeEngine, fault: str = "") -> None:
        self.engine, self.fault = engine, fault
        self.built, self.loads = Event(), Event()
        self.loads.set()
        self.progress = "layer 3 of 7"
        self.closed = 0
        self.threads: set[int] = set()

    def poll(self) -> str | None:
        self.threads.add(get_ident())
        return self.fault if self.built.is_set() else None

    def load(self) -> FakeEngine:
        assert self.loads.wait(LONG_S)
        return self.engine

    def close(self) -> None:
        self.closed += 1


class Shop:
    """Starts builds, and remembers them."""

    def __init__(self, make: Callable[[], Build]) -> None:
        self._make = make
        self.builds: dict[tuple[int, int], list[Build]] = {}

    def __call__(self, height: int, width: int) -> Build:
        build = self._make()
        self.builds.setdefault((height, width), []).append(build)
        return build

    def only(self, size: tuple[int, int] = (48, 64)) -> Build:
        wait_for(lambda: size in self.builds)
        return self.builds[size][-1]


def wait_for(happened: Callable[[], bool]) -> None:
    end_s = time.monotonic() + LONG_S
    while not happened():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.005)


def frame(number: int = 0, height: int = 48, width: int = 64) -> RGB:
    rgb = np.random.default_rng(number).integers(20, 200, (height, width, 3), np.uint8)
    rgb[0, 0, 0] = number
    return rgb


def swapping(shop: Shop, first: FakeEngine | None = None) -> HotSwapEngine:
    return HotSwapEngine(first or FakeEngine("first"), shop, settled_s=0.0)


def built(better: FakeEngine, first: FakeEngine | None = None) -> tuple[Shop, HotSwapEngine]:
    """One that has painted a frame, and whose better engine is built."""
    shop = Shop(lambda: Build(better))
    engine = swapping(shop, first)
    engine(frame())
    shop.only().built.set()
    return shop, engine


def run_until(engine: HotSwapEngine, name: str, size: tuple[int, int] = (48, 64)) -> list[RGB]:
    """Frames until the engine of that name paints; every painting is checked by the caller."""
    paintings: list[RGB] = []

    def painted() -> bool:
        paintings.append(engine(frame(len(paintings) % 20, *size)))
        return engine.info.name == name

    wait_for(painted)
    return paintings
