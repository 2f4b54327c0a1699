"""Generators for tests, of whatever shape ``Arch`` has today."""

from __future__ import annotations

import torch

from engines.model.generator import Arch, Generator


def narrow(norm: bool = True) -> Generator:
    """A quarter of the default's widths and depth, so that a test takes milliseconds."""
    values = {name: max(1, value // 4) for name, value in Arch().to_dict().items()}
    return Generator(Arch.from_dict(values), norm=norm)


def unlike_identity(generator: Generator, seed: int = 0) -> Generator:
    """Random weights and frozen statistics, scaled so that the picture changes a lot and seldom clips."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in generator.parameters():
            value.add_(torch.randn(value.shape, generator=random) * (0.3 / max(1, value[0].numel()) ** 0.5))
        for name, value in generator.named_buffers():
            if name.endswith("running_mean"):
                value.add_(torch.randn(value.shape, generator=random) * 0.05)
            if name.endswith("running_var"):
                value.mul_(1 + torch.rand(value.shape, generator=random))
        generator.head.conv.weight.mul_(4.0)
    return generator


def identity(generator: Generator) -> Generator:
    """Nothing is added to the picture: what goes in comes out."""
    with torch.no_grad():
        generator.head.conv.weight.zero_()
        assert generator.head.conv.bias is not None
        generator.head.conv.bias.zero_()
        generator.softening.zero_()
        generator.softening[..., 1, 1] = torch.eye(len(generator.softening))
    return generator
