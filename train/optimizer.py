"""Muon for the kernels of convolutions, Adam for everything else.

Muon's steps have all directions of a kernel at one size. Where Adam took 400 steps to a style error, it takes 200; see
benchmarks/shapes.md.

Sources: Muon: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; steps as large as Adam's, so that one
learning rate serves both: Liu et al. 2025, arXiv:2502.16982, section 2.2. Adam: Kingma and Ba 2015, arXiv:1412.6980.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

KERNEL = 4
"""Dimensions of the weight of a convolution: out, in, height, width."""


class Optimizer:
    """Both optimisers, as one.

    Args:
        network: whose parameters are learned; they are on their device already.
        learning_rate: at the start.
        kernels: who learns the kernels, ``muon`` or ``adam``.
    """

    def __init__(self, network: nn.Module, learning_rate: float, kernels: str):
        # Also the canvas: of its one row Muon makes a step of fixed length.
        chosen = [p for p in network.parameters() if p.ndim == KERNEL and kernels == "muon"]
        rest = [p for p in network.parameters() if all(p is not kernel for kernel in chosen)]
        # PyTorch's Muon takes matrices. These share the memory of the kernels: (out, in × height × width).
        self._pairs = [(kernel, nn.Parameter(kernel.detach().flatten(1))) for kernel in chosen]
        self._parts: dict[str, torch.optim.Optimizer] = {"rest": torch.optim.Adam(rest, lr=learning_rate)}
        if self._pairs:
            matrices = [matrix for _, matrix in self._pairs]
            self._parts["kernels"] = torch.optim.Muon(
                matrices, lr=learning_rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
            )

    def set_learning_rate(self, value: float) -> None:
        """Of the next step."""
        for part in self._parts.values():
            for group in part.param_groups:
                group["lr"] = value

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self._learned():
            parameter.grad = None

    def step(self) -> None:
        """One step along the gradients."""
        for kernel, matrix in self._pairs:
            matrix.grad = None if kernel.grad is None else kernel.grad.flatten(1)
        for part in self._parts.values():
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was taken.

        Raises:
            ValueError: it is that of other optimisers, or of another network.
        """
        if state.keys() != self._parts.keys():
            raise ValueError(f"the state is of {sorted(state)}, not of {sorted(self._parts)}")
        for name, part in self._parts.items():
            part.load_state_dict(state[name])

    def _learned(self) -> Iterator[Tensor]:
        for kernel, _ in self._pairs:
            yield kernel
        for group in self._parts["rest"].param_groups:
            yield from group["params"]
