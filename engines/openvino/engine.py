"""The CPU engine: OpenVINO in fp32, without torch; it runs on every machine."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from engines.base import RGB, BaseEngine, EngineInfo, StrengthMap, check_colours, check_rgb
from engines.errors import EngineError, StyleError
from engines.mixing.mixed_style import MixedStyle
from engines.model.own_colours import with_own_colours
from engines.strength_map import blend, check_strength_for, graph_strength
from engines.style_file import StyleModel

if TYPE_CHECKING:
    import openvino as ov

KEPT_SIZES = 6
"""Frame sizes whose compiled graphs are kept; compiling another one takes two cores 0.2 to 0.4 s.

Several cameras may share an engine, and each of them may work at another size to hold its rate.
"""

STORED = ".fp16"
"""Suffix of the weights' names in the graph, where they are cast to fp32 before use."""

Precision = Literal["fp32", "bf16"]

_HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16"}


class CpuEngine(BaseEngine):
    """Stylizes on the CPU; implements ``engines.base.Engine``.

    Args:
        threads: CPU threads; ``None`` uses one for each core that this process may use.
        precision: arithmetic of the convolutions. ``bf16`` is faster on CPUs that support it, and off by up to a few
            8-bit steps.

    Raises:
        EngineError: OpenVINO is missing or cannot run here, or the CPU has no bf16.
    """

    def __init__(self, style: StyleModel, threads: int | None = None, precision: Precision = "fp32") -> None:
        super().__init__(threads)
        self._core = shared_core()
        if precision == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise EngineError("this CPU has no bf16 arithmetic", hint="use fp32")
        self._options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _HINTS[precision]}
        if threads is not None:
            self._options["INFERENCE_NUM_THREADS"] = threads
        self._graph: ov.Model | None = None
        self._sized: OrderedDict[tuple[int, int], SizedGraph] = OrderedDict()
        self._closed = False
        self._style, self._colours = style, 0.0
        self._threads, self._precision = threads, precision
        self._open(style)
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
            if colours != self._colours and not self._closed:
                self._take_colours(colours)
                self._colours = colours
            request = self._graph_for(rgb.shape[0], rgb.shape[1]).request
            # The runtime copies neither input nor output. The output is the request's own buffer, which the next call
            # overwrites, so copy it here.
            outputs = request.infer(
                {0: frame, 1: np.array([graph_strength(strength)], np.float32)}, share_inputs=True, share_outputs=True
            )
            stylized: RGB = outputs[0][0].copy()
        return blend(stylized, rgb, strength)

    def close(self) -> None:
        """Free the graph and everything compiled from it. May be called twice."""
        self._sized.clear()
        self._graph = None
        self._closed = True

    def _open(self, style: StyleModel) -> None:
        """Read the graph; it is compiled for the first frame."""
        self._graph = read_graph(self._core, style)
        if isinstance(style, MixedStyle):  # the graph's own weights are those of one style
            weights = _in_fp32(style)
            replace_weights(self._graph, lambda name, _: weights.get(name))

    def _take_colours(self, colours: float) -> None:
        """Take the weights for another share of own colours. They are folded into the graph: it is compiled anew."""
        constants = with_own_colours(self._style.tensors(), colours)
        if isinstance(self._style, MixedStyle):
            constants = _in_fp32(self._style) | constants
        self._graph = read_graph(self._core, self._style)
        replace_weights(self._graph, lambda name, _: constants.get(name))
        self._sized.clear()

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
        graph = compile_graph(self._core, self._graph, height, width, self._options)
        return SizedGraph(graph, graph.create_infer_request())


class SizedGraph(NamedTuple):
    """The compiled graph for one frame size, and its inputs and outputs."""

    compiled: object
    request: ov.InferRequest


@functools.cache
def shared_core() -> ov.Core:
    """Return OpenVINO's runtime: one for the process, never freed.

    A new runtime sets an alternate stack for signal handlers in its thread and restores the previous one when it is
    freed (openvino, src/plugins/intel_cpu/src/cpu_special_setup). Freeing two in the order of their creation, or one in
    another thread, leaves a stack that is no longer mapped, and the next Ctrl-C crashes.
    """
    try:
        core: ov.Core = import_openvino().Core()
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot start: {_cause(error)}") from error
    return core


def import_openvino() -> Any:
    """Import OpenVINO without its model converter.

    ``import openvino`` also imports the converter, whose telemetry client reports the import to Intel unless the user
    has opted out. Nothing here needs the converter, and the import is a third faster without it.
    """
    try:
        with _blocked("openvino.tools.ovc"):
            import openvino
    except ImportError as error:
        raise EngineError("the cpu engine needs OpenVINO", hint="pip install openvino") from error
    return openvino


@contextlib.contextmanager
def _blocked(module: str) -> Iterator[None]:
    """Make importing ``module`` raise ImportError inside the context, unless it is loaded already."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # the documented way to block an import
    try:
        yield
    finally:
        del sys.modules[module]


@contextlib.contextmanager
def as_engine_errors(height: int, width: int) -> Iterator[None]:
    """Turn what OpenVINO raises for a frame of this size, in pixels, into an EngineError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        raise EngineError(f"OpenVINO failed on a frame of {width}×{height}: {_cause(error)}") from error


def compile_graph(core: ov.Core, graph: ov.Model, height: int, width: int, options: dict[str, Any]) -> ov.CompiledModel:
    """Compile a graph for one frame size, in pixels. May raise OpenVINO's RuntimeError."""
    fixed = graph.clone()
    # A graph of fixed shape runs a third faster than one with free height and width.
    fixed.reshape({0: [1, height, width, 3], 1: [1]})
    return core.compile_model(fixed, "CPU", options)


def read_graph(core: ov.Core, style: StyleModel) -> ov.Model:
    """Read the style's graph, with free height and width. Raise StyleError if it is not a frame graph."""
    try:
        graph = core.read_model(style.graph)
        inputs = [port.get_any_name() for port in graph.inputs]
        outputs = [port.get_any_name() for port in graph.outputs]
    except RuntimeError as error:
        raise StyleError(f"{style.graph} cannot be read: {_cause(error)}") from error
    if inputs != ["frame", "strength"] or outputs != ["painting"]:
        raise StyleError(f"{style.graph} is not a frame graph: its inputs are {inputs} and its outputs {outputs}")
    return graph


def replace_weights(
    graph: ov.Model, replacement: Callable[[str, tuple[int, ...]], ov.Node | npt.NDArray[np.float32] | None]
) -> None:
    """Replace weights of a style's graph, which are stored in fp16 and cast to fp32.

    Args:
        graph: changed in place; not validated, since new parameters belong to it only once they are added.
        replacement: called with the name and the shape of each weight, returns an fp32 node or array to use instead of
            it, or ``None`` to keep it.
    """
    import_openvino()
    from openvino import opset13

    for cast in graph.get_ops():
        stored = cast.input_value(0).get_node() if cast.get_type_name() == "Convert" else None
        if stored is None or stored.get_type_name() != "Constant" or not stored.get_friendly_name().endswith(STORED):
            continue
        found = replacement(stored.get_friendly_name().removesuffix(STORED), tuple(stored.shape))
        if found is None:
            continue
        node = opset13.constant(found) if isinstance(found, np.ndarray) else found
        for reader in cast.output(0).get_target_inputs():
            reader.replace_source_output(node.output(0))


def _in_fp32(style: StyleModel) -> dict[str, npt.NDArray[np.float32]]:
    return {name: value.astype(np.float32) for name, value in style.tensors().items()}


def _cause(error: BaseException) -> str:
    """Return the last line of OpenVINO's message; the lines before it are places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (causes or lines or [type(error).__name__])[-1]
