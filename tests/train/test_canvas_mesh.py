"""No mesh of the network's cells stands on plain walls, and the painting stays what it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engines.model.generator import CANVAS, Generator, fold, stylize
from tests.generators import narrow, unlike_identity
from train import canvas_mesh
from train.canvas_mesh import PEAK, SIDE, peaks, remove_mesh

SHADE = torch.tensor([0.75, 0.7, 0.6])


def _plain(field: Tensor) -> Generator:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        generator = fold(unlike_identity(narrow()))
    generator.even_out()
    with torch.no_grad():
        generator.canvas.field.copy_(field)
    return generator


def _painted(generator: Generator) -> Tensor:
    """One period of the canvas, far from the border of a plain picture: (1, 3, SIDE, SIDE)."""
    with torch.no_grad():
        whole = stylize(generator, SHADE[:, None, None].expand(1, 3, 3 * SIDE, 3 * SIDE))
    return whole[..., SIDE : 2 * SIDE, SIDE : 2 * SIDE]


@pytest.fixture(autouse=True)
def _fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canvas_mesh, "STEPS", 100)


@pytest.fixture
def with_mesh() -> Generator:
    """Noise with a dot in every eighth row and column: its harmonics fall on the frequencies of the cells."""
    noise = torch.randn(1, 8, CANVAS, CANVAS, generator=torch.Generator().manual_seed(1))
    y, x = torch.meshgrid(torch.arange(CANVAS), torch.arange(CANVAS), indexing="ij")
    return _plain(noise + 6.0 * ((y % 8 == 0) & (x % 8 == 0)))


def test_a_mesh_goes_and_the_strokes_stay(with_mesh: Generator) -> None:
    before = _painted(with_mesh)
    assert peaks(before).max() > 1.5, "the test's own mesh"
    assert remove_mesh(with_mesh) > PEAK
    after = _painted(with_mesh)
    assert peaks(after).max() < 0.6 * peaks(before).max()
    assert torch.corrcoef(torch.stack([before.mean(1).flatten(), after.mean(1).flatten()]))[0, 1] > 0.9
    assert all(parameter.requires_grad and parameter.grad is None for parameter in with_mesh.parameters())


def test_with_other_shares_of_the_texture_it_goes_too(with_mesh: Generator) -> None:
    def shown(share: float) -> float:
        return canvas_mesh.Walls(with_mesh, SHADE[None]).highest_peak(share / 0.25)

    with_mesh.canvas.weaken(0.25)
    with torch.no_grad():
        before = {share: shown(share) for share in (0.25, 0.5, 1.0)}
    remove_mesh(with_mesh, 0.25)
    with torch.no_grad():
        assert all(shown(share) < 0.7 * peak for share, peak in before.items())


def test_only_the_canvas_changes(with_mesh: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canvas_mesh, "STEPS", 5)
    before = {name: value.clone() for name, value in with_mesh.state_dict().items()}
    remove_mesh(with_mesh)
    changed = {name for name, value in with_mesh.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"canvas.field"}


def test_where_no_mesh_is_nothing_changes() -> None:
    noise = torch.randn(1, 8, CANVAS, CANVAS, generator=torch.Generator().manual_seed(1))
    plain = _plain(noise)
    plain.canvas.weaken(0.0)
    assert remove_mesh(plain) <= PEAK and torch.equal(plain.canvas.field, noise)


def test_a_canvas_that_is_not_shown_stays(with_mesh: Generator) -> None:
    before = with_mesh.canvas.field.clone()
    assert remove_mesh(with_mesh, 0.0) == 0.0 and torch.equal(with_mesh.canvas.field, before)


def test_weights_that_are_not_finite_are_left_for_the_one_who_saves() -> None:
    plain = _plain(torch.zeros(1, 8, CANVAS, CANVAS))
    with torch.no_grad():
        plain.head.conv.weight[0, 0, 0, 0] = torch.nan
    remove_mesh(plain)
    assert plain.canvas.field.isfinite().all()


def test_it_sees_what_the_network_paints(with_mesh: Generator) -> None:
    walls = canvas_mesh.Walls(with_mesh, SHADE[None])
    with torch.no_grad():
        assert torch.allclose(walls.paint(slice(None)), _painted(with_mesh), atol=1e-3)


def test_a_canvas_of_noise_has_no_peak() -> None:
    noise = torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    found = peaks(noise * 0.02)
    assert found.shape == (4, 4) and (found - 1).abs().max() < 0.4
