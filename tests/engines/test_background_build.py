"""TensorRT engines that are built while another one paints."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.hot_swap import HotSwapEngine
from engines.parity import mismatch
from engines.style_file import StyleModel
from engines.torch_eager import EagerEngine
from engines.trt import background_build, builder
from engines.trt.background_build import BackgroundBuild, build_plan, speedups
from engines.trt.plan_cache import PlanCache
from engines.trt.plan_record import MIN_SPEEDUP, SPEEDUP, PlanKey
from tests.engines import standin
from tests.engines.fake_builders import HIGH, WIDE, FakeBuilders, photograph
from tests.engines.fake_tensorrt import plan_of


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
def processes(monkeypatch: pytest.MonkeyPatch, fakes: FakeBuilders) -> Iterator[list[Any]]:
    made: list[Any] = []
    monkeypatch.setattr(background_build, "BuildProcess", type("Process", (Process,), {"made": made}))
    yield made
    assert not background_build._builds.values(), "a build that nobody waits for"
    assert all(process.closed for process in made)


def test_a_plan_is_built_ahead_and_loaded(
    style: StyleModel, cache: PlanCache, fakes: FakeBuilders, processes: list[Any]
) -> None:
    ahead = BackgroundBuild(style, HIGH, WIDE, cache)
    assert ahead.poll() is None and ahead.poll() is None
    (process,) = processes
    assert (process.builder, process.size, process.folder) == ("shared", (HIGH, WIDE), cache.folder)
    assert ahead.progress == "layer 1"
    plan = plan_of(None, HIGH, WIDE, arch=dict(style.arch))
    cache.put(fakes.shared.key(style, HIGH, WIDE), plan, seconds=1.0, extra=fakes.extra(style, HIGH, WIDE))
    process.end = ""
    assert ahead.poll() == ""
    engine = ahead.load()
    ahead.close()
    assert process.closed == 1
    assert not mismatch(EagerEngine(style, device="cpu")(photograph()), engine(photograph()))
    engine.close()


def test_what_is_there_is_not_built(
    style: StyleModel, cache: PlanCache, fakes: FakeBuilders, processes: list[Any]
) -> None:
    cache.put(fakes.shared.key(style, HIGH, WIDE), b"plan", seconds=1.0, extra={})
    ahead = BackgroundBuild(style, HIGH, WIDE, cache)
    assert ahead.poll() == "" and not processes
    ahead.close()


@pytest.mark.parametrize(("speedup", "told"), [(1.05, "only 1.05 × as fast as cuda"), (1.2, ""), (None, "")])
def test_a_plan_that_is_hardly_faster_is_left_alone_where_a_speedup_is_wanted(
    style: StyleModel, cache: PlanCache, fakes: FakeBuilders, processes: list[Any], speedup: float | None, told: str
) -> None:
    key = fakes.shared.key(style, HIGH, WIDE)
    ahead = BackgroundBuild(style, HIGH, WIDE, cache, min_speedup=MIN_SPEEDUP)
    assert ahead.poll() is None
    cache.put(key, b"plan", seconds=1.0, extra={} if speedup is None else {SPEEDUP: speedup})
    processes[0].end = ""
    now = ahead.poll()
    ahead.close()
    again = BackgroundBuild(style, HIGH, WIDE, cache, min_speedup=MIN_SPEEDUP)
    later = again.poll()
    again.close()
    assert now == later and told in str(now) and bool(now) == bool(told)
    assert len(processes) == 1, "it is not built again"
    wanted = BackgroundBuild(style, HIGH, WIDE, cache)
    assert wanted.poll() == "", "who asks for TensorRT gets it"
    wanted.close()


def test_what_was_built_has_its_speedup_for_this_machine(
    style: StyleModel, cache: PlanCache, fakes: FakeBuilders
) -> None:
    def put(key: PlanKey, speedup: float | None) -> None:
        cache.put(key, b"plan", seconds=1.0, extra={} if speedup is None else {SPEEDUP: speedup})

    put(fakes.own.key(style, HIGH, WIDE), 3.0)
    put(fakes.shared.key(style, HIGH, WIDE), 1.5)
    put(replace(fakes.shared.key(style, HIGH, WIDE), driver="older"), 1.05)
    put(replace(fakes.shared.key(style, 90, WIDE), driver="older"), 1.05)
    put(fakes.own.key(style, 2 * HIGH, WIDE), 2.0)
    put(fakes.shared.key(style, 3 * HIGH, WIDE), None)
    cache.mark_failed(fakes.shared.key(style, 4 * HIGH, WIDE), "no kernel")
    assert speedups(style, cache) == {(HIGH, WIDE): 1.5, (2 * HIGH, WIDE): 2.0}


def test_where_no_plan_can_be_shared_each_style_has_its_own(
    style: StyleModel, cache: PlanCache, fakes: FakeBuilders, processes: list[Any]
) -> None:
    ahead = BackgroundBuild(style, HIGH, WIDE, cache)
    assert ahead.poll() is None
    processes[0].end = "its weights cannot be exchanged"
    assert ahead.poll() is None
    assert [process.builder for process in processes] == ["shared", "own"]
    processes[1].end = "no kernel"
    assert ahead.poll() == "no kernel"
    ahead.close()
    assert [process.closed for process in processes] == [1, 1]


def test_what_failed_before_is_not_built_again(
    style: StyleModel, cache: PlanCache, fakes: FakeBuilders, processes: list[Any]
) -> None:
    cache.mark_failed(fakes.shared.key(style, HIGH, WIDE), "no refit")
    ahead = BackgroundBuild(style, HIGH, WIDE, cache)
    assert ahead.poll() is None
    ahead.close()
    assert [process.builder for process in processes] == ["own"]
    cache.mark_failed(fakes.own.key(style, HIGH, WIDE), "no kernel")
    other = BackgroundBuild(style, HIGH, WIDE, cache)
    assert other.poll() == "no kernel"
    assert len(processes) == 1


def test_styles_that_share_a_plan_share_its_build(
    style: StyleModel, cache: PlanCache, fakes: FakeBuilders, processes: list[Any]
) -> None:
    both = [BackgroundBuild(style, HIGH, WIDE, cache) for _ in range(2)]
    assert [ahead.poll() for ahead in both] == [None, None]
    (process,) = processes
    both[0].close()
    both[0].close()
    assert process.closed == 0, "the other one still waits"
    both[1].close()
    assert process.closed == 1
    again = BackgroundBuild(style, HIGH, WIDE, cache)
    assert again.poll() is None and len(processes) == 2
    again.close()


def test_plans_are_built_one_after_the_other(
    style: StyleModel, cache: PlanCache, fakes: FakeBuilders, processes: list[Any]
) -> None:
    first, second = (BackgroundBuild(style, HIGH, width, cache) for width in (WIDE, 2 * WIDE))
    assert [first.poll(), second.poll(), second.poll()] == [None] * 3
    assert len(processes) == 1 and second.progress == "waiting for another build"
    processes[0].end = ""
    assert first.poll() == "" and second.poll() is None
    assert [process.size[1] for process in processes] == [WIDE, 2 * WIDE] and second.progress == ""
    third = BackgroundBuild(style, HIGH, 3 * WIDE, cache)
    assert third.poll() is None and third.progress
    second.close()  # given up, not finished
    assert third.poll() is None and not third.progress and len(processes) == 3
    for ahead in (first, third):
        ahead.close()


def test_the_progress_of_a_build_is_logged(
    style: StyleModel,
    cache: PlanCache,
    fakes: FakeBuilders,
    processes: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def sleep(seconds: float) -> None:
        processes[0].progress = f"layer {len(caplog.messages) + 1}"
        if len(caplog.messages) == 3:
            processes[0].end = ""

    monkeypatch.setattr(background_build.time, "sleep", sleep)
    with caplog.at_level(logging.INFO, "engines"):
        assert build_plan(style, HIGH, WIDE, cache) == ""
    assert caplog.messages[0] and caplog.messages[-1] == "layer 3" and processes[0].closed == 1


def test_the_tensorrt_engine_takes_over_from_another(
    style: StyleModel,
    cache: PlanCache,
    fakes: FakeBuilders,
    processes: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = EagerEngine(style, device="cpu")
    engine = HotSwapEngine(first, lambda high, wide: BackgroundBuild(style, high, wide, cache), settled_s=0.0)
    end_s = time.monotonic() + 30
    while engine.info.name != "tensorrt":
        assert not mismatch(first(photograph()), engine(photograph()))
        if processes and processes[0].end is None:
            cache.put(fakes.own.key(style, HIGH, WIDE), plan_of(style, HIGH, WIDE), seconds=1.0, extra={})
            cache.mark_failed(fakes.shared.key(style, HIGH, WIDE), "no refit")
            processes[0].end = "no refit"
        assert time.monotonic() < end_s and "is not used" not in caplog.text, caplog.text
    assert not mismatch(first(photograph()), engine(photograph()))
    engine.close()


# With real processes.


def with_builders(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    builders = {f"tests.engines.standin:{name}": getattr(standin, name) for name in names}
    monkeypatch.setattr(builder, "BUILDERS", builders)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_closing_kills_the_build_and_what_it_started(
    style: StyleModel, cache: PlanCache, fakes: FakeBuilders, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_builders(monkeypatch, "LINGER")
    first = EagerEngine(style, device="cpu")
    engine = HotSwapEngine(first, lambda high, wide: BackgroundBuild(style, high, wide, cache), settled_s=0.0)
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
    style: StyleModel,
    cache: PlanCache,
    fakes: FakeBuilders,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "engines")
    with_builders(monkeypatch, "CRASH")
    first = EagerEngine(style, device="cpu")
    engine = HotSwapEngine(first, lambda high, wide: BackgroundBuild(style, high, wide, cache), settled_s=0.0)
    end_s = time.monotonic() + 60
    while not (faults := [message for message in caplog.messages if " is not used: " in message]):
        engine(photograph())
        assert time.monotonic() < end_s
    assert len(faults[0].splitlines()) == 1 and faults[0].startswith("the faster engine for 64×48 is not used: ")
    assert engine.info.name == "torch"
    engine.close()
    again = BackgroundBuild(style, HIGH, WIDE, cache)
    assert again.poll(), "it is remembered, and no process is started"
    again.close()
