"""The CPU engine for many styles: one compiled graph for each frame size, whose weights are inputs like the frame.

To compile a graph takes every core some 0.3 s and 60 MB for each style and frame size, which frames that are painted
meanwhile wait for. Here it is compiled once, and a further style costs its weights: 2 ms and 2 MB. The price: a few
hundredths more time for each frame, because nothing can be folded into the convolutions.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from engines.base import check_size
from engines.cpu import KEPT_SIZES, CpuEngine, compiled, failing, import_openvino, read_graph
from engines.errors import StyleError
from engines.model_file import StyleModel, sha256

if TYPE_CHECKING:
    import openvino as ov

STORED = ".fp16"
"""How the names of the weights end in the graph, where they are cast to fp32 before they are used."""


class SharedCpuEngine(CpuEngine):
    """Stylizes on the CPU with what engines of other styles have compiled; see ``engines.base.SharingEngine``.

    Arguments and errors are those of ``CpuEngine``. Engines share a graph when theirs are the same file and their
    options are the same. Two that are called by two threads take turns.
    """

    def prepare(self, height: int, width: int) -> None:
        """See ``engines.base.SharingEngine``."""
        check_size(height, width)
        with failing(height, width):
            self._request(height, width)

    def close(self) -> None:
        """Free the style; the last engine of a graph frees that, too."""
        if not self._closed:
            _give_back(self._key)
        super().close()

    def _open(self, style: StyleModel) -> None:
        self._key = _Key(sha256(style.graph), tuple(sorted(self._options.items())))
        self._shared = _borrow(self._key, self._core, style)
        try:
            self._weights = self._shared.ordered(style)
        except BaseException:
            _give_back(self._key)
            raise

    def _new_request(self, height: int, width: int) -> ov.InferRequest:
        request = self._shared.compiled(height, width).create_infer_request()
        for index, weight in enumerate(self._weights, start=FIRST_WEIGHT):
            request.set_input_tensor(index, import_openvino().Tensor(weight, shared_memory=True))
        return request


FIRST_WEIGHT = 2
"""Inputs of the graph: the frame, the strength, the weights."""


class _Key(NamedTuple):
    """What engines that share have in common."""

    graph_sha256: str
    options: tuple[tuple[str, Any], ...]


class _Shared:
    """A graph whose weights are inputs, and what is compiled of it. Any thread may call it.

    Raises: StyleError: as ``read_graph``.
    """

    def __init__(self, key: _Key, core: ov.Core, style: StyleModel) -> None:
        self._core, self._options = core, dict(key.options)
        self._graph = read_graph(core, style)
        self._shapes = _make_inputs(self._graph)
        self._compiled: OrderedDict[tuple[int, int], ov.CompiledModel] = OrderedDict()
        self._lock = Lock()

    def ordered(self, style: StyleModel) -> list[npt.NDArray[np.float32]]:
        """A style's weights as the graph takes them.

        Raises: StyleError: they are not those of the graph.
        """
        tensors = style.tensors()
        if {name: tensor.shape for name, tensor in tensors.items()} != self._shapes:
            raise StyleError(f"{style.weights} does not fit {style.graph}", hint="get the style again")
        return [tensors[name].astype(np.float32, order="C") for name in self._shapes]

    def compiled(self, height: int, width: int) -> ov.CompiledModel:
        """For one frame size, made now if need be. Raises: RuntimeError: of OpenVINO."""
        size = (height, width)
        with self._lock:
            if size not in self._compiled:
                while len(self._compiled) >= KEPT_SIZES:
                    self._compiled.popitem(last=False)  # who still paints with it keeps it
                self._compiled[size] = compiled(self._core, self._graph, height, width, self._options)
            self._compiled.move_to_end(size)
            return self._compiled[size]


_graphs: dict[_Key, tuple[_Shared, int]] = {}
"""What is in use, and by how many engines."""

_graphs_lock = Lock()


def _borrow(key: _Key, core: ov.Core, style: StyleModel) -> _Shared:
    """The graph for a key, read now if nobody has it; to be given back once. Raises: StyleError."""
    with _graphs_lock:
        shared, users = _graphs.get(key) or (_Shared(key, core, style), 0)
        _graphs[key] = (shared, users + 1)
        return shared


def _give_back(key: _Key) -> None:
    with _graphs_lock:
        shared, users = _graphs.pop(key)
        if users > 1:
            _graphs[key] = (shared, users - 1)


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
