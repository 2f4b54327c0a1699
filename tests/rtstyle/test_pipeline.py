from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from threading import Event

import numpy as np
import pytest

from engines.base import RGB, EngineInfo, PendingFrame
from engines.errors import EngineError, ShapeError, SinkError, SourceError
from rtstyle.controls import Controls
from rtstyle.frame import Frame, SourceInfo
from rtstyle.pipeline import run
from rtstyle.sinks.null import NullSink
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
        def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
            painted.append(number_of(rgb))
            at_first.set()
            assert source.ended.wait(WAIT_S)
            return super().__call__(rgb, strength, colours)

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
        def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
            raise EngineError("out of memory")

    sink = Sink()
    with pytest.raises(EngineError, match="memory"):
        run(Source(5, live=True), Broken(), sink, Controls(), Stats())
    assert sink.completed == [True]


def test_engine_error_reaches_the_caller() -> None:
    class Broken(Still):
        def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
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
        def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
            strengths.append(strength)
            assert rgb.flags.c_contiguous
            return super().__call__(rgb, strength, colours)

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


class Late(Still):
    """Takes frames at once, and finishes each only when it must; tells how many it was at."""

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__()
        self.fails_at = fails_at
        self.in_flight: list[int] = []
        self.most = 0

    def submit(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> PendingFrame:
        engine, number = self, number_of(rgb)
        self.in_flight.append(number)
        self.most = max(self.most, len(self.in_flight))

        class Waiting:
            def result(self) -> RGB:
                engine.in_flight.remove(number)
                if number == engine.fails_at:
                    raise EngineError("the card fell off")
                return Still.__call__(engine, rgb, strength, colours)

        return Waiting()

    def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
        assert not self.in_flight, "one that is called is at nothing else"
        return super().__call__(rgb, strength, colours)


def sunk(sink: Sink) -> list[int]:
    return [frame.index for frame in sink.frames]


class Full(Source):
    """All frames are there before the engine asks for the first one."""

    def __init__(self, count: int, engine: Late, **rest: object) -> None:
        super().__init__(count, **rest)  # type: ignore[arg-type]
        taken, submit = Event(), engine.submit

        def hesitating(rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> PendingFrame:
            if number_of(rgb) == 0:
                assert taken.wait(WAIT_S)
            return submit(rgb, strength, colours)

        engine.submit = hesitating  # type: ignore[method-assign]
        self.taken = taken

    def frames(self) -> Iterator[Frame]:
        for frame in super().frames():
            if frame.index == EngineInfo.in_flight:
                self.taken.set()
            yield frame
        self.taken.set()


def test_frames_of_a_file_overlap_in_order() -> None:
    engine, sink, stats = Late(), Sink(), Stats()
    run(Full(40, engine), engine, sink, Controls(), stats)
    assert [number_of(frame.rgb) for frame in sink.frames] == list(range(40))
    assert engine.most == EngineInfo.in_flight and not engine.in_flight
    assert sink.completed == [True]
    assert stats.snapshot().frames_out == 40
    assert stats.snapshot().engine_s >= 0


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_last_frames_of_a_file_are_not_forgotten(count: int) -> None:
    sink = Sink()
    run(Source(count), Late(), sink, Controls(), Stats())
    assert sunk(sink) == list(range(count))


def test_a_slow_source_does_not_hold_frames_back() -> None:
    """The second frame comes only when the first is written: nobody may wait for three."""
    source, written = Source(3), Event()
    source.before[1] = written

    class Telling(Sink):
        def write(self, frame: Frame) -> bool:
            written.set()
            return super().write(frame)

    sink = Telling()
    run(source, Late(), sink, Controls(), Stats())
    assert sunk(sink) == [0, 1, 2]


def test_live_frames_do_not_overlap() -> None:
    engine, sink = Late(), Sink()
    run(Source(20, live=True), engine, sink, Controls(), Stats())
    assert engine.most == 0 and sink.frames


def test_frames_of_a_file_overlap_at_every_scale() -> None:
    engine, sink = Late(), Sink()
    run(Full(10, engine), engine, sink, Controls(scale=2.0), Stats())
    assert engine.most == EngineInfo.in_flight and sunk(sink) == list(range(10))


def test_a_change_of_scale_keeps_the_order() -> None:
    engine, sink, controls = Late(), Sink(), Controls()
    run(Full(30, engine), engine, sink, controls, Stats(), on_frame=lambda frame: change(controls, frame.index))
    assert sunk(sink) == list(range(30))


def change(controls: Controls, index: int) -> None:
    controls.scale = 2.0 if index // 5 % 2 else 1.0


def test_error_of_a_pending_frame_reaches_the_caller() -> None:
    engine, sink = Late(fails_at=7), Sink()
    source = Full(50, engine)
    with pytest.raises(EngineError, match="fell off"):
        run(source, engine, sink, Controls(), Stats())
    assert sunk(sink) == list(range(7)), "all before it, none after it"
    assert sink.completed == [False]
    assert source.closed.is_set()


def test_a_source_that_fails_loses_no_frame_that_it_gave() -> None:
    engine, sink = Late(), Sink()
    with pytest.raises(SourceError, match="torn"):
        run(Full(6, engine, error=SourceError("torn")), engine, sink, Controls(), Stats())
    assert sunk(sink) == list(range(6))


def test_a_frame_that_is_refused_comes_after_those_that_are_pending() -> None:
    class Picky(Late):
        def submit(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> PendingFrame:
            if number_of(rgb) == 5:
                raise ShapeError("odd")
            return super().submit(rgb, strength, colours)

    sink = Sink()
    with pytest.raises(ShapeError, match="odd"):
        run(Source(9), Picky(), sink, Controls(), Stats())
    assert sunk(sink) == list(range(5))


def test_stop_with_frames_pending() -> None:
    engine, sink, controls = Late(), Sink(stop_at=2), Controls()
    run(Full(30, engine), engine, sink, controls, Stats())
    assert sunk(sink) == [0, 1]
    assert sink.completed == [False]
