"""Soak: a long live run, with styles that change, a source that vanishes and a sink that stalls.

python -m benchmarks.soak [--style NAME|DIR]   (30 minutes)
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import engines
from benchmarks.report import Row, Section, at_least, at_most
from benchmarks.subject import NotMeasuredError, Subject
from engines.errors import SourceError
from rtstyle.backoff import Backoff
from rtstyle.controls import Controls
from rtstyle.frame import Frame, SourceInfo
from rtstyle.live.style_switcher import StyleSwitcher
from rtstyle.pipeline import run
from rtstyle.sinks.base import Sink
from rtstyle.sinks.null import NullSink
from rtstyle.sinks.stream import StreamSink
from rtstyle.sinks.tee import TeeSink
from rtstyle.sources.base import Source
from rtstyle.sources.pattern import PatternSource
from rtstyle.sources.reconnecting import ReconnectingSource
from rtstyle.stats import Stats, percentile
from rtstyle.style_library import installed, open_style

SECONDS = 30 * 60
READ_S = 5.0
"""Time between two readings of memory and threads, seconds."""

FIRST_S = 60.0
"""Until then engines are made ready and buffers grow to their size; what is read before is left out, seconds."""

CHANGE_S = 4.0
"""Mean time between two changes of style, strength or mirror, seconds."""

PRESENT_S, ABSENT = (20.0, 60.0), 3
"""How long the source stays, from and to, seconds; and attempts to open it again that fail."""

STALL_S, STALLED_S = 15.0, 3.0
"""Every so many seconds the slow sink takes nothing for so many."""

NOWHERE = "udp://127.0.0.1:9"
"""The discard port, RFC 863: a stream that nobody reads."""

MEMORY, DELAY = 1.05, 1.1
"""The bars: last third by first third."""

FPS = 15.0
"""The bar: paintings a second, with a source that is away a tenth of the time."""


class Vanishing:
    """The moving scene, which is unplugged after a while."""

    def __init__(self, present_s: float) -> None:
        self._scene, self._until_s = PatternSource(640, 360, 30), time.monotonic() + present_s

    @property
    def info(self) -> SourceInfo:
        """Of the scene."""
        return self._scene.info

    def frames(self) -> Iterator[Frame]:
        """Until it vanishes. Raises: SourceError: it has."""
        for frame in self._scene.frames():
            if time.monotonic() > self._until_s:
                raise SourceError("the scene was unplugged")
            yield frame

    def close(self) -> None:
        """End it."""
        self._scene.close()


class Stalling:
    """A sink that takes nothing for a while, again and again."""

    name, main_thread = "stalling", False

    def __init__(self) -> None:
        self._end = threading.Event()
        self._next_s = time.monotonic() + STALL_S

    def write(self, frame: Frame) -> bool:  # noqa: ARG002  # nobody sees it
        """Take one, sooner or later."""
        if time.monotonic() > self._next_s:
            self._end.wait(STALLED_S)
            self._next_s = time.monotonic() + STALL_S
        return True

    def close(self, *, completed: bool) -> None:  # noqa: ARG002  # a sink's promise
        """Nothing is open."""
        self._end.set()


@dataclass
class Diary:
    """What was read on the way.

    Attributes:
        ages_ms: (seconds since the start, age of a frame in milliseconds).
        memory_mb, threads: one reading each ``READ_S``.
        changes, lost: how often somebody changed something, and how often the source vanished.
        styles: those that were seen.
    """

    ages_ms: list[tuple[float, float]] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    changes: int = 0
    lost: int = 0
    styles: set[str] = field(default_factory=set)


def soak(seconds: float, style: str, first_s: float = FIRST_S, present_s: tuple[float, float] = PRESENT_S) -> Diary:
    """Run all of it for so many seconds.

    Args:
        seconds: how long.
        style: to begin with.
        first_s: what is read before is left out.
        present_s: how long the source stays, from and to.
    """
    chance, diary = random.Random(1), Diary()
    controls = Controls(styles=[entry.name for entry in installed()], style=style)
    absent = [0]  # attempts that fail before it comes back

    def connect() -> Source:
        if absent[0]:
            absent[0] -= 1
            raise SourceError("the scene is not there")
        diary.lost += 1
        absent[0] = ABSENT
        return Vanishing(chance.uniform(*present_s))

    source = ReconnectingSource(connect, backoff=Backoff(0.2, 1.0))
    palette = StyleSwitcher(lambda name: engines.load(open_style(name), "cpu", shared=True), controls)
    sinks: list[Sink] = [StreamSink(NOWHERE, source.info.fps), Stalling(), NullSink()]
    began_s = time.monotonic()
    next_change, next_reading = [began_s + first_s / 10], [began_s + first_s]

    def note(frame: Frame) -> None:
        now_s = time.monotonic()
        diary.styles.add(palette.shown)
        if now_s - began_s > first_s:
            diary.ages_ms.append((now_s - began_s, (now_s - frame.captured_s) * 1e3))
        if now_s > next_change[0]:
            next_change[0] = now_s + chance.expovariate(1 / CHANGE_S)
            diary.changes += 1
            controls.style = chance.choice(controls.styles)
            controls.strength, controls.mirror = chance.choice((0.5, 1.0, 1.0)), chance.random() < 0.5
        if now_s > next_reading[0]:
            next_reading[0] = now_s + READ_S
            diary.memory_mb.append(_memory_mb())
            diary.threads.append(threading.active_count())
        if now_s - began_s > seconds:
            controls.request_stop()

    try:
        run(source, palette, TeeSink(sinks), controls, Stats(), on_frame=note)
    finally:
        palette.close()
    return diary


def measure(subject: Subject) -> Section:
    """Half an hour."""
    if not Path("/proc/self/statm").exists():
        raise NotMeasuredError("this system has no /proc")
    diary = soak(SECONDS, subject.style.name)
    memory = [float(value) for value in diary.memory_mb]
    ages = [age for _, age in diary.ages_ms]
    how = f"{SECONDS // 60} minutes, {diary.changes} changes of settings, source lost {diary.lost - 1} times"
    rows = [
        at_most("memory", f"{how}; median of the last third / of the first", _growth(memory, 50), MEMORY, " ×", 3),
        at_most("threads", "largest of the last third − of the first", _more(diary.threads), 0, "", 0),
        at_most("age of a frame, p95", "last third / first third", _growth(ages, 95), DELAY, " ×", 2),
        at_least("paintings shown", "over the whole time", len(ages) / SECONDS, FPS, " fps"),
        at_least("styles seen", f"of {len(installed())}", len(diary.styles), len(installed()), "", 0),
        Row("age, median, p95, largest", "three sinks", ", ".join(f"{_of(ages, p):.0f} ms" for p in (50, 95, 100))),
        Row("memory", "median of the last third", f"{_of(memory[-len(memory) // 3 :], 50):.0f} MB"),
    ]
    notes = [
        "The moving scene → styles changed at random → a UDP stream, a sink that stalls for 3 s in 15 s, and nowhere.",
        "While the source is gone its last picture is repeated, with a fresh time.",
    ]
    return Section("soak", "Soak", subject.label, rows, notes)


def _of(values: list[float], percent: float) -> float:
    return percentile(sorted(values), percent)


def _growth(values: list[float], percent: float) -> float:
    third = max(1, len(values) // 3)
    return _of(values[-third:], percent) / max(1e-9, _of(values[:third], percent))


def _more(values: list[int]) -> float:
    third = max(1, len(values) // 3)
    return float(max(0, max(values[-third:]) - max(values[:third])))


def _memory_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    from benchmarks.bench import main

    main("soak")
