"""Stylize single pictures with a network that is being trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from engines.base import RGB
from engines.model.generator import stylize
from train.data.pictures import to_picture, to_tensor


@torch.no_grad()
def stylize_picture(network: nn.Module, rgb: RGB, forward: Callable[[Any, Tensor], Tensor] = stylize) -> RGB:
    """Stylize one picture, (H, W, 3), with a network in evaluation mode, then restore the network's mode.

    ``forward`` is the forward pass: a network and (1, 3, H, W) in [0, 1] → the same shape, about in [0, 1].
    """
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    picture = to_picture(forward(network, to_tensor(rgb).to(device)))
    network.train(was_training)
    return picture
