"""Settings that move by themselves, on a clock that the test holds."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from engines.base import RGB
from engines.errors import ConfigError
from rtstyle.cli import main
from rtstyle.controls import Controls
from rtstyle.live.actions import Actions
from rtstyle.live.modulations import Modulations
from rtstyle.live.session import LiveSession
from rtstyle.live.webcam import WebcamJob, run_webcam
from rtstyle.modulation import SHAPES, Oscillator, parse_modulation
from rtstyle.ranges import RANGES, Range
from rtstyle.sources.pattern import PatternSource
from tests.rtstyle.clips import Still


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def path(modulations: Modulations, clock: Clock, read: Callable[[], float], times: list[float]) -> list[float]:
    """What a setting is at each of these seconds since the clock's start."""
    values = []
    for time_s in times:
        clock.now_s = 100.0 + time_s
        modulations.apply(clock.now_s)
        values.append(round(read(), 6))
    return values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("strength=sine 4s", [0.0, 0.5, 1.0, 0.5, 0.0]),
        ("strength=sine 4s 0.2..0.6", [0.2, 0.4, 0.6, 0.4, 0.2]),
        ("strength=triangle:0.25Hz:0.6..0.2", [0.6, 0.4, 0.2, 0.4, 0.6]),
        ("strength = saw 4000ms 0..0.8", [0.0, 0.2, 0.4, 0.6, 0.0]),
        ("strength=SQUARE 15bpm", [0.0, 0.0, 1.0, 1.0, 0.0]),
    ],
)
def test_shapes_periods_and_ranges(text: str, values: list[float], clock: Clock) -> None:
    controls = Controls()
    modulations = Modulations(controls, clock=clock)
    modulations.change(text)
    assert path(modulations, clock, lambda: controls.strength, [0, 1, 2, 3, 4]) == values


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_stays_within_its_range_and_uses_it(shape: str) -> None:
    shares = [Oscillator(shape, 0.7).share(i / 100, 0.0) for i in range(3000)]
    assert 0.0 <= min(shares) < 0.05 and 0.95 < max(shares) <= 1.0


def test_rounding_leaves_no_range() -> None:
    rng = random.Random(3)
    for _ in range(2000):
        low, high = rng.uniform(0.5, 2), rng.choice((0.5, 1.0, 2.0))
        for octaves in (False, True):
            span = Range(low, high, octaves=octaves)
            assert span.at(0.0) == low and span.at(1.0) == pytest.approx(high, rel=1e-12)
            assert all(min(low, high) <= span.at(share) <= max(low, high) for share in (0.5, 1 - 1e-16, 1.0))


def test_random_holds_a_value_for_each_period() -> None:
    shares = [Oscillator("random", 1.0).share(i / 10, 0.0) for i in range(50)]
    assert len(set(shares)) == 5 and shares[0] == shares[9] != shares[10]


def test_moving_stroke_sizes_need_no_more_graphs_than_an_engine_keeps(clock: Clock) -> None:
    from engines.openvino.engine import KEPT_SIZES

    controls = Controls()
    modulations = Modulations(controls, clock=clock)
    modulations.change("scale=sine 10s 0.5..2")
    seen = set(path(modulations, clock, lambda: controls.scale, [i / 30 for i in range(900)]))
    assert seen == {0.5, 1.0, 2.0} and len(seen) <= KEPT_SIZES


def test_slowly_moving_colours_do_not_change_with_every_frame(clock: Clock) -> None:
    controls = Controls()
    modulations = Modulations(controls, clock=clock)
    modulations.change("colours=triangle 60s 0..0.5")
    seen = path(modulations, clock, lambda: controls.colours, [i / 30 for i in range(900)])
    assert len(set(seen)) == 51 and max(b - a for a, b in pairwise(seen)) < 0.011


def test_whoever_sets_a_moving_setting_takes_it_over(clock: Clock) -> None:
    controls = Controls()
    modulations = Modulations(controls, clock=clock)
    modulations.change("strength=saw 10s")
    modulations.change("colours=saw 10s 0..0.5")
    assert path(modulations, clock, lambda: controls.strength, [0, 2]) == [0.0, 0.2]
    controls.strength = 0.9
    assert path(modulations, clock, lambda: controls.strength, [3, 4]) == [0.9, 0.9]
    assert controls.colours == 0.2 and modulations.running == {"colours": "saw 10s 0..0.5"}
    modulations.switch(True)
    assert path(modulations, clock, lambda: controls.strength, [4, 5]) == [0.0, 0.1], "from its beginning"
    modulations.switch(False)
    assert path(modulations, clock, lambda: controls.strength, [6]) == [0.1], "it stays where it was"


def test_a_measured_source_by_its_name(clock: Clock) -> None:
    class Level:
        value = 0.0

        def begin(self) -> None:
            pass

        def share(self, elapsed_s: float, moment_s: float) -> float:
            return self.value

    controls, level = Controls(), Level()
    modulations = Modulations(controls, sources={"level": level}, clock=clock)
    modulations.change("strength=level 0.5..1")
    assert path(modulations, clock, lambda: controls.strength, [0]) == [0.5]
    level.value = 3.0  # louder than it should be
    assert path(modulations, clock, lambda: controls.strength, [1]) == [1.0]
    with pytest.raises(ConfigError, match="'2s' is not a range"):  # what is measured has no period
        modulations.change("strength=level 2s 0.5..1")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("strength", "cannot modulate"),
        ("mirror=sine 4s", "targets: strength, scale, colours, faces, inside, outside, mix"),
        ("strength=", "cannot modulate"),
        ("glide=sine 4s", "cannot modulate"),
        ("strength=wobble 4s", "there is no 'wobble'"),
        ("strength=loud", "there is no 'loud' (available: sine, triangle, saw, square, random, level, beat)"),
        ("strength=beat 120bpm", "'120bpm' is not a range"),
        ("strength=sine", "needs a period"),
        ("strength=sine 4", "needs a period"),
        ("strength=sine 0s", "needs a period"),
        ("strength=sine 100Hz", "0.1 to 3600 seconds"),
        ("strength=sine 4s 0..2", "strength takes 0..1"),
        ("strength=sine 4s nan..1", "strength takes 0..1"),
        ("scale=sine 4s 0.3..1", "scale takes 0.5..2"),
        ("strength=sine 4s 1", "not a range"),
        ("strength=sine 4s 0..1 0..1", "what is"),
    ],
)
def test_what_does_not_follow_the_grammar(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_modulation(text)
    assert told in f"{error.value} {error.value.hint}" and "\n" not in str(error.value)


def test_the_action_starts_ends_and_toggles() -> None:
    with LiveSession(PatternSource(64, 48, 30), Controls()) as live:
        change = Actions(live).change
        assert change("modulate", "strength=sine 4s") == {"modulation": {"strength": "sine 4s"}}
        change("modulate", "scale=sine:4s:1..2")
        assert live.read().to_dict()["modulation"] == {"strength": "sine 4s", "scale": "sine 4s 1..2"}
        assert change("modulate", "strength=off")["modulation"] == {"scale": "sine 4s 1..2"}
        assert change("modulate") == {"modulation": {}}
        assert set(change("modulate", "on")["modulation"]) == {"strength", "scale"}
        assert change("modulate", 0) == {"modulation": {}}
        with pytest.raises(ConfigError, match="there is no 'nonsense'"):
            change("modulate", "strength=nonsense")
        assert set(RANGES) < set(Actions(live).names[1])


def test_frames_are_moved() -> None:
    controls, seen = Controls(), list[float]()

    class Recording(Still):
        def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
            seen.append(strength)
            return super().__call__(rgb, strength, colours)

    def begin(actions: Actions) -> None:
        actions.change("modulate", "strength=saw 0.1s")

    job = WebcamJob("pattern", ("null",), (64, 48), 200.0, 40)
    run_webcam(job, Recording, controls, on_ready=begin)
    assert len(set(seen)) > 10 and min(seen) < 0.3 and max(seen) > 0.7


def test_a_setting_that_is_modulated_twice_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    line = ["--modulate", "strength=sine:4s", "--modulate", "scale=saw:2s", "--modulate", "strength=square:1s:0..0.5"]
    for command in (["webcam", "--source", "pattern", "--sink", "null"], ["web", "--source", "pattern"]):
        assert main([*command, *line]) == 1
        told, hint = capfd.readouterr().err.splitlines()
        assert told == "rtstyle: strength is modulated twice"
        assert hint.startswith("hint: leave one --modulate out")
