"""The discriminator: its convolutions are bounded, it sees no border and no neighbours, and it learns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engines.errors import ShapeError
from train.losses.adversarial import LOSSES
from train.losses.discriminator import Conv, Discriminator


def rng(seed: int = 0) -> torch.Generator:
    """Random numbers of a test."""
    return torch.Generator().manual_seed(seed)


def make(scales: int = 2, width: int = 4, layers: int = 2) -> Discriminator:
    """A narrow one with seeded weights."""
    torch.manual_seed(0)
    return Discriminator(scales, width, layers)


def stripes(count: int, side: int, random: torch.Generator) -> Tensor:
    """Diagonal stripes of random phase, as bright and as rich in contrast as ``static``."""
    place = torch.arange(side)[:, None] + torch.arange(side)
    phase = torch.randint(8, (count, 1, 1, 1), generator=random)
    return (((place + phase) // 4) % 2).float().expand(-1, 3, -1, -1)


def static(count: int, side: int, random: torch.Generator) -> Tensor:
    """Black and white noise."""
    return torch.randint(2, (count, 1, side, side), generator=random).float().expand(-1, 3, -1, -1)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 79), (96, 200)])
def test_one_judgement_for_each_scale_the_finest_first(height: int, width: int) -> None:
    judgements = make(scales=3, layers=3)(torch.rand(2, 3, height, width, generator=rng()))
    assert [j.scores.shape for j in judgements] == [(2, 1, height // s, width // s) for s in (8, 16, 32)]
    for judgement in judgements:
        assert [f.shape[1] for f in judgement.features] == [4, 8, 16, 32]
        assert judgement.features[-1].shape[2:] == judgement.scores.shape[2:]


def test_the_default_takes_crops_from_64_pixels() -> None:
    assert [j.scores.shape for j in Discriminator()(torch.rand(1, 3, 64, 64))] == [(1, 1, 8, 8), (1, 1, 4, 4)]


@pytest.mark.parametrize("form", [(3, 64, 64), (1, 1, 64, 64), (1, 3, 15, 64), (1, 3, 64, 15)])
def test_another_form_is_told(form: tuple[int, ...]) -> None:
    discriminator = make(scales=2, layers=2)
    assert discriminator.smallest == 16
    with pytest.raises(ShapeError, match="16 pixels"):
        discriminator(torch.zeros(form))


def test_the_smallest_is_enough() -> None:
    for scales, layers in ((1, 1), (1, 4), (3, 2)):
        discriminator = make(scales, 2, layers)
        side = discriminator.smallest
        assert discriminator(torch.zeros(1, 3, side, side))[-1].scores.shape == (1, 1, 2, 2)


def test_convolutions_are_bounded_by_one_after_a_few_forwards() -> None:
    discriminator = make()
    convs = [module for module in discriminator.modules() if isinstance(module, Conv)]
    assert len(convs) == 2 * 4
    noise = rng(1)
    with torch.no_grad():
        for conv in convs:  # what an optimiser might have made of them
            original = conv.conv.parametrizations.weight.original
            original += 3 * torch.randn(original.shape, generator=noise)
    for _ in range(30):
        discriminator(torch.rand(1, 3, 32, 32, generator=noise))
    for conv in convs:
        norm = float(torch.linalg.matrix_norm(conv.conv.weight.flatten(1).detach(), 2))
        assert 0.9 < norm <= 1.01


def test_a_flat_picture_has_flat_scores() -> None:
    """With borders of zeros the scores near them would differ."""
    for judgement in make()(torch.full((1, 3, 40, 56), 0.8)):
        for values in (judgement.scores, *judgement.features):
            assert torch.allclose(values, values[..., :1, :1].expand_as(values), atol=1e-5)


def test_a_picture_is_judged_alone() -> None:
    discriminator, x = make().eval(), torch.rand(3, 3, 32, 32, generator=rng())
    together, alone = discriminator(x), discriminator(x[1:2])
    for a, b in zip(together, alone, strict=True):
        assert torch.allclose(a.scores[1:2], b.scores, atol=1e-6)


def test_the_state_holds_everything_that_decides_the_next_scores() -> None:
    first, second, x = make(), make(), torch.rand(1, 3, 32, 32, generator=rng())
    for _ in range(3):
        first(x)
    second.load_state_dict(first.state_dict())
    for a, b in zip(first(x), second(x), strict=True):
        assert torch.equal(a.scores, b.scores)


def test_under_bfloat16_the_bound_stays_exact() -> None:
    plain, mixed, x = make(), make(), torch.rand(1, 3, 32, 32, generator=rng())
    expected = plain(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = mixed(x)
    LOSSES["lsgan"].generator(found).backward()
    for a, b in zip(expected, found, strict=True):
        assert b.scores.dtype == torch.bfloat16
        assert torch.allclose(a.scores, b.scores.float(), atol=0.05)
    for name, value in plain.named_buffers():
        assert torch.equal(value, mixed.get_buffer(name)), "the power iteration has the same bits"
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in mixed.parameters())


@pytest.mark.parametrize(("name", "least"), [("lsgan", 0.95), ("bce", 0.95), ("hinge", 0.95), ("wgan-gp", 0.8)])
def test_it_learns_to_tell_stripes_from_noise(name: str, least: float) -> None:
    loss, discriminator, random = LOSSES[name], make(), rng(2)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=5e-3, betas=(0.5, 0.9))
    for _ in range(30):
        optimizer.zero_grad()
        value = loss.discriminator(discriminator(stripes(4, 32, random)), discriminator(static(4, 32, random)))
        value.backward()
        optimizer.step()
    with torch.no_grad():
        told = loss.accuracy(discriminator(stripes(8, 32, random)), discriminator(static(8, 32, random)))
    assert told > least, told
