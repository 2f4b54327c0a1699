"""What is stats of a live run: one reading for the overlay, for --json and for the network."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from engines.base import RGB
from engines.errors import SinkError
from rtstyle.controls import Controls
from rtstyle.frame import Frame
from rtstyle.live.actions import Actions
from rtstyle.live.session import LIVE, LiveSession
from rtstyle.live.style_switcher import StyleSwitcher
from rtstyle.live.webcam import WebcamJob, run_webcam
from rtstyle.progress import Heartbeat
from rtstyle.sinks.base import Sink
from rtstyle.sinks.null import NullSink
from rtstyle.sinks.tee import TeeSink
from rtstyle.sources.pattern import PatternSource
from tests.rtstyle.test_style_switcher import NAMES, FakeEngines, until
from tests.rtstyle.test_webcam import Identity

pytestmark = pytest.mark.real_time

ROOT = Path(__file__).resolve().parents[2]


class Slow:
    """A sink that takes its time."""

    main_thread = False

    def __init__(self, name: str, seconds: float, main_thread: bool = False) -> None:
        self.name, self.main_thread, self._wait = name, main_thread, threading.Event()
        self._seconds = seconds

    def write(self, frame: Frame) -> bool:
        self._wait.wait(self._seconds)
        return True

    def close(self, *, completed: bool) -> None:
        self._wait.set()


def ran(sink: Sink, engine_s: float = 0.0, frames: int = 20) -> dict[str, object]:
    """The reading after a short run of a source of 100 fps."""

    class Late(Identity):
        def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
            time.sleep(engine_s)
            return rgb.copy()

    with LiveSession(PatternSource(64, 48, 100), Controls()) as live:
        live.engine = Late()
        live.run(sink, max_frames=frames)
    assert live.newest is not None
    return json.loads(json.dumps(live.read().to_dict()))  # type: ignore[no-any-return]


def test_frames_are_dropped_by_the_engine_or_by_the_sink() -> None:
    late = ran(NullSink(), engine_s=0.05)
    assert late["dropped_by"] == {"engine": late["dropped"], "null": 0} and int(str(late["dropped"])) > 20
    late = ran(Slow("slow", 0.05))
    by = late["dropped_by"]
    assert isinstance(by, dict) and by["slow"] > 20 and by["slow"] + by["engine"] == late["dropped"]
    assert by["engine"] < by["slow"] / 2


def test_each_of_several_sinks_has_its_own_losses() -> None:
    late = ran(TeeSink([Slow("window", 0.0, main_thread=True), Slow("disk", 0.2), NullSink()]), frames=60)
    by = late["dropped_by"]
    assert isinstance(by, dict) and by["disk"] > 20 and by["null"] < 10
    assert late["sink_states"] == {"window": "open", "disk": "open", "null": "open"}


def test_a_failed_sink_is_reported() -> None:
    class Broken(Slow):
        def write(self, frame: Frame) -> bool:
            raise SinkError("the disk is full")

    sinks = TeeSink([Slow("good", 0.0), Broken("bad", 0.0)])
    with pytest.raises(SinkError, match="disk is full"):
        ran(sinks)
    assert sinks.states() == {"good": "open", "bad": "the disk is full"}


@pytest.fixture
def switcher() -> Iterator[tuple[StyleSwitcher, Controls, LiveSession]]:
    controls = Controls(0.5, True, 2.0, NAMES, "black")
    made = StyleSwitcher(FakeEngines(), controls, ahead=False)
    live = LiveSession(PatternSource(64, 48, 30), controls)
    live.engine = made
    yield made, controls, live
    live.close()


def test_what_is_shown_against_what_is_wanted(switcher: tuple[StyleSwitcher, Controls, LiveSession]) -> None:
    stylize, controls, live = switcher
    frame: RGB = np.zeros((48, 64, 3), np.uint8)
    stylize(frame)
    assert (live.read().style, live.read().wanted, live.read().fault) == ("black", "black", "")
    controls.style = "white"
    assert (live.read().style, live.read().wanted) == ("black", "white")
    assert "preparing white" in live.read().lines()[0]
    until(lambda: bool(stylize(frame).any()) and live.read().style == "white")
    controls.style = "broken"
    until(lambda: stylize(frame) is not None and live.read().fault != "")
    assert (live.read().style, live.read().wanted) == ("white", "broken")
    assert "damaged" in live.read().lines()[0]
    stats = live.read().to_dict()
    assert (stats["strength"], stats["mirror"], stats["scale"], stats["recording"]) == (0.5, True, 2.0, None)


def test_a_lost_source_is_reported(switcher: tuple[StyleSwitcher, Controls, LiveSession]) -> None:
    live = switcher[2]
    assert live.read().source_state == LIVE and len(live.read().lines()) == 2
    live.source.notice = "camera 0 was unplugged; waiting for it"  # type: ignore[attr-defined]  # as sources do
    assert live.read().to_dict()["source_state"] == "camera 0 was unplugged; waiting for it"
    assert "unplugged" in live.read().lines()[-1]


def test_run_webcam_gives_the_live_run() -> None:
    seen: list[Actions] = []
    run_webcam(WebcamJob("pattern", ("null",), (64, 48), 50.0, 5), Identity, Controls(), on_ready=seen.append)
    stats = seen[0].read("stats")
    assert stats["frames_out"] == 5 and stats["sink_states"] == {"null": "open"} and stats["source"] == "pattern"


def test_a_heartbeat_beats_until_it_is_closed_or_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtstyle.progress.STATUS_EVERY_S", 0.02)
    beats, broken = list[int](), threading.Event()
    heart = Heartbeat(lambda: beats.append(1), broken.set)
    heart.close()
    heart.start()
    heart.close()
    assert not beats
    heart = Heartbeat(lambda: beats.append(1), broken.set)
    heart.start()
    until(lambda: len(beats) > 3)
    heart.close()
    count = len(beats)
    heart.close()

    def fail() -> None:
        raise BrokenPipeError

    heart = Heartbeat(fail, broken.set)
    heart.start()
    assert broken.wait(5) and len(beats) == count
    heart.close()


FIELDS = {
    "running", "style", "wanted", "fault", "strength", "scale", "colours", "only", "mirror", "hold_fps", "paused",
    "source", "work_width", "work_height",
    "source_state",
    "fps_in", "fps_out",
    "age_p50_ms", "age_p95_ms", "age_max_ms", "dropped", "dropped_engine", "dropped_by", "engine_p50_ms", "width",
    "height", "sink_states", "recording", "frames_in", "frames_out", "seconds",
}  # fmt: skip


def test_json_prints_a_line_each_second_and_the_last_one(tiny_style: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "rtstyle", "webcam", "--style", str(tiny_style), "--source", "pattern", "--quiet",
         "--size", "64x48", "--fps", "50", "--sink", "null", "--json"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stdout is not None
    first, second = (json.loads(program.stdout.readline()) for _ in range(2))
    program.terminate()
    out, err = program.communicate(timeout=30)
    last = json.loads(out.splitlines()[-1])
    assert first["running"] and second["running"] and last["running"] is False and err == ""
    assert set(first) >= FIELDS and set(first) | {"sinks"} == set(last)
    assert 0.5 < second["seconds"] - first["seconds"] < 5
    assert first["frames_out"] < second["frames_out"] <= last["frames_out"] and second["fps_out"] > 5
    page = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in FIELDS - {"frames_in", "seconds"}), "the fields are documented"


def test_a_reader_that_leaves_ends_the_run(tiny_style: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "rtstyle", "webcam", "--style", str(tiny_style), "--source", "pattern", "--quiet",
         "--size", "64x48", "--sink", "null", "--json"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stdout is not None and program.stderr is not None
    program.stdout.readline()
    program.stdout.close()
    assert program.wait(timeout=30) == 1 and program.stderr.read() == ""
    program.stderr.close()


def test_nothing_is_known_before_the_sinks_are_open() -> None:
    live = LiveSession(PatternSource(64, 48, Fraction(30)), Controls())
    live.engine = Identity()
    assert live.read().sink_states == {} and live.newest is None and live.read().style == "none"
