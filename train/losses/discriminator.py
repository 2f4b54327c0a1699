"""The discriminator: scores patches of a picture at several resolutions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from engines.errors import ShapeError

SLOPE = 0.2
"""Negative slope of the leaky ReLUs."""

CENTRE, SPREAD = 0.5, 0.25
"""Approximate mean and standard deviation of pictures in [0, 1], used to normalise the input."""


@dataclass(frozen=True)
class PatchScores:
    """Output of the discriminator at one resolution.

    Attributes:
        scores: (N, 1, h, w), one per patch; higher means more like the artist's, on the scale of the loss.
        features: output of each hidden layer, (N, C, h, w), from fine to coarse.
    """

    scores: Tensor
    features: tuple[Tensor, ...]


class Conv(nn.Module):
    """Convolution of spectral norm 1 with reflect padding: zeros would reveal the edge of a crop.

    Sources:
        spectral normalisation: Miyato et al. 2018, arXiv:1802.05957. Orthogonal initialisation, which keeps every
        direction at full strength under it: Brock et al. 2018, arXiv:1809.11096, section 3.

    Args:
        in_channels, out_channels, kernel, stride: as in ``nn.Conv2d``.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1):
        super().__init__()
        conv = nn.Conv2d(in_channels, out_channels, kernel, stride)
        nn.init.orthogonal_(conv.weight)
        assert conv.bias is not None
        nn.init.zeros_(conv.bias)
        spectral_norm(conv)
        self.conv, self.stride = conv, stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, out, ⌊H / stride⌋, ⌊W / stride⌋)."""
        with torch.autocast(x.device.type, enabled=False):
            weight = self.conv.weight  # one power iteration, which does not converge in bfloat16
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weight, self.conv.bias, self.stride)


class PatchDiscriminator(nn.Module):
    """Discriminator for one resolution: strided convolutions, one more for the field of view, and the scores.

    Args:
        width: channels of the first layer; they double with every layer, up to eight times as many.
        layers: strided convolutions. With three, a score covers 54×54 pixels.

    Source:
        Isola et al. 2017, arXiv:1611.07004, section 3.2.2, with 3×3 in place of 4×4 in the last two layers.
    """

    def __init__(self, width: int, layers: int):
        super().__init__()
        widths = [3, *(width * 2 ** min(i, 3) for i in range(layers + 1))]
        strided = [Conv(widths[i], widths[i + 1], kernel=4, stride=2) for i in range(layers)]
        self.hidden = nn.ModuleList([*strided, Conv(widths[-2], widths[-1], kernel=3)])
        self.score = Conv(widths[-1], 1, kernel=3)

    def forward(self, x: Tensor) -> PatchScores:
        """(N, 3, H, W), about 0 ± 1 → scores of (N, 1, H / 2^layers, W / 2^layers)."""
        features = []
        for conv in self.hidden:
            x = F.leaky_relu(conv(x), SLOPE)
            features.append(x)
        return PatchScores(self.score(x), tuple(features))


class Discriminator(nn.Module):
    """Patch discriminators at several resolutions: strokes at the first one, composition at the last.

    It uses no batch statistics, so that scores do not depend on the other pictures of a batch.

    Args:
        scales: number of resolutions, each half of the one before.
        width: channels of each first layer.
        layers: strided convolutions at each resolution.

    Source:
        Wang et al. 2018, arXiv:1711.11585, section 3.2.
    """

    def __init__(self, scales: int = 2, width: int = 32, layers: int = 3):
        super().__init__()
        self.smallest = 2 ** (layers + scales)
        self.critics = nn.ModuleList([PatchDiscriminator(width, layers) for _ in range(scales)])

    def forward(self, x: Tensor) -> list[PatchScores]:
        """Score pictures.

        Args:
            x: (N, 3, H, W) in [0, 1], both sides at least ``smallest`` pixels.

        Returns:
            one output per resolution, the finest first.

        Raises:
            ShapeError: x has another shape, or is too small for the coarsest resolution.
        """
        if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < self.smallest:
            problem = (
                f"the discriminator takes (N, 3, H, W) of at least {self.smallest} pixels a side, got {tuple(x.shape)}"
            )
            raise ShapeError(problem, hint="use larger crops, or fewer scales or layers")
        x = (x - CENTRE) / SPREAD
        outputs: list[PatchScores] = []
        for critic in self.critics:
            if outputs:
                x = F.avg_pool2d(x, 2)
            outputs.append(critic(x))
        return outputs
