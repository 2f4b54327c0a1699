"""Augmentation: random by its generator alone, differentiable, of the same form, and what its names say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from train.data.augment import GREY, augment, colour, cutout, translation

Change = Callable[[Tensor, torch.Generator], Tensor]

ONE = (colour, translation, cutout)


def rng(seed: int = 0) -> torch.Generator:
    """Random numbers of a test."""
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 4, height: int = 24, width: int = 32) -> Tensor:
    """Noise in [0, 1]."""
    return torch.rand(count, 3, height, width, generator=rng(7))


@pytest.mark.parametrize("change", [*ONE, augment])
def test_random_numbers_come_from_the_generator_alone(change: Change) -> None:
    x = pictures()
    first = change(x, rng(3))
    torch.rand(5)
    assert torch.equal(change(x, rng(3)), first)
    assert not torch.equal(change(x, rng(4)), first)
    assert not torch.equal(first, x) and torch.equal(x, pictures()), "the pictures themselves stay"


@pytest.mark.parametrize("change", [*ONE, augment])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_form_and_type_stay_and_the_numbers_do_not_depend_on_them(change: Change, dtype: torch.dtype) -> None:
    x = pictures(3, 17, 41)
    y = change(x.to(dtype), rng())
    assert y.shape == x.shape and y.dtype == dtype
    assert torch.allclose(y.float(), change(x, rng()), atol=0.03 if dtype == torch.bfloat16 else 1e-5)


@pytest.mark.parametrize("change", [*ONE, augment])
def test_the_gradient_is_exact(change: Change) -> None:
    x = pictures(1, 8, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: change(v, rng(1)), x)
    change(x, rng(1)).square().sum().backward()
    assert x.grad is not None and float(x.grad.abs().max()) > 0


@pytest.mark.parametrize("change", ONE)
def test_each_picture_is_changed_in_its_own_way(change: Change) -> None:
    y = change(pictures(1).expand(4, -1, -1, -1), rng())
    assert all(not torch.equal(y[i], y[j]) for i in range(4) for j in range(i))


def test_colours_change_first_and_the_cutout_stays_grey() -> None:
    x, random = pictures(), rng()
    assert torch.equal(augment(x, rng()), cutout(translation(colour(x, random), random), random))
    assert bool((augment(x, rng()) == GREY).all(1).any())


def test_colour_moves_brightness_saturation_and_contrast_within_their_bounds() -> None:
    x = pictures(1, 16, 16).expand(500, -1, -1, -1)
    y = colour(x, rng())
    shift = y.mean((1, 2, 3)) - x.mean((1, 2, 3))
    assert 0.23 < float(shift.max()) <= 0.2501 and -0.2501 <= float(shift.min()) < -0.23
    grey_x, grey_y = x.mean(1), y.mean(1)
    contrast = grey_y.flatten(1).std(1) / grey_x.flatten(1).std(1)
    assert 1.45 < float(contrast.max()) <= 1.5001 and 0.4999 <= float(contrast.min()) < 0.55
    saturation = (y - grey_y[:, None]).flatten(1).std(1) / (x - grey_x[:, None]).flatten(1).std(1) / contrast
    assert 1.9 < float(saturation.max()) <= 2.0001 and -1e-4 <= float(saturation.min()) < 0.1


def test_colour_leaves_grey_pictures_grey() -> None:
    y = colour(pictures()[:, :1].expand(-1, 3, -1, -1), rng())
    assert torch.allclose(y[:, 0], y[:, 1], atol=1e-6) and torch.allclose(y[:, 0], y[:, 2], atol=1e-6)


def test_translation_is_a_whole_shift_of_up_to_an_eighth() -> None:
    height, width = 24, 32
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x = torch.stack([ys, xs, ys]).float().expand(300, -1, -1, -1)
    y = translation(x, rng())
    middle = y[:, :, height // 2, width // 2] - x[:, :, height // 2, width // 2]
    assert sorted(set(middle[:, 0].tolist())) == list(range(-3, 4))
    assert sorted(set(middle[:, 1].tolist())) == list(range(-4, 5))
    # Away from what was reflected, every pixel has moved alike.
    inner = (y - x)[..., 3:-3, 4:-4]
    assert torch.equal(inner, middle[..., None, None].expand_as(inner))


def test_cutout_covers_a_grey_rectangle_and_nothing_else() -> None:
    x = pictures(400, 20, 30)
    y = cutout(x, rng())
    covered = (y == GREY).all(1)
    assert torch.equal(y[~covered[:, None].expand_as(y)], x[~covered[:, None].expand_as(x)])
    high, wide = covered.any(2).sum(1), covered.any(1).sum(1)
    assert torch.equal(covered.sum((1, 2)), high * wide), "a rectangle"
    assert int(high.max()) == 10 and int(wide.max()) == 15
    assert int(high.min()) >= 5 and int(wide.min()) >= 7, "its middle lies in the picture"
    assert bool(covered.any(0).all()), "every place is covered sometimes"
