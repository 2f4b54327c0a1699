"""Stylize single pictures with a network that is being trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from engines.base import RGB
from engines.model.generator import Generator, stylize
from train.data.pictures import to_picture, to_tensor

N = TypeVar("N", bound=nn.Module)


@torch.no_grad()
def run_picture(network: N, stylize: Callable[[N, Tensor], Tensor], rgb: RGB) -> RGB:
    """Run one picture through a network in evaluation mode, then restore the network's mode.

    Args:
        network: network in training.
        stylize: forward pass, (1, 3, H, W) in [0, 1] → the same shape, about in [0, 1].
        rgb: (H, W, 3).

    Returns:
        the same shape.
    """
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    picture = to_picture(stylize(network, to_tensor(rgb).to(device)))
    network.train(was_training)
    return picture


def stylize_picture(generator: Generator, rgb: RGB) -> RGB:
    """Stylize one picture with a generator in evaluation mode. (H, W, 3) → same shape."""
    return run_picture(generator, stylize, rgb)
