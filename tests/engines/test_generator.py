"""What the generator promises beside its pictures: shapes, an exact fold, no grid, no knowledge of the border."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from engines.model.cells import STRIDE, crop_fill, crop_margin, depth_to_space, pad_reflect, space_to_depth
from engines.model.generator import CANVAS, fold, stylize
from tests.generators import narrow, unlike_identity

SIZES = [(24, 24), (25, 27), (26, 39), (29, 38), (64, 64)]


@pytest.mark.parametrize("size", range(24, 24 + STRIDE))
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_what_is_reflected_and_shuffled_comes_back(size: int, dtype: torch.dtype) -> None:
    pictures = (torch.rand(2, size, 55 - size, 3) * 255).to(dtype)
    whole = pad_reflect(pictures)
    assert whole.shape[1] % STRIDE == 0 and whole.shape[2] % STRIDE == 0
    assert torch.equal(depth_to_space(space_to_depth(whole, 4), 4), whole)
    shuffled = depth_to_space(space_to_depth(crop_margin(whole), 2), 2)
    assert torch.equal(crop_fill(shuffled, size, 55 - size), pictures)


def test_a_cell_holds_its_pixels_by_row_column_and_colour() -> None:
    pictures = torch.arange(8 * 8 * 3).reshape(1, 8, 8, 3)
    assert torch.equal(space_to_depth(pictures, 4)[0, 1, 0], pictures[0, 4:8, 0:4].flatten())


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_folding_changes_nothing(height: int, width: int) -> None:
    generator = unlike_identity(narrow()).eval()
    x = torch.rand(1, 3, height, width)
    with torch.no_grad():
        painted = stylize(generator, x)
        assert painted.shape == x.shape
        assert torch.allclose(stylize(fold(generator), x), painted, atol=1e-5)


def test_softening_is_seven_tenths_of_a_binomial_blur() -> None:
    x = torch.rand(1, 20, 28, 3, generator=torch.Generator().manual_seed(1))
    soft = depth_to_space(narrow().softened(space_to_depth(x, 2)), 2)
    kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16 * 0.7
    kernel[1, 1] += 0.3
    blurred = F.conv2d(x.permute(0, 3, 1, 2), kernel.expand(3, 1, 3, 3), groups=3).permute(0, 2, 3, 1)
    assert torch.allclose(soft, blurred[:, 1:-1, 1:-1], atol=1e-6)


def test_a_weaker_canvas_has_the_same_mean() -> None:
    canvas = fold(unlike_identity(narrow())).canvas
    with torch.no_grad():
        whole = canvas(CANVAS, CANVAS, (0, 0))
        canvas.weaken(0.25)
        weak = canvas(CANVAS, CANVAS, (0, 0))
    mean = whole.mean((2, 3), keepdim=True)
    assert torch.allclose(weak - mean, 0.25 * (whole - mean), atol=1e-5) and whole.std() > 0.1


def test_a_flat_picture_on_a_flat_canvas_stays_flat_() -> None:
    """No grid of cells and no frame along the border can appear where there is nothing to paint."""
    generator = fold(unlike_identity(narrow()))
    gray = torch.full((1, 3, 70, 90), 0.4)
    with torch.no_grad():
        generator.canvas.field.fill_(0.3)
        before = stylize(generator, gray)
        generator.even_out()
        painted = stylize(generator, gray)
    assert (before - before.mean((2, 3), keepdim=True)).abs().max() > 1e-3, "the pixels of a square differ"
    assert (painted - painted.mean((2, 3), keepdim=True)).abs().max() < 1e-5
    assert torch.allclose(F.avg_pool2d(painted, 2), F.avg_pool2d(before, 2), atol=1e-5), "their mean is kept"


def test_evening_out_twice_changes_nothing_more() -> None:
    generator = fold(unlike_identity(narrow()))
    generator.even_out()
    once = {name: value.clone() for name, value in generator.state_dict().items()}
    generator.even_out()
    assert all(torch.allclose(value, once[name], atol=1e-6) for name, value in generator.state_dict().items())
