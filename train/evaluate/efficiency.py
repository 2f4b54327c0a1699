"""What a style costs: parameters, arithmetic, milliseconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import engines
from engines.cuda import driver
from engines.errors import EngineError, StyleError
from engines.openvino.engine import shared_core
from engines.style_file import StyleModel
from rtstyle.bench import Timing, measure

WIDTH, HEIGHT = 640, 360
"""The frame that costs are counted for, pixels."""


@dataclass(frozen=True)
class Latency:
    """Of one engine at ``WIDTH`` × ``HEIGHT``.

    Attributes:
        engine: how it is chosen, e.g. ``cpu``.
        runtime: library and version; why it does not run here, when it does not.
        timing: of one call; ``None`` when the engine does not run here.
    """

    engine: str
    runtime: str
    timing: Timing | None


def parameters(style: StyleModel) -> int:
    """Numbers that are stored: weights, biases, the canvas, and the softening of the frame.

    Raises:
        StyleError: the weights cannot be read.
    """
    return sum(tensor.size for tensor in style.tensors().values())


def multiply_adds(style: StyleModel, width: int = WIDTH, height: int = HEIGHT) -> int:
    """Multiply-adds of one frame: Σ over convolutions of outputs × kernel × channels in / groups.

    Counted on the graph that is run, after its shapes are fixed. What does not depend on the frame (the canvas) is
    computed once, when the graph is compiled, and does not count. Element-wise work is left out, as is the custom.

    Args:
        style: whose graph is counted.
        width, height: of the frame, pixels.

    Raises:
        StyleError: the graph cannot be read. EngineError: OpenVINO is missing.

    Source:
        the counting of He et al. 2016, arXiv:1512.03385, table 1.
    """
    try:
        graph = shared_core().read_model(style.graph)
        graph.reshape({0: [1, height, width, 3], 1: [1]})
    except RuntimeError as error:
        raise StyleError(f"{style.graph} cannot be read", hint="get the style again") from error
    total = 0
    fed: set[str] = set()  # what depends on the frame
    for node in graph.get_ordered_ops():
        sources = [port.get_source_output().get_node().get_friendly_name() for port in node.inputs()]
        if node.get_type_name() == "Parameter" or not fed.isdisjoint(sources):
            fed.add(node.get_friendly_name())
            total += _products(node)
    return total


def _products(node: Any) -> int:
    """Multiply-adds of one operation: for each number out, all of a kernel but its (groups and) channels out."""
    not_summed = {"Convolution": 1, "GroupConvolution": 2}.get(node.get_type_name())
    if not_summed is None:
        return 0
    kernel, outputs = list(node.input(1).get_shape()), list(node.output(0).get_shape())
    return int(math.prod(outputs) * math.prod(kernel[not_summed:]))


def latencies(style: StyleModel, seconds: float = 2.0) -> list[Latency]:
    """Time every engine that may run here, at ``WIDTH`` × ``HEIGHT``: those for a card where there is one.

    Args:
        style: what is painted.
        seconds: for each engine; at least five calls are made.
    """
    found = []
    for name in engines.NAMES:
        if name == "auto" or (name in engines.ON_CARDS and not driver.cards()):
            continue
        try:
            engine = engines.load(style, name)
            try:
                found.append(Latency(name, engine.info.runtime, measure(engine, WIDTH, HEIGHT, seconds=seconds)))
            finally:
                engine.close()
        except (EngineError, StyleError) as error:
            found.append(Latency(name, error.problem, None))
    return found
