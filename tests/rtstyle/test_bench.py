"""What `rtstyle bench` measures, on a clock that only engines move."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engines.base import RGB, EngineInfo
from rtstyle.bench import WARM_UP, measure
from rtstyle.cli import main

INFO = EngineInfo("fake", "none", "none", "fp32", "none")


class Clock:
    """Seconds that pass when somebody says so."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class OneAtATime:
    """Takes 0.1 s for a frame, and 5 s for the first."""

    info = INFO

    def __init__(self, clock: Clock) -> None:
        self.clock, self.calls = clock, 0

    def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
        self.calls += 1
        self.clock.now_s += 0.1 if self.calls > 1 else 5.0
        return rgb.copy()

    def close(self) -> None:
        """Nothing to free."""


class Overlapping(OneAtATime):
    """Finishes a frame every 0.025 s if it holds ``in_flight`` of them, and every 0.1 s if it holds one."""

    held = most = submitted = 0

    def submit(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> Overlapping:
        self.submitted += 1
        self.held += 1
        self.most = max(self.most, self.held)
        return self

    def result(self) -> RGB:
        self.clock.now_s += 0.025 if self.submitted >= self.info.in_flight else 0.1
        self.held -= 1
        return np.zeros((16, 16, 3), np.uint8)


def test_one_frame_at_a_time() -> None:
    clock = Clock()
    engine = OneAtATime(clock)
    timing = measure(engine, 64, 48, seconds=2.0, clock=clock)
    assert (timing.median_ms, timing.first_ms, timing.fps) == pytest.approx((100.0, 5000.0, 10.0))
    assert timing.pipelined_fps is None and engine.calls == 1 + WARM_UP + timing.calls


def test_frames_that_overlap_are_measured_too() -> None:
    clock = Clock()
    engine = Overlapping(clock)
    timing = measure(engine, 64, 48, seconds=2.0, clock=clock)
    assert timing.fps == pytest.approx(10.0) and timing.pipelined_fps == pytest.approx(40.0)
    assert engine.most == engine.info.in_flight and engine.held == 0


def test_the_table_and_the_json_have_both_rates(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr("rtstyle.commands.bench.load_engine", lambda *_: Overlapping(clock))
    monkeypatch.setattr("rtstyle.bench.measure.__kwdefaults__", {"seconds": 2.0, "clock": clock})
    arguments = ["bench", "--style", str(tiny_style), "--size", "64x48", "--seconds", "2"]
    assert main(arguments) == 0
    header, row = capsys.readouterr().out.splitlines()[1:]
    place = header.index("FPS OF FILES")
    assert row[place:].split()[0] == "40.0" and row[header.index("FPS") :].split()[0] == "10.0"
    assert main([*arguments, "--json"]) == 0
    (timing,) = json.loads(capsys.readouterr().out)["timings"]
    assert (timing["fps"], timing["pipelined_fps"]) == (10.0, 40.0)
