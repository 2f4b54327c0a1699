"""The CPU engine: OpenVINO, without torch; it runs on every machine."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from engines.base import RGB, BaseEngine, EngineInfo, PendingFrame, StrengthMap, check_colours, check_rgb
from engines.errors import EngineError, StyleError
from engines.mixing.mixed_style import MixedStyle
from engines.model.own_colours import with_own_colours
from engines.openvino.frame_streams import MOST_BYTES, FrameStreams, stream_options
from engines.openvino.quantized_graph import Floats, check_ranges, quantize, quantized_ranges, quantized_weights
from engines.openvino.runtime import (
    as_engine_errors,
    compile_graph,
    import_openvino,
    read_graph,
    replace_weights,
    shared_core,
)
from engines.strength_map import blend, blend_pending, check_strength_for, graph_strength
from engines.style_file import MANIFEST, StyleModel

if TYPE_CHECKING:
    import openvino as ov

KERNEL = 4
"""Number of dimensions of a convolution's weights."""

KEPT_SIZES = 6
"""Frame sizes whose compiled graphs are kept; compiling another one takes two cores 0.2 to 0.4 s.

Several cameras may share an engine, and each of them may work at another size to hold its rate.
"""

Precision = Literal["fp32", "bf16", "int8"]

_HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""Arithmetic of everything that is not quantized."""


class CpuEngine(BaseEngine):
    """Stylizes on the CPU; implements ``engines.base.PipelinedEngine``.

    A call has all cores to itself, for a camera; ``submit`` gives each frame a core of its own, for clips.

    Args:
        threads: CPU threads; ``None`` uses one for each core that this process may use.
        precision: arithmetic of the convolutions. ``int8`` is twice as fast on CPUs with VNNI, and off by one of 255 on
            average; see ``engines.openvino.quantized_graph``. ``bf16`` is faster on CPUs that support it, and off by up
            to a few 8-bit steps.

    Raises:
        EngineError: OpenVINO is missing or cannot run here, the CPU has no bf16, or the style no ranges for int8.
    """

    _device = "CPU"

    def __init__(self, style: StyleModel, threads: int | None = None, precision: Precision = "fp32") -> None:
        super().__init__(threads)
        self._core = shared_core()
        if precision == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise EngineError("this CPU has no bf16 arithmetic", hint="use fp32")
        if precision == "int8":
            check_ranges(style)
        self._options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _HINTS[precision]}
        if threads is not None:
            self._options["INFERENCE_NUM_THREADS"] = threads
        self._graph: ov.Model | None = None
        self._sized: OrderedDict[tuple[int, int], SizedGraph] = OrderedDict()
        self._streams: OrderedDict[tuple[int, int], FrameStreams] = OrderedDict()
        self._inputs: list[Floats] = []
        self._closed = False
        self._style, self._colours = style, 0.0
        self._threads, self._precision = threads, precision
        self._open()
        self.info = EngineInfo(
            name="cpu",
            runtime=f"OpenVINO {import_openvino().__version__.split('-')[0]}",
            device=str(self._core.get_property("CPU", "FULL_DEVICE_NAME")).strip(),
            precision=precision,
            style=style.name,
        )

    def __call__(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> RGB:
        """Stylize one frame; see ``engines.base.Engine``."""
        check_rgb(rgb)
        check_strength_for(rgb, strength)
        check_colours(colours)
        frame = np.ascontiguousarray(rgb)[None]
        with as_engine_errors(rgb.shape[0], rgb.shape[1]):
            self._take_colours(colours)
            request = self._graph_for(rgb.shape[0], rgb.shape[1]).request
            # The runtime copies neither input nor output. The output is the request's own buffer, which the next call
            # overwrites, so copy it here.
            outputs = request.infer(
                {0: frame, 1: np.array([graph_strength(strength)], np.float32)}, share_inputs=True, share_outputs=True
            )
            stylized: RGB = outputs[0][0].copy()
        return blend(stylized, rgb, strength)

    def submit(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> PendingFrame:
        """Start on one frame; see ``engines.base.PipelinedEngine``."""
        check_rgb(rgb)
        check_strength_for(rgb, strength)
        check_colours(colours)
        if self._closed:
            raise EngineError("the engine is closed")
        height, width = rgb.shape[:2]
        with as_engine_errors(height, width):
            self._take_colours(colours)
            streams = self._streams_for(height, width)
        pending = streams.submit(rgb, graph_strength(strength), self._inputs)
        return blend_pending(pending, rgb, strength)

    def close(self) -> None:
        """Free the graph and everything compiled from it. May be called twice."""
        self._streams.clear()
        self._sized.clear()
        self._graph = None
        self._closed = True

    def _open(self) -> None:
        """Read the graph; it is compiled for the first frame."""
        self._take_weights()

    def _take_colours(self, colours: float) -> None:
        if colours != self._colours and not self._closed:
            self._colours = colours
            self._take_weights()

    def _take_weights(self) -> None:
        """Take the weights of the style and of the share of own colours. They are folded into a graph to compile."""
        self._sized.clear()
        self._streams.clear()
        self._graph = graph = read_graph(self._core, self._style)
        if self._precision == "int8":
            weights = self._weights()
            quantize(graph, list(quantized_ranges(self._style)), lambda name, _: weights[name])
        elif self._colours or isinstance(self._style, MixedStyle):
            weights = self._weights()
        else:  # the graph's own
            return
        replace_weights(graph, lambda name, _: weights.get(name))

    def _weights(self) -> dict[str, Floats]:
        """Return the weights that the graph needs, by name."""
        weights = {name: value.astype(np.float32) for name, value in self._style.tensors().items()}
        if self._colours:
            weights |= with_own_colours(weights, self._colours)
        if self._precision != "int8":
            return weights
        if any(name not in weights or weights[name].ndim != KERNEL for name in self._style.ranges):
            raise StyleError(f"{self._style.folder / MANIFEST} has ranges of other weights", hint="get the style again")
        return quantized_weights(weights, quantized_ranges(self._style))

    def _graph_for(self, height: int, width: int) -> SizedGraph:
        """Return the compiled graph for one frame size; compile it if it is not cached."""
        if self._closed:
            raise EngineError("the engine is closed")
        size = (height, width)
        if size in self._sized:
            self._sized.move_to_end(size)
            return self._sized[size]
        while len(self._sized) >= KEPT_SIZES:
            self._sized.popitem(last=False)
        self._sized[size] = self._compile(height, width)
        return self._sized[size]

    def _compile(self, height: int, width: int) -> SizedGraph:
        assert self._graph is not None
        graph = compile_graph(self._core, self._graph, height, width, self._options, self._device)
        return SizedGraph(graph, graph.create_infer_request())

    def _streams_for(self, height: int, width: int) -> FrameStreams:
        """Return the streams for one frame size; open them if they are not kept."""
        size = (height, width)
        if size in self._streams:
            self._streams.move_to_end(size)
            return self._streams[size]
        while len(self._streams) >= KEPT_SIZES or sum(one.bytes for one in self._streams.values()) > MOST_BYTES / 2:
            self._streams.popitem(last=False)
        self._streams[size] = streams = self._open_streams(height, width)
        self.info = replace(self.info, in_flight=streams.count)
        return streams

    def _open_streams(self, height: int, width: int) -> FrameStreams:
        assert self._graph is not None
        options = stream_options(self._options, height, width)
        return FrameStreams(compile_graph(self._core, self._graph, height, width, options), height, width)


class SizedGraph(NamedTuple):
    """The compiled graph for one frame size, and its inputs and outputs."""

    compiled: object
    request: ov.InferRequest
