"""Convolutions in int8: other weights for a style's graph, and the nodes that round what goes in.

A quantized convolution takes its input x as a byte, 255 (x − low) / (high − low), rounded; each channel has a range
that belongs to the style. The spans of the ranges are multiplied into the weights, and these are small integers times
a scale for each output channel. The products are summed exactly, and a multiplication and the bias bring the sum back
to what the next layer expects. So the graph is the same for all styles, and what a style adds is a few numbers. A CPU
with VNNI multiplies four bytes in the time of one float.

The contrasts, what reads them, and the last two convolutions stay in fp32. The frame itself consists of bytes and loses
nothing.

Sources: Jacob et al. 2018, arXiv:1712.05877, sections 2.1 and 2.2; ranges of channels: Nagel et al. 2019,
arXiv:1906.04721, section 4.1. A range for each channel instead of one for all rounds finer: the flicker that rounding
adds to the noise of a camera falls to a third.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from engines.errors import EngineError
from engines.openvino.runtime import STORED, compile_graph, import_openvino, read_graph, shared_core
from engines.style_file import Bounds, Ranges, StyleModel

if TYPE_CHECKING:
    import openvino as ov

Floats: TypeAlias = npt.NDArray[np.float32]

FP32 = (
    "coarse.conv.weight", "fine.conv.weight", "canvas.mix.conv.weight", "refine.conv.weight", "head.conv.weight",
)  # fmt: skip
"""Convolutions that read contrasts, whose waves are too fine for a byte, or the canvas, which costs nothing; and the
last two, whose rounding nothing smooths any more: in bytes they would save 5 % of the time of a frame, and the noise of
a camera would be passed on 1.32 times as strongly as in fp32 instead of 1.09 times, in the worst of the styles."""

LARGEST, LARGEST_UNSAFE = 127, 63
"""Largest integer weight, and the largest where x86 has no VNNI: there two products are summed in 16 bits, which hold
2 · 255 · 63, and would cut off 2 · 255 · 127."""

INSIDE = 0.6
"""Part of the largest values of a layer that its ranges hold: finer steps are worth more than the few values beyond."""

LEAST = 0.2
"""Smallest range of a channel, as a share of the largest of its layer: narrower ones leave too few steps to the weights
that read them."""

BLUR = "softening"
"""The blur of the frame: what it rounds off would be seen in every flat area. So its weights are the sum of two
kernels, of which the second holds what the first rounds off."""

PIXELS = ("stem.conv.weight", BLUR)
"""Convolutions that read the frame, whose range is always 0 … 1: its bytes as they are."""

GAIN, OFFSET, SCALE, REST = ".gain", ".offset", ".scale", ".rest"
"""Suffixes of the names of what a convolution needs beside its weights."""


@functools.cache
def largest_weight() -> int:
    """Return the largest integer weight that this CPU multiplies exactly."""
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return LARGEST  # ARM sums in 32 bits
    import cv2

    supported = {cv2.getHardwareFeatureName(number) for number in range(512) if cv2.checkHardwareSupport(number)}
    return LARGEST if supported & {"AVX512VNNI", "AVX_VNNI"} else LARGEST_UNSAFE


def check_ranges(style: StyleModel) -> None:
    """Raise EngineError unless a style can be stylized in int8."""
    if not style.ranges:
        problem = f"{style.name} cannot run in int8: it was trained before rtstyle measured the ranges that int8 needs"
        raise EngineError(problem, hint="use fp32, or train it again")


def quantized_ranges(style: StyleModel) -> Ranges:
    """Return a style's ranges of the convolutions to quantize; older styles have some of others."""
    return {name: bounds for name, bounds in style.ranges.items() if name not in FP32}


def quantize(graph: ov.Model, names: Sequence[str], node: Callable[[str, tuple[int, ...]], ov.Node | Floats]) -> None:
    """Quantize convolutions of a style's graph, in place.

    Args:
        graph: not validated afterwards, since new parameters belong to it only once they are added.
        names: of the weights of the convolutions.
        node: called with the name and shape of each weight that ``quantized_weights`` returns for these convolutions,
            but for the biases; returns an fp32 node or array to take it from.
    """
    import_openvino()
    from openvino import opset13 as ops

    def get(name: str, shape: tuple[int, ...]) -> ov.Node:
        found = node(name, shape)
        return ops.constant(found) if isinstance(found, np.ndarray) else found

    def rounded(value: ov.Node | ov.Output, low: float, levels: int) -> ov.Output:
        """Round to evenly spaced levels from ``low`` to 1; the runtime makes integers of it."""
        least, most = (ops.constant(np.full((1, 1, 1, 1), bound, np.float32)) for bound in (low, 1.0))
        return ops.fake_quantize(value, least, most, least, most, levels).output(0)

    weight_levels = 2 * largest_weight() + 1
    for name, convolution in convolutions(graph).items():
        if name not in names:
            continue
        value, shape = input_of(convolution), tuple(convolution.input_value(1).get_shape())
        if name not in PIXELS:
            each = (1, shape[1], 1, 1)
            value = ops.add(ops.multiply(value, get(name + GAIN, each)), get(name + OFFSET, each)).output(0)
        reader = convolution.input_value(0).get_node()
        port = reader.input(0) if reader.get_type_name() == "Pad" else convolution.input(0)
        port.replace_source_output(rounded(value, 0.0, 256))
        readers = convolution.output(0).get_target_inputs()
        convolution.input(1).replace_source_output(rounded(get(name, shape), -1.0, weight_levels))
        result = ops.multiply(convolution, get(name + SCALE, (1, shape[0], 1, 1)))
        if name == BLUR:
            kernel = rounded(get(name + REST, shape), -1.0, weight_levels)
            rest = ops.convolution(convolution.input_value(0), kernel, [1, 1], [0, 0], [0, 0], [1, 1])
            result = ops.add(result, ops.multiply(rest, get(name + REST + SCALE, (1, shape[0], 1, 1))))
        for target in readers:
            target.replace_source_output(result.output(0))


def quantized_weights(weights: Mapping[str, Floats], ranges: Ranges) -> dict[str, Floats]:
    """Return all weights of a style for a quantized graph, by name.

    Args:
        weights: fp32, by name.
        ranges: of the inputs of the convolutions to quantize, by the name of their weights.

    Raises:
        EngineError: a range fits no weights, or begins below 0 where no bias can take that back.
    """
    found, largest = dict(weights), largest_weight()
    for name, bounds in ranges.items():
        channels = weights[name].shape[1]
        if any(len(bound) not in (1, channels) for bound in bounds):
            raise EngineError(f"the range of {name} has another number of channels", hint="get the style again")
        low, high = (_spread(bound, channels) for bound in bounds)
        span = high - low
        found[name + GAIN], found[name + OFFSET] = np.reciprocal(span), -low / span
        wanted = weights[name] * span
        found[name], scale = _scaled(wanted)
        found[name + SCALE] = scale.reshape(1, -1, 1, 1)
        if name != BLUR and not low.any():
            continue
        kernel = np.asarray(np.rint(found[name] * largest) / largest * scale, np.float32)
        if name == BLUR:
            found[name + REST], rest = _scaled(wanted - kernel)
            found[name + REST + SCALE] = rest.reshape(1, -1, 1, 1)
        if low.any():  # what the offset adds to every sum is taken from the bias
            bias = name.removesuffix("weight") + "bias"
            if bias not in weights:
                raise EngineError(f"{name} has no bias, and its range must begin at 0", hint="get the style again")
            found[bias] = (weights[bias] + (kernel * (low / span)).sum((1, 2, 3), dtype=np.float64)).astype(np.float32)
    return found


@functools.lru_cache(maxsize=512)  # a glide asks for the same ones with each frame
def _spread(bounds: Bounds, channels: int) -> Floats:
    """Return the bounds of all channels or of each as (1, channels, 1, 1)."""
    return np.ascontiguousarray(np.broadcast_to(np.array(bounds, np.float32), channels).reshape(1, -1, 1, 1))


def measure_ranges(style: StyleModel, pictures: Sequence[npt.NDArray[np.uint8]]) -> Ranges:
    """Measure the ranges that ``quantized_weights`` needs, in fp32.

    Args:
        style: its network may have any shape.
        pictures: (H, W, 3) each, all of one size; a few dozen.

    Raises:
        EngineError: OpenVINO is missing or failed.
    """
    core = shared_core()
    graph = read_graph(core, style)
    inputs = {name: input_of(node) for name, node in convolutions(graph).items() if name not in FP32}
    graph.add_outputs(list(inputs.values()))
    height, width = pictures[0].shape[:2]
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    request = compile_graph(core, graph, height, width, options).create_infer_request()
    lows, highs = dict[str, Floats](), dict[str, Floats]()
    for picture in pictures:
        outputs = request.infer({0: picture[None], 1: np.ones(1, np.float32)})
        for index, name in enumerate(inputs, start=1):
            lows[name] = np.minimum(lows.get(name, np.float32(0)), outputs[index].min((0, 2, 3)))
            highs[name] = np.maximum(highs.get(name, np.float32(0)), outputs[index].max((0, 2, 3)))
    return {name: ((0.0,), (1.0,)) if name in PIXELS else _narrowed(lows[name], highs[name]) for name in inputs}


def _narrowed(low: Floats, high: Floats) -> tuple[Bounds, Bounds]:
    """Return the ranges of channels whose values lie between bounds, (C,) each."""
    least = max(LEAST * float((high - low).max()), float(np.finfo(np.float32).tiny))
    low = np.maximum(low, INSIDE * float(low.min()))
    high = np.maximum(np.minimum(high, INSIDE * float(high.max())), low + least)
    return tuple(low.tolist()), tuple(high.tolist())


def convolutions(graph: ov.Model) -> dict[str, ov.Node]:
    """Return the convolutions whose weights belong to the style, by the name of these."""
    found = {}
    for node in graph.get_ordered_ops():
        if node.get_type_name() != "Convolution":
            continue
        cast = node.input_value(1).get_node()
        stored = cast.input_value(0).get_node().get_friendly_name() if cast.get_type_name() == "Convert" else ""
        if stored.endswith(STORED):
            found[stored.removesuffix(STORED)] = node
    return found


def input_of(convolution: ov.Node) -> ov.Output:
    """Return what a convolution reads, before its border is repeated."""
    value = convolution.input_value(0)
    return value.get_node().input_value(0) if value.get_node().get_type_name() == "Pad" else value


def _scaled(kernel: Floats) -> tuple[Floats, Floats]:
    """Return a kernel divided by its largest weight for each output channel, and these, (out, 1, 1, 1)."""
    largest = np.abs(kernel).max((1, 2, 3), keepdims=True)
    scale = np.where(largest > 0, largest, np.float32(1))
    return np.ascontiguousarray(kernel / scale), scale
