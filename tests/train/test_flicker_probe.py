"""Steadiness while training: known errors for known flicker, on motion that is exact or filmed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from engines.base import RGB
from engines.errors import StylerError
from engines.model.generator import Generator
from tests.train.conftest import TINY
from tests.train.pictures import scene, texture, write_picture
from tests.train.test_clips import panning, write_clip
from train.config.schema import MotionConfig, TrainConfig
from train.data.pictures import Pictures, picture_files
from train.flicker_probe import FRAMES, SIDE, make_probe, probe_from_clip, probe_from_photograph
from train.inference import stylize_picture

STILL = MotionConfig(noise_sigma=0.0)


def flat(value: int) -> RGB:
    return np.full((SIDE, SIDE, 3), value, np.uint8)


def test_exact_motion_leaves_only_rounding() -> None:
    frames, errors = (x := probe_from_photograph(scene(240, 320), STILL)).frames, x.errors
    assert len(frames) == FRAMES and all(rgb.shape == (SIDE, SIDE, 3) for rgb in frames)
    assert not any(np.array_equal(frames[0], rgb) for rgb in frames[1:])
    ewarp, e_stab = errors(frames)
    assert 0 < ewarp < 5e-5 and 0 < e_stab < 0.005


def test_flicker_and_stuck_paint_are_errors_of_known_size() -> None:
    measure = probe_from_photograph(scene(240, 320), STILL)
    assert measure.errors([flat(70)] * FRAMES) == (0, 0)
    ewarp, e_stab = measure.errors([flat(100), *[flat(151)] * (FRAMES - 1)])
    assert ewarp == pytest.approx(0.04), "(51 / 255)²"
    assert 0.15 < e_stab < 0.2, "its root, less the pixels that come from outside"
    stuck = measure.errors([scene(SIDE, SIDE)] * FRAMES)
    assert stuck[0] > 100 * measure.errors(measure.frames)[0]


def test_noise_makes_the_unpainted_frames_restless() -> None:
    quiet, loud = (probe_from_photograph(scene(240, 320), MotionConfig(noise_sigma=sigma)) for sigma in (0.0, 20.0))
    assert loud.errors(loud.frames)[0] > 10 * quiet.errors(quiet.frames)[0]


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (300, 40)])
def test_any_photograph_will_do(size: tuple[int, int]) -> None:
    figures = probe_from_photograph(texture(*size, 0), MotionConfig()).measure(
        partial(stylize_picture, Generator(TINY, norm=False))
    )
    assert list(figures) == ["ewarp", "e_stab", "ewarp_unpainted", "e_stab_unpainted"]
    assert all(np.isfinite(value) for value in figures.values())


def test_the_same_photograph_and_generator_give_the_same_figures() -> None:
    generator = Generator(TINY, norm=True).train()
    first, again = (
        probe_from_photograph(scene(200, 200), MotionConfig()).measure(partial(stylize_picture, generator))
        for _ in range(2)
    )
    assert first == again and generator.training


def test_a_clip_is_measured_by_its_own_motion(tmp_path: Path) -> None:
    clip = probe_from_clip(write_clip(tmp_path / "pan.mp4", panning(20, 2, -1, height=SIDE, width=SIDE)))
    assert len(clip.frames) == FRAMES
    assert clip.errors(clip.frames)[0] < 0.001
    assert clip.errors([clip.frames[0]] * FRAMES)[0] > 5 * clip.errors(clip.frames)[0]
    with pytest.raises(StylerError):
        probe_from_clip(write_clip(tmp_path / "one.mp4", panning(1, 0, 0)))


def test_the_first_that_can_be_used_is_taken(config: Callable[..., TrainConfig], photos: Path, tmp_path: Path) -> None:
    def pictures() -> Pictures:
        return Pictures(picture_files(photos), 1, 64, 1)

    write_picture(photos / "photo_0.png", scene(96, 96)).write_bytes(b"damaged")
    by_photograph = make_probe(config(), pictures())
    assert by_photograph is not None and by_photograph.frames[0].std() > 10

    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "a.mp4").write_bytes(b"damaged")
    write_clip(clips / "b.mp4", [flat(200)] * 4)
    by_clip = make_probe(config(data={"clips": clips}), pictures())
    assert by_clip is not None and abs(float(by_clip.frames[0].mean()) - 200) < 5

    for path in picture_files(photos):
        path.write_bytes(b"damaged")
    assert make_probe(config(), pictures()) is None
