"""What the generator sees of nearly flat parts."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from engines.model.local_contrast import (
    CONTRASTS,
    EDGE_COARSE,
    EDGE_FINE,
    REACH,
    WAVES,
    Contrast,
    mean_around,
    smooth_inside,
)


def test_a_wall_without_shades_has_no_contrast() -> None:
    found = Contrast(0.03)(torch.full((1, 3, 20, 30), 0.4))
    assert found.shape == (1, CONTRASTS, 20, 30)
    assert found[:, : 3 + len(WAVES)].abs().max() < 1e-3, "differences and sines"
    assert found[:, 3 + len(WAVES) :].min() > 1 - 1e-3, "cosines"


@pytest.mark.parametrize("gain", [0.2, 5.0])
def test_contrast_hardly_depends_on_that_of_the_picture(gain: float) -> None:
    x = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(Contrast(1e-4)(x * gain), Contrast(1e-4)(x), atol=1e-2)


def test_what_is_far_smaller_than_the_floor_stays_small() -> None:
    noise = 0.001 * torch.randn(1, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    assert Contrast(0.03)(0.5 + noise)[:, :3].std() == pytest.approx(0.001 / 0.03, rel=0.1)


def test_waves_are_those_of_the_luminance() -> None:
    x = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(1))
    found = Contrast(0.03)(x)[0]
    light = 0.2126 * found[0] + 0.7152 * found[1] + 0.0722 * found[2]
    for number, wave in enumerate(WAVES):
        assert torch.allclose(found[3 + number], torch.sin(math.pi * wave * light), atol=1e-5)
        assert torch.allclose(found[3 + len(WAVES) + number], torch.cos(math.pi * wave * light), atol=1e-5)


def test_one_corner_does_not_change_the_other() -> None:
    x = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    changed = x.clone()
    changed[..., :4, :4] = 1.0
    far = 4 + 2 * (REACH // 2)
    assert torch.equal(Contrast(0.03)(changed)[..., far:, far:], Contrast(0.03)(x)[..., far:, far:])


@pytest.mark.parametrize("side", [3, REACH])
def test_a_ramp_goes_on_beyond_the_border(side: int) -> None:
    ramp = torch.arange(7.0)[:, None] + 3 * torch.arange(6.0)
    assert torch.allclose(mean_around(ramp[None, None], side)[0, 0], ramp)


def test_a_border_has_the_contrast_of_the_inside() -> None:
    sky = (torch.arange(60.0)[:, None] + 0.3 * torch.arange(40.0)).div(100).expand(1, 3, 60, 40)
    relative = Contrast(0.03)(sky)[:, :3]
    assert relative.abs().max() < 1e-4


def test_a_reflected_margin_is_left_out() -> None:
    ramp = torch.arange(20.0).expand(1, 2, 30, 20)
    for edge in (EDGE_COARSE, EDGE_FINE):
        reflected = F.pad(ramp[..., edge:-edge, edge:-edge], (edge,) * 4, mode="reflect")
        assert not torch.allclose(reflected, ramp)
        inside = smooth_inside(reflected, edge)
        assert torch.allclose(inside[..., edge + 1 : -edge - 1], ramp[..., edge + 1 : -edge - 1], atol=1e-5)


@pytest.mark.parametrize("edge", [EDGE_COARSE, EDGE_FINE])
def test_noise_is_hardly_stronger_at_a_border(edge: int) -> None:
    frames = 0.5 + 0.01 * torch.randn(200, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    noise = Contrast(0.03)(smooth_inside(frames, edge))[:, :3].std(0).mean(0)
    inside = noise[12:-12, 12:-12].mean()
    seen = noise[edge:-edge, edge:-edge]  # the rest is a frame's margin
    assert seen.max() < 2 * inside and noise.max() < 5 * inside


def test_the_spread_is_real_at_a_border() -> None:
    x = torch.zeros(1, 3, 20, 20)
    x[..., 0, 10] = 1.0  # the squares' ramp would go on below zero
    assert torch.isfinite(Contrast(1e-3)(x)).all()
