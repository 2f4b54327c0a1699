"""Another size of strokes while frames go on: it is compiled in a thread, and no frame waits."""

from __future__ import annotations

from pathlib import Path

import pytest

import engines
from engines.base import RGB
from engines.wrapper import EngineWrapper
from rtstyle.controls import Controls
from rtstyle.live.actions import Actions
from rtstyle.live.session import LiveSession
from rtstyle.live.style_switcher import StyleSwitcher
from rtstyle.sinks.null import NullSink
from rtstyle.sources.pattern import PatternSource
from tests.rtstyle.test_rate_hold import Clock, Working, held, play


@pytest.fixture
def engine() -> Working:
    return Working(Clock())


def test_another_scale_is_compiled_while_frames_go_on(engine: Working) -> None:
    """A slider from 1 to 2 in ten values, while the first of them is compiled: those between are left out."""
    controls = Controls(hold_fps=False)
    engine.full_s = 0.02
    hold = held(engine, controls)
    engine.gate.clear()
    for tenths in range(11, 21):
        controls.scale = tenths / 10
        play(hold, engine, controls, 0.2)
    assert set(engine.sizes) == {(96, 160)} and hold.scale == 1.0 and len(engine.sizes) >= 50, "no frame waited"
    engine.gate.set()
    play(hold, engine, controls, 0.2, until_scale=1.1)
    assert hold.scale == 1.1, "the slider is followed although it has moved on"
    play(hold, engine, controls, 2.0)
    assert hold.scale == 2.0 and engine.sizes[-1] == (48, 80)
    assert [size for size, _ in engine.prepared] == [(88, 144), (48, 80)]
    hold.close()


def test_a_slider_that_comes_back_changes_nothing(engine: Working) -> None:
    controls = Controls(hold_fps=False)
    hold = held(engine, controls)
    engine.gate.clear()
    controls.scale = 2.0
    play(hold, engine, controls, 0.5)
    controls.scale = 1.0
    engine.gate.set()
    play(hold, engine, controls, 1.0)
    assert hold.scale == 1.0 and set(engine.sizes) == {(96, 160)}


def test_a_scale_of_the_same_size_needs_no_compilation(engine: Working) -> None:
    controls = Controls(scale=2.0, hold_fps=False)
    hold = held(engine, controls)
    assert hold.scale == 2.0
    controls.scale = 1.99
    play(hold, engine, controls, 0.2)
    assert hold.scale == 1.99 and not engine.prepared and set(engine.sizes) == {(48, 80)}


def test_a_scale_that_cannot_be_compiled_is_refused_once(engine: Working, caplog: pytest.LogCaptureFixture) -> None:
    controls = Controls(hold_fps=False)
    hold = held(engine, controls)
    engine.fault = "the GPU memory is too small"
    controls.scale = 0.5
    play(hold, engine, controls, 5.0)
    assert hold.scale == 1.0 and set(engine.sizes) == {(96, 160)}
    (line,) = caplog.messages
    assert line == "strokes of size 0.50 are not possible, and stay as they are: the GPU memory is too small"
    engine.fault = ""
    controls.scale = 2.0
    play(hold, engine, controls, 1.0)
    assert hold.scale == 2.0


def test_the_rate_is_held_at_the_new_scale(engine: Working) -> None:
    controls = Controls()
    hold = held(engine, controls)
    play(hold, engine, controls, 3.0, 0.5)
    controls.scale = 2.0
    play(hold, engine, controls, 20.0, 1.0)
    play(hold, engine, controls, 0.1)
    assert (hold.scale, hold.share) == (2.0, 1.0) and engine.sizes[-1] == (48, 80)


def test_a_live_run_follows_a_slider_without_a_pause(tiny_style: Path) -> None:
    sizes: list[tuple[int, int]] = []

    class Recorded(EngineWrapper):
        def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
            sizes.append((rgb.shape[0], rgb.shape[1]))
            return super().__call__(rgb, strength, colours)

    controls = Controls(styles=(str(tiny_style),), hold_fps=False)
    with LiveSession(PatternSource(160, 96, 100), controls) as live:
        live.load(
            lambda: Recorded(StyleSwitcher(lambda style: engines.load(style, "cpu", threads=1, shared=True), controls))
        )
        actions = Actions(live)

        def larger(_: object) -> None:
            actions.change("scale", min(2.0, controls.scale * 1.2))
            if sizes[-1] == (48, 80):
                live.stop()

        live.run(NullSink(), max_frames=2000, on_frame=larger)
        assert live.read().to_dict()["work_height"] == 48
    assert sizes[0] == (96, 160) and sizes[-1] == (48, 80) and len(set(sizes)) <= 5
