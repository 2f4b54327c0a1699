"""The generator: the one definition of the network that is trained, exported and run.

A U shape that works at 1/4 and 1/8 of the frame. At 1/8, sixty-four dense channels see far enough to bend
strokes into swirls; at 1/4 and 1/2 a few channels draw them. Pixels are touched as bytes only: the frame becomes
cells of 4×4 pixels before it becomes numbers, and the painting becomes bytes before it becomes pixels. That is where
the speed comes from: what is left of a frame's time beside the convolutions is memory traffic. There are no
statistics of the whole picture in the deployed graph, which is where part of the steadiness comes from.

Sources: PixelUnshuffle/PixelShuffle: Shi et al. 2016, arXiv:1609.05158. Residual body: Johnson et al. 2016,
arXiv:1603.08155. Batch normalisation folded at export: Jacob et al. 2018, arXiv:1712.05877, section 3.2.
"""

from __future__ import annotations

import itertools
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.errors import StyleError
from engines.model.local_contrast import CONTRASTS, Contrast, mean_around
from engines.style_file import StyleModel

CELL_IN, CELL_OUT = 4, 2
"""Side of the square of pixels that the network takes, and gives, as the channels of one cell."""

STRIDE = 8
"""Both sides of what the network sees are multiples of this many pixels."""

CANVAS = 64
"""Side of the square that the canvas texture repeats, in pixels of 1/4 resolution."""

FLOOR_COARSE, FLOOR_FINE = 0.03, 0.04
"""Contrast that is taken for noise, at 1/8 and at 1/4 resolution; see ``Contrast``. A mean of fewer pixels has more."""

SOFT = 0.7
"""Share of the frame that is smoothed by a binomial 3×3 before paint is added, and so loses its finest detail."""

MARGIN = 4 + 2
"""Reflected pixels on every side, which the two unpadded convolutions take away: one at 1/4, one at 1/2."""


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

        Raises:
            StyleError: unknown or missing fields, or widths that are no positive integers.
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
        # Torch pads in a step of its own for every mode but zeros: a copy of the whole map, even if it adds nothing.
        mode: Literal["replicate", "zeros"] = "replicate" if padding else "zeros"
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, padding_mode=mode)
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
    """A learned texture, fixed to the screen, repeated over it: what a wall without any shade is painted on.

    All that a camera tells of such a wall is noise, and strokes that follow noise boil. It is fine and has no coarser
    sister: what is larger than a stroke would stand still like a dirty window while the scene moves behind.

    Args:
        channels: of the stored texture.
        out_channels: of the layer that it is added to.

    Source:
        learned constant inputs, Karras et al. 2019, arXiv:1812.04948, section 2.
    """

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.field = nn.Parameter(torch.randn(1, channels, CANVAS, CANVAS))
        self.mix = Conv(channels, out_channels, kernel=1)
        with torch.no_grad():
            self.mix.conv.weight.mul_(0.5)

    def forward(self, height: int, width: int, shift: tuple[int, int]) -> Tensor:
        """(1, out_channels, height, width), the texture moved by ``shift`` pixels, (y, x)."""
        field = torch.roll(self.field, shift, (2, 3)) if any(shift) else self.field
        square: Tensor = self.mix(field)
        return square.repeat(1, 1, -(-height // CANVAS), -(-width // CANVAS))[..., :height, :width]


class Generator(nn.Module):
    """Cells of a picture in [0, 1] → what to add to the ``softened`` picture; the sum is about in [0, 1].

    Args:
        arch: widths and depth.
        norm: batch normalisation in every hidden layer, for training only.
    """

    mean_of_cell: Tensor
    softening: Tensor

    def __init__(self, arch: Arch, norm: bool = False):
        super().__init__()
        self.arch = arch
        self.stem = Conv(3 * CELL_IN**2, arch.stem, kernel=1, norm=norm)
        self.down = Conv(arch.stem, arch.body, stride=2, norm=norm, edge=True)
        self.body = nn.Sequential(*[Residual(arch.body, norm) for _ in range(arch.blocks)])
        self.up = Conv(arch.body, arch.stem, kernel=1, norm=norm)
        self.mid = Conv(arch.stem, arch.stem, norm=norm)
        self.refine = Conv(arch.stem, arch.head, kernel=1, norm=norm)
        self.contrast_coarse, self.contrast_fine = Contrast(FLOOR_COARSE), Contrast(FLOOR_FINE)
        self.coarse = Conv(CONTRASTS, arch.body, kernel=1, norm=norm)
        self.fine = Conv(CONTRASTS, arch.stem, kernel=1, norm=norm)
        self.canvas = Canvas(8, arch.stem)
        self.head = Conv(arch.head, 3 * CELL_OUT**2)
        _near_identity(self.head.conv)
        mean_of_cell = torch.eye(3).repeat(1, CELL_IN**2)[:, :, None, None] / CELL_IN**2
        self.register_buffer("mean_of_cell", mean_of_cell, persistent=False)
        self.register_buffer("softening", _softening())

    def forward(self, cells: Tensor, shift: tuple[int, int] = (0, 0)) -> Tensor:
        """Paint.

        Args:
            cells: (N, h, w, 48), squares of 4×4 pixels, see ``gather``; h and w are even.
            shift: of the canvas, (y, x), in cells; training moves it about.

        Returns:
            (N, 2h − 6, 2w − 6, 12), squares of 2×2 pixels, ``MARGIN`` pixels less on every side.
        """
        cells = cells.permute(0, 3, 1, 2)
        quarter = F.relu(self.stem(cells))
        coarse, fine = self._contrasts(cells)
        eighth = self.body(F.relu(self.down(quarter) + self.coarse(coarse)))
        flat = self.fine(fine) + self.canvas(*fine.shape[2:], shift)
        quarter = F.relu(quarter + _twice(self.up(eighth)) + flat)
        quarter = F.relu(self.mid(quarter))
        half = F.relu(_twice(self.refine(quarter)))
        change: Tensor = self.head(half)
        return change.permute(0, 2, 3, 1)

    def _contrasts(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Contrasts at 1/8 and 1/4, computed in fp32 whatever the rest is in.

        Differences of nearly equal colours, divided by a small spread and made waves of, need more than the ten bits of
        fp16: one of forty values of the painting would be off by more than one step of 255, and some by nine.
        """
        with _without_autocast(cells.device.type):
            colours = F.conv2d(cells.float(), self.mean_of_cell.float())
            coarse = self.contrast_coarse(mean_around(F.avg_pool2d(colours, 2), 3))
            fine = self.contrast_fine(mean_around(colours, 3))
        return coarse.to(cells.dtype), fine.to(cells.dtype)

    def softened(self, cells: Tensor) -> Tensor:
        """What the paint is added to: the frame, with part of its finest detail smoothed away.

        Sensor noise is finest detail, and a sum with the frame itself would hand it on whole, with pores and threads.

        Args:
            cells: (N, h, w, 12), squares of 2×2 pixels.

        Returns:
            (N, h − 2, w − 2, 12).
        """
        return F.conv2d(cells.permute(0, 3, 1, 2), self.softening).permute(0, 2, 3, 1)


def _softening() -> Tensor:
    """The smoothing of pixels as a convolution of 2×2 cells, (12, 12, 3, 3)."""
    binomial = torch.tensor([0.25, 0.5, 0.25])
    kernel = SOFT * binomial[:, None] * binomial
    kernel[1, 1] += 1 - SOFT
    weight = torch.zeros(CELL_OUT, CELL_OUT, 3, CELL_OUT, CELL_OUT, 3, 3, 3)
    for row, column, down, right in itertools.product(range(CELL_OUT), range(CELL_OUT), range(3), range(3)):
        (y, from_row), (x, from_column) = divmod(row + down - 1, CELL_OUT), divmod(column + right - 1, CELL_OUT)
        weight[row, column, :, from_row, from_column, :, y + 1, x + 1] = kernel[down, right] * torch.eye(3)
    return weight.flatten(3, 5).flatten(0, 2)


def _without_autocast(device: str) -> AbstractContextManager[object]:
    """Every operation in the format of its input; devices that know no autocast need nothing."""
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def _twice(x: Tensor) -> Tensor:
    """Double the size bilinearly: where the input is flat the output is flat, so that no grid can appear."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _near_identity(head: nn.Conv2d) -> None:
    """Start near nothing at all, with equal sub-pixels (ICNR, Aitken et al. 2017, arXiv:1707.02937)."""
    with torch.no_grad():
        head.weight.copy_(0.1 * head.weight[:3].repeat(CELL_OUT**2, 1, 1, 1))
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
    plain.softening.copy_(generator.softening)
    return plain.eval()


def load_generator(style: StyleModel) -> Generator:
    """The folded generator of a style, its weights in fp32.

    Raises:
        StyleError: the weights do not fit the generator.
    """
    generator = Generator(Arch.from_dict(dict(style.arch)))
    tensors = {name: torch.from_numpy(value).float() for name, value in style.tensors().items()}
    try:
        generator.load_state_dict(tensors)
    except RuntimeError as error:
        raise StyleError(
            f"the weights of {style.folder} do not fit its generator", hint="it is of an older version: train it again"
        ) from error
    return generator


def margins(size: int) -> tuple[int, int]:
    """Reflected pixels before and after ``size`` pixels: ``MARGIN`` and half of what fills up to ``STRIDE``.

    Halved, because a frame of 16 pixels cannot reflect more than 15 on one side.
    """
    fill = -(size + 2 * MARGIN) % STRIDE
    return MARGIN + fill // 2, MARGIN + fill - fill // 2


def reflected(pictures: Tensor) -> Tensor:
    """(N, H, W, 3), H and W from 16 up → (N, H′, W′, 3), multiples of ``STRIDE``. Bytes or floats."""
    top, bottom = margins(pictures.shape[1])
    left, right = margins(pictures.shape[2])
    return F.pad(pictures, (0, 0, left, right, top, bottom), mode="reflect")


def inner(whole: Tensor, around: int = 0) -> Tensor:
    """What the generator's output covers of what was ``reflected``, with so many pixels around."""
    edge = MARGIN - around
    return whole[:, edge:-edge, edge:-edge]


def gather(pictures: Tensor, side: int) -> Tensor:
    """Squares of pixels become channels in the order row, column, colour: (N, H, W, 3) → (N, H/side, W/side, 3 side²).

    In this order a row of a square is a run of values on both sides, which is the cheapest that a shuffle can be.
    """
    count, high, wide = pictures.shape[0], pictures.shape[1] // side, pictures.shape[2] // side
    squares = pictures.reshape(count, high, side, wide, side * 3).transpose(2, 3)
    return squares.reshape(count, high, wide, side * side * 3)


def scatter(cells: Tensor, side: int) -> Tensor:
    """The inverse of ``gather``."""
    count, high, wide = cells.shape[:3]
    squares = cells.reshape(count, high, wide, side, side * 3).transpose(2, 3)
    return squares.reshape(count, high * side, wide * side, 3)


def cropped(painted: Tensor, height: int, width: int) -> Tensor:
    """What is left of ``inner`` pixels without those that filled up to ``STRIDE``."""
    top, left = margins(height)[0] - MARGIN, margins(width)[0] - MARGIN
    return painted[:, top : top + height, left : left + width]


def stylize(generator: Generator, x: Tensor, shift: tuple[int, int] = (0, 0)) -> Tensor:
    """(N, 3, H, W) in [0, 1] → (N, 3, H, W), about [0, 1], any H and W from 16 up."""
    whole = reflected(x.permute(0, 2, 3, 1))
    ground = generator.softened(gather(inner(whole, CELL_OUT), CELL_OUT))
    painted = scatter(ground + generator(gather(whole, CELL_IN), shift), CELL_OUT)
    return cropped(painted, x.shape[-2], x.shape[-1]).permute(0, 3, 1, 2)


class FrameGraph(nn.Module):
    """The deployed graph: everything between uint8 RGB in and uint8 RGB out, in the number format of the weights.

    Args:
        generator: a folded generator.
        shuffle_bytes: pad and shuffle pixels as bytes, which is a quarter of the traffic; False for runtimes that
            do no more with bytes than to convert them.
    """

    def __init__(self, generator: Generator, *, shuffle_bytes: bool = True):
        super().__init__()
        self.generator = generator
        self.shuffle_bytes = shuffle_bytes

    def forward(self, frame: Tensor, strength: Tensor) -> Tensor:
        """Stylize, blend, clamp, round.

        Args:
            frame: (1, height, width, 3), uint8 sRGB.
            strength: (1,), float32, 0 … 1.

        Returns:
            (1, height, width, 3), uint8.
        """
        number = self.generator.softening.dtype
        whole = reflected(frame if self.shuffle_bytes else frame.to(number))
        return self.painted(whole, strength, frame.shape[1], frame.shape[2]).to(torch.uint8)

    def painted(self, whole: Tensor, strength: Tensor, height: int, width: int) -> Tensor:
        """The same for a frame that is ``reflected`` already; ``height`` and ``width``, pixels, are without that.

        Returns:
            (1, height, width, 3); without ``shuffle_bytes`` numbers from 0.5 to 255.5 that are to be truncated.
        """
        number = self.generator.softening.dtype
        change = self.generator(gather(whole, CELL_IN).to(number) / 255.0)
        wide = gather(inner(whole, CELL_OUT), CELL_OUT)
        x = wide[:, 1:-1, 1:-1].to(number) / 255.0  # cut as bytes, which is less to move
        y = torch.clamp(self.generator.softened(wide.to(number) / 255.0) + change, 0.0, 1.0)
        # + 0.5 and truncation round half up; every runtime truncates alike, while roundings differ.
        painting = (x + strength.to(number) * (y - x)) * 255.0 + 0.5
        painting = painting.to(torch.uint8) if self.shuffle_bytes else painting
        return cropped(scatter(painting, CELL_OUT), height, width)
