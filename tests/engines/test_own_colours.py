"""Own colours: every engine takes light and dark from the style, and the rest from the frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

import engines
from engines.base import RGB, Engine, SharedGraphEngine
from engines.errors import ShapeError
from engines.model.cells import CELL_IN, CELL_OUT, crop_fill, crop_margin, depth_to_space, pad_reflect, space_to_depth
from engines.model.generator import load_generator
from engines.model.own_colours import LUMA, with_own_colours
from engines.style_file import StyleModel
from tests.engines.test_golden import picture

Floats = npt.NDArray[np.float64]


def parts(style: StyleModel, rgb: RGB) -> tuple[Floats, Floats]:
    """The frame, and the painting before it is clamped, both in 0 … 255."""
    generator = load_generator(style).double()
    padded = pad_reflect(torch.from_numpy(rgb)[None]).double() / 255.0
    with torch.no_grad():
        ground = generator.softened(space_to_depth(crop_margin(padded, CELL_OUT), CELL_OUT))
        cells = depth_to_space(ground + generator(space_to_depth(padded, CELL_IN)), CELL_OUT)
    return rgb.astype(np.float64), crop_fill(cells, *rgb.shape[:2])[0].numpy() * 255.0


def expected(style: StyleModel, rgb: RGB, strength: float, colours: float) -> Floats:
    """By the definition: the luma of the painting over the chroma of the frame."""
    x, y = parts(style, rgb)
    own = x + ((y - x) @ np.array(LUMA))[..., None]
    y = np.clip((1 - colours) * y + colours * own, 0.0, 255.0)
    return x + strength * (y - x)


@pytest.fixture(params=["torch", "cpu", "cpu sharing"])
def engine(request: pytest.FixtureRequest, tiny_style: Path) -> Iterator[Engine]:
    name, _, sharing = request.param.partition(" ")
    engine = engines.load(tiny_style, name, shared=bool(sharing))
    yield engine
    engine.close()


def test_the_definition(engine: Engine, tiny_style: Path) -> None:
    rgb, style = picture(37, 50), StyleModel.open(tiny_style)
    plain = engine(rgb)
    # There and back, so that every change of the setting is seen to take effect.
    for strength, colours in ((1.0, 1.0), (1.0, 0.4), (0.5, 1.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)):
        off = np.abs(engine(rgb, strength, colours) - expected(style, rgb, strength, colours))
        assert off.max() <= 1.01, (strength, colours)
    np.testing.assert_array_equal(engine(rgb), plain)


def test_another_frame_size_has_them_too(engine: Engine, tiny_style: Path) -> None:
    style = StyleModel.open(tiny_style)
    for height, width in ((32, 48), (40, 32), (32, 48)):
        rgb = picture(height, width)
        assert np.abs(engine(rgb, 1.0, 1.0) - expected(style, rgb, 1.0, 1.0)).max() <= 1.01


def test_engines_that_share_a_graph_keep_their_own(tiny_style: Path) -> None:
    first, second = (engines.load(tiny_style, "cpu", shared=True) for _ in range(2))
    assert isinstance(first, SharedGraphEngine)
    rgb = picture(32, 48)
    plain, own = first(rgb), second(rgb, 1.0, 1.0)
    assert not np.array_equal(plain, own)
    np.testing.assert_array_equal(first(rgb), plain)
    np.testing.assert_array_equal(second(rgb, 1.0, 1.0), own)
    first.close()
    second.close()


def test_what_is_out_of_range_is_refused(engine: Engine) -> None:
    for colours in (-0.1, 1.1, float("nan")):
        with pytest.raises(ShapeError, match="colours"):
            engine(picture(32, 48), 1.0, colours)


def test_0_changes_no_weight(tiny_style: Path) -> None:
    weights = StyleModel.open(tiny_style).tensors()
    for name, value in with_own_colours(weights, 0.0).items():
        np.testing.assert_array_equal(value, weights[name])


def test_a_grey_frame_stays_grey(engine: Engine) -> None:
    grey = np.repeat(picture(32, 48)[..., :1], 3, axis=2)
    stylized = engine(np.ascontiguousarray(grey), 1.0, 1.0).astype(int)
    assert np.ptp(stylized, axis=2).max() <= 1
