"""Start a training from a trained style, or from the start that comes with rtstyle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engines.model.generator import Conv, Generator, stylize

BASE = "base"
"""Name of the start that ``train.meta`` made: a little of many paintings, and nothing of any of them."""

_FOLDER = Path(__file__).parent / BASE

MIN_DEVIATION = 1e-3
"""Smallest standard deviation to divide a channel by, so that a constant channel stays as it is."""


def start_folder(init: Path) -> Path:
    """Return the folder of the style to start from; ``base`` is the start that comes with rtstyle."""
    return _FOLDER if init == Path(BASE) else init


@torch.no_grad()
def with_norms(plain: Generator, pictures: Tensor) -> Generator:
    """Restore the normalisation layers that folding removed, without changing the function.

    Each convolution gets mean 0 and deviation 1 on the pictures, and its normalisation undoes that. So the weights are
    as large as in a new network, and the same learning rate suits both.

    Args:
        plain: folded generator.
        pictures: training pictures, (N, 3, H, W) in [0, 1].
    """
    found = Generator(plain.arch, norm=True)
    found.load_state_dict(plain.state_dict(), strict=False)  # layers without normalisation are complete now
    sources = dict(plain.named_modules())
    pairs = [
        (module, sources[name]) for name, module in found.named_modules() if isinstance(module, Conv) and module.norm
    ]
    outputs: dict[nn.Module, Tensor] = {}

    def keep(conv: nn.Module) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _module, _inputs, output: outputs.__setitem__(conv, output)

    handles = [source.conv.register_forward_hook(keep(module)) for module, source in pairs]
    stylize(plain, pictures)
    for handle in handles:
        handle.remove()
    for module, source in pairs:
        _normalise(module, source, outputs[module])
    return found


def _normalise(module: Conv, source: Any, output: Tensor) -> None:
    assert module.norm is not None and module.conv.bias is not None
    variance, mean = torch.var_mean(output, (0, 2, 3), correction=0)
    spread = variance.sqrt().clamp_min(MIN_DEVIATION)
    module.conv.weight.copy_(source.conv.weight / spread[:, None, None, None])
    module.conv.bias.copy_((source.conv.bias - mean) / spread)
    assert module.norm.running_mean is not None and module.norm.running_var is not None
    module.norm.running_mean.zero_()
    module.norm.running_var.copy_(variance / spread.square())
    module.norm.weight.copy_(spread * torch.sqrt(module.norm.running_var + module.norm.eps))
    module.norm.bias.copy_(mean)
