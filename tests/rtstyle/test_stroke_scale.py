"""Brush size: the strokes change, the shape and the scene's edges do not, and scale 1 is the engine alone."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

import engines
from engines.base import MIN_SIDE, RGB, Engine, EngineInfo, PipelinedEngine, check_size
from engines.errors import ConfigError, ShapeError, StylerError
from rtstyle.commands.options import Scale
from rtstyle.controls import Controls
from rtstyle.image import ImageFailure, ImageJob, ImageReport, stylize_images
from rtstyle.live.actions import SETTINGS, apply_settings
from rtstyle.pipeline import run
from rtstyle.ranges import RANGES
from rtstyle.sinks.null import NullSink
from rtstyle.sources.pattern import PatternSource
from rtstyle.stats import Stats
from rtstyle.stroke_scale import (
    SCALES,
    SIZE_STEP,
    check_scale,
    guided_resize,
    nearest_scale,
    nearest_step,
    stylize,
    submit,
    work_size,
)
from rtstyle.video import VideoJob, stylize_video
from tests.rtstyle.clips import Clip, Still

ALL = (0.5, 0.77, 1.0, 1.01, 1.3, 2.0)


class Striped:
    """Paints black and white stripes, four pixels each, whatever it sees; remembers the sizes."""

    info = EngineInfo("striped", "numpy", "here", "uint8", "none")

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
        check_size(rgb.shape[0], rgb.shape[1])
        self.sizes.append((rgb.shape[0], rgb.shape[1]))
        stripes = np.broadcast_to((np.arange(rgb.shape[1]) // 4 % 2 * 255)[None, :, None], rgb.shape)
        return stripes.astype(np.uint8)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def engine(tiny_style: Path) -> Engine:
    return engines.load(tiny_style, "cpu", threads=1)


def scene(height: int = 90, width: int = 150, seed: int = 0) -> RGB:
    """Sharp shapes, light and dark, on a soft ground."""
    random = np.random.default_rng(seed)
    ground = cv2.resize(random.integers(60, 160, (4, 6, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(6):
        centre = [int(v) for v in random.integers(0, (width, height))]
        light = 200 * int(random.integers(0, 2))
        cv2.circle(ground, centre, int(random.integers(5, 25)), [light + int(v) for v in random.integers(0, 56, 3)], -1)
    return np.asarray(ground, np.uint8)


def sharpness(rgb: RGB, at: RGB) -> float:
    """Mean step between neighbours in a row, where ``at`` has its strongest ones."""
    steps = np.abs(np.diff(at.astype(int).sum(axis=2)))
    strong = steps > np.quantile(steps, 0.97)
    return float(np.abs(np.diff(rgb.astype(int).sum(axis=2)))[strong].mean())


@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_scale_1_is_the_engine(engine: Engine, strength: float) -> None:
    assert np.array_equal(stylize(engine, scene(), strength, 1.0), engine(scene(), strength))
    watching = Striped()
    stylize(watching, scene(), strength)
    assert watching.sizes == [(90, 150)]


@pytest.mark.parametrize("scale", ALL)
@pytest.mark.parametrize("size", [(91, 61), (24, 203)])
def test_shape_is_kept_and_strength_0_is_the_input(engine: Engine, size: tuple[int, int], scale: float) -> None:
    rgb = scene(*size)
    stylized = stylize(engine, rgb, 1.0, scale)
    assert stylized.shape == rgb.shape and stylized.dtype == np.uint8 and stylized.flags.c_contiguous
    same = stylize(engine, rgb, 0.0, scale)
    assert np.array_equal(same, rgb) and not np.shares_memory(same, rgb)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_strength_blends_at_full_size(engine: Engine, scale: float) -> None:
    rgb = scene()
    middle = (stylize(engine, rgb, 1.0, scale).astype(float) + rgb) / 2
    assert np.abs(stylize(engine, rgb, 0.5, scale) - middle).max() <= 0.5


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_own_colours_at_every_scale(engine: Engine, scale: float) -> None:
    grey = np.ascontiguousarray(np.repeat(scene()[..., :1], 3, axis=2))
    colourful = np.ptp(stylize(engine, grey, 1.0, scale).astype(int), axis=2).mean()
    own = np.ptp(stylize(engine, grey, 1.0, scale, 1.0).astype(int), axis=2).mean()
    assert own < 1.0 < colourful


@pytest.mark.parametrize("scale", ALL)
@pytest.mark.parametrize("strength", [1.0, 0.4, 0.0, "map"])
def test_frames_of_a_clip_are_the_same(engine: Engine, scale: float, strength: float | str) -> None:
    assert isinstance(engine, PipelinedEngine)
    rgb, given = scene(), np.tile(np.linspace(0, 1, 150, dtype=np.float32), (90, 1)) if strength == "map" else strength
    pending = [submit(engine, rgb, given, scale, 0.5) for _ in range(3)]  # type: ignore[arg-type]
    expected = stylize(engine, rgb.copy(), given, scale, 0.5)  # type: ignore[arg-type]
    rgb[:] = 0
    for one in pending:
        np.testing.assert_array_equal(one.result(), expected)


@pytest.mark.parametrize("scale", ALL)
def test_a_still_scene_stands_still(engine: Engine, scale: float) -> None:
    rgb = scene()
    first = stylize(engine, rgb, 0.8, scale)
    stylize(engine, scene(seed=1), 0.8, scale)
    assert np.array_equal(stylize(engine, rgb, 0.8, scale), first)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_strokes_are_as_many_times_as_large(scale: float) -> None:
    stylized = stylize(Striped(), np.full((64, 320, 3), 90, np.uint8), 1.0, scale)
    changes = np.count_nonzero(np.diff(stylized[32, :, 0] > 127))
    assert changes == 320 / (4 * scale) - 1


def test_edges_of_the_scene_come_back() -> None:
    """An engine that changes nothing: what is merely enlarged has lost its edges, what is guided has them."""
    rgb = scene()
    reduced = cv2.resize(rgb, (72, 48), interpolation=cv2.INTER_AREA)
    enlarged = np.asarray(cv2.resize(reduced, (150, 90), interpolation=cv2.INTER_CUBIC), np.uint8)
    guided = guided_resize(reduced, reduced, rgb)
    assert np.array_equal(guided, stylize(Still(), rgb, 1.0, 2.0))
    assert sharpness(enlarged, rgb) < 0.75 * sharpness(rgb, rgb) < sharpness(guided, rgb)
    assert np.abs(guided.astype(int) - rgb).mean() < 0.6 * np.abs(enlarged.astype(int) - rgb).mean()


@pytest.mark.parametrize("scale", [0.98, 0.999, 1.001, 1.02])
@pytest.mark.parametrize("size", [(89, 153), (93, 157), (89, 157)])
def test_edges_are_kept_where_scales_are_nearly_1(size: tuple[int, int], scale: float) -> None:
    rgb = scene(*size)
    assert sharpness(stylize(Still(), rgb, 1.0, scale), rgb) > 0.75 * sharpness(rgb, rgb)


def test_a_view_of_a_picture_is_a_picture() -> None:
    rgb = scene()
    for scale in (0.5, 1.0, 2.0):
        flipped = stylize(Still(), rgb[:, ::-1], 1.0, scale)
        assert np.array_equal(flipped, stylize(Still(), np.ascontiguousarray(rgb[:, ::-1]), 1.0, scale))


def test_edges_of_a_stylized_picture_are_sharper_than_enlarged(engine: Engine) -> None:
    rgb = scene()
    reduced = np.asarray(cv2.resize(rgb, (72, 48), interpolation=cv2.INTER_AREA), np.uint8)
    stylized = engine(reduced)
    enlarged = np.asarray(cv2.resize(stylized, (150, 90), interpolation=cv2.INTER_CUBIC), np.uint8)
    assert sharpness(guided_resize(stylized, reduced, rgb), rgb) > 1.1 * sharpness(enlarged, rgb)


def test_where_the_scene_is_flat_the_strokes_are_left_alone() -> None:
    rgb = np.full((64, 128, 3), 90, np.uint8)
    stripes = Striped()(np.zeros((32, 64, 3), np.uint8))
    enlarged = cv2.resize(stripes, (128, 64), interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(stylize(Striped(), rgb, 1.0, 2.0), enlarged)


def test_neighbouring_scales_share_a_size() -> None:
    sizes = {work_size(360, 640, scale) for scale in np.linspace(*SCALES, 1000)}
    assert len(sizes) < 200
    assert all(height % SIZE_STEP == width % SIZE_STEP == 0 for height, width in sizes)
    assert work_size(361, 641, 1.0) == (361, 641)


def test_live_controls_ask_for_few_sizes() -> None:
    scales = [float(scale) for scale in np.linspace(*SCALES, 1000)]
    assert len({work_size(720, 1280, scale) for scale in scales}) > 300
    steps = {nearest_step(scale) for scale in scales}
    assert len(steps) == len({work_size(720, 1280, step) for step in steps}) == 9
    assert {*SCALES, 1.0} < steps and all(nearest_step(step) == step for step in steps)
    assert all(abs(np.log2(nearest_step(scale) / scale)) <= 1 / 8 + 1e-9 for scale in scales)
    assert sorted(steps) == pytest.approx([RANGES["scale"].at(share / 8) for share in range(9)])
    assert nearest_step(RANGES["scale"].at(0.5)) == 1.0


def test_what_changes_a_live_scale_takes_the_nearest_step() -> None:
    controls = Controls(scale=1.3)
    assert controls.scale == 1.3, "as given on the command line"
    assert SETTINGS["scale"](controls, 1.5) == {"scale": 2**0.5} and controls.scale == 2**0.5
    apply_settings(controls, {"scale": "0.6"})
    assert controls.scale == 2**-0.75
    for value in (0.49, 2.01, "nan"):
        with pytest.raises(StylerError, match="scale"):
            SETTINGS["scale"](controls, value)
    assert controls.scale == 2**-0.75


@pytest.mark.parametrize("scale", ALL)
@pytest.mark.parametrize(
    "size", [(24, 24), (25, 4096), (28, 40), (2304, 4096), (4096, 2304), (2160, 3840), (1081, 1921)]
)
def test_what_is_stylized_is_within_the_limits_of_engines(size: tuple[int, int], scale: float) -> None:
    fitted = nearest_scale(scale, *size)
    check_size(*work_size(*size, fitted))
    assert nearest_scale(1.0, *size) == 1.0
    if fitted == scale:
        check_scale(scale, *size)
        return
    with pytest.raises(ShapeError, match="cannot be stylized") as caught:
        check_scale(scale, *size)
    low, _, high, *_ = caught.value.hint.split()
    check_scale(float(low), *size)
    check_scale(float(high), *size)


def test_live_frames_take_the_nearest_scale_that_works() -> None:
    engine = Striped()
    source = PatternSource(48, 36, 100)
    run(source, engine, NullSink(), Controls(scale=2.0), Stats(), max_frames=2)
    assert set(engine.sizes) == {(MIN_SIDE, 32)}


def test_a_change_reaches_the_next_frame() -> None:
    engine, controls = Striped(), Controls()

    def larger(_: object) -> None:
        controls.scale = 2.0

    run(PatternSource(64, 48, 100), engine, NullSink(), controls, Stats(), max_frames=5, on_frame=larger)
    assert engine.sizes[0] == (48, 64) and engine.sizes[-1] == (24, 32)


@pytest.mark.parametrize("value", [0.49, 2.01, float("nan"), float("inf"), -1.0])
def test_a_wrong_scale_is_refused(value: float, tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="scale"):
        stylize(Striped(), scene(), 1.0, value)
    controls = Controls()
    with pytest.raises(ShapeError, match="scale"):
        controls.scale = value
    assert controls.scale == 1.0
    with pytest.raises(ShapeError, match="scale"):
        Controls(scale=value)
    clip = Clip(frames=2).write(tmp_path / "a.mp4")
    with pytest.raises(ConfigError, match="scale"):
        stylize_video(VideoJob(str(clip), tmp_path / "b.mp4", scale=value), Striped)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("scale", [0.7, 2.0])
def test_wrong_frames_and_strengths_are_refused_at_every_scale(scale: float) -> None:
    with pytest.raises(ShapeError, match="expected uint8"):
        stylize(Striped(), scene()[..., 0], 1.0, scale)
    with pytest.raises(ShapeError, match="strength"):
        stylize(Striped(), scene(), 1.5, scale)


def test_files_that_are_too_small_for_a_scale_say_which_works(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), np.zeros((36, 60, 3), np.uint8))
    job = ImageJob((tmp_path / "in.png",), tmp_path / "out.png", scale=2.0)
    (failure,) = stylize_images(job, Striped)
    assert isinstance(failure, ImageFailure) and isinstance(failure.error, ShapeError)
    assert re.search(r"in\.png.*60×36.*scale 2.*1\.5 works", str(failure.error))
    clip = Clip(frames=2, height=36, width=60).write(tmp_path / "a.mp4")
    with pytest.raises(ShapeError, match=r"60×36.*scale 2.*1\.5 works"):
        stylize_video(VideoJob(str(clip), tmp_path / "b.mp4", scale=2.0), Striped)
    assert {path.name for path in tmp_path.iterdir()} == {"in.png", "a.mp4"}


def test_files_are_stylized_at_their_scale(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), scene())
    striped = Striped()
    (report,) = stylize_images(ImageJob((tmp_path / "in.png",), tmp_path / "out.png", scale=2.0), lambda: striped)
    assert isinstance(report, ImageReport)
    assert (report.width, report.height) == (150, 90) and striped.sizes == [(48, 72)]
    clip = Clip(frames=2, height=48, width=64).write(tmp_path / "a.mp4")
    done = stylize_video(VideoJob(str(clip), tmp_path / "b.mp4", scale=0.5), lambda: striped)
    assert (done.width, done.height) == (64, 48) and striped.sizes[1:] == [(96, 128)] * 2


def test_the_command_line_has_these_limits() -> None:
    (option,) = Scale.__metadata__
    assert (option.parser.least, option.parser.most) == SCALES
