"""Styles with more or less of their texture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engines.errors import ShapeError
from engines.mixing.mixed_style import mix_styles, with_weights
from engines.mixing.texture import BIAS, FIELD, WEIGHT, with_texture
from engines.model.generator import load_generator
from engines.openvino.engine import CpuEngine
from engines.openvino.shared_weights import SharedCpuEngine
from engines.style_file import StyleModel
from tests.engines.test_golden import picture
from tests.engines.test_mixing import gallery


def detail(style: StyleModel) -> float:
    """Return how much of a pattern stands on a grey wall."""
    engine = CpuEngine(style, precision="fp32")
    try:
        return float(engine(np.full((128, 128, 3), 120, np.uint8)).std())
    finally:
        engine.close()


def test_a_share_is_the_one_that_training_gives_a_finished_style() -> None:
    style = gallery("scream")
    generator = load_generator(style)
    generator.canvas.weaken(0.3)
    found = with_texture(style, 0.3).tensors()
    for name, value in generator.state_dict().items():
        assert np.abs(found[name].astype(np.float32) - value.numpy()).max() < 1e-3 * max(1.0, float(value.abs().max()))
    assert {name for name, value in found.items() if not np.array_equal(value, style.tensors()[name])} == {WEIGHT, BIAS}


def test_a_share_is_of_what_was_trained_and_leaves_the_mean() -> None:
    style = gallery("wave")  # comes with 0.15
    whole, none = with_texture(style, 1.0), with_texture(style, 0.0)
    assert (style.texture, whole.texture, none.texture) == (0.15, 1.0, 0.0)
    assert np.allclose(whole.tensors()[WEIGHT], style.tensors()[WEIGHT] / 0.15, rtol=1e-3)
    assert np.array_equal(with_texture(style, style.texture).tensors()[WEIGHT], style.tensors()[WEIGHT])

    def mean(one: StyleModel) -> Any:
        weights = {name: value.astype(np.float32) for name, value in one.tensors().items()}
        return weights[BIAS] + weights[WEIGHT][:, :, 0, 0] @ weights[FIELD].mean((0, 2, 3))

    assert np.allclose(mean(whole), mean(style), atol=5e-3) and np.allclose(mean(none), mean(style), atol=5e-3)
    assert detail(none) < detail(style) < 0.5 * detail(whole)
    assert none.weights_sha256() != whole.weights_sha256() != style.weights_sha256()


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ShapeError, match="texture .* is out of range"):
        with_texture(gallery("wave"), share)


def test_any_share_of_none_is_none() -> None:
    style = gallery("udnie")
    assert style.texture == 0.0
    same = with_texture(style, 0.5)
    assert same.texture == 0.0 and same.title == style.title and same.weights_sha256() == style.weights_sha256()


@pytest.mark.parametrize(
    ("record", "texture"),
    [
        ({}, 1.0), ({"settings": None}, 1.0), ({"settings": {"generator": 3}}, 1.0),
        ({"settings": {"generator": {"canvas": "much"}}}, 1.0), ({"settings": {"generator": {"canvas": 7}}}, 1.0),
        ({"settings": {"generator": {"canvas": False}}}, 0.0), ({"settings": {"generator": {"canvas": True}}}, 1.0),
    ],
)  # fmt: skip
def test_a_record_that_says_nothing_about_it_means_all_of_it(record: dict[str, Any], texture: float) -> None:
    style = replace(gallery("scream"), training=record)
    assert style.texture == texture
    if texture:
        changed = with_texture(style, 0.5)
        assert changed.texture == 0.5 and changed.training["settings"]["generator"]["canvas"] == 0.5


def test_textures_mix() -> None:
    style, other = gallery("wave"), gallery("scream")
    mixes = [mix_styles([with_texture(style, share), other], [0.5, 0.5]) for share in (1.0, 0.15, 1.0)]
    assert np.array_equal(mixes[0].tensors()[WEIGHT], mixes[2].tensors()[WEIGHT])
    assert not np.allclose(mixes[0].tensors()[WEIGHT], mixes[1].tensors()[WEIGHT], atol=0.01)
    plain = mix_styles([style, other], [0.5, 0.5])
    assert np.array_equal(mixes[1].tensors()[WEIGHT], plain.tensors()[WEIGHT])
    assert mixes[0].texture == 1.0 and plain.texture == pytest.approx(0.575)
    assert mix_styles([with_texture(style, 0.0), with_texture(other, 0.0)], [0.5, 0.5]).texture == 0.0


def test_an_engine_takes_it_between_two_frames() -> None:
    style, rgb = gallery("klimt"), picture(96, 128)
    engine, fresh = SharedCpuEngine(style, precision="fp32"), CpuEngine(with_texture(style, 1.0), precision="fp32")
    try:
        before = engine(rgb)
        engine.take_style(with_texture(style, 1.0))
        whole = engine(rgb)
        assert np.abs(whole.astype(int) - fresh(rgb)).max() <= 1 < np.abs(whole.astype(int) - before).mean()
        engine.take_style(style)
        assert np.array_equal(engine(rgb), before)
    finally:
        engine.close()
        fresh.close()


@pytest.mark.slow
def test_all_of_it_fits_the_ranges_of_int8() -> None:
    """The ranges were measured with the texture that a style comes with."""
    style = with_texture(gallery("wave"), 1.0)
    exact, coarse = CpuEngine(style, precision="fp32"), CpuEngine(style, precision="int8")
    try:
        off = np.abs(exact(picture(360, 640)).astype(int) - coarse(picture(360, 640)))
        assert off.mean() <= 2 and np.percentile(off, 99) <= 8
    finally:
        exact.close()
        coarse.close()


def test_weights_of_another_origin_keep_their_record() -> None:
    style = gallery("scream")
    assert with_weights(style, style.tensors()).texture == style.texture
