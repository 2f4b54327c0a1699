"""Delay: the age of a frame when it reaches the sink, at full speed and with an engine that is too slow.

python -m benchmarks.delay [--style NAME|DIR]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.report import Row, Section, at_least, at_most, not_measured
from benchmarks.subject import Subject, run_json
from engines.base import RGB, Engine, EngineInfo, StrengthMap
from engines.openvino.engine import CpuEngine
from rtstyle.controls import Controls
from rtstyle.frame import Frame
from rtstyle.pipeline import run
from rtstyle.sinks.null import NullSink
from rtstyle.sources.pattern import PatternSource
from rtstyle.stats import Stats, percentile

FPS = 30
SECONDS = 20
P95_MS, SLOW_MS = 60.0, 250.0
"""The bars: age that 95 of 100 frames do not exceed, milliseconds."""

WINDOW_P95_MS, WINDOW_DROPS = 70.0, 0.5
"""The bars at the window: age, milliseconds, and frames that are dropped, percent."""

HELD_SIZE, HELD_FPS, HELD_P95_MS, LOST = "1280x720", 28.0, 80.0, 0.5
"""A size that is too much for most processors, and the bars there: frames per second, and age, milliseconds; and frames
lost at 640×360, percent."""

GLIDING = "vangogh,wave,scream"
"""Styles that glide into each other."""

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

    def __call__(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> RGB:
        """Paint, then wait for what is left of the time."""
        began_s = time.monotonic()
        painting = self._engine(rgb, strength, colours)
        self._never.wait(max(0.0, SLOWED_MS / 1e3 - (time.monotonic() - began_s)))
        return painting

    def close(self) -> None:
        """Close the engine inside."""
        self._engine.close()


def measure(subject: Subject) -> Section:
    """Run the command at full speed, then the pipeline with a slowed engine."""
    figures = _webcam("null", subject, FPS * SECONDS)
    ages = _slowed_ages_ms(CpuEngine(subject.style))
    third = len(ages) // 3
    first, last = (percentile(sorted(part), 95) for part in (ages[:third], ages[-third:]))
    how = f"`rtstyle webcam --source pattern --fps {FPS} --sink null`, 640×360, {figures['frames_out']} frames"
    slowed = f"engine slowed to {SLOWED_MS:.0f} ms a frame, {SLOWED_S} s, {len(ages)} frames"
    rows = [
        *_window(subject),
        at_most("age at the sink, p95", how, figures["age_p95_ms"], P95_MS, " ms"),
        Row("age, median and largest", how, f"{figures['age_p50_ms']:.1f} ms, {figures['age_max_ms']:.1f} ms"),
        at_most("frames dropped", how, 100 * figures["dropped"] / figures["frames_in"], LOST, " %", 2),
        *_gliding(subject),
        *_held(subject),
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


def _held(subject: Subject) -> list[Row]:
    """A size at which the rate has to be held."""
    figures = _webcam("null", subject, FPS * SECONDS, size=HELD_SIZE)
    how = f"`rtstyle webcam --source pattern --size {HELD_SIZE} --fps {FPS} --sink null`"
    size = f"{how}, stylized at {figures['work_width']}×{figures['work_height']}"
    return [
        at_least("frames shown", size, figures["frames_out"] / figures["seconds"], HELD_FPS, " fps"),
        at_most("age at the sink, p95", how, figures["age_p95_ms"], HELD_P95_MS, " ms"),
    ]


def _gliding(subject: Subject) -> list[Row]:
    """A playlist whose styles glide into each other half of the time: every frame of a glide has weights of its own."""
    options = ["--playlist", GLIDING, "--every", "2", "--glide", "1"]
    figures = _webcam("null", subject, FPS * SECONDS, options=options)
    how = f"`rtstyle webcam --source pattern --fps {FPS} --sink null {' '.join(options)}`"
    how += f", 640×360 stylized at {figures['work_width']}×{figures['work_height']}"
    return [
        at_most("age at the sink, p95", how, figures["age_p95_ms"], P95_MS, " ms"),
        at_most("frames dropped", how, 100 * figures["dropped"] / figures["frames_in"], LOST, " %", 2),
    ]


def _webcam(
    sink: str,
    subject: Subject,
    frames: int,
    env: Mapping[str, str] | None = None,
    size: str = "640x360",
    options: Sequence[str] = (),
) -> dict[str, Any]:
    """Figures of `rtstyle webcam` with the pattern."""
    arguments = ["webcam", "--source", "pattern", "--fps", str(FPS), "--sink", sink, "--frames", str(frames)]
    arguments += ["--size", size, *(options or ("--style", str(subject.style.folder)))]
    return run_json(*arguments, "--json", timeout_s=600.0, env=env)


def _window(subject: Subject) -> list[Row]:
    """The same with a window on a screen without glass."""
    how = f"`rtstyle webcam --source pattern --fps {FPS} --sink window`, 640×360, Xvfb"
    what = "age at the window, p95", "frames dropped before the window"
    if shutil.which("Xvfb") is None:
        bars = f"≤ {WINDOW_P95_MS:g} ms", f"≤ {WINDOW_DROPS:g} %"
        return [not_measured(one, how, bar, "needs Xvfb") for one, bar in zip(what, bars, strict=True)]
    with _screen() as display:
        figures = _webcam("window", subject, 60 * FPS, {"DISPLAY": display, "SDL_VIDEODRIVER": "x11"})
    how += f", {figures['frames_out']} frames"
    return [
        at_most(what[0], how, figures["age_p95_ms"], WINDOW_P95_MS, " ms"),
        at_most(what[1], how, 100 * figures["dropped"] / figures["frames_in"], WINDOW_DROPS, " %", 2),
    ]


@contextmanager
def _screen() -> Iterator[str]:
    """A screen of X11 in memory: the name of its display."""
    read_end, write_end = os.pipe()
    arguments = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "1280x720x24"]
    server = subprocess.Popen(arguments, pass_fds=[write_end], stderr=subprocess.DEVNULL)
    os.close(write_end)
    try:
        with os.fdopen(read_end) as told:
            yield f":{told.readline().strip()}"
    finally:
        server.terminate()
        server.wait()


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
