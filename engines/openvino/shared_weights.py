"""The CPU engine for many styles: one compiled graph for each frame size, with the weights as inputs.

Compiling a graph takes two cores 0.2 to 0.4 s and 60 MB for each style and frame size, and delays the frames that are
stylized meanwhile. Here it is compiled once, and another style costs only its weights: 5 ms, 2 MB and, after its first
frame, the memory of two frames. Each frame takes a few percent longer, as nothing is folded into the convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from engines.base import check_size
from engines.errors import EngineError, StyleError
from engines.openvino.engine import CpuEngine, SizedGraph
from engines.openvino.frame_streams import FIRST_WEIGHT, FrameStreams, stream_options
from engines.openvino.quantized_graph import Floats, quantize, quantized_ranges
from engines.openvino.runtime import as_engine_errors, compile_graph, import_openvino, read_graph, replace_weights
from engines.style_file import StyleModel, sha256

if TYPE_CHECKING:
    import openvino as ov


class SharedCpuEngine(CpuEngine):
    """Stylizes on the CPU, sharing compiled graphs with other styles; an ``engines.base.SharedGraphEngine``.

    Arguments and errors are those of ``CpuEngine``. Engines share a graph if their graph files and options are equal.
    Calls from several threads take turns.
    """

    _shared: _SharedGraph | None

    def prepare(self, height: int, width: int) -> None:
        """See ``engines.base.SharedGraphEngine``."""
        check_size(height, width)
        with as_engine_errors(height, width):
            self._graph_for(height, width)

    def fork(self) -> SharedCpuEngine:
        """See ``engines.base.ForkableEngine``."""
        return type(self)(self._style, self._threads, self._precision)

    def take_style(self, style: StyleModel) -> None:
        """See ``engines.base.RestylableEngine``. A style without ranges for int8 turns the engine to fp32."""
        if self._closed:
            raise EngineError("the engine is closed")
        before = self._style, self._precision, self._shared
        try:
            self._style = style
            if self._precision == "int8" and not style.ranges:
                self._precision = "fp32"
                self._shared = self._shared_graph()
            inputs = self._ordered()
        except BaseException:
            self._style, self._precision, self._shared = before
            raise
        if self._precision != before[1]:
            self.info = replace(self.info, precision=self._precision)
            self._sized.clear()
            self._streams.clear()
        self._take(inputs)

    def close(self) -> None:
        """Free the style; the last engine of a graph also frees the graph. May be called twice."""
        super().close()
        self._shared, self._inputs = None, []

    def _open(self) -> None:
        self._shared = self._shared_graph()
        self._take_weights()

    def _shared_graph(self) -> _SharedGraph:
        quantized = list(quantized_ranges(self._style)) if self._precision == "int8" else []
        return _shared(self._core, self._options, self._style, quantized)

    def _compile(self, height: int, width: int) -> SizedGraph:
        assert self._shared is not None
        graph = self._shared.compiled(height, width)
        request = graph.model.create_infer_request()
        self._set_weights(request)
        return SizedGraph(graph, request)

    def _open_streams(self, height: int, width: int) -> FrameStreams:
        assert self._shared is not None
        graph = self._shared.compiled(height, width, streams=True)
        return FrameStreams(graph.model, height, width, owner=graph)

    def _take_weights(self) -> None:
        self._take(self._ordered())

    def _ordered(self) -> list[Floats]:
        assert self._shared is not None
        return self._shared.ordered(self._style, self._weights())

    def _take(self, inputs: list[Floats]) -> None:
        self._inputs = inputs
        for sized in self._sized.values():
            self._set_weights(sized.request)

    def _set_weights(self, request: ov.InferRequest) -> None:
        for index, weight in enumerate(self._inputs, start=FIRST_WEIGHT):
            request.set_input_tensor(index, import_openvino().Tensor(weight, shared_memory=True))


class _Key(NamedTuple):
    """What engines must have in common to share a graph."""

    graph_sha256: str
    options: tuple[tuple[str, Any], ...]
    quantized: tuple[str, ...]


class _Compiled:
    """A compiled graph for one frame size; it lives as long as an engine uses it."""

    def __init__(self, model: ov.CompiledModel) -> None:
        self.model = model


class _SharedGraph:
    """A graph whose weights are inputs, and its compiled versions. Thread-safe. Raises as ``read_graph``."""

    def __init__(self, key: _Key, core: ov.Core, style: StyleModel) -> None:
        self._core, self._options = core, dict(key.options)
        self._graph = read_graph(core, style)
        self._shapes = _make_inputs(self._graph, key.quantized)
        self._compiled: WeakValueDictionary[tuple[int, int, bool], _Compiled] = WeakValueDictionary()
        self._lock = Lock()

    def ordered(self, style: StyleModel, weights: Mapping[str, Floats]) -> list[Floats]:
        """Return the weights of a style in the order of the inputs.

        Raises:
            StyleError: some are missing or misshapen.
        """
        if any(name not in weights or weights[name].shape != shape for name, shape in self._shapes.items()):
            raise StyleError(f"{style.weights} does not fit {style.graph}", hint="get the style again")
        return [np.ascontiguousarray(weights[name]) for name in self._shapes]

    def compiled(self, height: int, width: int, *, streams: bool = False) -> _Compiled:
        """Return the graph for one frame size; compile it if nobody has. May raise OpenVINO's RuntimeError.

        ``streams`` compiles it for several frames at once.
        """
        key = (height, width, streams)
        with self._lock:
            found = self._compiled.get(key)
            if found is None:
                options = stream_options(self._options, height, width) if streams else self._options
                found = _Compiled(compile_graph(self._core, self._graph, height, width, options))
                self._compiled[key] = found
            return found


_graphs: WeakValueDictionary[_Key, _SharedGraph] = WeakValueDictionary()
"""The graphs in use."""

_graphs_lock = Lock()


def _shared(core: ov.Core, options: Mapping[str, Any], style: StyleModel, quantized: Sequence[str]) -> _SharedGraph:
    """Return the graph of a style; read it if nobody has. Raises StyleError like ``read_graph``."""
    key = _Key(sha256(style.graph), tuple(sorted(options.items())), tuple(sorted(quantized)))
    with _graphs_lock:
        found = _graphs.get(key)
        if found is None:
            found = _graphs[key] = _SharedGraph(key, core, style)
        return found


def _make_inputs(graph: ov.Model, quantized: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Turn each weight of a graph into an fp32 input; return names and shapes in order."""
    import_openvino()
    from openvino import Type, opset13

    inputs: dict[str, ov.Node] = {}

    def replacement(name: str, shape: tuple[int, ...]) -> ov.Node:
        inputs[name] = opset13.parameter(list(shape), Type.f32)
        return inputs[name]

    if quantized:
        quantize(graph, quantized, replacement)
    replace_weights(graph, replacement)
    graph.add_parameters(list(inputs.values()))
    graph.validate_nodes_and_infer_types()
    return {name: tuple(weight.shape) for name, weight in inputs.items()}
