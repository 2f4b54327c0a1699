"""The generator in fp16 as GPUs run it, and its body for one frame size.

Arranged differently from ``engines.model.generator``, with the same result except for rounding: channels are the
innermost dimension throughout, also where a border is repeated, which torch would otherwise transpose twice for each
convolution; where nothing is repeated, nothing is copied; the frame is reflected by index, which works on bytes in
every version of torch; and the stylized frame is blended from 0 to 255, which saves half of the passes over it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.cuda.graph_capture import capture, capture_lock
from engines.model.cells import CELL_IN, CELL_OUT, crop_fill, crop_margin, depth_to_space, margins, space_to_depth
from engines.model.generator import Conv, FrameGraph, Generator

Stylize = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Frame, strength, row indices and column indices → stylized frame; see ``Fp16Graph.forward``."""


class EdgeConv(nn.Conv2d):
    """A 3×3 convolution over a repeated border, with channels innermost from input to output."""

    @classmethod
    def like(cls, conv: nn.Conv2d) -> EdgeConv:
        """Return the same convolution with the same parameters."""
        edge = cls(conv.in_channels, conv.out_channels, 3, conv.stride)  # type: ignore[arg-type]
        edge.weight, edge.bias = conv.weight, conv.bias
        return edge

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, out, H / stride, W / stride)."""
        rows = x.permute(0, 2, 3, 1)[None]
        rows = F.pad(rows, (0, 0, 1, 1, 1, 1), mode="replicate")[0]
        return F.conv2d(rows.permute(0, 3, 1, 2), self.weight, self.bias, self.stride)


def to_fp16(generator: Generator) -> Generator:
    """Convert a generator's weights to fp16, in place; constants that are not weights serve contrasts and stay fp32."""
    weights = set(generator.state_dict())
    constants = {name: value for name, value in generator.named_buffers() if name not in weights}
    generator.half()
    for name, value in constants.items():
        owner, _, leaf = name.rpartition(".")
        setattr(generator.get_submodule(owner), leaf, value)
    return generator.eval().requires_grad_(False)


class Fp16Graph(FrameGraph):
    """The deployed graph in fp16, channels innermost, on a device. It changes the folded generator that it is given."""

    def __init__(self, generator: Generator, device: torch.device) -> None:
        super().__init__(generator)
        for module in generator.modules():
            if isinstance(module, Conv) and any(module.conv.padding):
                module.conv = EdgeConv.like(module.conv)
        to_fp16(generator)
        self.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.eval()

    def forward(self, frame: Tensor, strength: Tensor, *indices: Tensor) -> Tensor:
        """As ``FrameGraph``; ``indices`` are those of ``reflect_index`` for the height and for the width."""
        if not indices:
            return super().forward(frame, strength)
        rows, columns = indices
        padded = frame.index_select(1, rows).index_select(2, columns)
        return self.stylize_padded(padded, strength, frame.shape[1], frame.shape[2])

    def stylize_padded(self, padded: Tensor, strength: Tensor, height: int, width: int) -> Tensor:
        """As ``FrameGraph``."""
        dtype = self.generator.softening.dtype
        change = self.generator(space_to_depth(padded, CELL_IN).to(dtype).div_(255.0))
        wide = space_to_depth(crop_margin(padded, CELL_OUT), CELL_OUT).to(dtype)
        x, y = wide[:, 1:-1, 1:-1], self.generator.softened(wide)
        y = torch.add(y, change, alpha=255.0).clamp_(0.0, 255.0)
        # lerp returns both inputs exactly at 0 and 1; then round half up, as everywhere.
        blend = torch.lerp(x, y, strength.to(dtype)).add_(0.5).to(torch.uint8)
        return crop_fill(depth_to_space(blend, CELL_OUT), height, width)


@contextmanager
def without_tf32(*, benchmark: bool) -> Iterator[None]:
    """Give cuDNN full fp32: TF32 has the ten bits of fp16, which are too few for contrasts.

    With ``benchmark``, cuDNN times kernels for each layer and takes the fastest; without, it guesses. In both cases
    only deterministic kernels count, so that a frame always gives the same picture.

    These are settings of the whole process, restored at the end to what they were at the beginning. So only one thread
    at a time may be inside: it holds ``capture_lock``.
    """
    with capture_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please use the new API settings")
        with torch.backends.cudnn.flags(enabled=True, benchmark=benchmark, deterministic=True, allow_tf32=False):
            yield


def reflect_index(size: int) -> Tensor:
    """Return which of ``size`` pixels each pixel of the reflected frame shows, (size + margins,), int64."""
    return torch.from_numpy(np.pad(np.arange(size), margins(size), mode="reflect"))


class Fp16Body:
    """One frame size of a ``Fp16Graph``, compiled or not: an ``engines.cuda.body.Body``.

    With ``search``, cuDNN times its kernels for each layer, which takes seconds.
    """

    def __init__(self, stylize: Stylize, height: int, width: int, device: torch.device, *, search: bool = True) -> None:
        self.frame = torch.zeros((1, height, width, 3), dtype=torch.uint8, device=device)
        self.stylized = torch.empty_like(self.frame)
        self.strength = torch.ones(1, device=device)
        self._indices = reflect_index(height).to(device), reflect_index(width).to(device)
        self._stylize = stylize
        with without_tf32(benchmark=search):
            self.run = capture(self._once, device)

    def _once(self) -> None:
        self.stylized.copy_(self._stylize(self.frame, self.strength, *self._indices))
