"""Captured CUDA graphs that all styles of one architecture share.

Every style of one architecture has the same arithmetic, and a captured graph reads its weights from where they were
when it was captured. So the styles of a process share one set of graphs: changing the style copies a quarter of a
megabyte of weights to that place, on the stream on which the frames are computed, and captures nothing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from engines.base import RGB, PendingFrame
from engines.cuda.body import Body
from engines.cuda.fp16 import Fp16Body, Fp16Graph, Stylize
from engines.cuda.stream_pipeline import StreamPipeline
from engines.errors import EngineError
from engines.model.generator import Arch, Generator, unfit
from engines.model.own_colours import with_own_colours
from engines.shared_pool import SharedPool
from engines.style_file import StyleModel

logger = logging.getLogger(__name__)

BodyName = Literal["eager", "compile", "triton"]
"""How the graph's body is made: torch's own kernels; kernels that torch.compile makes and times, in minutes; or the
Triton kernels of ``engines.cuda.triton_body``."""

Search = Literal["first", "later"]
"""When cuDNN times its kernels for a new frame size: before the first frame; or while frames run, with kernels that it
guesses until then, so that the first frame does not wait. The second changes the last bits of a picture when the faster
kernels take over, at a moment that depends on the machine: for live frames, not for files."""

RECOMPILATIONS = 64
"""Frame sizes that torch.compile may compile for in one process; its own limit is 8."""


@dataclass(frozen=True)
class GraphKey:
    """What styles must have in common to share graphs: architecture, device, kind of body and time of the search."""

    arch: Arch
    device: str
    body: BodyName
    search: Search = "first"


StyleWeights: TypeAlias = list[Tensor]
"""Weights of one style on the device, in the order of the generator's state."""


class SharedGraphs:
    """The graphs of one architecture for all frame sizes, and the style whose weights they hold now."""

    def __init__(self, key: GraphKey) -> None:
        if key.search == "later":
            self.pipeline = StreamPipeline(self._make_unsearched, key.device, faster=self._make)
        else:
            self.pipeline = StreamPipeline(self._make, key.device)
        self._device = torch.device(key.device)
        self._body, self._waits = key.body, key.search == "first"
        self._graph: Fp16Graph | None = Fp16Graph(Generator(key.arch), self._device)
        self._stylize: Stylize = self._graph
        if key.body == "compile":
            self._stylize = torch.compile(self._graph, mode="max-autotune-no-cudagraphs", dynamic=False, fullgraph=True)
        state = self._graph.generator.state_dict()
        self._weights = list(state.values())
        self._shapes = {name: tuple(value.shape) for name, value in state.items()}
        self._loaded: StyleWeights | None = None

    def submit(self, rgb: RGB, strength: float, weights: StyleWeights) -> PendingFrame:
        """Start on one frame in the style of ``weights``; see ``StreamPipeline.submit``."""

        def load(_: Body) -> None:
            if self._loaded is not weights:
                self._loaded = None  # a copy that fails leaves weights of both styles
                torch._foreach_copy_(self._weights, weights)
                self._loaded = weights

        return self.pipeline.submit(rgb, strength, load)

    def upload(self, style: StyleModel, colours: float = 0.0) -> StyleWeights:
        """Copy a style's weights for a share of own colours to the device, beside those of the graphs.

        Raises:
            StyleError: they do not fit the graphs.
        """
        tensors = {**style.tensors(), **(with_own_colours(style.tensors(), colours) if colours else {})}
        if {name: tensor.shape for name, tensor in tensors.items()} != self._shapes:
            raise unfit(style)
        halves = [torch.from_numpy(tensors[name].astype(np.float16)) for name in self._shapes]
        with self.pipeline.on_compute():
            return [value.to(self._device) for value in halves]

    def close(self) -> None:
        """Free everything."""
        self.pipeline.close()
        self._graph, self._loaded, self._weights = None, None, []
        self._stylize = _closed

    def _make_unsearched(self, height: int, width: int) -> Fp16Body:
        """Return a body with the kernels that cuDNN guesses, in milliseconds."""
        return Fp16Body(self._stylize, height, width, self._device, search=False)

    def _make(self, height: int, width: int) -> Fp16Body:
        if self._device.type == "cuda" and self._waits:  # cuDNN times its kernels for each layer
            logger.info("preparing the GPU for frames of %d×%d, which may take seconds", width, height)
        if self._body == "eager":
            return Fp16Body(self._stylize, height, width, self._device)
        if self._body == "triton":
            from engines.cuda.triton_body import TritonBody

            assert self._graph is not None  # a closed pipeline makes no bodies
            return TritonBody(self._graph, height, width, self._device)
        from torch._dynamo import config

        with config.patch(recompile_limit=RECOMPILATIONS):
            return Fp16Body(self._stylize, height, width, self._device)


pool: SharedPool[GraphKey, SharedGraphs] = SharedPool()
"""The graphs that are in use in this process."""


def _closed(*_: Tensor) -> Tensor:
    raise EngineError("the engine is closed")
