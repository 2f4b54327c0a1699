"""The change from one engine to a better one, with stand-ins for both and for the build."""

from __future__ import annotations

import logging
import time
from threading import Thread, get_ident

import numpy as np
import pytest

from engines import hot_swap
from engines.base import PendingFrame, PipelinedEngine, SharedGraphEngine
from engines.errors import EngineError, ShapeError
from engines.hot_swap import KEPT_SIZES, HotSwapEngine
from tests.engines.fake_engines import (
    LONG_S,
    Build,
    FakeEngine,
    FakePipelinedEngine,
    Shop,
    built,
    frame,
    run_until,
    swapping,
    wait_for,
)


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "engines")


def faults_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in caplog.messages if " is not used: " in message]


def test_frames_come_at_once_and_the_better_engine_takes_over_between_two_of_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    better = FakeEngine("better", add=1)
    shop = Shop(lambda: Build(better))
    engine = swapping(shop)
    for number in range(5):
        assert np.array_equal(engine(frame(number)), frame(number))
    wait_for(lambda: engine.progress == "layer 3 of 7")
    assert engine.info.name == "first"
    shop.only().built.set()
    paintings = run_until(engine, "better")
    steps = [int(painting[5, 5, 0]) - int(frame(n % 20)[5, 5, 0]) for n, painting in enumerate(paintings)]
    assert steps == sorted(steps), "once changed, it stays"
    assert np.array_equal(engine(frame(7)), frame(7) + 1)
    assert engine.progress == ""
    assert shop.only().closed == 1, "the build was let go"
    assert not faults_in(caplog)
    engine.close()
    assert better.closed == 1


def test_no_frame_waits_for_a_build_or_a_load() -> None:
    shop = Shop(lambda: Build(FakeEngine("better")))
    first = FakeEngine("first")
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
    run_until(engine, "better")
    engine.close()


def test_frames_on_their_way_come_in_order_through_the_change() -> None:
    shop = Shop(lambda: Build(FakePipelinedEngine("better", add=1)))
    engine = swapping(shop, FakePipelinedEngine("first"))
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
    shop = Shop(lambda: Build(FakeEngine("better"), "no kernel for layer 4"))
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

    engine = HotSwapEngine(FakeEngine("first"), broken, settled_s=0.0)
    engine(frame())
    wait_for(lambda: bool(faults_in(caplog)))
    assert "a driver's own" in faults_in(caplog)[0]
    assert np.array_equal(engine(frame(3)), frame(3))
    engine.close()


@pytest.mark.parametrize("overlapped", [False, True])
def test_another_picture_is_not_taken(overlapped: bool, caplog: pytest.LogCaptureFixture) -> None:
    kind = FakePipelinedEngine if overlapped else FakeEngine
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
    better = FakeEngine("better", add=9)
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
    better = FakeEngine("better")
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
    _, engine = built(FakePipelinedEngine("better", add=1), FakePipelinedEngine("first"))

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
    better = FakeEngine("better", add=1)
    shop, engine = built(better)
    run_until(engine, "better")
    better.fault = "the card is gone"
    assert np.array_equal(engine(frame(2)), frame(2)), "the very frame is painted by the first"
    assert engine.info.name == "first"
    assert len(faults_in(caplog)) == 1 and "the card is gone" in faults_in(caplog)[0]
    wait_for(lambda: better.closed == 1)
    assert len(shop.builds[48, 64]) == 1
    engine.close()


def test_a_better_engine_that_fails_late_says_so_and_gives_way(caplog: pytest.LogCaptureFixture) -> None:
    better = FakePipelinedEngine("better", add=1)
    _, engine = built(better, FakePipelinedEngine("first"))
    run_until(engine, "better")
    pending = engine.submit(frame(2))
    better.fault = "the card is gone"
    with pytest.raises(EngineError, match="the card is gone"):
        pending.result()
    assert np.array_equal(engine.submit(frame(2)).result(), frame(2))
    assert len(faults_in(caplog)) == 1
    engine.close()


def test_a_new_frame_size_starts_again_and_gives_up_what_is_not_built(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop(lambda: Build(FakeEngine("better", add=1)))
    engine = swapping(shop)
    engine(frame())
    old = shop.only()
    assert np.array_equal(engine(frame(1, 96, 32)), frame(1, 96, 32))
    wait_for(lambda: old.closed == 1)
    shop.only((96, 32)).built.set()
    run_until(engine, "better", (96, 32))
    assert np.array_equal(engine(frame(1)), frame(1)), "the old size is painted by the first again"
    assert engine.info.name == "first"
    wait_for(lambda: len(shop.builds[48, 64]) == 2)
    assert np.array_equal(engine(frame(1, 96, 32)), frame(1, 96, 32) + 1), "what was ready is kept"
    engine.close()
    assert not faults_in(caplog)


def test_a_size_that_does_not_last_builds_nothing() -> None:
    shop = Shop(lambda: Build(FakeEngine("better")))
    engine = HotSwapEngine(FakeEngine("first"), shop, settled_s=LONG_S)
    for number in range(30):
        engine(frame(number % 20, 24 + 16 * (number % 2)))
    assert not shop.builds
    engine.close()


def test_sizes_are_kept_up_to_a_bound() -> None:
    made: list[FakeEngine] = []

    def make() -> Build:
        made.append(FakeEngine("better", add=1))
        build = Build(made[-1])
        build.built.set()
        return build

    engine = swapping(Shop(make))
    for number in range(KEPT_SIZES + 2):
        run_until(engine, "better", (32 + 16 * number, 64))
    wait_for(lambda: sum(painter.closed for painter in made) == 2)
    assert [painter.closed for painter in made[:2]] == [1, 1], "those used longest ago"
    engine.close()
    assert all(painter.closed == 1 for painter in made)


@pytest.mark.parametrize("stage", ["building", "loading", "comparing"])
def test_closing_in_the_middle_ends_the_build_and_frees_everything(
    stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, better = FakeEngine("first"), FakeEngine("better")
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
    shop = Shop(lambda: Build(FakeEngine("better")))
    engine = swapping(shop)
    with pytest.raises(ShapeError):
        engine(np.zeros((8, 8, 3), np.uint8))
    assert (engine.progress, engine.info.name, shop.builds) == ("", "first", {})
    engine.close()


def test_preparing_prepares_the_first_engine_and_builds_nothing() -> None:
    prepared: list[tuple[int, int]] = []

    class Sharing(FakeEngine):
        def prepare(self, height: int, width: int) -> None:
            prepared.append((height, width))

    shop = Shop(lambda: Build(FakeEngine("better")))
    engine = swapping(shop, Sharing("first"))
    assert isinstance(engine, SharedGraphEngine)
    engine.prepare(48, 64)
    assert (prepared, engine.progress, shop.builds) == ([(48, 64)], "", {})
    engine.close()
    assert not isinstance(swapping(shop), SharedGraphEngine | PipelinedEngine)


def test_a_better_engine_that_cannot_overlap_is_waited_for() -> None:
    _, engine = built(FakeEngine("better", add=1), FakePipelinedEngine("first"))
    run_until(engine, "better")
    assert isinstance(engine, PipelinedEngine)
    assert np.array_equal(engine.submit(frame(2)).result(), frame(2) + 1)
    engine.close()
