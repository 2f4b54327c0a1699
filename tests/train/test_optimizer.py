"""Muon for kernels, Adam for the rest."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from train.optimizer import Optimizer


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1))


def push(network: nn.Sequential, optimizer: Optimizer, seed: int) -> None:
    """One step against the sum of what the network gives."""
    x = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    network(x).square().sum().backward()
    optimizer.step()


def test_steps_of_kernels_have_all_directions_at_one_size() -> None:
    net = network()
    optimizer = Optimizer(net, 0.01, "muon")
    kernel = net[0].weight.detach().flatten(1).clone()
    push(net, optimizer, 1)
    step = (kernel - net[0].weight.detach().flatten(1)) / 0.01
    sizes = torch.linalg.svdvals(step) / (0.2 * max(step.shape) ** 0.5)
    assert sizes.min() > 0.5 and sizes.max() < 1.5


def test_what_is_no_kernel_is_learned_by_adam() -> None:
    net = network()
    bias = net[2].bias.detach().clone()
    push(net, Optimizer(net, 0.01, "muon"), 1)
    assert torch.allclose((net[2].bias - bias).abs(), torch.full((4,), 0.01), rtol=1e-3), "Adam's first step"


def test_adam_learns_everything_when_asked_to() -> None:
    net, plain = network(), network()
    push(net, Optimizer(net, 0.01, "adam"), 1)
    adam = torch.optim.Adam(plain.parameters(), lr=0.01)
    plain(torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    adam.step()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize("kernels", ["muon", "adam"])
def test_a_resumed_optimizer_goes_on_bit_for_bit(kernels: str) -> None:
    one, two = network(), network()
    first = Optimizer(one, 0.01, kernels)
    push(one, first, 1)
    two.load_state_dict(one.state_dict())
    second = Optimizer(two, 0.01, kernels)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for seed in (2, 3):
        push(one, first, seed)
        push(two, second, seed)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_the_learning_rate_is_that_of_both() -> None:
    net = network()
    optimizer = Optimizer(net, 0.01, "muon")
    optimizer.set_learning_rate(0.0)
    before = [p.detach().clone() for p in net.parameters()]
    push(net, optimizer, 1)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), before, strict=True))


def test_the_state_of_another_optimizer_is_refused() -> None:
    with pytest.raises(ValueError, match="not to"):
        Optimizer(network(), 0.01, "adam").load_state_dict(Optimizer(network(), 0.01, "muon").state_dict())
