"""All engines answer to one golden picture: the torch engine on the CPU, in fp32."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import engines
from engines.base import MAX_SIZE, MIN_SIDE, RGB, Engine
from engines.errors import EngineError, ShapeError
from engines.export import save_style
from engines.style_file import StyleMeta, StyleModel
from engines.torch_eager import EagerEngine
from tests.generators import identity, narrow

TOLERANCE = {"torch": (0, 0.0), "cpu": (1, 0.002)}
"""Largest and mean difference from the golden picture, in 8-bit steps, for each engine."""

SIZES = [
    (24, 24),
    (24, 25),
    (25, 39),
    (31, 24),
    (24, 40),
    (31, 33),
    (90, 160),
    (127, 129),
    (361, 639),
    (360, 640),
    (640, 360),
    (24, 4096),
]
"""Height and width, pixels: both ends, multiples of the stride and not, upright."""


def picture(height: int, width: int, seed: int = 0) -> RGB:
    """Smooth colours with edges and noise, in all of 0 … 255."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = [127 + 127 * np.sin(x / a + y / b) for a, b in ((9.0, 31.0), (23.0, -7.0), (3.0, 5.0))]
    noise = np.random.default_rng(seed).normal(0, 12, (height, width, 3))
    rgb = np.stack(waves, axis=-1) + noise + 60 * (((x // 16 + y // 16) % 2)[..., None])
    return np.clip(rgb, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def golden(tiny_style: Path) -> EagerEngine:
    """The reference."""
    return EagerEngine(StyleModel.open(tiny_style), device="cpu")


@pytest.fixture(scope="module", params=[*TOLERANCE, "cpu sharing"])
def engine(request: pytest.FixtureRequest, tiny_style: Path) -> Iterator[Engine]:
    """Each engine in turn, with the tiny style."""
    name, _, sharing = request.param.partition(" ")
    engine = engines.load(tiny_style, name, shared=bool(sharing))
    yield engine
    engine.close()


def assert_alike(engine: Engine, golden: Engine, rgb: RGB, strength: float = 1.0) -> None:
    """Within the engine's tolerance of the golden picture."""
    actual, expected = engine(rgb, strength), golden(rgb, strength)
    assert actual.shape == rgb.shape and actual.dtype == np.uint8 and actual.flags.c_contiguous
    difference = np.abs(actual.astype(np.int16) - expected)
    largest, mean = TOLERANCE[engine.info.name]
    assert difference.max() <= largest
    # A small picture has too few pixels for a mean: one rounded otherwise is allowed anywhere.
    assert difference.sum() <= max(1, mean * difference.size)


def test_every_engine_has_a_tolerance() -> None:
    # What only a card runs is compared in `test_on_gpu.py`, `test_trt_on_gpu.py` and `test_intel.py`.
    assert set(TOLERANCE) == set(engines.NAMES) - {"auto", *engines.GPU_ENGINES, *engines.INTEL_ENGINES}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[1]}x{size[0]}")
def test_agrees_with_the_golden_picture(engine: Engine, golden: Engine, size: tuple[int, int]) -> None:
    assert_alike(engine, golden, picture(*size))


@pytest.mark.slow
@pytest.mark.parametrize("size", [MAX_SIZE, MAX_SIZE[::-1]], ids=["wide", "tall"])
def test_agrees_at_the_largest_size(engine: Engine, golden: Engine, size: tuple[int, int]) -> None:
    assert_alike(engine, golden, picture(*size))


@pytest.mark.parametrize("strength", [0.0, 0.25, 0.5, 1.0])
def test_agrees_at_every_strength(engine: Engine, golden: Engine, strength: float) -> None:
    assert_alike(engine, golden, picture(50, 70), strength)


def test_the_tiny_style_is_visible(golden: Engine) -> None:
    rgb = picture(90, 160)
    assert np.abs(golden(rgb).astype(np.int16) - rgb).mean() > 10


def test_strength_0_gives_the_input_back(engine: Engine) -> None:
    ramp = np.arange(256, dtype=np.uint8)
    every_value = np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (24, 256, 3)))
    for rgb in (every_value, picture(37, 53)):
        np.testing.assert_array_equal(engine(rgb, 0.0), rgb)


def test_strength_blends(engine: Engine) -> None:
    rgb = picture(48, 64)
    half = (rgb.astype(np.float32) + engine(rgb, 1.0)) / 2
    assert np.abs(engine(rgb, 0.5) - half).max() <= 1.0


def test_size_changes_mid_stream(engine: Engine) -> None:
    sizes = [(32, 48), (33, 47), (48, 32), (24, 24), (64, 64), (32, 48)]
    rounds = [[engine(picture(*size)) for size in sizes] for _ in range(2)]
    for first, again in zip(*rounds, strict=True):
        np.testing.assert_array_equal(first, again)


def test_same_input_same_output(engine: Engine) -> None:
    rgb = picture(90, 160)
    first = engine(rgb)
    for _ in range(3):
        np.testing.assert_array_equal(engine(rgb), first)


def test_output_is_a_new_array(engine: Engine) -> None:
    rgb = picture(32, 32)
    before, first = rgb.copy(), engine(rgb)
    kept = first.copy()
    engine(255 - rgb)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(rgb, before)
    assert not np.shares_memory(first, rgb)
    first[:] = 0  # and the caller may write to it
    np.testing.assert_array_equal(engine(rgb), kept)


def test_takes_views_and_read_only_frames(engine: Engine) -> None:
    rgb = picture(40, 60)
    expected = engine(np.ascontiguousarray(rgb[:, ::-1]))
    np.testing.assert_array_equal(engine(rgb[:, ::-1]), expected)
    padded = np.zeros((40, 64, 3), np.uint8)
    padded[:, :60] = rgb[:, ::-1]
    np.testing.assert_array_equal(engine(padded[:, :60]), expected)
    rgb.flags.writeable = False
    engine(rgb)


@pytest.mark.parametrize("size", [(1, 1), (23, 23), (MIN_SIDE, 23), (2305, 2305), (24, 4097), (4096, 2305), (0, 24)])
def test_refuses_sizes(engine: Engine, size: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match=f"{size[1]}×{size[0]}"):
        engine(np.zeros((*size, 3), np.uint8))


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((32, 32), np.uint8), np.zeros((32, 32, 4), np.uint8), np.zeros((32, 32, 3), np.float32)],
    ids=["grey", "alpha", "float"],
)
def test_refuses_what_is_no_frame(engine: Engine, wrong: RGB) -> None:
    with pytest.raises(ShapeError, match="expected uint8"):
        engine(wrong)


@pytest.mark.parametrize("strength", [-0.1, 2.0, float("nan"), float("inf")])
def test_refuses_strengths(engine: Engine, strength: float) -> None:
    with pytest.raises(ShapeError, match="out of range"):
        engine(picture(32, 32), strength)


def test_tells_what_it_is(engine: Engine) -> None:
    info = engine.info
    assert info.style == "tiny" and info.precision == "fp32" and info.device and info.runtime


@pytest.mark.parametrize("name", list(TOLERANCE))
def test_close_twice_then_refuses(name: str, tiny_style: Path) -> None:
    engine = engines.load(tiny_style, name)
    engine(picture(24, 24))
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine(picture(24, 24))


@pytest.fixture(scope="module")
def identity_style(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A style that adds nothing."""
    meta = StyleMeta("nothing", "Nothing", "nobody", "nothing", "CC0-1.0", {})
    return save_style(tmp_path_factory.mktemp("styles") / "nothing", identity(narrow()), meta).folder


@pytest.mark.parametrize("name", list(TOLERANCE))
def test_identity_is_never_shifted(name: str, identity_style: Path) -> None:
    engine = engines.load(identity_style, name)
    for size in [(24, 24), (25, 39), (90, 160), (127, 129), (64, 72)]:
        rgb = picture(*size)
        np.testing.assert_array_equal(engine(rgb), rgb)
    engine.close()


def test_the_reference_computes_with_cudnn(tiny_style: Path) -> None:
    """Forbidding TF32 must not turn the library off."""
    engine = EagerEngine(StyleModel.open(tiny_style), device="cpu")
    seen = []
    engine._graph.register_forward_hook(lambda *_: seen.append(torch.backends.cudnn.enabled))
    engine(np.zeros((MIN_SIDE, MIN_SIDE, 3), np.uint8))
    assert seen == [True]
