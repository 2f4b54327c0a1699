"""Mixes of styles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch

from engines.base import RGB, ForkableEngine
from engines.cuda.engine import CudaEngine
from engines.errors import EngineError, StyleError
from engines.mixing import mixed_weights
from engines.mixing.calibration import calibration_pictures
from engines.mixing.mixed_style import MixedStyle, mix_styles, with_weights
from engines.mixing.mixed_weights import look_of, mean_of, mix_weights
from engines.mixing.numpy_network import PAINTING, run_network
from engines.model.cells import CELL_IN, CELL_OUT, crop_margin, space_to_depth
from engines.model.generator import load_generator
from engines.openvino import shared_weights
from engines.openvino.engine import CpuEngine
from engines.openvino.shared_weights import SharedCpuEngine
from engines.style_file import StyleModel
from engines.torch_eager import EagerEngine
from tests.engines.test_golden import picture

GALLERY = Path(__file__).parents[2] / "rtstyle" / "gallery"
PHOTOGRAPHS = Path(__file__).parents[2] / "train" / "photographs"


def saved(style: MixedStyle, folder: Path) -> StyleModel:
    folder.mkdir()
    for name, data in style.files().items():
        (folder / name).write_bytes(data)
    return StyleModel.open(folder)


def gallery(name: str) -> StyleModel:
    return StyleModel.open(GALLERY / name)


@pytest.fixture
def other_style(style: StyleModel, tmp_path: Path) -> StyleModel:
    """Of the shape of ``style``, with other weights."""
    chance = np.random.default_rng(7)
    weights = {name: one + 0.05 * chance.normal(size=one.shape) for name, one in style.tensors().items()}
    return saved(replace(with_weights(style, weights), name="other", title="Other"), tmp_path / "other")


@pytest.mark.parametrize("name", ["tiny", "mosaic"])
def test_the_network_in_numpy_is_the_network(name: str, tiny_style: Path) -> None:
    style = StyleModel.open(tiny_style) if name == "tiny" else gallery(name)
    seen: dict[str, tuple[int, ...]] = {}
    pictures = calibration_pictures()[:1]
    painting = run_network(style.tensors(), pictures, lambda layer, out: (seen.update({layer: out.shape}), out)[1])
    generator, batch = load_generator(style).eval(), torch.from_numpy(pictures)
    with torch.inference_mode():
        ground = generator.softened(space_to_depth(crop_margin(batch, CELL_OUT), CELL_OUT))
        expected = ground + generator(space_to_depth(batch, CELL_IN))
    assert np.abs(painting - expected.numpy()).max() < 1e-4
    convolutions = {key.removesuffix(".conv.weight") for key in style.tensors() if key.endswith(".conv.weight")}
    assert set(seen) == convolutions | {PAINTING}


def test_a_style_mixed_with_itself_is_itself(style: StyleModel) -> None:
    mixed = mix_styles([style, style], [0.3, 0.7])
    for name, value in mixed.tensors().items():
        assert np.abs(value.astype(np.float32) - style.tensors()[name]).max() < 2e-3, name


def test_a_mix_of_styles_without_a_mesh_has_none() -> None:
    mixed = mix_styles([gallery("scream"), gallery("mosaic")], [0.5, 0.5])
    generator = load_generator(with_weights(gallery("scream"), mixed.tensors())).eval()
    generator.canvas.weaken(0.0)
    gray = torch.full((1, 64, 64, 3), 0.6)
    with torch.inference_mode():
        squares = generator(space_to_depth(gray, CELL_IN)).unflatten(-1, (CELL_OUT**2, 3))
    assert (squares - squares.mean(3, keepdim=True)).abs().max() < 0.1 / 255


def test_the_order_does_not_matter(style: StyleModel, other_style: StyleModel) -> None:
    one, other = mix_styles([style, other_style], [0.3, 0.7]), mix_styles([other_style, style], [0.7, 0.3])
    assert all(np.array_equal(value, other.mixed[name]) for name, value in one.mixed.items())
    assert any(not np.array_equal(value, style.tensors()[name]) for name, value in one.mixed.items())


def test_contrast_and_strokes_are_kept_half_way() -> None:
    names = ("wave", "composition")
    ends = [gallery(name) for name in names]
    mixed = mix_styles(ends, [0.5, 0.5])
    plain = with_weights(ends[0], mean_of([one.tensors() for one in ends], [0.5, 0.5]))
    rgb = (255 * calibration_pictures()[0]).astype(np.uint8)
    contrast, gradient = np.mean([_look(one, rgb) for one in ends], 0)
    kept, lost = _look(mixed, rgb), _look(plain, rgb)
    assert lost[0] < 0.8 * contrast and lost[1] < 0.8 * gradient, "the mean alone is pale"
    assert 0.9 * contrast < kept[0] < 1.1 * contrast and 0.85 * gradient < kept[1] < 1.1 * gradient


MIXES = [
    ("wave", "scream", 0.5), ("mosaic", "udnie", 0.5), ("vangogh", "wave", 0.5), ("vangogh", "scream", 0.5),
    ("engraving", "monet", 0.5), ("monet", "composition", 0.9), ("udnie", "klimt", 0.5),
]  # fmt: skip


def test_large_areas_get_the_mean_of_the_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """On average by far, and never far off: a channel may be off in the drawn pictures, and on in others."""
    photographs = [cv2.imread(str(PHOTOGRAPHS / name))[..., ::-1] for name in ("coffee.jpg", "astronaut.jpg")]
    rgb = [np.ascontiguousarray(cv2.resize(one, (320, 240), interpolation=cv2.INTER_AREA)) for one in photographs]
    names = sorted({name for one, other, _ in MIXES for name in (one, other)})
    weights = {name: {key: one.astype(np.float32) for key, one in gallery(name).tensors().items()} for name in names}
    looks, alone = ({name: look(weights[name]) for name in names} for look in (look_of, partial(_areas, rgb)))
    off: list[list[float]] = []
    for fit in (mixed_weights._fit_colours, lambda *_: None):
        monkeypatch.setattr(mixed_weights, "_fit_colours", fit)
        off.append([])
        for one, other, share in MIXES:
            parts, shares = (one, other), [share, 1.0 - share]
            mixed = mix_weights([weights[name] for name in parts], shares, [looks[name] for name in parts])
            expected = share * alone[one] + (1.0 - share) * alone[other]
            off[-1].append(float(np.sqrt(np.mean((_areas(rgb, mixed) - expected) ** 2))))
    fitted, before = np.array(off)
    assert fitted.mean() < 0.85 * before.mean() and (fitted < before + 8.0).all(), (fitted, before)


def _areas(pictures: list[RGB], weights: Mapping[str, npt.NDArray[np.floating]]) -> npt.NDArray[np.float64]:
    """Return the mean colours of squares of 16×16 pixels of pictures in a style."""
    engine = CpuEngine(with_weights(gallery("wave"), weights))
    painted = np.stack([engine(rgb) for rgb in pictures])
    engine.close()
    count, height, width, _ = painted.shape
    return np.asarray(painted.reshape(count, height // 16, 16, width // 16, 16, 3).mean((2, 4)))


def _look(style: StyleModel, rgb: RGB) -> tuple[float, float]:
    """Return contrast and mean gradient of a picture in a style."""
    engine = CpuEngine(style)
    light = engine(rgb).astype(float) @ (0.2126, 0.7152, 0.0722)
    engine.close()
    return float(light.std()), float(np.hypot(*np.gradient(light)).mean())


def test_all_engines_paint_the_same_mix(style: StyleModel, other_style: StyleModel, tmp_path: Path) -> None:
    mixed = mix_styles([style, other_style], [0.4, 0.6])
    stored = saved(mixed, tmp_path / "mix")
    assert stored.weights_sha256() == mixed.weights_sha256() != style.weights_sha256()
    assert stored.title == "Tiny · for tests 40 % + Other 60 %"
    rgb = picture(90, 160)
    for colours in (0.0, 0.5):
        expected = EagerEngine(mixed, device="cpu")(rgb, 1.0, colours).astype(int)
        assert np.abs(EagerEngine(style, device="cpu")(rgb, 1.0, colours) - expected).max() > 10
        for engine in (CpuEngine(stored), CpuEngine(mixed), SharedCpuEngine(mixed), CudaEngine(mixed, device="cpu")):
            tolerance = 3 if engine.info.name == "cuda" else 1
            assert np.abs(engine(rgb, 1.0, colours) - expected).max() <= tolerance, (engine, colours)
            engine.close()


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_a_fork_changes_its_style_without_compiling(
    kind: str, style: StyleModel, other_style: StyleModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = SharedCpuEngine(style) if kind == "cpu" else CudaEngine(style, device="cpu")
    assert isinstance(engine, ForkableEngine)
    rgb = picture(90, 160)
    first = engine(rgb)
    monkeypatch.setattr(shared_weights, "compile_graph", None)  # would fail now
    fork = engine.fork()
    assert np.array_equal(fork(rgb), first)
    fork.take_style(other_style)
    alone = CpuEngine(other_style)
    for colours in (0.0, 1.0, 0.0):
        changed = fork(rgb, 1.0, colours).astype(int)
        assert np.abs(changed - alone(rgb, 1.0, colours)).max() <= (1 if kind == "cpu" else 3)
    fork.take_style(style)
    assert np.array_equal(fork(rgb), first) and np.array_equal(engine(rgb), first), "and leaves the other alone"
    fork.close()
    with pytest.raises(EngineError, match="closed"):
        fork.take_style(style)
    engine.close()
    alone.close()


def test_networks_of_other_shapes_do_not_mix(style: StyleModel) -> None:
    wide = replace(style, name="wide", arch={**style.arch, "body": 24})
    with pytest.raises(StyleError, match="tiny and wide do not mix: their networks have different shapes"):
        mix_styles([style, wide], [0.5, 0.5])


def test_weights_that_do_not_fit_are_refused(style: StyleModel) -> None:
    few = with_weights(style, dict(list(style.tensors().items())[1:]))
    with pytest.raises(StyleError, match="fit"):
        SharedCpuEngine(few)
