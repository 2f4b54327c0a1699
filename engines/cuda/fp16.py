"""The generator in fp16 on a graphics card: one captured CUDA graph for each frame size, shared by all styles.

Every style of one shape has the same arithmetic, and a captured graph reads its weights from where they were when it
was captured. So the styles of a process share one set of graphs: a change of style copies a quarter of a megabyte of
weights into that place, on the stream on which the frames are painted, and captures nothing.

What is arranged otherwise than in ``engines.model.generator``, with the same result but for roundings: channels are the
innermost dimension all the way, also where a border is repeated, which torch would else turn round twice for each
convolution; where nothing is repeated nothing is copied; the frame is reflected by index, which takes bytes on every
version of torch; and the painting is blended from 0 to 255, which saves half of the passes over it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.base import RGB, Pending
from engines.cuda.graph_capture import capture
from engines.cuda.stream_pipeline import Overlap
from engines.errors import EngineError
from engines.model.generator import (
    CELL_IN,
    CELL_OUT,
    Arch,
    Conv,
    FrameGraph,
    Generator,
    cropped,
    gather,
    inner,
    load_generator,
    margins,
    scatter,
)
from engines.style_file import StyleModel

BodyName = Literal["eager", "compile", "triton"]
"""How the graph's body is made: torch's own kernels; kernels that torch.compile makes and times, in minutes; or torch's
own between two of ``engines.cuda.triton_kernels``."""

RECOMPILATIONS = 64
"""Frame sizes that torch.compile may compile for in one process; its own limit is 8."""

_Paint = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


class EdgeConv(nn.Conv2d):
    """A 3×3 convolution over a repeated border, with channels innermost from input to output."""

    @classmethod
    def like(cls, conv: nn.Conv2d) -> EdgeConv:
        """The same convolution with the same parameters."""
        edge = cls(conv.in_channels, conv.out_channels, 3, conv.stride)  # type: ignore[arg-type]
        edge.weight, edge.bias = conv.weight, conv.bias
        return edge

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, out, H / stride, W / stride)."""
        rows = x.permute(0, 2, 3, 1)[None]
        rows = F.pad(rows, (0, 0, 1, 1, 1, 1), mode="replicate")[0]
        return F.conv2d(rows.permute(0, 3, 1, 2), self.weight, self.bias, self.stride)


def halved(generator: Generator) -> Generator:
    """The generator with its weights in fp16, in place; constants that are no weights work on contrasts, in fp32."""
    weights = set(generator.state_dict())
    constants = {name: value for name, value in generator.named_buffers() if name not in weights}
    generator.half()
    for name, value in constants.items():
        owner, _, leaf = name.rpartition(".")
        setattr(generator.get_submodule(owner), leaf, value)
    return generator.eval().requires_grad_(False)


class HalfGraph(FrameGraph):
    """The deployed graph in fp16, channels innermost, on a device.

    Args:
        generator: a folded generator of any weights; it is changed.
        device: where it works.
    """

    def __init__(self, generator: Generator, device: torch.device) -> None:
        super().__init__(generator)
        for module in generator.modules():
            if isinstance(module, Conv) and any(module.conv.padding):
                module.conv = EdgeConv.like(module.conv)
        halved(generator)
        self.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.eval()

    def forward(self, frame: Tensor, strength: Tensor, *places: Tensor) -> Tensor:
        """As ``FrameGraph``; ``places`` are those of ``mirrored`` for the height and for the width."""
        if not places:
            return super().forward(frame, strength)
        rows, columns = places
        whole = frame.index_select(1, rows).index_select(2, columns)
        return self.painted(whole, strength, frame.shape[1], frame.shape[2])

    def painted(self, whole: Tensor, strength: Tensor, height: int, width: int) -> Tensor:
        """As ``FrameGraph``."""
        number = self.generator.softening.dtype
        change = self.generator(gather(whole, CELL_IN).to(number).div_(255.0))
        wide = gather(inner(whole, CELL_OUT), CELL_OUT).to(number)
        x, y = wide[:, 1:-1, 1:-1], self.generator.softened(wide)
        y = torch.add(y, change, alpha=255.0).clamp_(0.0, 255.0)
        # A blend that gives both ends exactly; then half up, as everywhere.
        painting = torch.lerp(x, y, strength.to(number)).add_(0.5).to(torch.uint8)
        return cropped(scatter(painting, CELL_OUT), height, width)


@contextmanager
def without_tf32(*, measured: bool) -> Iterator[None]:
    """fp32 with all of its bits in cuDNN: TF32 has the ten bits of fp16, which are too few for contrasts.

    Args:
        measured: cuDNN measures which kernels are fastest, among those that always give the same, once for each size.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please use the new API settings")
        with torch.backends.cudnn.flags(enabled=True, benchmark=measured, deterministic=measured, allow_tf32=False):
            yield


def mirrored(size: int) -> Tensor:
    """Which of ``size`` pixels each pixel of the reflected frame is, (size + margins,), int64."""
    return torch.from_numpy(np.pad(np.arange(size), margins(size), mode="reflect"))


class HalfBody:
    """One frame size of a ``HalfGraph``: an ``engines.cuda.stream_pipeline.Body``.

    Args:
        paint: the graph, or what torch.compile made of it.
        height, width: of the frame, pixels.
        device: where the graph is.
    """

    def __init__(self, paint: _Paint, height: int, width: int, device: torch.device) -> None:
        self.frame = torch.zeros((1, height, width, 3), dtype=torch.uint8, device=device)
        self.painting = torch.empty_like(self.frame)
        self.strength = torch.ones(1, device=device)
        self._places = mirrored(height).to(device), mirrored(width).to(device)
        self._paint = paint
        with without_tf32(measured=True):
            self.run = capture(self._once, device)

    def _once(self) -> None:
        self.painting.copy_(self._paint(self.frame, self.strength, *self._places))


@dataclass(frozen=True)
class Shape:
    """What styles must have in common to share graphs: widths and depth, device and kind of body."""

    arch: Arch
    device: str
    body: BodyName


class Core:
    """All frame sizes of one shape, and whose weights they hold just now.

    Args:
        shape: of the styles that it paints.
    """

    def __init__(self, shape: Shape) -> None:
        self.overlap = Overlap(self._make, shape.device)
        self._device = torch.device(shape.device)
        self._shape = shape
        self._graph: HalfGraph | None = HalfGraph(Generator(shape.arch), self._device)
        self._paint: _Paint = self._graph
        if shape.body == "compile":
            self._paint = torch.compile(self._graph, mode="max-autotune-no-cudagraphs", dynamic=False, fullgraph=True)
        self._weights = _weights(self._graph.generator)
        self._held: Weights | None = None

    def submit(self, rgb: RGB, strength: float, weights: Weights) -> Pending:
        """Begin with one frame in the style of ``weights``; see ``Overlap.submit``."""

        def exchange() -> None:
            if self._held is not weights:
                # Forgotten first: where a copy fails, half of the weights are others.
                self._held = None
                torch._foreach_copy_(self._weights, weights.tensors)
                self._held = weights

        return self.overlap.submit(rgb, strength, exchange)

    def weights(self, style: StyleModel) -> Weights:
        """A style's weights, beside this core's own on the device.

        Raises:
            StyleError: they do not fit the generator.
        """
        generator = HalfGraph(load_generator(style), torch.device("cpu")).generator
        with self.overlap.on_compute():
            return Weights([value.to(self._device) for value in _weights(generator)])

    def close(self) -> None:
        """Free everything."""
        self.overlap.close()
        self._graph, self._held, self._weights = None, None, []
        self._paint = _closed

    def _make(self, height: int, width: int) -> HalfBody:
        if self._shape.body == "eager":
            return HalfBody(self._paint, height, width, self._device)
        if self._shape.body == "triton":
            from engines.cuda.triton_kernels import EndsBody

            assert self._graph is not None  # nobody makes a body of what is closed
            return EndsBody(self._graph, height, width, self._device)
        from torch._dynamo import config

        with config.patch(recompile_limit=RECOMPILATIONS):
            return HalfBody(self._paint, height, width, self._device)


@dataclass(frozen=True, eq=False)
class Weights:
    """Of one style, on the device, in the order of the generator's state."""

    tensors: list[Tensor]


_cores: dict[Shape, tuple[Core, int]] = {}
"""What is in use, and by how many engines."""

_cores_lock = Lock()


def borrow(shape: Shape) -> Core:
    """The core for a shape, made now if nobody has it; to be given back once.

    Raises:
        RuntimeError: of torch.
    """
    with _cores_lock:
        core, users = _cores.get(shape) or (Core(shape), 0)
        _cores[shape] = (core, users + 1)
        return core


def give_back(shape: Shape) -> None:
    """One engine less uses a core; the last one's leaving frees it."""
    with _cores_lock:
        core, users = _cores.pop(shape)
        if users > 1:
            _cores[shape] = (core, users - 1)
            return
    core.close()


def _weights(generator: Generator) -> list[Tensor]:
    return list(generator.state_dict().values())


def _closed(*_: Tensor) -> Tensor:
    raise EngineError("the engine is closed")
