from __future__ import annotations

import json

import pytest

from rtstyle.stats import AGE_WINDOW, Stats, percentile


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_known_answers() -> None:
    clock = Clock()
    stats = Stats(clock)
    for i in range(21):
        clock.now = 100.0 + i * 0.1
        stats.frame_read(0.01)
        stats.frame_stylized(0.02)
        stats.frame_written(0.005, clock.now - (0.5 if i == 3 else 0.05), 48, 64)
    stats.frame_dropped()
    figures = stats.snapshot()
    assert (figures.frames_in, figures.frames_out, figures.dropped) == (21, 21, 1)
    assert figures.fps_in == pytest.approx(10)
    assert figures.fps_out == pytest.approx(10)
    assert figures.age_p50_ms == pytest.approx(50)
    assert figures.age_p95_ms == pytest.approx(50)
    assert figures.age_max_ms == pytest.approx(500)
    assert figures.engine_p50_ms == pytest.approx(20)
    assert (figures.width, figures.height) == (64, 48)
    assert figures.seconds == pytest.approx(2)
    assert (figures.source_s, figures.engine_s, figures.sink_s) == pytest.approx((0.21, 0.42, 0.105))
    assert json.loads(json.dumps(figures.to_dict()))["frames_out"] == 21


def test_rate_forgets_the_past() -> None:
    clock = Clock()
    stats = Stats(clock)
    for i in range(10):
        clock.now = 100.0 + i
        stats.frame_read(0)
    for i in range(100):
        clock.now = 110.0 + i / 50
        stats.frame_read(0)
    assert stats.snapshot().fps_in == pytest.approx(50, rel=0.02)
    clock.now += 60
    assert stats.snapshot().fps_in == 0


def test_memory_is_bounded_and_the_maximum_is_not_forgotten() -> None:
    clock = Clock()
    stats = Stats(clock)
    stats.frame_written(0, clock.now - 9, 1, 1)
    for _ in range(3 * AGE_WINDOW):
        stats.frame_written(0, clock.now, 1, 1)
    assert len(stats._ages_ms) == AGE_WINDOW
    assert stats.snapshot().age_max_ms == pytest.approx(9000)


@pytest.mark.parametrize(("percent", "value"), [(50, 5), (95, 10), (0, 1), (100, 10)])
def test_percentile(percent: float, value: float) -> None:
    assert percentile([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], percent) == value


def test_percentile_of_nothing() -> None:
    assert percentile([], 95) == 0
