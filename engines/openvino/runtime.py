"""OpenVINO itself: its start, its errors, and the graphs of styles as it reads and compiles them."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engines.errors import EngineError, StyleError
from engines.style_file import StyleModel

if TYPE_CHECKING:
    import openvino as ov

STORED = ".fp16"
"""Suffix of the weights' names in the graph, where they are cast to fp32 before use."""


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
        raise EngineError(f"OpenVINO cannot start: {cause_of(error)}") from error
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
        raise EngineError(f"OpenVINO failed on a frame of {width}×{height}: {cause_of(error)}") from error


def compile_graph(
    core: ov.Core, graph: ov.Model, height: int, width: int, options: dict[str, Any], device: str = "CPU"
) -> ov.CompiledModel:
    """Compile a graph for one frame size, in pixels. May raise OpenVINO's RuntimeError."""
    fixed = graph.clone()
    # A graph of fixed shape runs a third faster than one with free height and width.
    fixed.reshape({0: [1, height, width, 3], 1: [1]})
    return core.compile_model(fixed, device, options)


def read_graph(core: ov.Core, style: StyleModel) -> ov.Model:
    """Read the style's graph, with free height and width. Raise StyleError if it is not a frame graph."""
    try:
        graph = core.read_model(style.graph)
        inputs = [port.get_any_name() for port in graph.inputs]
        outputs = [port.get_any_name() for port in graph.outputs]
    except RuntimeError as error:
        raise StyleError(f"{style.graph} cannot be read: {cause_of(error)}") from error
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


def cause_of(error: BaseException) -> str:
    """Return the last line of OpenVINO's message; the lines before it are places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (causes or lines or [type(error).__name__])[-1]
