"""Synthetic motion: the flow is exact, the mask is right, noise is as strong as it says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from train.data.synthetic_motion import add_noise, inside, random_flow, sensor_noise, warp


def rng(seed: int = 0) -> torch.Generator:
    """Random numbers of a test."""
    return torch.Generator().manual_seed(seed)


def constant_flow(size: tuple[int, int], x: float, y: float) -> Tensor:
    """The same motion everywhere. (1, H, W, 2)."""
    return torch.tensor([x, y]).expand(1, *size, 2).contiguous()


def test_no_motion_changes_nothing() -> None:
    x = torch.rand(2, 3, 24, 40, generator=rng())
    assert torch.allclose(warp(x, torch.zeros(2, 24, 40, 2)), x, atol=1e-5)


@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (0, 2), (-4, 5)])
def test_a_whole_shift_moves_every_pixel(dx: int, dy: int) -> None:
    x = torch.rand(1, 3, 24, 40, generator=rng())
    flow = constant_flow((24, 40), dx, dy)
    moved = warp(x, flow)
    # Pixel p of the moved picture comes from p + flow.
    expected = x.roll((-dy, -dx), dims=(-2, -1))
    valid = inside(flow).bool().expand_as(x)
    assert torch.allclose(moved[valid], expected[valid], atol=1e-4)


def test_warp_is_exact_on_a_slope() -> None:
    """Bilinear interpolation is exact on linear functions, so any smooth flow can be checked point by point."""
    height, width = 48, 64
    ys, xs = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    x = (0.3 * xs - 0.7 * ys)[None, None]
    flow = random_flow(1, (height, width), 6.0, rng(3))
    expected = 0.3 * (xs + flow[0, ..., 0]) - 0.7 * (ys + flow[0, ..., 1])
    valid = inside(flow)[0, 0].bool()
    assert valid.any()
    assert torch.allclose(warp(x, flow)[0, 0][valid], expected[valid], atol=1e-3)


def test_inside_is_where_the_flow_points_into_the_picture() -> None:
    mask = inside(constant_flow((10, 20), 3.0, -2.0))[0, 0]
    assert mask.shape == (10, 20)
    assert bool(mask[2:, :17].all()) and not bool(mask[:2].any()) and not bool(mask[:, 17:].any())


def test_random_flow_has_its_size_and_stays_near_the_largest() -> None:
    flow = random_flow(200, (32, 48), 12.0, rng())
    assert flow.shape == (200, 32, 48, 2)
    length = flow.norm(dim=-1)
    assert float(length.max()) < 2.5 * 12.0
    assert float(length.flatten(1).mean(1).median()) < 6.0, "small motions must be common"
    assert float(length.quantile(torch.tensor(0.99)) if length.numel() < 1e6 else 12.0) <= 1.6 * 12.0


def test_random_flow_is_smooth() -> None:
    flow = random_flow(50, (64, 64), 12.0, rng())
    step = (flow[:, 1:] - flow[:, :-1]).abs().amax()
    assert float(step) < 2.0, "neighbours must move together"


def test_random_numbers_come_from_the_generator_alone() -> None:
    first = random_flow(3, (16, 24), 8.0, rng(7))
    torch.rand(5)
    assert torch.equal(first, random_flow(3, (16, 24), 8.0, rng(7)))
    assert torch.equal(sensor_noise(2, (16, 24), 4.0, rng(7)), sensor_noise(2, (16, 24), 4.0, rng(7)))


def test_sensor_noise_is_no_stronger_than_told_and_adds_no_light() -> None:
    x = torch.full((64, 3, 33, 47), 0.5)
    noise = add_noise(x, sensor_noise(64, (33, 47), 4.0, rng())) - x
    assert noise.shape == x.shape
    deviations = 255 * noise.flatten(1).std(1)
    assert float(deviations.max()) < 4.2
    assert float(deviations.mean()) > 1.0
    assert abs(float(noise.mean())) * 255 < 0.05


def test_sensor_noise_stays_in_range() -> None:
    x = torch.cat([torch.zeros(4, 3, 16, 16), torch.ones(4, 3, 16, 16)])
    noisy = add_noise(x, sensor_noise(8, (16, 16), 50.0, rng()))
    assert float(noisy.min()) >= 0 and float(noisy.max()) <= 1
