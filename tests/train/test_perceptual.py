"""Loss terms against answers that can be worked out by hand."""

from __future__ import annotations

import pytest
import torch

from train.losses.perceptual import (
    NARROWEST,
    PHOTOGRAPH_MEAN,
    PHOTOGRAPH_SPREAD,
    content_loss,
    gram,
    lattice_loss,
    luminance,
    luminance_temporal_loss,
    noise_loss,
    palette,
    palette_loss,
    plain,
    plain_loss,
    range_loss,
    straight_clamp,
    style_distances,
    temporal_loss,
    tone_loss,
    variation_loss,
)
from train.trainer import PaintingFigures


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


def still(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Flow and mask of a scene without motion. (N, H, W)."""
    return torch.zeros(*shape, 2), torch.ones(shape[0], 1, *shape[1:])


def test_luminance_of_white_is_one_and_green_counts_most() -> None:
    assert luminance(torch.ones(1, 3, 1, 1)).item() == pytest.approx(1)
    red, green, blue = (luminance(one.view(1, 3, 1, 1)).item() for one in torch.eye(3))
    assert green > red > blue > 0


def test_a_painting_may_grow_lighter_with_the_scene() -> None:
    first = 0.5 * noise(2, 3, 16, 16)
    flow, valid = still(2, 16, 16)
    painting, lighter = noise(2, 3, 16, 16, seed=1), first + 0.2
    assert float(luminance_temporal_loss(first, lighter, first, lighter, flow, valid)) == pytest.approx(0, abs=1e-9)
    assert float(luminance_temporal_loss(painting, painting + 0.2, first, lighter, flow, valid)) < 1e-9
    # What the plain loss asks for, to stay as it is, is an error here.
    unchanged = luminance_temporal_loss(painting, painting, first, lighter, flow, valid)
    assert float(unchanged) == pytest.approx(0.2**2, rel=1e-4)


def test_a_painting_may_not_flicker_by_itself() -> None:
    frame = noise(1, 3, 16, 16)
    flow, valid = still(1, 16, 16)
    flicker = torch.tensor([0.3, 0.0, -0.1]).view(1, 3, 1, 1)
    loss = luminance_temporal_loss(frame, frame + flicker, frame, frame, flow, valid)
    assert float(loss) == pytest.approx((0.3**2 + 0.1**2) / 3, rel=1e-4)
    assert float(luminance_temporal_loss(frame, frame + flicker, frame, frame, flow, 0 * valid)) == 0


def test_a_scene_that_changes_its_colour_but_not_its_light_gives_no_leave() -> None:
    first, painting = noise(1, 3, 8, 8), noise(1, 3, 8, 8, seed=1)
    flow, valid = still(1, 8, 8)
    equally_bright = torch.tensor([0.7152, -0.2126, 0.0]).view(1, 3, 1, 1)
    loss = luminance_temporal_loss(painting, painting, first, first + 0.1 * equally_bright, flow, valid)
    assert float(loss) == pytest.approx(0, abs=1e-9)


def test_a_painting_that_moves_with_the_scene_has_no_luminance_loss() -> None:
    whole, painted = noise(1, 3, 20, 30), noise(1, 3, 20, 30, seed=1)
    flow, valid = still(1, 20, 24)
    flow[..., 0] = -3.0  # the scene moves to the right: each pixel comes from three to its left
    valid[..., :3] = 0
    first, second = whole[..., 3:27], whole[..., :24]
    moving = luminance_temporal_loss(painted[..., 3:27], painted[..., :24], first, second, flow, valid)
    standing = luminance_temporal_loss(painted[..., 3:27], painted[..., 3:27], first, second, flow, valid)
    assert float(moving) == pytest.approx(0, abs=1e-9)
    assert float(standing) > 0.05


def test_the_gradient_reaches_both_paintings() -> None:
    first, second = noise(1, 3, 8, 8).requires_grad_(), noise(1, 3, 8, 8, seed=1).requires_grad_()
    flow, valid = still(1, 8, 8)
    luminance_temporal_loss(first, second, noise(1, 3, 8, 8), noise(1, 3, 8, 8), flow + 0.5, valid).backward()
    assert first.grad is not None and second.grad is not None
    assert float(first.grad.abs().sum()) > 0 and float(second.grad.abs().sum()) > 0


def test_tone_follows_the_photograph_in_the_range_of_the_painting() -> None:
    ramp = torch.linspace(0.1, 0.9, 96).expand(1, 3, 96, 96)
    mean, spread = 0.4, 0.12
    wanted = mean + (ramp - PHOTOGRAPH_MEAN) * spread / PHOTOGRAPH_SPREAD
    assert tone_loss(wanted, ramp, mean, spread) == pytest.approx(0, abs=1e-10)
    strokes = 0.1 * torch.eye(2).repeat(48, 48)
    assert tone_loss(wanted + strokes - strokes.mean(), ramp, mean, spread) == pytest.approx(0, abs=1e-8)
    assert tone_loss(wanted + 0.1, ramp, mean, spread) == pytest.approx(0.01, rel=1e-4)
    assert tone_loss(wanted.flip(-1), ramp, mean, spread) > 0.001, "light and dark exchanged"


def test_a_painting_of_one_tone_leaves_enough_light_and_dark_to_see_the_scene() -> None:
    def light(tones: list[float]) -> tuple[float, float]:
        return PaintingFigures([], torch.tensor(tones), torch.zeros(9, 4)).light

    assert light([0.1, 0.7]) == pytest.approx((0.4, 0.3)), "the painting's own"
    assert light([0.58, 0.62]) == pytest.approx((0.6, NARROWEST))
    assert NARROWEST > PHOTOGRAPH_SPREAD / 2


def test_each_shade_gets_the_painting_s_colour() -> None:
    greys = torch.linspace(0.1, 0.9, 64).expand(1, 3, 64, 64)
    blue_darks = greys + torch.tensor([-0.05, -0.01, 0.24]).view(3, 1, 1) * (greys < 0.5)  # as light as before
    painting = palette(blue_darks)
    assert float(painting[:, 3].sum()) == pytest.approx(1, abs=1e-5)
    assert palette_loss(painting, painting) == 0
    shuffled = blue_darks.flatten(2)[..., torch.randperm(64 * 64, generator=torch.Generator().manual_seed(0))]
    assert palette_loss(palette(shuffled.view(1, 3, 64, 64)), painting) == pytest.approx(0, abs=1e-9)
    blue_lights = greys + torch.tensor([-0.05, -0.01, 0.24]).view(3, 1, 1) * (greys > 0.5)
    assert palette_loss(palette(blue_lights), painting) > 1.5 * palette_loss(palette(greys), painting) > 0.01
    y = greys.clone().requires_grad_()
    palette_loss(palette(y), painting).backward()
    assert y.grad is not None
    dark, light = y.grad[..., 5].mean((0, 2)), y.grad[..., 60].mean((0, 2))
    assert dark[2] < 0 < dark[0] and torch.allclose(light, torch.zeros(3), atol=1e-9)


def test_lattice_is_what_repeats_in_every_cell() -> None:
    mesh = torch.tensor([[0.01, -0.01], [-0.01, 0.01]]).repeat(40, 40).expand(1, 3, 80, 80)
    strokes = 0.2 * noise(1, 3, 80, 80)
    assert lattice_loss(mesh) == pytest.approx(1e-4, rel=1e-4)
    assert lattice_loss(strokes) < 1e-4 / 2, "texture averages out"
    assert lattice_loss(mesh + strokes) > lattice_loss(strokes) + 5e-5
    assert lattice_loss(torch.full((1, 3, 17, 19), 0.3)) == 0, "sides may be odd and short"


def test_plain_is_what_is_painted_where_nothing_is() -> None:
    x = plain(noise(2, 3, 96, 128))
    dashes = 0.1 * torch.eye(2).repeat(48, 64)
    assert plain_loss(x, x) == 0
    assert plain_loss(x + 0.3, x) == pytest.approx(0, abs=1e-9), "skies may have another colour"
    assert plain_loss(plain(1 - x), x) < 1e-3, "and may be light where they were dark"
    assert plain_loss(x + dashes, x) == pytest.approx(0.0025, rel=0.05), "the variance of the dashes"
    assert x.std() < noise(2, 3, 96, 128).std() / 10, "no detail is left"
    assert plain_loss(plain(noise(1, 3, 5, 7)), plain(noise(1, 3, 5, 7))) == 0, "a picture may be tiny"


def test_content_within_a_mask() -> None:
    original = noise(1, 8, 12, 12) + 0.1
    stylized = original.clone()
    stylized[:, :, :6] = 0
    top, bottom = torch.zeros(1, 1, 96, 96), torch.zeros(1, 1, 96, 96)
    top[:, :, :48] = bottom[:, :, 48:] = 0.5
    assert content_loss(stylized, original, bottom) == 0, "nothing is wrong there"
    assert content_loss(stylized, original, top) == pytest.approx(float(content_loss(stylized, original)) / 2)


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
