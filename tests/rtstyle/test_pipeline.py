from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from threading import Event

import numpy as np
import pytest

from engines.base import RGB
from engines.errors import EngineError, ShapeError, SinkError, SourceError
from rtstyle.frame import Frame
from rtstyle.pipeline import Controls, run
from rtstyle.sinks.null import NullSink
from rtstyle.sources.base import SourceInfo
from rtstyle.stats import Stats
from tests.rtstyle.clips import Still, frames, number_of

WAIT_S = 5.0


class Source:
    """Numbered frames; then it ends, fails, or waits until it is closed."""

    def __init__(
        self, count: int, *, live: bool = False, error: Exception | None = None, then_wait: bool = False
    ) -> None:
        self.info = SourceInfo("made", 64, 48, Fraction(25), count, live)
        self.error = error
        self.then_wait = then_wait
        self.closed = Event()
        self.ended = Event()
        self.before: dict[int, Event] = {}

    def frames(self) -> Iterator[Frame]:
        for frame in frames(self.info.frame_count or 0):
            if frame.index in self.before:
                assert self.before[frame.index].wait(WAIT_S)
            yield frame
        self.ended.set()
        if self.error is not None:
            raise self.error
        if self.then_wait:
            assert self.closed.wait(WAIT_S)

    def close(self) -> None:
        self.closed.set()


class Sink:
    """Remembers what it was given."""

    name = "memory"
    main_thread = True

    def __init__(self, *, stop_at: int | None = None, error: BaseException | None = None) -> None:
        self.frames: list[Frame] = []
        self.completed: list[bool] = []
        self.threads: set[threading.Thread] = set()
        self.stop_at = stop_at
        self.error = error

    def write(self, frame: Frame) -> bool:
        self.threads.add(threading.current_thread())
        if self.error is not None and frame.index == 3:
            raise self.error
        self.frames.append(frame)
        return len(self.frames) != self.stop_at

    def close(self, *, completed: bool) -> None:
        self.completed.append(completed)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_a_file_loses_nothing() -> None:
    source, sink, stats, seen = Source(40), Sink(), Stats(), []
    run(source, Still(), sink, Controls(), stats, on_frame=lambda frame: seen.append(frame.index))
    assert [number_of(frame.rgb) for frame in sink.frames] == list(range(40)) == seen
    assert [(frame.index, frame.pts) for frame in sink.frames] == [(i, i) for i in range(40)]
    assert sink.completed == [True]
    assert source.closed.is_set()
    assert sink.threads == {threading.current_thread()}
    figures = stats.snapshot()
    assert (figures.frames_in, figures.frames_out, figures.dropped) == (40, 40, 0)


def test_live_keeps_the_newest_and_counts_the_rest() -> None:
    """While the engine is at the first frame, seven more come: only the last of them is painted next."""
    source, sink, stats = Source(8, live=True), Sink(), Stats()
    source.before[1] = at_first = Event()
    painted = []

    class Slow(Still):
        def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
            painted.append(number_of(rgb))
            at_first.set()
            assert source.ended.wait(WAIT_S)
            return super().__call__(rgb, strength)

    run(source, Slow(), sink, Controls(), stats)
    assert painted == [0, 7]
    assert [frame.index for frame in sink.frames][-1] == 7
    assert stats.snapshot().frames_out + stats.snapshot().dropped == 8


def test_source_error_reaches_the_caller() -> None:
    sink = Sink()
    with pytest.raises(SourceError, match="torn"):
        run(Source(5, error=SourceError("torn")), Still(), sink, Controls(), Stats())
    assert sink.completed == [False]


def test_a_recording_survives_its_camera() -> None:
    sink = Sink()
    with pytest.raises(SourceError, match="unplugged"):
        run(Source(5, live=True, error=SourceError("unplugged")), Still(), sink, Controls(), Stats())
    assert sink.completed == [True]


def test_a_recording_survives_its_engine() -> None:
    class Broken(Still):
        def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
            raise EngineError("out of memory")

    sink = Sink()
    with pytest.raises(EngineError, match="memory"):
        run(Source(5, live=True), Broken(), sink, Controls(), Stats())
    assert sink.completed == [True]


def test_engine_error_reaches_the_caller() -> None:
    class Broken(Still):
        def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
            raise ShapeError("odd")

    source, sink = Source(50), Sink()
    with pytest.raises(ShapeError, match="odd"):
        run(source, Broken(), sink, Controls(), Stats())
    assert sink.completed == [False]
    assert source.closed.is_set()


@pytest.mark.parametrize("error", [SinkError("full"), KeyboardInterrupt()])
def test_sink_error_and_ctrl_c_end_everything(error: BaseException) -> None:
    source, sink = Source(50), Sink(error=error)
    with pytest.raises(type(error)):
        run(source, Still(), sink, Controls(), Stats())
    assert sink.completed == [False]
    assert source.closed.is_set()


def test_ctrl_c_finishes_a_recording() -> None:
    class Interrupted(Sink):
        def write(self, frame: Frame) -> bool:
            raise KeyboardInterrupt

    sink = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        run(Source(200, live=True, then_wait=True), Still(), sink, Controls(), Stats())
    assert sink.completed == [True]


def test_error_in_on_frame_ends_everything() -> None:
    def fail(frame: Frame) -> None:
        raise RuntimeError("progress bar")

    sink = Sink()
    with pytest.raises(RuntimeError, match="progress bar"):
        run(Source(50), Still(), sink, Controls(), Stats(), on_frame=fail)
    assert sink.completed == [False]


@pytest.mark.parametrize(("live", "completed"), [(False, False), (True, True)])
def test_stop_by_the_sink(live: bool, completed: bool) -> None:
    sink, controls = Sink(stop_at=1), Controls()
    run(Source(9, live=live, then_wait=True), Still(), sink, controls, Stats())
    assert len(sink.frames) == 1
    assert sink.completed == [completed]
    assert controls.stop_requested


def test_stop_reaches_a_source_that_gives_nothing() -> None:
    controls, sink = Controls(), Sink()
    controls.request_stop()
    run(Source(0, live=True, then_wait=True), Still(), sink, controls, Stats())
    assert sink.frames == []


def test_max_frames() -> None:
    sink = Sink()
    run(Source(50), Still(), sink, Controls(), Stats(), max_frames=7)
    assert len(sink.frames) == 7
    assert sink.completed == [True]


def test_mirror_and_strength_reach_the_engine() -> None:
    strengths = []

    class Watching(Still):
        def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
            strengths.append(strength)
            assert rgb.flags.c_contiguous
            return super().__call__(rgb, strength)

    sink = Sink()
    run(Source(2), Watching(), sink, Controls(strength=0.25, mirror=True), Stats())
    assert strengths == [0.25, 0.25]
    (expected,) = list(frames(1))
    assert np.array_equal(sink.frames[0].rgb, expected.rgb[:, ::-1])


def test_sink_that_cannot_finish() -> None:
    class Full(Sink):
        def close(self, *, completed: bool) -> None:
            raise SinkError("disk full")

    source = Source(3)
    with pytest.raises(SinkError, match="disk full"):
        run(source, Still(), Full(), Controls(), Stats())
    assert source.closed.is_set()


def test_null_sink() -> None:
    stats = Stats()
    run(Source(10), Still(), NullSink(), Controls(), stats)
    assert stats.snapshot().frames_out == 10


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_controls_refuse_a_wrong_strength(value: float) -> None:
    with pytest.raises(ShapeError):
        Controls(value)
    controls = Controls()
    with pytest.raises(ShapeError):
        controls.strength = value
    assert controls.strength == 1.0
