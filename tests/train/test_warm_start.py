"""A style that is trained on begins as what it was."""

from __future__ import annotations

import torch

from engines.model.generator import Arch, Generator, fold, stylize
from train.warm_start import with_norms


def trained() -> Generator:
    """Folded, with the uneven channels that a training leaves, one of them dead."""
    torch.manual_seed(4)
    plain = Generator(Arch(8, 12, 2, 8))
    with torch.no_grad():
        for name, value in plain.named_parameters():
            value.mul_(torch.rand(len(value)).mul(4).view(-1, *[1] * (value.dim() - 1)) if "conv" in name else 1)
        plain.down.conv.weight[3], plain.down.conv.bias[3] = 0, 0.2
    return plain.eval()


def test_it_is_the_same_function() -> None:
    plain, x = trained(), torch.rand(4, 3, 64, 64)
    again = with_norms(plain, x)
    assert again.stem.norm is not None
    expected = stylize(plain, x)
    for mode in (False, True):
        assert torch.allclose(stylize(again.train(mode), x), expected, atol=1e-3), mode
    assert torch.allclose(stylize(fold(with_norms(plain, x)), x), expected, atol=1e-4)


def test_every_convolution_gives_numbers_of_one_size() -> None:
    plain, x = trained(), torch.rand(4, 3, 64, 64)
    again, seen = with_norms(plain, x).eval(), []
    for module in (again.stem, again.body[0].first, again.mid):
        module.conv.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    stylize(again, x)
    for output in seen:
        variance, mean = torch.var_mean(output, (0, 2, 3), correction=0)
        assert mean.abs().max() < 1e-3
        assert torch.allclose(variance[variance > 0.01], torch.ones(()), atol=1e-2)
