"""TensorRT engines that are built while another one paints."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.hot_swap import TakeOver
from engines.parity import difference
from engines.style_file import StyleModel
from engines.torch_eager import EagerEngine
from engines.trt import engine as trt_engine
from engines.trt.engine import PlanAhead, build_plan, gains
from engines.trt.plan_cache import PlanCache
from engines.trt.plan_record import GAIN, PlanKey
from tests.engines import standin
from tests.engines.fake_tensorrt import plan_of
from tests.engines.trt_shelf import HIGH, WIDE, Shelf, photograph


class Process:
    """A stand-in for the build's process: a test decides how it ends."""

    made: list[Process]

    def __init__(self, style: Path, height: int, width: int, *, builder: str = "", folder: Path | None = None) -> None:
        self.builder, self.folder, self.size = builder, folder, (height, width)
        self.progress, self.end, self.closed = "layer 1", None, 0
        self.made.append(self)

    def poll(self) -> str | None:
        return self.end

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch, shelf: Shelf) -> Iterator[list[Any]]:
    made: list[Any] = []
    monkeypatch.setattr(trt_engine, "BuildProcess", type("Process", (Process,), {"made": made}))
    yield made
    assert not trt_engine._Build._running, "a build that nobody waits for"
    assert all(process.closed for process in made)


def test_a_plan_is_built_ahead_and_loaded(
    style: StyleModel, cache: PlanCache, shelf: Shelf, processes: list[Any]
) -> None:
    ahead = PlanAhead(style, HIGH, WIDE, cache)
    assert ahead.poll() is None and ahead.poll() is None
    (process,) = processes
    assert (process.builder, process.size, process.folder) == ("shared", (HIGH, WIDE), cache.folder)
    assert ahead.progress == "layer 1"
    plan = plan_of(None, HIGH, WIDE, arch=dict(style.arch))
    cache.put(shelf.shared.key(style, HIGH, WIDE), plan, seconds=1.0, extra=shelf.extra(style, HIGH, WIDE))
    process.end = ""
    assert ahead.poll() == ""
    engine = ahead.load()
    ahead.close()
    assert process.closed == 1
    assert not difference(EagerEngine(style, device="cpu")(photograph()), engine(photograph()))
    engine.close()


def test_what_is_there_is_not_built(style: StyleModel, cache: PlanCache, shelf: Shelf, processes: list[Any]) -> None:
    cache.put(shelf.shared.key(style, HIGH, WIDE), b"plan", seconds=1.0, extra={})
    ahead = PlanAhead(style, HIGH, WIDE, cache)
    assert ahead.poll() == "" and not processes
    ahead.close()


@pytest.mark.parametrize(("gain", "told"), [(1.05, "only 1.05 × as fast as cuda"), (1.2, ""), (None, "")])
def test_a_plan_that_gains_too_little_is_left_alone_by_who_is_choosy(
    style: StyleModel, cache: PlanCache, shelf: Shelf, processes: list[Any], gain: float | None, told: str
) -> None:
    key = shelf.shared.key(style, HIGH, WIDE)
    ahead = PlanAhead(style, HIGH, WIDE, cache, choosy=True)
    assert ahead.poll() is None
    cache.put(key, b"plan", seconds=1.0, extra={} if gain is None else {GAIN: gain})
    processes[0].end = ""
    now = ahead.poll()
    ahead.close()
    again = PlanAhead(style, HIGH, WIDE, cache, choosy=True)
    later = again.poll()
    again.close()
    assert now == later and told in str(now) and bool(now) == bool(told)
    assert len(processes) == 1, "it is not built again"
    wanted = PlanAhead(style, HIGH, WIDE, cache)
    assert wanted.poll() == "", "who asks for TensorRT gets it"
    wanted.close()


def test_what_was_built_tells_its_gain_for_this_machine(style: StyleModel, cache: PlanCache, shelf: Shelf) -> None:
    def put(key: PlanKey, gain: float | None) -> None:
        cache.put(key, b"plan", seconds=1.0, extra={} if gain is None else {GAIN: gain})

    put(shelf.own.key(style, HIGH, WIDE), 3.0)
    put(shelf.shared.key(style, HIGH, WIDE), 1.5)
    put(replace(shelf.shared.key(style, HIGH, WIDE), driver="older"), 1.05)
    put(replace(shelf.shared.key(style, 90, WIDE), driver="older"), 1.05)
    put(shelf.own.key(style, 2 * HIGH, WIDE), 2.0)
    put(shelf.shared.key(style, 3 * HIGH, WIDE), None)
    cache.refuse(shelf.shared.key(style, 4 * HIGH, WIDE), "no kernel")
    assert gains(style, cache) == {(HIGH, WIDE): 1.5, (2 * HIGH, WIDE): 2.0}


def test_where_no_plan_can_be_shared_each_style_has_its_own(
    style: StyleModel, cache: PlanCache, shelf: Shelf, processes: list[Any]
) -> None:
    ahead = PlanAhead(style, HIGH, WIDE, cache)
    assert ahead.poll() is None
    processes[0].end = "its weights cannot be exchanged"
    assert ahead.poll() is None
    assert [process.builder for process in processes] == ["shared", "own"]
    processes[1].end = "no kernel"
    assert ahead.poll() == "no kernel"
    ahead.close()
    assert [process.closed for process in processes] == [1, 1]


def test_what_failed_before_is_not_built_again(
    style: StyleModel, cache: PlanCache, shelf: Shelf, processes: list[Any]
) -> None:
    cache.refuse(shelf.shared.key(style, HIGH, WIDE), "no refit")
    ahead = PlanAhead(style, HIGH, WIDE, cache)
    assert ahead.poll() is None
    ahead.close()
    assert [process.builder for process in processes] == ["own"]
    cache.refuse(shelf.own.key(style, HIGH, WIDE), "no kernel")
    other = PlanAhead(style, HIGH, WIDE, cache)
    assert other.poll() == "no kernel"
    assert len(processes) == 1


def test_styles_that_share_a_plan_share_its_build(
    style: StyleModel, cache: PlanCache, shelf: Shelf, processes: list[Any]
) -> None:
    both = [PlanAhead(style, HIGH, WIDE, cache) for _ in range(2)]
    assert [ahead.poll() for ahead in both] == [None, None]
    (process,) = processes
    both[0].close()
    both[0].close()
    assert process.closed == 0, "the other one still waits"
    both[1].close()
    assert process.closed == 1
    again = PlanAhead(style, HIGH, WIDE, cache)
    assert again.poll() is None and len(processes) == 2
    again.close()


def test_plans_are_built_one_after_the_other(
    style: StyleModel, cache: PlanCache, shelf: Shelf, processes: list[Any]
) -> None:
    first, second = (PlanAhead(style, HIGH, width, cache) for width in (WIDE, 2 * WIDE))
    assert [first.poll(), second.poll(), second.poll()] == [None] * 3
    assert len(processes) == 1 and second.progress == "waits for another build"
    processes[0].end = ""
    assert first.poll() == "" and second.poll() is None
    assert [process.size[1] for process in processes] == [WIDE, 2 * WIDE] and second.progress == ""
    third = PlanAhead(style, HIGH, 3 * WIDE, cache)
    assert third.poll() is None and third.progress
    second.close()  # given up, not finished
    assert third.poll() is None and not third.progress and len(processes) == 3
    for ahead in (first, third):
        ahead.close()


def test_who_wants_to_wait_hears_how_far_it_is(
    style: StyleModel, cache: PlanCache, shelf: Shelf, processes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def sleep(seconds: float) -> None:
        processes[0].progress = f"layer {len(told) + 1}"
        if len(told) == 3:
            processes[0].end = ""

    monkeypatch.setattr(trt_engine.time, "sleep", sleep)
    assert build_plan(style, HIGH, WIDE, told.append, cache) == ""
    assert told[0] and told[-1] == "layer 3" and processes[0].closed == 1


def test_the_tensorrt_engine_takes_over_from_another(
    style: StyleModel, cache: PlanCache, shelf: Shelf, processes: list[Any]
) -> None:
    faults: list[str] = []
    first = EagerEngine(style, device="cpu")
    engine = TakeOver(
        first, lambda high, wide: PlanAhead(style, high, wide, cache), on_fault=faults.append, settled_s=0.0
    )
    end_s = time.monotonic() + 30
    while engine.info.name != "tensorrt":
        assert not difference(first(photograph()), engine(photograph()))
        if processes and processes[0].end is None:
            cache.put(shelf.own.key(style, HIGH, WIDE), plan_of(style, HIGH, WIDE), seconds=1.0, extra={})
            cache.refuse(shelf.shared.key(style, HIGH, WIDE), "no refit")
            processes[0].end = "no refit"
        assert time.monotonic() < end_s and not faults, faults
    assert not difference(first(photograph()), engine(photograph()))
    engine.close()


# With real processes.


def with_builders(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    builders = {f"tests.engines.standin:{name}": getattr(standin, name) for name in names}
    monkeypatch.setattr(trt_engine, "BUILDERS", builders)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_closing_kills_the_build_and_what_it_started(
    style: StyleModel, cache: PlanCache, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_builders(monkeypatch, "LINGER")
    first = EagerEngine(style, device="cpu")
    engine = TakeOver(first, lambda high, wide: PlanAhead(style, high, wide, cache), settled_s=0.0)
    end_s = time.monotonic() + 60
    while not engine.progress.startswith("started"):
        engine(photograph())
        assert time.monotonic() < end_s
    processes = [int(word) for word in engine.progress.split()[1:]]
    engine.close()
    assert engine.progress == "" and not cache.entries()
    while any(alive(process) for process in processes):
        assert time.monotonic() < end_s
        time.sleep(0.01)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_build_that_crashes_leaves_the_first_engine_painting(
    style: StyleModel, cache: PlanCache, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_builders(monkeypatch, "CRASH")
    faults: list[str] = []
    first = EagerEngine(style, device="cpu")
    engine = TakeOver(
        first, lambda high, wide: PlanAhead(style, high, wide, cache), on_fault=faults.append, settled_s=0.0
    )
    end_s = time.monotonic() + 60
    while not faults:
        engine(photograph())
        assert time.monotonic() < end_s
    assert len(faults[0].splitlines()) == 1 and faults[0].startswith("the faster engine for 64×48 is not used: ")
    assert engine.info.name == "torch"
    engine.close()
    again = PlanAhead(style, HIGH, WIDE, cache)
    assert again.poll(), "it is remembered, and no process is started"
    again.close()
