"""Loss terms against answers that can be worked out by hand."""

from __future__ import annotations

import pytest
import torch

from train.losses import (
    content_loss,
    gram,
    noise_loss,
    range_loss,
    straight_clamp,
    style_distances,
    temporal_loss,
    variation_loss,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random features."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_gram_of_constant_channels_is_their_outer_product() -> None:
    values = torch.tensor([1.0, 2.0, -3.0])
    features = values.view(1, 3, 1, 1).expand(2, 3, 5, 7)
    assert torch.allclose(gram(features), torch.outer(values, values).expand(2, 3, 3))


def test_gram_does_not_know_where_things_are_nor_how_many() -> None:
    features = noise(1, 4, 6, 6)
    order = torch.randperm(36, generator=torch.Generator().manual_seed(1))
    shuffled = features.flatten(2)[..., order].view_as(features)
    twice = torch.cat([features, features], dim=2)
    assert torch.allclose(gram(shuffled), gram(features), atol=1e-6)
    assert torch.allclose(gram(twice), gram(features), atol=1e-6)


def test_gram_of_bfloat16_is_summed_in_float32() -> None:
    assert gram(noise(1, 3, 64, 64).bfloat16()).dtype == torch.float32


def test_equal_pictures_have_no_loss() -> None:
    x, y = noise(2, 3, 16, 16), noise(2, 8, 4, 4, seed=1)
    assert float(content_loss(y, y)) == 0
    assert [float(v) for v in style_distances([y[:1], x[:1]], [gram(y[:1]), gram(x[:1])])] == [0, 0]
    assert float(temporal_loss(x, x, torch.ones(2, 1, 16, 16))) == 0
    assert float(noise_loss(x, x)) == 0
    assert float(range_loss(x)) == 0


def test_losses_that_are_relative_are_one_for_nothing_at_all() -> None:
    y = noise(3, 8, 4, 4) + 0.1
    assert float(content_loss(torch.zeros_like(y), y)) == pytest.approx(1)
    assert float(style_distances([torch.zeros_like(y)], [gram(y[:1])])[0]) == pytest.approx(1)


def test_content_loss_is_the_mean_over_pictures_of_relative_errors() -> None:
    original = torch.ones(2, 1, 2, 2)
    painted = original + torch.tensor([0.5, 0.0]).view(2, 1, 1, 1)
    assert float(content_loss(painted, original)) == pytest.approx((0.25 + 0.0) / 2)


def test_content_loss_of_a_black_picture_is_finite() -> None:
    assert torch.isfinite(content_loss(torch.ones(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)))


def test_style_distance_is_the_mean_over_pictures() -> None:
    painting = torch.ones(1, 1, 2, 2)
    painted = torch.cat([painting, 2**0.5 * painting])  # Grams 1 and 2
    assert float(style_distances([painted], [gram(painting)])[0]) == pytest.approx(0.5)


def test_layers_must_match() -> None:
    with pytest.raises(ValueError, match="zip"):
        style_distances([torch.ones(1, 1, 2, 2)], [])


def test_temporal_loss_counts_valid_pixels_only() -> None:
    first, second = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    second[..., :2] = 0.5
    second[..., 2:] = 100.0
    valid = torch.ones(1, 1, 4, 4)
    valid[..., 2:] = 0
    assert float(temporal_loss(first, second, valid)) == pytest.approx(0.25)
    assert float(temporal_loss(first, second, torch.zeros_like(valid))) == 0


def test_variation_of_a_ramp_is_its_slope() -> None:
    ramp = (0.1 * torch.arange(8.0)).expand(1, 3, 5, 8)
    assert float(variation_loss(ramp)) == pytest.approx(0.1)


def test_range_loss_is_the_squared_excess() -> None:
    y = torch.tensor([-0.5, 0.0, 0.5, 1.0, 1.5, 0.2]).view(1, 3, 1, 2)
    assert float(range_loss(y)) == pytest.approx(2 * 0.25 / 6)


def test_the_clamp_shows_the_range_and_lets_every_gradient_pass() -> None:
    y = torch.tensor([-1.0, 0.5, 2.0], requires_grad=True)
    clamped = straight_clamp(y)
    assert clamped.tolist() == [0.0, 0.5, 1.0]
    (clamped * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert y.grad is not None and y.grad.tolist() == [1.0, 2.0, 3.0]
