"""Several sinks at once: each at its own pace, each with its own fate."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engines.errors import SinkError
from rtstyle.controls import Controls
from rtstyle.frame import Frame
from rtstyle.live.webcam import WebcamJob, run_webcam
from rtstyle.sinks.tee import WAITING, TeeSink
from tests.rtstyle.test_style_switcher import until
from tests.rtstyle.test_webcam import Identity

pytestmark = pytest.mark.real_time


def frame(number: int) -> Frame:
    return Frame(np.full((16, 16, 3), number, np.uint8), number, number, Fraction(1, 30), time.monotonic())


class Kept:
    """Keeps the numbers of its frames; ``gate`` holds it up, ``fails_at`` breaks it."""

    def __init__(self, main_thread: bool = False, fails_at: int | None = None, stops_at: int | None = None) -> None:
        self.main_thread, self.fails_at, self.stops_at = main_thread, fails_at, stops_at
        self.name, self.seen, self.closed = "kept", list[int](), list[bool]()
        self.threads = set[int]()
        self.gate = threading.Event()
        self.gate.set()

    def write(self, one: Frame) -> bool:
        self.gate.wait(5)
        if one.index == self.fails_at:
            raise SinkError("the disk is full")
        self.seen.append(one.index)
        self.threads.add(threading.get_ident())
        return one.index != self.stops_at

    def close(self, *, completed: bool) -> None:
        self.closed.append(completed)


def test_all_get_all_frames_the_window_in_this_thread() -> None:
    window, file, other = Kept(main_thread=True), Kept(), Kept()
    sinks = TeeSink([file, window, other])
    for number in range(20):
        assert sinks.write(frame(number))
        until(lambda: file.seen[-1:] == other.seen[-1:] == [number])  # noqa: B023  # it is asked at once
    sinks.close(completed=True)
    assert window.seen == file.seen == other.seen == list(range(20))
    assert window.threads == {threading.get_ident()}
    assert not (file.threads | other.threads) & window.threads and file.threads != other.threads
    assert window.closed == file.closed == other.closed == [True]


def test_one_that_stalls_holds_up_nobody_and_gets_the_newest() -> None:
    quick, stalled = Kept(), Kept()
    stalled.gate.clear()
    sinks = TeeSink([quick, stalled])
    start = time.monotonic()
    for number in range(50):
        sinks.write(frame(number))
        until(lambda: quick.seen[-1:] == [number])  # noqa: B023  # it is asked at once
    assert time.monotonic() - start < 4, "less than the stalled one waits"
    stalled.gate.set()
    sinks.close(completed=True)
    assert quick.seen == list(range(50))
    assert stalled.seen[-WAITING:] == [46, 47, 48, 49] and len(stalled.seen) == WAITING + 1


def test_one_that_fails_is_logged_and_closed_while_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    good, bad = Kept(), Kept(fails_at=3)
    sinks = TeeSink([good, bad])
    for number in range(10):
        assert sinks.write(frame(number))
        until(lambda: good.seen[-1:] == [number])  # noqa: B023  # it is asked at once
    until(lambda: bool(bad.closed))
    assert caplog.messages == ["the disk is full"] and bad.closed == [True], "what it has is kept"
    with pytest.raises(SinkError, match="disk is full"):
        sinks.close(completed=True)
    assert good.seen == list(range(10)) and good.closed == [True] and bad.closed == [True]


def test_when_all_have_failed_the_run_ends() -> None:
    broken = [Kept(fails_at=0), Kept(fails_at=1)]
    sinks = TeeSink(broken)
    sinks.write(frame(0))
    sinks.write(frame(1))
    until(lambda: all(sink.closed for sink in broken))
    with pytest.raises(SinkError, match="disk is full"):
        sinks.write(frame(2))


def test_sinks_of_one_name_are_numbered() -> None:
    sinks = TeeSink([Kept(), Kept(main_thread=True), Kept()])
    assert sinks.states() == {"kept": "open", "kept (2)": "open", "kept (3)": "open"}
    assert sinks.drops() == {"kept": 0, "kept (2)": 0, "kept (3)": 0}
    sinks.close(completed=True)


@pytest.mark.parametrize("main_thread", [True, False])
def test_one_that_is_asked_to_stop_stops_all(main_thread: bool) -> None:
    sinks = TeeSink([Kept(main_thread=main_thread, stops_at=2), Kept()])
    answers = []
    for number in range(10):
        answers.append(sinks.write(frame(number)))
        time.sleep(0.01)
    assert answers[0] and not all(answers)
    sinks.close(completed=True)


def test_two_files_at_once_from_a_live_source(tmp_path: Path) -> None:
    files = [tmp_path / "a.mp4", tmp_path / "b.mkv"]
    job = WebcamJob("pattern", ("null", *map(str, files)), (64, 48), 50.0, 30)
    figures = run_webcam(job, Identity, Controls())
    assert figures.frames_out == 30
    for file in files:
        with av.open(str(file)) as clip:
            assert 20 <= sum(1 for _ in clip.decode(video=0)) <= 30


@pytest.mark.parametrize(
    ("sinks", "words"), [((), "no sink"), (("null", "null"), "twice"), (("null", "screen"), "unknown sink")]
)
def test_sinks_that_make_no_sense(sinks: tuple[str, ...], words: str) -> None:
    with pytest.raises(SinkError, match=words):
        run_webcam(WebcamJob("pattern", sinks), Identity, Controls())
