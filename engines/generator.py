"""The generator: the one definition of the network that is trained, exported and run.

A U shape that works at 1/4 and 1/8 of the frame. At 1/8, sixty-four dense channels see far enough to bend
strokes into swirls; at 1/4 and 1/2 a few channels draw them. There are no full-resolution convolutions
except the implicit ones of the pixel (un)shuffles, which is where the speed comes from, and no
data-dependent statistics in the deployed graph, which is where part of the steadiness comes from.

Sources: PixelUnshuffle/PixelShuffle: Shi et al. 2016, arXiv:1609.05158. Residual body: Johnson et al. 2016,
arXiv:1603.08155. Batch normalisation folded at export: Jacob et al. 2018, arXiv:1712.05877, section 3.2.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.errors import StyleError
from engines.model_file import StyleModel

STRIDE = 8
"""Both sides of what the network sees are multiples of this many pixels."""

CANVAS = 256
"""Side of the square that the canvas texture repeats, pixels."""

MARGIN = 8
"""Reflected pixels on every side. Frames of 16 pixels can reflect MARGIN + STRIDE − 1 = 15."""


@dataclass(frozen=True)
class Arch:
    """Widths and depth of the generator.

    Attributes:
        stem: channels at 1/4 resolution.
        body: channels at 1/8 resolution.
        blocks: residual blocks at 1/8 resolution.
        head: channels at 1/2 resolution.
    """

    stem: int = 32
    body: int = 64
    blocks: int = 4
    head: int = 16

    def to_dict(self) -> dict[str, int]:
        """Plain form for ``style.json``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Arch:
        """Read the plain form back.

        Raises: StyleError: unknown or missing fields, or widths that are no positive integers.
        """
        names = {field.name for field in fields(cls)}
        if set(values) != names or not all(type(v) is int and 0 < v <= 512 for v in values.values()):
            raise StyleError(f"unknown generator shape {values}", hint="the style needs another version of rtstyle")
        return cls(**values)


class Conv(nn.Module):
    """Convolution, while training optionally followed by batch normalisation.

    Args:
        in_channels, out_channels, kernel, stride: as in ``nn.Conv2d``.
        norm: normalise the output over the batch; ``folded`` turns that into plain weights.
        edge: repeat the border instead of padding with zeros. Zeros tell a network where the border is, and it
            paints a frame there; a layer may only use them when the margin is cropped before they can be seen.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        norm: bool = False,
        edge: bool = False,
    ):
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, kernel // 2, padding_mode="replicate" if edge else "zeros"
        )
        self.norm = nn.BatchNorm2d(out_channels) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, out, H / stride, W / stride)."""
        y: Tensor = self.conv(x)
        return y if self.norm is None else self.norm(y)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the plain convolution that equals this one with frozen statistics."""
        weight, bias = self.conv.weight.detach(), self.conv.bias
        assert bias is not None  # nn.Conv2d was made with one
        if self.norm is None:
            return weight, bias.detach()
        running_mean, running_var = self.norm.running_mean, self.norm.running_var
        assert running_mean is not None and running_var is not None
        scale = self.norm.weight.detach() / torch.sqrt(running_var + self.norm.eps)
        return weight * scale[:, None, None, None], (bias.detach() - running_mean) * scale + self.norm.bias.detach()


class Residual(nn.Module):
    """x + conv(relu(conv(x))), He et al. 2016, arXiv:1512.03385."""

    def __init__(self, channels: int, norm: bool):
        super().__init__()
        self.first = Conv(channels, channels, norm=norm, edge=True)
        self.second = Conv(channels, channels, norm=norm, edge=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        y: Tensor = x + self.second(F.relu(self.first(x)))
        return y


class Canvas(nn.Module):
    """A learned texture, fixed to the screen, repeated over it: something to paint strokes on where a picture is flat.

    Without it a flat wall can only become a flat colour or the grid of the pixel shuffle. Being fixed, it adds
    nothing to the flicker of a still scene; what it costs under motion, the temporal loss weighs against the style.

    Args:
        channels: of the stored texture.
        out_channels: of the layer that it is added to.
        cells: side of the repeated square, in pixels of that layer.
    Source: learned constant inputs, Karras et al. 2019, arXiv:1812.04948, section 2.
    """

    def __init__(self, channels: int, out_channels: int, cells: int):
        super().__init__()
        self.field = nn.Parameter(torch.randn(1, channels, cells, cells))
        self.mix = Conv(channels, out_channels, kernel=1)
        with torch.no_grad():
            self.mix.conv.weight.mul_(0.5)

    def forward(self, height: int, width: int, shift: tuple[int, int]) -> Tensor:
        """(1, out_channels, height, width), the texture moved by ``shift`` pixels, (y, x)."""
        field = torch.roll(self.field, shift, (2, 3)) if any(shift) else self.field
        cells = self.field.shape[-1]
        square: Tensor = self.mix(field)
        return square.repeat(1, 1, -(-height // cells), -(-width // cells))[..., :height, :width]


class Generator(nn.Module):
    """Picture in [0, 1] → painting, about [0, 1], not clamped.

    Args:
        arch: widths and depth.
        norm: batch normalisation in every hidden layer, for training only.
    """

    def __init__(self, arch: Arch, norm: bool = False):
        super().__init__()
        self.arch = arch
        self.stem = Conv(48, arch.stem, norm=norm, edge=True)
        self.down = Conv(arch.stem, arch.body, stride=2, norm=norm, edge=True)
        self.body = nn.Sequential(*[Residual(arch.body, norm) for _ in range(arch.blocks)])
        self.up = Conv(arch.body, arch.stem, kernel=1, norm=norm)
        self.mid = Conv(arch.stem, arch.stem, norm=norm)
        self.refine = Conv(arch.stem, arch.head, kernel=1, norm=norm)
        self.coarse_canvas = Canvas(16, arch.body, CANVAS // 8)
        self.fine_canvas = Canvas(8, arch.stem, CANVAS // 4)
        self.head = Conv(arch.head, 12)
        _near_identity(self.head.conv)

    def forward(self, x: Tensor, shift: tuple[int, int] = (0, 0)) -> Tensor:
        """Paint.

        Args:
            x: (N, 3, H, W); H and W are multiples of ``STRIDE``.
            shift: of the canvas, (y, x), in units of ``STRIDE`` pixels; training moves it about.
        Returns: (N, 3, H, W).
        """
        quarter = F.relu(self.stem(F.pixel_unshuffle(x, 4)))
        height, width = x.shape[-2] // 8, x.shape[-1] // 8
        eighth = self.body(F.relu(self.down(quarter) + self.coarse_canvas(height, width, shift)))
        fine = self.fine_canvas(2 * height, 2 * width, (2 * shift[0], 2 * shift[1]))
        quarter = F.relu(quarter + _twice(self.up(eighth)) + fine)
        quarter = F.relu(self.mid(quarter))
        half = F.relu(_twice(self.refine(quarter)))
        return x + F.pixel_shuffle(self.head(half), 2)


def _twice(x: Tensor) -> Tensor:
    """Double the size bilinearly: where the input is flat the output is flat, so that no grid can appear."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _near_identity(head: nn.Conv2d) -> None:
    """Start near the input itself, with equal sub-pixels (ICNR, Aitken et al. 2017, arXiv:1707.02937)."""
    with torch.no_grad():
        head.weight.copy_(0.1 * head.weight[::4].repeat_interleave(4, dim=0))
        if head.bias is not None:
            head.bias.zero_()


def fold(generator: Generator) -> Generator:
    """The same function without normalisation layers, statistics frozen into the convolutions."""
    plain = Generator(generator.arch)
    sources = dict(generator.named_modules())
    for name, module in plain.named_modules():
        source = sources[name]
        if isinstance(module, Conv) and isinstance(source, Conv) and module.conv.bias is not None:
            weight, bias = source.folded()
            module.conv.weight.data.copy_(weight)
            module.conv.bias.data.copy_(bias)
        elif isinstance(module, Canvas) and isinstance(source, Canvas):
            module.field.data.copy_(source.field.detach())
    return plain.eval()


def load_generator(style: StyleModel) -> Generator:
    """The folded generator of a style, its weights in fp32.

    Raises: StyleError: the weights do not fit the generator.
    """
    generator = Generator(Arch.from_dict(dict(style.arch)))
    tensors = {name: torch.from_numpy(value).float() for name, value in style.tensors().items()}
    try:
        generator.load_state_dict(tensors)
    except RuntimeError as error:
        raise StyleError(f"the weights of {style.folder} do not fit its generator") from error
    return generator


def padded(x: Tensor) -> Tensor:
    """Reflect to multiples of ``STRIDE`` plus ``MARGIN`` on every side. (N, C, H, W) → (N, C, H', W')."""
    height, width = x.shape[-2], x.shape[-1]
    right, bottom = MARGIN + -width % STRIDE, MARGIN + -height % STRIDE
    return F.pad(x, (MARGIN, right, MARGIN, bottom), mode="reflect")


def stylize(generator: Generator, x: Tensor, shift: tuple[int, int] = (0, 0)) -> Tensor:
    """Pad, generate, crop: (N, 3, H, W) in [0, 1] → (N, 3, H, W), about [0, 1], any H and W from 16 up."""
    height, width = x.shape[-2], x.shape[-1]
    y: Tensor = generator(padded(x), shift)
    return y[..., MARGIN : MARGIN + height, MARGIN : MARGIN + width]


class FrameGraph(nn.Module):
    """The deployed graph: everything between uint8 RGB in and uint8 RGB out.

    Args:
        generator: a folded generator.
    """

    def __init__(self, generator: Generator):
        super().__init__()
        self.generator = generator

    def forward(self, frame: Tensor, strength: Tensor) -> Tensor:
        """Stylize, blend, clamp, round.

        Args:
            frame: (1, height, width, 3), uint8 sRGB.
            strength: (1,), float32, 0 … 1.
        Returns: (1, height, width, 3), uint8.
        """
        x = frame.permute(0, 3, 1, 2).to(torch.float32) / 255.0
        y = torch.clamp(stylize(self.generator, x), 0.0, 1.0)
        blended = x + strength * (y - x)
        # + 0.5 and truncation round half up; every runtime truncates alike, while roundings differ.
        return (blended * 255.0 + 0.5).to(torch.uint8).permute(0, 2, 3, 1)
