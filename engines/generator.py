"""The generator: the one definition of the network that is trained, exported and run.

A U shape that works at 1/4 and 1/8 of the frame. At 1/8, sixty-four dense channels see far enough to bend
strokes into swirls; at 1/4 a few channels draw them. Pixels are touched as bytes only: the frame becomes cells of
4×4 pixels before it becomes numbers, and the painting becomes bytes before it becomes pixels. That is where the
speed comes from: what is left of a frame's time after the convolutions is memory traffic. There are no
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

CELL = 4
"""Side of the square of pixels that the network takes, and gives, as the channels of one cell."""

STRIDE = 8
"""Both sides of what the network sees are multiples of this many pixels."""

CANVAS = 256
"""Side of the square that the canvas texture repeats, pixels."""

LOST = 3
"""Cells on every side that the three unpadded convolutions take away."""

MARGIN = LOST * CELL
"""Reflected pixels on every side, beside those that fill up to a multiple of ``STRIDE``."""


@dataclass(frozen=True)
class Arch:
    """Widths and depth of the generator.

    Attributes:
        stem: channels at 1/4 resolution.
        body: channels at 1/8 resolution.
        blocks: residual blocks at 1/8 resolution.
    """

    stem: int = 32
    body: int = 64
    blocks: int = 4

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
        edge: repeat the border, so that the output is as large as the input; otherwise nothing is padded. Zeros
            would tell the network where the border is, and it would paint a frame there.
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
        padding = kernel // 2 if edge else 0
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, padding_mode="replicate")
        self.norm = nn.BatchNorm2d(out_channels) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, out, H / stride, W / stride), where not padded ``kernel`` − 1 less."""
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


class Head(Conv):
    """Double bilinearly, convolve 3×3, shuffle by 2: written as one convolution at 1/4 and a shuffle by 4.

    Trained as the former: where its input is flat its output is flat at the scale of the cells, so that no grid can
    appear. Run as the latter, which it equals exactly: nothing is ever stored at 1/2.

    Args:
        in_channels: at 1/4.
    Source: linear layers merged after training: Ding et al. 2021, arXiv:2101.03697.
    """

    def __init__(self, in_channels: int):
        super().__init__(in_channels, 3 * 4)
        # [p, k, j]: what tap k of a half-resolution kernel, at the first or second half p of a cell, takes
        # from the cell at j − 1.
        taps = torch.tensor([[[3, 1, 0], [1, 3, 0], [0, 3, 1]], [[1, 3, 0], [0, 3, 1], [0, 1, 3]]]) / 4
        self.register_buffer("taps", taps, persistent=False)
        with torch.no_grad():
            # Start near the input itself, with equal sub-pixels (ICNR, Aitken et al. 2017, arXiv:1707.02937).
            self.conv.weight.copy_(0.1 * self.conv.weight[::4].repeat_interleave(4, dim=0))
            self.bias().zero_()

    def bias(self) -> Tensor:
        """(12,), one for each colour and pixel of a square of 2×2."""
        assert self.conv.bias is not None  # nn.Conv2d was made with one
        return self.conv.bias

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, 48, h − 2, w − 2), in the order of ``to_cells``."""
        return F.conv2d(x, *self._merged())

    def folded(self) -> tuple[Tensor, Tensor]:
        """(48, C, 3, 3) and (48,): the plain convolution that equals this layer."""
        weight, bias = self._merged()
        return weight.detach(), bias.detach()

    def _merged(self) -> tuple[Tensor, Tensor]:
        taps = self.get_buffer("taps")
        small = self.conv.weight.reshape(3, 2, 2, -1, 3, 3)  # colour, row and column in a square of 2×2
        weight = torch.einsum("ostiyx,pyj,qxk->psqtoijk", small, taps, taps)
        bias = torch.einsum("ost,pq->psqto", self.bias().reshape(3, 2, 2), torch.ones_like(taps[:, 0, :2]))
        return weight.flatten(0, 4), bias.flatten()


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
    """Cells of a picture in [0, 1] → what to add to them; the sum is about in [0, 1].

    Args:
        arch: widths and depth.
        norm: batch normalisation in every hidden layer, for training only.
        merged: the last layer is the plain convolution that is run; see ``fold``.
    """

    def __init__(self, arch: Arch, norm: bool = False, merged: bool = False):
        super().__init__()
        self.arch = arch
        self.stem = Conv(3 * CELL**2, arch.stem, norm=norm)
        self.down = Conv(arch.stem, arch.body, stride=2, norm=norm, edge=True)
        self.body = nn.Sequential(*[Residual(arch.body, norm) for _ in range(arch.blocks)])
        self.up = Conv(arch.body, arch.stem, kernel=1, norm=norm)
        self.mid = Conv(arch.stem, arch.stem, norm=norm)
        self.coarse_canvas = Canvas(16, arch.body, CANVAS // 8)
        self.fine_canvas = Canvas(8, arch.stem, CANVAS // 4)
        self.head: Conv = Conv(arch.stem, 3 * CELL**2) if merged else Head(arch.stem)

    def forward(self, cells: Tensor, shift: tuple[int, int] = (0, 0)) -> Tensor:
        """Paint.

        Args:
            cells: (N, h, w, 48) from ``to_cells``; h and w are even.
            shift: of the canvas, (y, x), in units of ``STRIDE`` pixels; training moves it about.
        Returns: (N, h − 6, w − 6, 48), ``LOST`` less on every side: to be added to the ``inner`` cells.
        """
        quarter = F.relu(self.stem(cells.permute(0, 3, 1, 2)))
        height, width = cells.shape[1] // 2 - 1, cells.shape[2] // 2 - 1
        eighth = self.body(F.relu(self.down(quarter) + self.coarse_canvas(height, width, shift)))
        fine = self.fine_canvas(2 * height, 2 * width, (2 * shift[0], 2 * shift[1]))
        quarter = F.relu(quarter + _twice(self.up(eighth)) + fine)
        change: Tensor = self.head(F.relu(self.mid(quarter)))
        return change.permute(0, 2, 3, 1)


def _twice(x: Tensor) -> Tensor:
    """Double the size bilinearly: where the input is flat the output is flat, so that no grid can appear."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def fold(generator: Generator) -> Generator:
    """The same function without normalisation layers, statistics frozen into the convolutions."""
    plain = Generator(generator.arch, merged=True)
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
    generator = Generator(Arch.from_dict(dict(style.arch)), merged=True)
    tensors = {name: torch.from_numpy(value).float() for name, value in style.tensors().items()}
    try:
        generator.load_state_dict(tensors)
    except RuntimeError as error:
        raise StyleError(f"the weights of {style.folder} do not fit its generator") from error
    return generator


def margins(size: int) -> tuple[int, int]:
    """Reflected pixels before and after ``size`` pixels: ``MARGIN`` and half of what fills up to ``STRIDE``.

    Halved, because a frame of 17 pixels cannot reflect more than 16 on one side.
    """
    fill = -size % STRIDE
    return MARGIN + fill // 2, MARGIN + fill - fill // 2


def to_cells(pictures: Tensor) -> Tensor:
    """Reflect, then gather each square of 4×4 pixels: row, column and colour become 48 channels.

    (N, H, W, 3), H and W from 16 up → (N, h, w, 48), h and w even. Bytes or floats. In this order a row of a cell is
    a run of 12 values in both, which is the cheapest that a shuffle can be.
    """
    top, bottom = margins(pictures.shape[1])
    left, right = margins(pictures.shape[2])
    whole = F.pad(pictures, (0, 0, left, right, top, bottom), mode="reflect")
    count, high, wide = whole.shape[0], whole.shape[1] // CELL, whole.shape[2] // CELL
    squares = whole.reshape(count, high, CELL, wide, CELL * 3).transpose(2, 3)
    return squares.reshape(count, high, wide, CELL * CELL * 3)


def from_cells(cells: Tensor, height: int, width: int) -> Tensor:
    """Scatter and crop what the generator gives: (N, h − 6, w − 6, 48) → (N, height, width, 3)."""
    top, left = margins(height)[0] - MARGIN, margins(width)[0] - MARGIN
    count, high, wide = cells.shape[:3]
    squares = cells.reshape(count, high, wide, CELL, CELL * 3).transpose(2, 3)
    whole = squares.reshape(count, high * CELL, wide * CELL, 3)
    return whole[:, top : top + height, left : left + width]


def inner(cells: Tensor) -> Tensor:
    """What the generator's output covers of its input."""
    return cells[:, LOST:-LOST, LOST:-LOST]


def stylize(generator: Generator, x: Tensor, shift: tuple[int, int] = (0, 0)) -> Tensor:
    """(N, 3, H, W) in [0, 1] → (N, 3, H, W), about [0, 1], any H and W from 16 up."""
    cells = to_cells(x.permute(0, 2, 3, 1))
    painted = inner(cells) + generator(cells, shift)
    return from_cells(painted, x.shape[-2], x.shape[-1]).permute(0, 3, 1, 2)


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
        cells = to_cells(frame)
        change = self.generator(cells.to(torch.float32) / 255.0)
        x = inner(cells).to(torch.float32) / 255.0  # cropped as bytes
        y = torch.clamp(x + change, 0.0, 1.0)
        # + 0.5 and truncation round half up; every runtime truncates alike, while roundings differ.
        painting = ((x + strength * (y - x)) * 255.0 + 0.5).to(torch.uint8)
        return from_cells(painting, frame.shape[1], frame.shape[2])
