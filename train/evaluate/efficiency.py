"""Cost of a style: parameters, multiply-adds and latency."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import engines
from engines.cuda import driver
from engines.errors import EngineError, StyleError
from engines.openvino.runtime import shared_core
from engines.style_file import StyleModel
from rtstyle.bench import Timing, measure

WIDTH, HEIGHT = 640, 360
"""Frame size that costs are given for, pixels."""


@dataclass(frozen=True)
class Latency:
    """Latency of one engine at ``WIDTH`` × ``HEIGHT``.

    Attributes:
        runtime: library and version, or why the engine does not run here; then there is no timing.
    """

    engine: str
    runtime: str
    timing: Timing | None


def parameters(style: StyleModel) -> int:
    """Count the stored numbers: weights, biases, the canvas and the input filter.

    Raises:
        StyleError: the weights cannot be read.
    """
    return sum(tensor.size for tensor in style.tensors().values())


def multiply_adds(style: StyleModel, width: int = WIDTH, height: int = HEIGHT) -> int:
    """Count the multiply-adds of one frame: Σ over convolutions of outputs × kernel × input channels / groups.

    They are counted on the deployed graph. What does not depend on the frame (the canvas) is folded at compile time and
    does not count. As is customary, element-wise operations are left out (He et al. 2016, arXiv:1512.03385, table 1).

    Raises:
        StyleError: the graph cannot be read.
        EngineError: OpenVINO is missing.
    """
    try:
        graph = shared_core().read_model(style.graph)
        graph.reshape({0: [1, height, width, 3], 1: [1]})
    except RuntimeError as error:
        raise StyleError(f"{style.graph} cannot be read", hint="install or download the style again") from error
    total = 0
    fed: set[str] = set()  # operations that depend on the frame
    for node in graph.get_ordered_ops():
        sources = [port.get_source_output().get_node().get_friendly_name() for port in node.inputs()]
        if node.get_type_name() == "Parameter" or not fed.isdisjoint(sources):
            fed.add(node.get_friendly_name())
            total += _products(node)
    return total


def _products(node: Any) -> int:
    """Count one operation: each output costs the kernel without its group and output-channel axes."""
    not_summed = {"Convolution": 1, "GroupConvolution": 2}.get(node.get_type_name())
    if not_summed is None:
        return 0
    kernel, outputs = list(node.input(1).get_shape()), list(node.output(0).get_shape())
    return int(math.prod(outputs) * math.prod(kernel[not_summed:]))


def latencies(style: StyleModel, seconds: float = 2.0) -> list[Latency]:
    """Time every engine that may run here for some seconds each: those for a card where there is one."""
    found = []
    for name in engines.NAMES:
        if name == "auto" or (name in engines.GPU_ENGINES and not driver.device_count()):
            continue
        try:
            engine = engines.load(style, name)
            try:
                found.append(Latency(name, engine.info.runtime, measure(engine, WIDTH, HEIGHT, seconds=seconds)))
            finally:
                engine.close()
        except (EngineError, StyleError) as error:
            if name not in engines.INTEL_ENGINES:  # few machines have one
                found.append(Latency(name, error.problem, None))
    return found
