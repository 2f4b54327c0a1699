"""The generator: the one definition of the network that is trained, exported and run.

A U-Net that works at 1/4 and 1/8 of the frame's resolution. At 1/8, sixty-four channels see far enough to bend strokes
into swirls; at 1/4 and 1/2, a few channels draw them. Full resolution is only touched as bytes: the frame becomes cells
of 4×4 pixels before it becomes floats, and the result becomes bytes before it becomes pixels. This makes it fast, since
everything but the convolutions is memory traffic. The deployed graph uses no statistics of the whole image, which is
part of what keeps it steady from frame to frame.

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
from engines.model.cells import CELL_IN, CELL_OUT, crop_fill, crop_margin, depth_to_space, pad_reflect, space_to_depth
from engines.model.local_contrast import CONTRASTS, EDGE_COARSE, EDGE_FINE, Contrast, smooth_inside
from engines.style_file import StyleModel

CANVAS = 64
"""Side of the repeated square of the canvas texture, in pixels of 1/4 resolution."""

FLOOR_COARSE, FLOOR_FINE = 0.03, 0.04
"""Noise floors of ``Contrast`` at 1/8 and at 1/4 resolution; a mean of fewer pixels has more noise."""

SOFT = 0.7
"""Weight of the binomial 3×3 blur of the frame, which removes its finest detail before the paint is added."""


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
        """Return the fields as a dict for ``style.json``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Arch:
        """Return the architecture from a dict. Raise StyleError unless its fields are integers from 1 to 512."""
        names = {field.name for field in fields(cls)}
        if set(values) != names or not all(type(v) is int and 0 < v <= 512 for v in values.values()):
            raise StyleError(
                f"unknown generator architecture {values}", hint="the style needs another version of rtstyle"
            )
        return cls(**values)


class Conv(nn.Module):
    """An ``nn.Conv2d``, optionally followed by batch normalisation during training.

    Args:
        in_channels, out_channels, kernel, stride: as in ``nn.Conv2d``.
        norm: normalise the output over the batch; ``folded`` merges this into the weights.
        edge: repeat the border so that the output is as large as the input; otherwise nothing is padded. Padding with
            zeros would show the network where the border is, and it would draw a frame there.
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
        # For every mode but zeros, torch pads in a separate step that copies the whole map, even if it adds nothing.
        mode: Literal["replicate", "zeros"] = "replicate" if padding else "zeros"
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, padding_mode=mode)
        self.norm = nn.BatchNorm2d(out_channels) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H / stride, W / stride); without ``edge``, ``kernel`` − 1 less before that."""
        y: Tensor = self.conv(x)
        return y if self.norm is None else self.norm(y)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the plain convolution that equals this one with frozen statistics."""
        weight, bias = self.conv.weight.detach(), self.conv.bias
        assert bias is not None  # nn.Conv2d has a bias by default
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
        """Map (N, C, H, W) to the same shape."""
        y: Tensor = x + self.second(F.relu(self.first(x)))
        return y


class Canvas(nn.Module):
    """A learned texture, fixed to the screen and repeated over it, on which plain walls are painted.

    A camera sees only noise on such a wall, and strokes that follow noise boil. The texture is fine, with no coarser
    level: anything larger than a stroke would stand still like a dirty window in front of a moving scene.

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
        """Return (1, out_channels, height, width): the texture moved by ``shift`` pixels, (y, x)."""
        field = torch.roll(self.field, shift, (2, 3)) if any(shift) else self.field
        square: Tensor = self.mix(field)
        return square.repeat(1, 1, -(-height // CANVAS), -(-width // CANVAS))[..., :height, :width]

    @torch.no_grad()
    def weaken(self, share: float) -> None:
        """Leave a share of the texture's contrast, 0 … 1, around the same mean; in place, of a folded generator."""
        weight, bias = self.mix.conv.weight, self.mix.conv.bias
        assert self.mix.norm is None and bias is not None
        bias += (1.0 - share) * (weight[:, :, 0, 0] @ self.field.mean((0, 2, 3)))
        weight *= share


class Generator(nn.Module):
    """Computes from the cells of an image in [0, 1] what to add to the ``softened`` image; the sum is about in [0, 1].

    ``norm`` normalises every hidden layer over the batch, for training only.
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
        """Compute the change of an image.

        Args:
            cells: (N, h, w, 48), squares of 4×4 pixels from ``space_to_depth``; h and w are even.
            shift: offset of the canvas, (y, x), in cells; random during training.

        Returns:
            (N, 2h − 6, 2w − 6, 12), squares of 2×2 pixels, without ``MARGIN`` pixels on every side.
        """
        quarter, eighth, fine = self.look(cells.permute(0, 3, 1, 2))
        flat = self.fine(fine) + self.canvas(*fine.shape[2:], shift)
        return self.paint(quarter + _twice(self.up(eighth)) + flat).permute(0, 2, 3, 1)

    def look(self, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is seen in cells, (N, 48, h, w): maps at 1/4 and 1/8 of the resolution, contrasts at 1/4."""
        quarter = F.relu(self.stem(cells))
        coarse, fine = self._contrasts(cells)
        return quarter, self.body(F.relu(self.down(quarter) + self.coarse(coarse))), fine

    def paint(self, quarter: Tensor) -> Tensor:
        """Compute from (N, stem, h, w), before the rectifier, the change of the image, (N, 12, 2h − 6, 2w − 6)."""
        quarter = F.relu(quarter)
        quarter = F.relu(self.mid(quarter))
        half = F.relu(_twice(self.refine(quarter)))
        change: Tensor = self.head(half)
        return change

    @torch.no_grad()
    def even_out(self) -> None:
        """Let the four pixels of an output cell agree wherever the hidden map is flat; in place, of a folded generator.

        Training leaves them up to half a step of 255 apart, in the same way in every cell: a mesh over plain walls.

        Source:
            equal steady-state responses of all sub-pixels, Sugawara et al. 2018, arXiv:1806.02658.
        """
        weight, bias = self.head.conv.weight, self.head.conv.bias
        assert self.head.norm is None and bias is not None
        flat = weight.sum((2, 3)).view(CELL_OUT**2, 3, -1)  # by sub-pixel, colour and hidden channel
        weight += ((flat.mean(0) - flat) / weight[0, 0].numel()).flatten(0, 1)[..., None, None]
        bias.copy_(bias.view(CELL_OUT**2, 3).mean(0).repeat(CELL_OUT**2))

    def _contrasts(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Return the contrasts at 1/8 and 1/4 resolution, always computed in fp32.

        Waves of nearly equal colours' differences, divided by a small spread, need more than the ten bits of fp16: one
        in forty output values would be off by more than one step of 255, and some by nine.
        """
        with _without_autocast(cells.device.type):
            colours = F.conv2d(cells.float(), self.mean_of_cell.float())
            coarse = self.contrast_coarse(smooth_inside(F.avg_pool2d(colours, 2), EDGE_COARSE))
            fine = self.contrast_fine(smooth_inside(colours, EDGE_FINE))
        return coarse.to(cells.dtype), fine.to(cells.dtype)

    def softened(self, cells: Tensor) -> Tensor:
        """Blur part of the finest detail of an image, to which the paint is then added.

        Sensor noise is such detail; adding the paint to the image itself would pass it on unchanged. Squares of 2×2
        pixels, (N, h, w, 12), become (N, h − 2, w − 2, 12).
        """
        return F.conv2d(cells.permute(0, 3, 1, 2), self.softening).permute(0, 2, 3, 1)


def _softening() -> Tensor:
    """Return the blur of pixels as a convolution of 2×2 cells, (12, 12, 3, 3)."""
    binomial = torch.tensor([0.25, 0.5, 0.25])
    kernel = SOFT * binomial[:, None] * binomial
    kernel[1, 1] += 1 - SOFT
    weight = torch.zeros(CELL_OUT, CELL_OUT, 3, CELL_OUT, CELL_OUT, 3, 3, 3)
    for row, column, down, right in itertools.product(range(CELL_OUT), range(CELL_OUT), range(3), range(3)):
        (y, from_row), (x, from_column) = divmod(row + down - 1, CELL_OUT), divmod(column + right - 1, CELL_OUT)
        weight[row, column, :, from_row, from_column, :, y + 1, x + 1] = kernel[down, right] * torch.eye(3)
    return weight.flatten(3, 5).flatten(0, 2)


def _without_autocast(device: str) -> AbstractContextManager[object]:
    """Disable autocast on devices that have it."""
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def _twice(x: Tensor) -> Tensor:
    """Double the size bilinearly: flat input stays flat, so no grid can appear."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _near_identity(head: nn.Conv2d) -> None:
    """Initialise the last layer near zero with equal sub-pixels (ICNR, Aitken et al. 2017, arXiv:1707.02937)."""
    with torch.no_grad():
        head.weight.copy_(0.1 * head.weight[:3].repeat(CELL_OUT**2, 1, 1, 1))
        if head.bias is not None:
            head.bias.zero_()


def fold(generator: Generator) -> Generator:
    """Return an equal generator without normalisation layers, whose statistics are merged into the convolutions."""
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
    """Load the folded generator of a style, its weights in fp32. Raise StyleError if they do not fit it."""
    generator = Generator(Arch.from_dict(dict(style.arch)))
    tensors = {name: torch.from_numpy(value).float() for name, value in style.tensors().items()}
    try:
        generator.load_state_dict(tensors)
    except RuntimeError as error:
        raise unfit(style) from error
    return generator


def unfit(style: StyleModel) -> StyleError:
    """Return the error for weights of other names or shapes than the network's."""
    hint = "it is from an older version: train it again"
    return StyleError(f"the weights of {style.folder} do not fit its generator", hint=hint)


def stylize(generator: Generator, x: Tensor, shift: tuple[int, int] = (0, 0)) -> Tensor:
    """Stylize (N, 3, H, W) in [0, 1], sides at least 24; return the same shape, about in [0, 1]."""
    padded = pad_reflect(x.permute(0, 2, 3, 1))
    ground = generator.softened(space_to_depth(crop_margin(padded, CELL_OUT), CELL_OUT))
    stylized = depth_to_space(ground + generator(space_to_depth(padded, CELL_IN), shift), CELL_OUT)
    return crop_fill(stylized, x.shape[-2], x.shape[-1]).permute(0, 3, 1, 2)


class FrameGraph(nn.Module):
    """The deployed graph: everything from uint8 RGB to uint8 RGB, in the precision of the weights.

    With ``shuffle_bytes``, pixels are padded and shuffled as bytes, a quarter of the memory traffic; some runtimes can
    only convert bytes. The generator is folded.
    """

    def __init__(self, generator: Generator, *, shuffle_bytes: bool = True):
        super().__init__()
        self.generator = generator
        self.shuffle_bytes = shuffle_bytes

    def forward(self, frame: Tensor, strength: Tensor) -> Tensor:
        """Stylize, blend, clamp, round: (1, height, width, 3) uint8 and (1,) float32, 0 … 1, to the frame's shape."""
        dtype = self.generator.softening.dtype
        padded = pad_reflect(frame if self.shuffle_bytes else frame.to(dtype))
        return self.stylize_padded(padded, strength, frame.shape[1], frame.shape[2]).to(torch.uint8)

    def stylize_padded(self, padded: Tensor, strength: Tensor, height: int, width: int) -> Tensor:
        """Stylize a frame of height×width pixels that ``pad_reflect`` has padded to (1, height′, width′, 3).

        Returns:
            (1, height, width, 3); without ``shuffle_bytes``, floats from 0.5 to 255.5 that the caller must truncate.
        """
        dtype = self.generator.softening.dtype
        change = self.generator(space_to_depth(padded, CELL_IN).to(dtype) / 255.0)
        wide = space_to_depth(crop_margin(padded, CELL_OUT), CELL_OUT)
        x = wide[:, 1:-1, 1:-1].to(dtype) / 255.0  # crop as bytes, which moves less memory
        y = torch.clamp(self.generator.softened(wide.to(dtype) / 255.0) + change, 0.0, 1.0)
        # + 0.5 and truncation round half up; runtimes truncate alike but round differently.
        stylized = (x + strength.to(dtype) * (y - x)) * 255.0 + 0.5
        stylized = stylized.to(torch.uint8) if self.shuffle_bytes else stylized
        return crop_fill(depth_to_space(stylized, CELL_OUT), height, width)
