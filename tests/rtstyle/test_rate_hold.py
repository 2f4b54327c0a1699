"""Holding the frame rate: the size falls to what keeps up, comes back when there is room, and never swings."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import engines
from engines.base import RGB, Engine, EngineInfo
from engines.errors import EngineError
from engines.wrapper import EngineWrapper
from rtstyle.controls import Controls
from rtstyle.frame import Frame, SourceInfo
from rtstyle.live.rate_hold import LONGEST_PAUSE_S, PAUSE_S, SHARES, TOO_SLOW, RateController, RateHold, SourceRate
from rtstyle.live.session import LiveSession
from rtstyle.live.style_switcher import StyleSwitcher
from rtstyle.sinks.null import NullSink
from rtstyle.sources.pattern import PatternSource
from rtstyle.stroke_scale import stylize
from tests.rtstyle.test_style_switcher import until

PERIOD_S = 1 / 30


def simulate(
    seconds: float,
    engine_s: Callable[[float, float], float],
    other_s: Callable[[float, float], float] = lambda share, _: 0.004 if share < 1 else 0.0,
    control: RateController | None = None,
) -> tuple[list[tuple[float, float]], int, int]:
    """Play a camera of 30 fps: changes as (when, share), frames stylized, and frames lost.

    ``engine_s`` and ``other_s`` give what a frame takes at a share and a time; a change takes effect half a second
    later, as with a compilation.
    """
    control = control or RateController()
    now_s, newest, done, lost = 0.0, -1, 0, 0
    changes: list[tuple[float, float]] = []
    pending: tuple[float, int] | None = None
    while now_s < seconds:
        newest_now = int(now_s / PERIOD_S)
        if newest_now == newest:
            now_s = (newest + 1) * PERIOD_S + 1e-9
            newest_now = newest + 1
        lost += newest_now - newest - 1
        newest = newest_now
        engine, other = engine_s(control.share, now_s), other_s(control.share, now_s)
        now_s += engine + other
        done += 1
        if pending is not None:
            if now_s >= pending[0]:
                control.change(pending[1], now_s)
                changes.append((now_s, control.share))
                pending = None
        elif (place := control.note(now_s, engine, other, PERIOD_S)) != control.place:
            pending = now_s + 0.5, place
    return changes, done, lost


def test_an_engine_that_keeps_up_works_at_full_size() -> None:
    changes, _, lost = simulate(60, lambda share, _: 0.028 * share**2)
    assert changes == [] and lost == 0


def test_100_ms_at_full_size_become_28_fps() -> None:
    changes, done, _ = simulate(60, lambda share, _: 0.1 * share**2, lambda share, _: 0.008 if share < 1 else 0.0)
    assert changes[-1][1] in (0.4, 0.5) and changes[-1][0] < 4 and len(changes) <= 2
    assert done / 60 >= 28


def test_32_ms_with_slow_frames_lose_less_than_half_a_percent() -> None:
    """A chip that needs 0.96 of the time loses frames by every hiccup; one size smaller, it does not."""
    random = np.random.default_rng(0)

    def engine_s(share: float, _: float) -> float:
        return float(0.032 * share**2 * (1 + random.exponential(0.1)))

    changes, done, lost = simulate(120, engine_s)
    assert [share for _, share in changes] == [0.8]
    assert lost / (done + lost) <= 0.005


@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_no_load_makes_the_size_swing(exponent: float) -> None:
    """Whatever a frame costs, also where the cost does not follow the pixels, the size settles."""
    for full_s in np.linspace(0.01, 0.3, 40):
        cost = float(full_s)
        changes, _, _ = simulate(60, lambda share, _: cost * share**exponent)  # noqa: B023
        shares = [share for _, share in changes]
        assert len(shares) <= 4 and shares == sorted(shares, reverse=True), f"{cost}: {changes}"


def test_a_size_that_turns_out_too_slow_is_tried_ever_less_often() -> None:
    """An engine that is three times slower at full size than its pixels say, as one that leaves the cache."""
    changes, _, _ = simulate(1200, lambda share, _: 0.036 if share == 1 else 0.012 * share**2)
    grown = [when for when, share in changes if share == 1]
    pauses = np.diff(grown)
    assert 3 <= len(grown) <= 9
    assert (pauses[1:] >= np.minimum(1.8 * pauses[:-1], LONGEST_PAUSE_S)).all()


def test_a_load_that_comes_and_goes_is_not_followed_for_long() -> None:
    """Another program works for four seconds of every eight, for ten minutes."""

    def engine_s(share: float, now_s: float) -> float:
        return 0.02 * share**2 * (3 if now_s % 8 < 4 else 1)

    changes, _, _ = simulate(600, engine_s)
    assert len(changes) <= 20
    assert sum(when > 300 for when, _ in changes) <= 4


def test_the_size_comes_back_when_the_other_program_ends() -> None:
    def engine_s(share: float, now_s: float) -> float:
        return 0.02 * share**2 * (4 if 10 < now_s < 30 else 1)

    changes, _, _ = simulate(60, engine_s)
    assert min(share for _, share in changes) < 0.7
    assert changes[-1][1] == 1.0 and 30 < changes[-1][0] < 30 + 3 * PAUSE_S


def test_single_slow_frames_change_nothing() -> None:
    changes, _, _ = simulate(60, lambda _, now_s: 0.2 if now_s % 2 < 0.04 else 0.02)
    assert changes == []


def test_the_rate_is_measured_over_dropped_frames_too() -> None:
    rate = SourceRate(Fraction(0))
    assert rate.period_s(0, 10.0) == 0.0
    measured = [rate.period_s(index, 10.0 + index * 0.04) for index in range(3, 90, 3)]
    assert measured[-1] == pytest.approx(0.04)
    assert rate.period_s(0, 99.0) == 0.0, "the source has begun again"


@pytest.mark.parametrize(("fps", "believed"), [(30, 30), (26, 30), (15, 15), (60, 60)])
def test_a_camera_in_the_dark_is_held_at_its_real_rate(fps: int, believed: int) -> None:
    """A little below the nominal rate the machine itself may be what slows the source."""
    rate = SourceRate(Fraction(30))
    measured = [rate.period_s(index, index / fps) for index in range(300)]
    assert measured[0] == pytest.approx(1 / 30) and measured[-1] == pytest.approx(1 / believed)


class Clock:
    """Time that passes only when an engine works."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Working:
    """Takes 0.09 s for a frame of 160×96, and less for a smaller one; a ``SharedGraphEngine`` that compiles nothing."""

    info = EngineInfo("working", "", "", "", "none")

    def __init__(self, clock: Clock, full_s: float = 0.09) -> None:
        self.clock, self.full_s = clock, full_s
        self.sizes: list[tuple[int, int]] = []
        self.prepared: list[tuple[tuple[int, int], str]] = []
        self.gate, self.closed = threading.Event(), False
        self.gate.set()
        self.fault = ""

    def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
        self.sizes.append((rgb.shape[0], rgb.shape[1]))
        self.clock.now_s += self.full_s * rgb.shape[0] * rgb.shape[1] / (96 * 160)
        return rgb.copy()

    def prepare(self, height: int, width: int) -> None:
        self.gate.wait(5)
        if self.fault:
            raise EngineError(self.fault)
        self.prepared.append(((height, width), threading.current_thread().name))

    def close(self) -> None:
        self.closed = True


def held(engine: Working, controls: Controls, *, live: bool = True) -> RateHold:
    info = SourceInfo("camera 0", 160, 96, Fraction(30), None, live)
    return RateHold(engine, controls, info, engine.clock)


def play(
    hold: RateHold,
    engine: Working,
    controls: Controls,
    seconds: float,
    until_share: float = 0.0,
    until_scale: float = 0.0,
) -> None:
    """Feed what a camera of 30 fps delivers, until a share or a scale is reached or the time is over."""
    clock = engine.clock
    end_s = clock.now_s + seconds
    while clock.now_s < end_s and hold.share != until_share and hold.scale != until_scale:
        index = int(clock.now_s / PERIOD_S) + 1
        clock.now_s = max(clock.now_s, index * PERIOD_S)
        frame = Frame(np.zeros((96, 160, 3), np.uint8), index, index, Fraction(1, 30), index * PERIOD_S)
        start_s = clock.now_s
        stylize(hold, frame.rgb, controls.strength, hold.scale, share=hold.share)
        hold.note(frame, clock.now_s - start_s)
        if hold._preparing is not None and engine.gate.is_set():
            hold._preparing.thread.join(5)


@pytest.fixture
def engine() -> Working:
    return Working(Clock())


def test_the_next_size_is_compiled_in_a_thread_while_frames_go_on(engine: Working) -> None:
    controls = Controls()
    hold = held(engine, controls)
    engine.gate.clear()
    play(hold, engine, controls, 3.0)
    assert set(engine.sizes) == {(96, 160)} and hold.share == 1.0, "it is not ready yet"
    assert len(engine.sizes) >= 20, "no frame waited"
    engine.gate.set()
    until(lambda: bool(engine.prepared))
    play(hold, engine, controls, 3.0)
    assert engine.prepared == [((48, 80), "rate hold")] and engine.sizes[-1] == (48, 80)
    hold.close()
    assert engine.closed


def test_it_says_once_what_it_does(engine: Working, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rtstyle.live")
    controls = Controls()
    hold = held(engine, controls)
    play(hold, engine, controls, 3.0, 0.5)
    engine.full_s = 0.01
    play(hold, engine, controls, 20.0, 1.0)
    engine.full_s = 0.09
    play(hold, engine, controls, 5.0, 0.5)
    assert hold.share == 0.5
    (line,) = caplog.messages
    assert "160×96" in line and "80×48" in line and "30 fps" in line and "--no-hold-fps" in line


def test_the_users_own_scale_comes_on_top(engine: Working) -> None:
    controls = Controls(scale=2.0)
    hold = held(engine, controls)
    engine.full_s = 0.14
    play(hold, engine, controls, 4.0)
    assert set(engine.sizes) == {(48, 80), (40, 64)} and hold.share == 0.8
    assert controls.scale == 2.0


def test_it_begins_at_the_size_that_fits(engine: Working) -> None:
    controls = Controls()
    hold = held(engine, controls)
    hold.rehearse(96, 160)
    assert hold.share == 0.5
    assert engine.sizes[0] == (96, 160) and engine.sizes[-1] == (48, 80), "both are compiled before the first frame"
    fast = Working(Clock(), 0.02)
    hold = held(fast, controls)
    hold.rehearse(96, 160)
    assert hold.share == 1.0


@pytest.mark.parametrize(("on", "live"), [(False, True), (True, False)])
def test_switched_off_or_not_live_it_changes_nothing(engine: Working, on: bool, live: bool) -> None:
    controls = Controls(hold_fps=on)
    hold = held(engine, controls, live=live)
    hold.rehearse(96, 160)
    play(hold, engine, controls, 3.0)
    assert set(engine.sizes) == {(96, 160)} and hold.share == 1.0


def test_it_is_switched_while_frames_go_on(engine: Working) -> None:
    controls = Controls()
    hold = held(engine, controls)
    play(hold, engine, controls, 3.0, 0.5)
    controls.hold_fps = False
    play(hold, engine, controls, 1.0)
    assert hold.share == 1.0
    controls.hold_fps = True
    play(hold, engine, controls, 3.0, 0.5)
    assert hold.share == 0.5


def test_an_engine_that_cannot_work_smaller_stays_and_says_so_once(
    engine: Working, caplog: pytest.LogCaptureFixture
) -> None:
    controls = Controls()
    hold = held(engine, controls)
    engine.fault = "no plan for 80×48"
    play(hold, engine, controls, 10.0)
    assert hold.share == 1.0 and set(engine.sizes) == {(96, 160)}
    (line,) = caplog.messages
    assert "no plan for 80×48" in line


def test_without_strength_nothing_is_measured(engine: Working) -> None:
    controls = Controls(strength=0.0)
    hold = held(engine, controls)
    play(hold, engine, controls, 3.0)
    assert hold.share == 1.0


def test_a_live_run_holds_the_rate_and_says_at_which_size_it_works(tiny_style: Path) -> None:
    """The real engine, slowed in proportion to the pixels; the shared graph is compiled ahead for each size."""

    class Slowed(EngineWrapper):
        def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
            threading.Event().wait(0.06 * rgb.shape[0] * rgb.shape[1] / (96 * 160))
            return super().__call__(rgb, strength, colours)

    def load(style: str) -> Engine:
        return Slowed(engines.load(style, "cpu", threads=1, shared=True))

    controls = Controls(styles=(str(tiny_style),))
    with LiveSession(PatternSource(160, 96, 25), controls) as live:
        live.load(lambda: StyleSwitcher(load, controls))
        live.run(NullSink(), max_frames=20)
        read = live.read().to_dict()
    assert (read["width"], read["height"]) == (160, 96)
    assert read["work_width"] < 160 and read["work_height"] < 96 and read["hold_fps"] is True
    assert f"160×96 at {read['work_width']}×{read['work_height']}" in live.read().lines()[1]


def test_sizes_fall_in_even_steps() -> None:
    assert SHARES[0] == 1.0 and len(SHARES) <= 5
    pixels = [after**2 / before**2 for before, after in pairwise(SHARES)]
    assert all(0.6 <= one <= 0.66 for one in pixels)
    assert min(pixels) * TOO_SLOW < 0.75, "one step is enough for a load just above the limit"
