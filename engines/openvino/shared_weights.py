"""The CPU engine for many styles: one compiled graph for each frame size, whose weights are inputs like the frame.

To compile a graph takes two cores 0.2 to 0.4 s and 60 MB for each style and frame size, and frames that are painted
meanwhile wait for it. Here it is compiled once, and a further style costs its weights: 5 ms, 2 MB and, once it has
painted, two frames. The price: a few hundredths more time for each frame, as nothing is folded into the convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from engines.base import check_size
from engines.errors import StyleError
from engines.openvino.engine import CpuEngine, Fitted, compiled, failing, import_openvino, read_graph
from engines.style_file import StyleModel, sha256

if TYPE_CHECKING:
    import openvino as ov

STORED = ".fp16"
"""How the names of the weights end in the graph, where they are cast to fp32 before they are used."""


class SharedCpuEngine(CpuEngine):
    """Stylizes on the CPU with what engines of other styles have compiled; see ``engines.base.SharingEngine``.

    Arguments and errors are those of ``CpuEngine``. Engines share a graph when theirs are the same file and their
    options are the same. Two that are called by two threads take turns.
    """

    _shared: _Shared | None
    _weights: list[npt.NDArray[np.float32]]

    def prepare(self, height: int, width: int) -> None:
        """See ``engines.base.SharingEngine``."""
        check_size(height, width)
        with failing(height, width):
            self._fit(height, width)

    def close(self) -> None:
        """Free the style; with the last engine of a graph that goes, too."""
        super().close()
        self._shared, self._weights = None, []

    def _open(self, style: StyleModel) -> None:
        shared = _shared(self._core, self._options, style)
        self._weights = shared.ordered(style)
        self._shared = shared

    def _new_fit(self, height: int, width: int) -> Fitted:
        assert self._shared is not None
        graph = self._shared.compiled(height, width)
        request = graph.model.create_infer_request()
        for index, weight in enumerate(self._weights, start=FIRST_WEIGHT):
            request.set_input_tensor(index, import_openvino().Tensor(weight, shared_memory=True))
        return Fitted(graph, request)


FIRST_WEIGHT = 2
"""Inputs of the graph: the frame, the strength, the weights."""


class _Key(NamedTuple):
    """What engines that share have in common."""

    graph_sha256: str
    options: tuple[tuple[str, Any], ...]


class _Compiled:
    """A graph for one frame size; it lives as long as an engine paints with it."""

    def __init__(self, model: ov.CompiledModel) -> None:
        self.model = model


class _Shared:
    """A graph whose weights are inputs, and what is compiled of it. Any thread may call it.

    Raises:
        StyleError: as ``read_graph``.
    """

    def __init__(self, key: _Key, core: ov.Core, style: StyleModel) -> None:
        self._core, self._options = core, dict(key.options)
        self._graph = read_graph(core, style)
        self._shapes = _make_inputs(self._graph)
        self._compiled: WeakValueDictionary[tuple[int, int], _Compiled] = WeakValueDictionary()
        self._lock = Lock()

    def ordered(self, style: StyleModel) -> list[npt.NDArray[np.float32]]:
        """A style's weights as the graph takes them; small ones may be a part of the graph.

        Raises:
            StyleError: some are missing, or of another shape.
        """
        tensors = style.tensors()
        if any(name not in tensors or tensors[name].shape != shape for name, shape in self._shapes.items()):
            raise StyleError(f"{style.weights} does not fit {style.graph}", hint="get the style again")
        return [tensors[name].astype(np.float32, order="C") for name in self._shapes]

    def compiled(self, height: int, width: int) -> _Compiled:
        """For one frame size, made now if need be. Raises: RuntimeError: of OpenVINO."""
        size = (height, width)
        with self._lock:
            found = self._compiled.get(size)
            if found is None:
                found = _Compiled(compiled(self._core, self._graph, height, width, self._options))
                self._compiled[size] = found
            return found


_graphs: WeakValueDictionary[_Key, _Shared] = WeakValueDictionary()
"""What is in use."""

_graphs_lock = Lock()


def _shared(core: ov.Core, options: Mapping[str, Any], style: StyleModel) -> _Shared:
    """The graph of a style, read now if nobody has it. Raises: StyleError."""
    key = _Key(sha256(style.graph), tuple(sorted(options.items())))
    with _graphs_lock:
        found = _graphs.get(key)
        if found is None:
            found = _graphs[key] = _Shared(key, core, style)
        return found


def _make_inputs(graph: ov.Model) -> dict[str, tuple[int, ...]]:
    """Turn each weight of a graph, stored as fp16, into an fp32 input. Returns: their names and shapes, in order."""
    import_openvino()
    from openvino import Type, opset13

    inputs: dict[str, ov.Node] = {}
    for cast in graph.get_ops():
        stored = cast.input_value(0).get_node() if cast.get_type_name() == "Convert" else None
        if stored is None or stored.get_type_name() != "Constant" or not stored.get_friendly_name().endswith(STORED):
            continue
        weight = opset13.parameter(list(stored.shape), Type.f32)
        for reader in cast.output(0).get_target_inputs():
            reader.replace_source_output(weight.output(0))
        inputs[stored.get_friendly_name().removesuffix(STORED)] = weight
    graph.add_parameters(list(inputs.values()))
    graph.validate_nodes_and_infer_types()
    return {name: tuple(weight.shape) for name, weight in inputs.items()}
