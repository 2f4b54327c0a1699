"""The change from one engine to a better one, with stand-ins for both and for the build."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Event, Thread, get_ident

import numpy as np
import pytest

from engines import hot_swap
from engines.base import RGB, EngineInfo, PendingFrame, PipelinedEngine, SharedGraphEngine
from engines.errors import EngineError, ShapeError
from engines.hot_swap import KEPT_SIZES, HotSwapEngine

LONG_S = 10.0
"""More than any of these tests takes, seconds."""


class Painter:
    """An engine that adds a number, remembers which threads called it, and is slow or broken on request."""

    def __init__(self, name: str, add: int = 0) -> None:
        self.name, self.add = name, add
        self.calls, self.closed = 0, 0
        self.threads: set[int] = set()
        self.fault = ""

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(self.name, "stand-in", "cpu", "fp32", "none")

    def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
        assert not self.closed, "a frame for an engine that is closed"
        self.calls += 1
        self.threads.add(get_ident())
        if self.fault:
            raise EngineError(self.fault)
        return np.asarray(rgb + self.add, np.uint8)

    def close(self) -> None:
        self.closed += 1


class OverlappedPainter(Painter):
    """The same with ``submit``; it fails when the painting is fetched."""

    def submit(self, rgb: RGB, strength: float = 1.0) -> PendingFrame:
        kept = rgb.copy()

        class _Late:
            def result(inner) -> RGB:  # noqa: N805
                return self(kept, strength)

        return _Late()


class Build:
    """A better engine that is built when ``built`` is set."""

    def __init__(self, engine: Painter, fault: str = "") -> None:
        self.engine, self.fault = engine, fault
        self.built, self.loads = Event(), Event()
        self.loads.set()
        self.progress = "layer 3 of 7"
        self.closed = 0
        self.threads: set[int] = set()

    def poll(self) -> str | None:
        self.threads.add(get_ident())
        return self.fault if self.built.is_set() else None

    def load(self) -> Painter:
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


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "engines")


def faults_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in caplog.messages if " is not used: " in message]


def swapping(shop: Shop, first: Painter | None = None) -> HotSwapEngine:
    return HotSwapEngine(first or Painter("first"), shop, settled_s=0.0)


def built(better: Painter, first: Painter | None = None) -> tuple[Shop, HotSwapEngine]:
    """One that has painted a frame, and whose better engine is built."""
    shop = Shop(lambda: Build(better))
    engine = swapping(shop, first)
    engine(frame())
    shop.only().built.set()
    return shop, engine


def paint_until(engine: HotSwapEngine, name: str, size: tuple[int, int] = (48, 64)) -> list[RGB]:
    """Frames until the engine of that name paints; every painting is checked by the caller."""
    paintings: list[RGB] = []

    def painted() -> bool:
        paintings.append(engine(frame(len(paintings) % 20, *size)))
        return engine.info.name == name

    wait_for(painted)
    return paintings


def test_frames_come_at_once_and_the_better_engine_takes_over_between_two_of_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    better = Painter("better", add=1)
    shop = Shop(lambda: Build(better))
    engine = swapping(shop)
    for number in range(5):
        assert np.array_equal(engine(frame(number)), frame(number))
    wait_for(lambda: engine.progress == "layer 3 of 7")
    assert engine.info.name == "first"
    shop.only().built.set()
    paintings = paint_until(engine, "better")
    steps = [int(painting[5, 5, 0]) - int(frame(n % 20)[5, 5, 0]) for n, painting in enumerate(paintings)]
    assert steps == sorted(steps), "once changed, it stays"
    assert np.array_equal(engine(frame(7)), frame(7) + 1)
    assert engine.progress == ""
    assert shop.only().closed == 1, "the build was let go"
    assert not faults_in(caplog)
    engine.close()
    assert better.closed == 1


def test_no_frame_waits_for_a_build_or_a_load() -> None:
    shop = Shop(lambda: Build(Painter("better")))
    first = Painter("first")
    engine = swapping(shop, first)
    engine(frame())
    build = shop.only()
    build.loads.clear()
    build.built.set()
    wait_for(lambda: "loading" in engine.progress)
    start_s = time.monotonic()
    for number in range(50):
        engine(frame(number % 20))
    assert time.monotonic() - start_s < LONG_S / 5
    assert first.threads == {get_ident()}
    assert get_ident() not in build.threads
    build.loads.set()
    paint_until(engine, "better")
    engine.close()


def test_frames_on_their_way_come_in_order_through_the_change() -> None:
    shop = Shop(lambda: Build(OverlappedPainter("better", add=1)))
    engine = swapping(shop, OverlappedPainter("first"))
    assert isinstance(engine, PipelinedEngine)
    engine(frame())
    shop.only().built.set()
    waiting: list[PendingFrame] = []
    came: list[int] = []

    def changed() -> bool:
        waiting.append(engine.submit(frame((len(came) + len(waiting)) % 20)))
        if len(waiting) == 3:
            came.append(int(waiting.pop(0).result()[0, 0, 0]))
        return engine.info.name == "better" and len(came) > 3

    wait_for(changed)
    for _ in range(6):
        waiting.append(engine.submit(frame((len(came) + len(waiting)) % 20)))
        came.append(int(waiting.pop(0).result()[0, 0, 0]))
    numbers = [value - (n % 20) for n, value in enumerate(came)]
    assert numbers == sorted(numbers) and set(numbers) == {0, 1}, "none is lost, doubled or overtaken"
    engine.close()


def test_a_build_that_fails_is_told_in_one_line_and_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop(lambda: Build(Painter("better"), "no kernel for layer 4"))
    engine = swapping(shop)
    engine(frame())
    shop.only().built.set()
    wait_for(lambda: bool(faults_in(caplog)))
    for number in range(20):
        assert np.array_equal(engine(frame(number)), frame(number))
    assert faults_in(caplog) == ["the faster engine for 64×48 is not used: no kernel for layer 4"]
    assert len(shop.builds[48, 64]) == 1
    assert (engine.info.name, engine.progress) == ("first", "")
    engine.close()


def test_what_a_builder_raises_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    def broken(height: int, width: int) -> Build:
        raise ZeroDivisionError("a driver's own")

    engine = HotSwapEngine(Painter("first"), broken, settled_s=0.0)
    engine(frame())
    wait_for(lambda: bool(faults_in(caplog)))
    assert "a driver's own" in faults_in(caplog)[0]
    assert np.array_equal(engine(frame(3)), frame(3))
    engine.close()


@pytest.mark.parametrize("overlapped", [False, True])
def test_another_picture_is_not_taken(overlapped: bool, caplog: pytest.LogCaptureFixture) -> None:
    kind = OverlappedPainter if overlapped else Painter
    better = kind("better", add=9)
    _, engine = built(better, kind("first"))

    def told() -> bool:
        stylized = engine.submit(frame(4)).result() if overlapped else engine(frame(4))
        assert np.array_equal(stylized, frame(4))
        return bool(faults_in(caplog))

    wait_for(told)
    assert "its image differs" in faults_in(caplog)[0] and "farthest is 9" in faults_in(caplog)[0]
    wait_for(lambda: better.closed == 1)
    assert engine.info.name == "first"
    engine.close()


def test_only_a_frame_that_tells_something_is_compared(caplog: pytest.LogCaptureFixture) -> None:
    better = Painter("better", add=9)
    _, engine = built(better)
    wait_for(lambda: better.calls == 1)  # it is warm
    time.sleep(0.02)
    for _ in range(5):
        engine(np.zeros((48, 64, 3), np.uint8))
        engine(frame(), strength=0.1)
    time.sleep(0.02)
    assert better.calls == 1 and not faults_in(caplog)
    engine.close()


def test_where_no_frame_tells_anything_it_takes_over_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hot_swap, "PATIENCE_S", 0.2)
    better = Painter("better")
    _, engine = built(better)
    wait_for(lambda: better.calls == 1)  # it is warm
    time.sleep(0.3)
    engine(frame(), strength=0.1)
    time.sleep(0.02)
    assert better.calls == 1, "while no frame came, none was waited for"

    def taken() -> bool:
        engine(frame(), strength=0.1)
        return engine.info.name == "better"

    wait_for(taken)
    assert not faults_in(caplog)
    engine.close()


def test_a_frame_may_be_changed_by_its_owner_while_it_is_compared(caplog: pytest.LogCaptureFixture) -> None:
    _, engine = built(OverlappedPainter("better", add=1), OverlappedPainter("first"))

    def changed() -> bool:
        rgb = frame(3)
        pending = engine.submit(rgb)
        rgb[:] = 0
        pending.result()[:] = 255
        return engine.info.name == "better"

    wait_for(changed)
    assert not faults_in(caplog)
    engine.close()


def test_a_better_engine_that_fails_gives_way_to_the_first(caplog: pytest.LogCaptureFixture) -> None:
    better = Painter("better", add=1)
    shop, engine = built(better)
    paint_until(engine, "better")
    better.fault = "the card is gone"
    assert np.array_equal(engine(frame(2)), frame(2)), "the very frame is painted by the first"
    assert engine.info.name == "first"
    assert len(faults_in(caplog)) == 1 and "the card is gone" in faults_in(caplog)[0]
    wait_for(lambda: better.closed == 1)
    assert len(shop.builds[48, 64]) == 1
    engine.close()


def test_a_better_engine_that_fails_late_says_so_and_gives_way(caplog: pytest.LogCaptureFixture) -> None:
    better = OverlappedPainter("better", add=1)
    _, engine = built(better, OverlappedPainter("first"))
    paint_until(engine, "better")
    pending = engine.submit(frame(2))
    better.fault = "the card is gone"
    with pytest.raises(EngineError, match="the card is gone"):
        pending.result()
    assert np.array_equal(engine.submit(frame(2)).result(), frame(2))
    assert len(faults_in(caplog)) == 1
    engine.close()


def test_a_new_frame_size_starts_again_and_gives_up_what_is_not_built(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop(lambda: Build(Painter("better", add=1)))
    engine = swapping(shop)
    engine(frame())
    old = shop.only()
    assert np.array_equal(engine(frame(1, 96, 32)), frame(1, 96, 32))
    wait_for(lambda: old.closed == 1)
    shop.only((96, 32)).built.set()
    paint_until(engine, "better", (96, 32))
    assert np.array_equal(engine(frame(1)), frame(1)), "the old size is painted by the first again"
    assert engine.info.name == "first"
    wait_for(lambda: len(shop.builds[48, 64]) == 2)
    assert np.array_equal(engine(frame(1, 96, 32)), frame(1, 96, 32) + 1), "what was ready is kept"
    engine.close()
    assert not faults_in(caplog)


def test_a_size_that_does_not_last_builds_nothing() -> None:
    shop = Shop(lambda: Build(Painter("better")))
    engine = HotSwapEngine(Painter("first"), shop, settled_s=LONG_S)
    for number in range(30):
        engine(frame(number % 20, 16 + 16 * (number % 2)))
    assert not shop.builds
    engine.close()


def test_sizes_are_kept_up_to_a_bound() -> None:
    made: list[Painter] = []

    def make() -> Build:
        made.append(Painter("better", add=1))
        build = Build(made[-1])
        build.built.set()
        return build

    engine = swapping(Shop(make))
    for number in range(KEPT_SIZES + 2):
        paint_until(engine, "better", (32 + 16 * number, 64))
    wait_for(lambda: sum(painter.closed for painter in made) == 2)
    assert [painter.closed for painter in made[:2]] == [1, 1], "those used longest ago"
    engine.close()
    assert all(painter.closed == 1 for painter in made)


@pytest.mark.parametrize("stage", ["building", "loading", "comparing"])
def test_closing_in_the_middle_ends_the_build_and_frees_everything(
    stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, better = Painter("first"), Painter("better")
    shop = Shop(lambda: Build(better))
    engine = swapping(shop, first)
    engine(frame())
    build = shop.only()
    if stage == "loading":
        build.loads.clear()
    if stage != "building":
        build.built.set()
        wait_for(lambda: "loading" in engine.progress)
    if stage == "comparing":
        wait_for(lambda: better.calls == 1)
    closing = Thread(target=engine.close)
    closing.start()
    build.loads.set()
    closing.join(LONG_S)
    assert not closing.is_alive()
    assert (build.closed, first.closed) == (1, 1)
    assert better.closed == (0 if stage == "building" else 1)
    assert not faults_in(caplog)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine(frame())


def test_what_is_no_frame_is_refused_before_anything_begins() -> None:
    shop = Shop(lambda: Build(Painter("better")))
    engine = swapping(shop)
    with pytest.raises(ShapeError):
        engine(np.zeros((8, 8, 3), np.uint8))
    assert (engine.progress, engine.info.name, shop.builds) == ("", "first", {})
    engine.close()


def test_preparing_prepares_the_first_engine_and_builds_nothing() -> None:
    prepared: list[tuple[int, int]] = []

    class Sharing(Painter):
        def prepare(self, height: int, width: int) -> None:
            prepared.append((height, width))

    shop = Shop(lambda: Build(Painter("better")))
    engine = swapping(shop, Sharing("first"))
    assert isinstance(engine, SharedGraphEngine)
    engine.prepare(48, 64)
    assert (prepared, engine.progress, shop.builds) == ([(48, 64)], "", {})
    engine.close()
    assert not isinstance(swapping(shop), SharedGraphEngine | PipelinedEngine)


def test_a_better_engine_that_cannot_overlap_is_waited_for() -> None:
    _, engine = built(Painter("better", add=1), OverlappedPainter("first"))
    paint_until(engine, "better")
    assert isinstance(engine, PipelinedEngine)
    assert np.array_equal(engine.submit(frame(2)).result(), frame(2) + 1)
    engine.close()
