"""The CPU engine: OpenVINO, fp32, no torch. What everybody has."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from engines.base import RGB, EngineInfo, check_rgb, check_strength
from engines.errors import EngineError, StyleError
from engines.style_file import StyleModel

if TYPE_CHECKING:
    import openvino as ov

KEPT_SIZES = 3
"""Frame sizes whose compiled graphs are kept. One more costs a compilation, 0.2 to 0.4 s of two cores."""

Precision = Literal["fp32", "bf16"]

_HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16"}


class CpuEngine:
    """Stylizes on the CPU; see ``engines.base.Engine`` for the promises.

    Args:
        style: a verified style.
        threads: for the arithmetic; ``None`` is one for each core that this process may use.
        precision: of the convolutions. ``bf16`` is faster where the chip has it, and up to a few 8-bit steps off.

    Raises:
        EngineError: OpenVINO is missing or cannot run here, or the chip has no bf16.
        StyleError: the graph of the style is not one of ours.
    """

    def __init__(self, style: StyleModel, threads: int | None = None, precision: Precision = "fp32") -> None:
        if threads is not None and threads < 1:
            raise EngineError(f"cannot run on {threads} threads", hint="give 1 or more")
        self._core = shared_core()
        if precision == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise EngineError("this CPU has no bf16 arithmetic", hint="use fp32")
        self._options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
        }
        if threads is not None:
            self._options["INFERENCE_NUM_THREADS"] = threads
        self._graph: ov.Model | None = None
        self._fitted: OrderedDict[tuple[int, int], Fitted] = OrderedDict()
        self._closed = False
        self._open(style)
        self._info = EngineInfo(
            name="cpu",
            runtime=f"OpenVINO {import_openvino().__version__.split('-')[0]}",
            device=str(self._core.get_property("CPU", "FULL_DEVICE_NAME")).strip(),
            precision=precision,
            style=style.name,
        )

    @property
    def info(self) -> EngineInfo:
        """What this engine is."""
        return self._info

    def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
        """Stylize one frame; see ``engines.base.Engine``.

        Raises:
            ShapeError: not an RGB picture, or outside the size limits; strength outside 0…1.
            EngineError: the engine is closed, or OpenVINO failed (out of memory).
        """
        check_rgb(rgb)
        check_strength(strength)
        frame = np.ascontiguousarray(rgb)[None]
        with failing(rgb.shape[0], rgb.shape[1]):
            request = self._fit(rgb.shape[0], rgb.shape[1]).request
            # Neither the input nor the output is copied by the runtime. The output is the request's own buffer,
            # which the next call overwrites, so the one copy is ours.
            outputs = request.infer(
                {0: frame, 1: np.array([strength], np.float32)}, share_inputs=True, share_outputs=True
            )
            painting: RGB = outputs[0][0].copy()
        return painting

    def close(self) -> None:
        """Free the graph and everything compiled from it."""
        self._fitted.clear()
        self._graph = None
        self._closed = True

    def _open(self, style: StyleModel) -> None:
        """Read what is compiled later."""
        self._graph = read_graph(self._core, style)

    def _fit(self, height: int, width: int) -> Fitted:
        """The graph for one frame size, compiled now if need be."""
        if self._closed:
            raise EngineError("the engine is closed")
        size = (height, width)
        if size in self._fitted:
            self._fitted.move_to_end(size)
            return self._fitted[size]
        while len(self._fitted) >= KEPT_SIZES:
            self._fitted.popitem(last=False)
        self._fitted[size] = self._new_fit(height, width)
        return self._fitted[size]

    def _new_fit(self, height: int, width: int) -> Fitted:
        assert self._graph is not None
        graph = compiled(self._core, self._graph, height, width, self._options)
        return Fitted(graph, graph.create_infer_request())


class Fitted(NamedTuple):
    """For one frame size: what is compiled, and its inputs and outputs."""

    compiled: object
    request: ov.InferRequest


@functools.cache
def shared_core() -> ov.Core:
    """OpenVINO's runtime: one for the process, never freed.

    Each one that is made gives its thread a stack for signal handlers and, freed, puts back what was there before
    (openvino, src/plugins/intel_cpu/src/cpu_special_setup). Two that are freed in the order in which they were made,
    or one that is freed by another thread, leave a stack that is no longer mapped: the next Ctrl-C is a crash.

    Raises:
        EngineError: OpenVINO is not installed, or cannot run here.
    """
    try:
        core: ov.Core = import_openvino().Core()
    except RuntimeError as error:
        raise EngineError(f"OpenVINO does not start here: {_cause(error)}") from error
    return core


def import_openvino() -> Any:
    """OpenVINO without its model converter.

    ``import openvino`` imports the converter, which starts a telemetry client and reports the import to its
    makers unless the user has opted out. A painting program has no business doing that, and needs no converter:
    without it the import is also a third faster.

    Raises:
        EngineError: it is not installed.
    """
    try:
        with _blocked("openvino.tools.ovc"):
            import openvino
    except ImportError as error:
        raise EngineError("the cpu engine needs OpenVINO", hint="pip install openvino") from error
    return openvino


@contextlib.contextmanager
def _blocked(module: str) -> Iterator[None]:
    """While this lasts, importing ``module`` raises ImportError, unless it is loaded already."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # what the import system documents for this
    try:
        yield
    finally:
        del sys.modules[module]


@contextlib.contextmanager
def failing(height: int, width: int) -> Iterator[None]:
    """Within, what OpenVINO raises over a frame of this size, in pixels, becomes an EngineError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        raise EngineError(f"OpenVINO failed on a frame of {width}×{height}: {_cause(error)}") from error


def compiled(core: ov.Core, graph: ov.Model, height: int, width: int, options: dict[str, Any]) -> ov.CompiledModel:
    """A graph of free height and width for one frame size, in pixels.

    Raises:
        RuntimeError: of OpenVINO.
    """
    fixed = graph.clone()
    # A graph of fixed shape is planned ahead: it runs a third faster than one with free height and width.
    fixed.reshape({0: [1, height, width, 3], 1: [1]})
    return core.compile_model(fixed, "CPU", options)


def read_graph(core: ov.Core, style: StyleModel) -> ov.Model:
    """The graph with free height and width.

    Raises:
        StyleError: OpenVINO cannot read it, or its inputs and outputs are not a frame graph's.
    """
    try:
        graph = core.read_model(style.graph)
        inputs = [port.get_any_name() for port in graph.inputs]
        outputs = [port.get_any_name() for port in graph.outputs]
    except RuntimeError as error:
        raise StyleError(f"{style.graph} cannot be read: {_cause(error)}") from error
    if inputs != ["frame", "strength"] or outputs != ["painting"]:
        raise StyleError(f"{style.graph} is no frame graph: it takes {inputs} and gives {outputs}")
    return graph


def _cause(error: BaseException) -> str:
    """OpenVINO's messages begin with places in its source; what is wrong comes last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (told or lines or [type(error).__name__])[-1]
