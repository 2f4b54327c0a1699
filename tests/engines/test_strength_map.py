"""Strength as a map: every engine shows the style where the map says so, and nothing of it elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import engines
from engines.base import Engine, PipelinedEngine, StrengthMap
from engines.cuda.engine import CudaEngine
from engines.errors import ShapeError
from engines.strength_map import mean_strength
from engines.style_file import StyleModel
from engines.trt.plan_cache import PlanCache
from tests.engines.fake_builders import HIGH, WIDE, FakeBuilders, on_cpu
from tests.engines.fake_engines import FakeEngine, built, frame, run_until
from tests.engines.fake_tensorrt import plan_of
from tests.engines.test_golden import picture


@pytest.fixture(params=["torch", "cpu", "cpu sharing", "cuda", "tensorrt"])
def engine(
    request: pytest.FixtureRequest, tiny_style: Path, style: StyleModel, cache: PlanCache, fakes: FakeBuilders
) -> Iterator[Engine]:
    name, _, sharing = request.param.partition(" ")
    engine: Engine
    if name == "cuda":
        engine = CudaEngine(style, device="cpu")
    elif name == "tensorrt":
        cache.put(fakes.own.key(style, HIGH, WIDE), plan_of(style, HIGH, WIDE), seconds=1.0, extra={})
        engine = on_cpu(style, cache)
    else:
        engine = engines.load(tiny_style, name, shared=bool(sharing))
    yield engine
    engine.close()


def ramp() -> StrengthMap:
    """0 at the left, 1 at the right, all values between in the middle."""
    values = np.clip(np.linspace(-0.5, 1.5, WIDE, dtype=np.float32), 0.0, 1.0)
    return np.repeat(values[None], HIGH, axis=0)


@pytest.mark.parametrize("colours", [0.0, 0.6])
def test_each_pixel_has_the_strength_of_the_map(engine: Engine, colours: float) -> None:
    rgb, strength = picture(HIGH, WIDE), ramp()
    stylized = engine(rgb, 1.0, colours)
    blended = engine(rgb, strength, colours)
    exact = rgb + strength[..., None].astype(float) * (stylized.astype(float) - rgb)
    assert np.abs(blended - exact).max() <= 0.51
    np.testing.assert_array_equal(blended[strength == 0.0], rgb[strength == 0.0])
    np.testing.assert_array_equal(blended[strength == 1.0], stylized[strength == 1.0])


def test_a_map_leaves_no_trace_in_the_next_frame(engine: Engine) -> None:
    rgb = picture(HIGH, WIDE)
    plain, half = engine(rgb), engine(rgb, 0.5)
    engine(rgb, ramp())
    np.testing.assert_array_equal(engine(rgb), plain)
    np.testing.assert_array_equal(engine(rgb, 0.5), half)


@pytest.mark.parametrize(
    ("strength", "message"),
    [
        (np.ones((HIGH, WIDE - 1), np.float32), "must be float32"),
        (np.ones((HIGH, WIDE, 3), np.float32), "must be float32"),
        (np.ones((HIGH, WIDE), np.float64), "not float64"),
        (np.full((HIGH, WIDE), 255, np.uint8), "not uint8"),
        (np.full((HIGH, WIDE), 1.01, np.float32), "out of range"),
        (np.full((HIGH, WIDE), -0.01, np.float32), "out of range"),
        (np.full((HIGH, WIDE), np.nan, np.float32), "out of range"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(engine: Engine, strength: StrengthMap, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        engine(picture(HIGH, WIDE), strength)


def test_frame_and_map_may_change_as_soon_as_they_are_submitted(style: StyleModel) -> None:
    with_map = CudaEngine(style, device="cpu")
    assert isinstance(with_map, PipelinedEngine)
    rgb, strength = picture(HIGH, WIDE), ramp()
    expected = with_map(rgb, strength)
    mine, map_of_mine = rgb.copy(), strength.copy()
    pending = with_map.submit(mine, map_of_mine)
    mine[:], map_of_mine[:] = 0, 1.0
    np.testing.assert_array_equal(pending.result(), expected)
    with_map.close()


def test_a_faster_engine_takes_over_in_the_middle_of_maps() -> None:
    _, engine = built(FakeEngine("better"))
    run_until(engine, "better")
    np.testing.assert_array_equal(engine(frame(3), np.ones((48, 64), np.float32)), frame(3))
    engine.close()


def test_the_mean_says_how_much_of_the_style_is_in_a_frame() -> None:
    assert mean_strength(0.25) == 0.25
    assert mean_strength(ramp()) == pytest.approx(0.5, abs=0.01)
