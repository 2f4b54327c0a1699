"""The built-in scene: the same picture for the same number, a steady pace, and an end on request."""

from __future__ import annotations

import threading
from fractions import Fraction

import numpy as np
import pytest

from engines.errors import ShapeError, SourceError
from rtstyle.sources.pacing import Ticker
from rtstyle.sources.pattern import PatternSource


class FakeClock:
    """Seconds that pass only when somebody waits, or takes his time."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class FakeStop(threading.Event):
    """Waiting moves the clock instead of taking time."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self.clock.now_s += timeout or 0.0
        return self.is_set()


def test_the_same_number_gives_the_same_picture_and_the_next_another() -> None:
    source = PatternSource(320, 180)
    assert np.array_equal(source.picture(7), source.picture(7))
    assert not np.array_equal(source.picture(7), source.picture(8))


@pytest.mark.parametrize("size", [(24, 24), (25, 39), (360, 640), (4096, 24)])
def test_any_size_can_be_drawn(size: tuple[int, int]) -> None:
    frame = next(PatternSource(*size, live=False).frames())
    assert frame.rgb.shape == (size[1], size[0], 3)
    assert frame.rgb.dtype == np.uint8 and frame.rgb.flags.c_contiguous


def test_unpaced_source_delivers_every_frame_and_ends() -> None:
    source = PatternSource(64, 48, Fraction(30000, 1001), frames=5, live=False)
    frames = list(source.frames())
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.pts for frame in frames] == [0, 1, 2, 3, 4]
    assert all(np.array_equal(frame.rgb, source.picture(frame.index)) for frame in frames)
    assert frames[0].time_base == Fraction(1001, 30000)


def test_live_source_keeps_an_absolute_schedule() -> None:
    clock = FakeClock()
    source = PatternSource(64, 48, 10, frames=4, clock=clock)
    source._stop = FakeStop(clock)
    captured = []
    for frame in source.frames():
        captured.append(frame.captured_s)
        clock.now_s += 0.03  # the consumer takes a while, which must not add up
    assert captured == pytest.approx([100.0, 100.1, 100.2, 100.3])


def test_live_source_skips_what_is_late() -> None:
    clock = FakeClock()
    source = PatternSource(64, 48, 10, frames=3, clock=clock)
    source._stop = FakeStop(clock)
    ticks = []
    for frame in source.frames():
        ticks.append((frame.index, frame.pts))
        clock.now_s += 0.55 if frame.index == 0 else 0.0
    assert ticks == [(0, 0), (1, 5), (2, 6)]


def test_close_wakes_a_waiting_reader() -> None:
    source = PatternSource(64, 48, Fraction(1, 1000))
    frames = source.frames()
    next(frames)
    ended = threading.Event()

    def read() -> None:
        assert next(frames, None) is None
        ended.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    source.close()
    assert ended.wait(5.0)
    source.close()


def test_ticker_says_when_it_was_stopped() -> None:
    stop = threading.Event()
    ticker = Ticker(Fraction(1, 1000), stop)
    assert ticker.wait(0)
    stop.set()
    assert not ticker.wait(0)
    assert not ticker.wait(1)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ShapeError, match="too small"):
        PatternSource(23, 24)
    with pytest.raises(SourceError, match="0 frames per second"):
        PatternSource(64, 48, 0)
