"""Delay: the age of a frame when it reaches the sink, at full speed and with an engine that is too slow.

python -m benchmarks.delay [--style NAME|DIR]
"""

from __future__ import annotations

import threading
import time

from benchmarks.report import Row, Section, at_most
from benchmarks.subject import Subject, run_json
from engines.base import RGB, Engine, EngineInfo
from engines.cpu import CpuEngine
from rtstyle.frame import Frame
from rtstyle.pipeline import Controls, run
from rtstyle.sinks.null import NullSink
from rtstyle.sources.pattern import PatternSource
from rtstyle.stats import Stats, percentile

FPS = 30
SECONDS = 20
P95_MS, SLOW_MS = 60.0, 250.0
"""The bars: age that 95 of 100 frames do not exceed, milliseconds."""

SLOWED_MS, SLOWED_S = 100.0, 60
"""The slowed engine: milliseconds for each frame, and for how many seconds."""

GROWTH = 1.10
"""The bar: p95 of the last third of the slowed run by that of the first."""


class SlowEngine:
    """Takes at least ``SLOWED_MS`` for a frame.

    Args:
        engine: does the painting.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._never = threading.Event()

    @property
    def info(self) -> EngineInfo:
        """Of the engine inside."""
        return self._engine.info

    def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
        """Paint, then wait for what is left of the time."""
        began_s = time.monotonic()
        painting = self._engine(rgb, strength)
        self._never.wait(max(0.0, SLOWED_MS / 1e3 - (time.monotonic() - began_s)))
        return painting

    def close(self) -> None:
        """Close the engine inside."""
        self._engine.close()


def measure(subject: Subject) -> Section:
    """Run the command at full speed, then the pipeline with a slowed engine."""
    arguments = ["webcam", "--source", "pattern", "--fps", str(FPS), "--sink", "null", "--frames", str(FPS * SECONDS)]
    figures = run_json(*arguments, "--style", str(subject.style.folder), "--json", timeout_s=600.0)
    ages = _slowed_ages_ms(CpuEngine(subject.style))
    third = len(ages) // 3
    first, last = (percentile(sorted(part), 95) for part in (ages[:third], ages[-third:]))
    how = f"`rtstyle webcam --source pattern --fps {FPS} --sink null`, 640×360, {figures['frames_out']} frames"
    slowed = f"engine slowed to {SLOWED_MS:.0f} ms a frame, {SLOWED_S} s, {len(ages)} frames"
    rows = [
        at_most("age at the sink, p95", how, figures["age_p95_ms"], P95_MS, " ms"),
        Row("age, median and largest", how, f"{figures['age_p50_ms']:.1f} ms, {figures['age_max_ms']:.1f} ms"),
        Row("frames dropped", how, f"{figures['dropped']} of {figures['frames_in']}"),
        at_most("age at the sink, p95", slowed, percentile(sorted(ages), 95), SLOW_MS, " ms"),
        at_most("age at the sink, largest", slowed, max(ages), SLOW_MS, " ms"),
        at_most(
            "growth",
            f"p95 of the last third ({last:.1f} ms) / of the first ({first:.1f} ms)",
            last / first,
            GROWTH,
            " ×",
            2,
        ),
    ]
    notes = ["Age: from the moment at which the source had the picture until the sink was done with it."]
    return Section("delay", "Delay", subject.label, rows, notes)


def _slowed_ages_ms(engine: Engine) -> list[float]:
    """Age of each frame of a run with a slowed engine, milliseconds, in order."""
    ages: list[float] = []
    source = PatternSource(fps=FPS)
    controls, end_s = Controls(), time.monotonic() + SLOWED_S
    engine(source.picture(0))  # compiles

    def note(frame: Frame) -> None:
        now_s = time.monotonic()
        ages.append((now_s - frame.captured_s) * 1e3)
        if now_s >= end_s:
            controls.request_stop()

    run(source, SlowEngine(engine), NullSink(), controls, Stats(), on_frame=note)
    engine.close()
    return ages


if __name__ == "__main__":
    from benchmarks.bench import main

    main("delay")
