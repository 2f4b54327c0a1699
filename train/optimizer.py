"""Optimizer: Muon for convolution kernels, Adam for everything else.

Muon makes the step equally large in all directions of a kernel, and reaches the same style error in half the steps of
Adam; see benchmarks/shapes.md.

Sources: Muon: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; steps as large as Adam's, so that one
learning rate serves both: Liu et al. 2025, arXiv:2502.16982, section 2.2. Adam: Kingma and Ba 2015, arXiv:1412.6980.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

KERNEL = 4
"""Number of dimensions of a convolution's weight: out, in, height, width."""


def rate_share(step: int, warmup: int, share: float) -> float:
    """Return the share of the learning rate at a step: a cosine from 1 to 0.01 over the run, times a linear warm-up.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983.

    Args:
        step: number of the step, from 0.
        warmup: steps of the warm-up.
        share: how much of the run is done, 0 … 1.
    """
    return min(1.0, (step + 1) / (warmup + 1)) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


@torch.no_grad()
def move_towards(average: nn.Module, network: nn.Module, share: float) -> None:
    """Move all weights and statistics of a network a share of the way to those of another; counts are copied."""
    ahead = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(ahead[name], share)
        else:
            value.copy_(ahead[name])


class Optimizer:
    """Both optimizers behind one interface; that of the kernels is ``muon`` or ``adam``.

    The network must already be on its device.
    """

    def __init__(self, network: nn.Module, learning_rate: float, kernels: str):
        # This includes the canvas: its single row gets steps of fixed length.
        chosen = [p for p in network.parameters() if p.ndim == KERNEL and kernels == "muon"]
        rest = [p for p in network.parameters() if all(p is not kernel for kernel in chosen)]
        # PyTorch's Muon takes matrices; these share the memory of the kernels: (out, in × height × width).
        self._pairs = [(kernel, nn.Parameter(kernel.detach().flatten(1))) for kernel in chosen]
        self._parts: dict[str, torch.optim.Optimizer] = {"rest": torch.optim.Adam(rest, lr=learning_rate)}
        if self._pairs:
            matrices = [matrix for _, matrix in self._pairs]
            self._parts["kernels"] = torch.optim.Muon(
                matrices, lr=learning_rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
            )

    def set_learning_rate(self, value: float) -> None:
        """Set the learning rate of the next step."""
        for part in self._parts.values():
            for group in part.param_groups:
                group["lr"] = value

    def zero_grad(self) -> None:
        """Clear all gradients."""
        for parameter in self._parameters():
            parameter.grad = None

    def step(self) -> None:
        """Take one step."""
        for kernel, matrix in self._pairs:
            matrix.grad = None if kernel.grad is None else kernel.grad.flatten(1)
        for part in self._parts.values():
            part.step()

    def forget_momentum(self) -> None:
        """Forget the mean of the last gradients, but not their size."""
        for part in self._parts.values():
            for state in part.state.values():
                for name in ("exp_avg", "momentum_buffer"):
                    if name in state:
                        state[name].zero_()

    def state_dict(self) -> dict[str, Any]:
        """Return everything a resumed run needs."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state from ``state_dict``.

        Raises:
            ValueError: it belongs to other optimizers or to another network.
        """
        if state.keys() != self._parts.keys():
            raise ValueError(f"the state belongs to {sorted(state)}, not to {sorted(self._parts)}")
        for name, part in self._parts.items():
            part.load_state_dict(state[name])

    def _parameters(self) -> Iterator[Tensor]:
        for kernel, _ in self._pairs:
            yield kernel
        for group in self._parts["rest"].param_groups:
            yield from group["params"]
