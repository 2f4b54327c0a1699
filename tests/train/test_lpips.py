"""LPIPS against the published implementation, and against its own formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from engines.base import RGB
from engines.errors import ShapeError, TrainError
from tests.train.pictures import texture
from train.data.pictures import to_tensor
from train.evaluate import Lpips, load_lpips
from train.evaluate.lpips import HEADS, NETWORK, head_shapes, network_shapes


def random_tensors(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=rng) * (2 / max(1, int(np.prod(shape[1:])))) ** 0.5
        for name, shape in shapes.items()
    }


def random_heads() -> dict[str, Tensor]:
    return {name: value.abs() for name, value in random_tensors(head_shapes()).items()}


@pytest.fixture(scope="module")
def untrained() -> Lpips:
    return Lpips(random_tensors(network_shapes()), random_heads())


@pytest.fixture
def trained(data_dir: Path) -> Lpips:
    lpips = load_lpips(data_dir / "features")
    assert lpips is not None
    return lpips


def noisy(rgb: RGB, sigma: float) -> RGB:
    noise = np.random.default_rng(1).normal(0, sigma, rgb.shape)
    return np.asarray(np.clip(np.rint(rgb + noise), 0, 255), dtype=np.uint8)


def test_equal_pictures_have_no_distance_and_the_order_does_not_matter(untrained: Lpips) -> None:
    a, b = texture(48, 64, 0), texture(48, 64, 1)
    assert untrained.distance(a, a) == 0.0
    assert untrained.distance(a, b) == pytest.approx(untrained.distance(b, a), rel=1e-6)
    assert untrained.distance(a, b) > 0


def test_the_first_layer_is_the_formula() -> None:
    """All heads but the first are zero: then the distance can be written down in a few lines."""
    network, heads = random_tensors(network_shapes()), random_heads()
    only = {name: value if name.startswith("lin0") else torch.zeros_like(value) for name, value in heads.items()}
    a, b = texture(40, 52, 0), texture(40, 52, 1)
    units = []
    for rgb in (a, b):
        x = (torch.from_numpy(rgb).double() / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
            [0.229, 0.224, 0.225]
        )
        y = F.conv2d(
            x.permute(2, 0, 1)[None], network["features.0.weight"].double(), network["features.0.bias"].double(), 2
        )
        y = y.clamp_min(0)
        units.append(y / y.norm(dim=1, keepdim=True))
    weights = only["lin0.model.1.weight"].double().reshape(1, -1, 1, 1)
    expected = float(((units[0] - units[1]) ** 2 * weights).sum(1).mean())
    assert Lpips(network, only).distance(a, b) == pytest.approx(expected, rel=1e-4)


def test_every_layer_counts() -> None:
    network, heads = random_tensors(network_shapes()), random_heads()
    a, b = texture(64, 64, 0), texture(64, 64, 1)
    parts = []
    for chosen in heads:
        only = {name: value if name == chosen else torch.zeros_like(value) for name, value in heads.items()}
        parts.append(Lpips(network, only).distance(a, b))
    assert len(parts) == 7 and min(parts) > 0
    assert Lpips(network, heads).distance(a, b) == pytest.approx(sum(parts), rel=1e-4)


def test_a_batch_is_its_pictures(untrained: Lpips) -> None:
    a, b = (torch.cat([to_tensor(texture(40, 48, seed)) for seed in seeds]) for seeds in ((0, 1), (2, 3)))
    with torch.no_grad():
        together = untrained(a, b)
        one_by_one = torch.cat([untrained(a[i : i + 1], b[i : i + 1]) for i in range(2)])
    assert together.shape == (2,) and torch.allclose(together, one_by_one, rtol=1e-4)


@pytest.mark.parametrize("shapes", [((64, 64), (64, 65)), ((31, 64), (31, 64))])
def test_pictures_that_cannot_be_compared_are_refused(
    untrained: Lpips, shapes: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    with pytest.raises(ShapeError, match="LPIPS"):
        untrained.distance(texture(*shapes[0], 0), texture(*shapes[1], 1))


def test_the_smallest_pictures_can_be_compared(untrained: Lpips) -> None:
    assert untrained.distance(texture(32, 32, 0), texture(32, 32, 1)) > 0


@pytest.mark.parametrize(("height", "width", "other", "published"), [(64, 80, 1, 0.25027), (97, 131, 2, 0.30892)])
def test_it_agrees_with_the_published_implementation(
    trained: Lpips, height: int, width: int, other: int, published: float
) -> None:
    """``published``: lpips 0.1.4, net squeeze, version 0.1, on the same pictures and the same fp16 SqueezeNet."""
    distance = trained.distance(texture(height, width, 0), texture(height, width, other))
    assert distance == pytest.approx(published, abs=5e-4)


def test_it_grows_with_the_distortion(trained: Lpips) -> None:
    rgb = texture(96, 96, 4, detail=24)
    distances = [trained.distance(rgb, noisy(rgb, sigma)) for sigma in (0, 5, 15, 40, 80)]
    assert distances == sorted(distances) and distances[0] == 0.0 and distances[-1] > 0.2


def test_files_that_are_not_there_damaged_or_others(tmp_path: Path) -> None:
    assert load_lpips(tmp_path) is None
    save_file(random_tensors(network_shapes()), tmp_path / NETWORK)
    assert load_lpips(tmp_path) is None
    save_file({**random_heads(), "lin3.model.1.weight": torch.zeros(1, 7, 1, 1)}, tmp_path / HEADS)
    with pytest.raises(TrainError, match=r"lin3.*expected \(1, 384, 1, 1\)"):
        load_lpips(tmp_path)
    (tmp_path / HEADS).write_bytes(b"rubbish")
    with pytest.raises(TrainError, match="cannot read"):
        load_lpips(tmp_path)
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / NETWORK)
    with pytest.raises(TrainError, match=r"features\.0\.bias is missing"):
        load_lpips(tmp_path)
