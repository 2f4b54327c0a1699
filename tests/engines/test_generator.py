"""What the generator promises beside its pictures: shapes, an exact fold, no grid, no knowledge of the border."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from engines.generator import Head, fold, from_cells, inner, stylize, to_cells
from tests.generators import narrow, unlike_identity

SIZES = [(16, 16), (17, 19), (18, 31), (45, 30), (64, 64)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_cells_hold_every_pixel_once(height: int, width: int, dtype: torch.dtype) -> None:
    pictures = (torch.rand(2, height, width, 3) * 255).to(dtype)
    cells = to_cells(pictures)
    assert cells.shape[1] % 2 == 0 and cells.shape[2] % 2 == 0
    assert torch.equal(from_cells(inner(cells), height, width), pictures)


def test_the_last_layer_doubles_convolves_and_shuffles() -> None:
    """One convolution at 1/4 stands for: bilinear doubling, a 3×3 convolution at 1/2, a shuffle by 2."""
    torch.manual_seed(0)
    head = Head(5).double()
    torch.nn.init.normal_(head.conv.weight)
    torch.nn.init.normal_(head.bias())
    x = torch.randn(2, 5, 12, 14, dtype=torch.float64)
    half = F.interpolate(x, scale_factor=2, mode="bilinear")
    expected = F.pixel_shuffle(F.conv2d(half, head.conv.weight, head.conv.bias, padding=1), 2)[..., 4:-4, 4:-4]
    painted = from_cells(head(x).permute(0, 2, 3, 1), 40, 48).permute(0, 3, 1, 2)
    assert torch.allclose(painted, expected, atol=1e-12)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_folding_changes_nothing(height: int, width: int) -> None:
    generator = unlike_identity(narrow()).eval()
    x = torch.rand(1, 3, height, width)
    with torch.no_grad():
        painted = stylize(generator, x)
        assert painted.shape == x.shape
        assert torch.allclose(stylize(fold(generator), x), painted, atol=1e-5)


def test_a_flat_picture_on_a_flat_canvas_stays_flat_at_the_scale_of_cells() -> None:
    """No grid of cells and no frame along the border can appear where there is nothing to paint."""
    generator = unlike_identity(narrow()).eval()
    with torch.no_grad():
        generator.coarse_canvas.field.fill_(0.3)
        generator.fine_canvas.field.fill_(0.3)
        painted = stylize(generator, torch.full((1, 3, 70, 90), 0.4))
    squares = F.avg_pool2d(painted, 2)
    assert painted.std() > 1e-4, "the generator paints something"
    assert (squares - squares.mean((2, 3), keepdim=True)).abs().max() < 1e-4
