"""The frame graph in fp16, as graphics cards run it: how far it is from fp32, and whether TensorRT takes it whole."""

from __future__ import annotations

import collections
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engines.base import RGB
from engines.export import OPSET
from engines.generator import FrameGraph, load_generator
from engines.model_file import StyleModel
from rtstyle.styles import find
from train.preview import photographs

CAPABILITIES = ("SM75", "SM86", "SM89", "SM120")
"""Turing, Ampere, Ada and Blackwell: the cards that TensorRT for RTX builds for, without having one."""


def painted(graph: FrameGraph, rgb: RGB) -> RGB:
    with torch.inference_mode():
        result: RGB = graph(torch.from_numpy(rgb)[None], torch.ones(1))[0].numpy()
    return result


def graph(style: str, number: torch.dtype = torch.float32, *, shuffle_bytes: bool = True) -> FrameGraph:
    generator = load_generator(StyleModel.open(find(style))).to(number)
    return FrameGraph(generator, shuffle_bytes=shuffle_bytes).eval()


@pytest.mark.parametrize("style", ["vangogh", "mosaic"])
def test_fp16_paints_what_fp32_paints(style: str) -> None:
    for rgb in photographs(2, 288):
        even = np.ascontiguousarray(rgb[:280, :280])
        off = np.abs(painted(graph(style, torch.float16), even).astype(int) - painted(graph(style), even))
        assert off.max() <= 6
        assert (off <= 2).mean() >= 0.999


def test_pixels_may_be_shuffled_as_bytes_or_as_numbers() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    assert np.array_equal(painted(graph("vangogh"), rgb), painted(graph("vangogh", shuffle_bytes=False), rgb))


def test_contrasts_are_fp32_under_autocast() -> None:
    rgb = np.ascontiguousarray(photographs(1, 128)[0][:128, :128])
    cells: list[Tensor] = []
    whole = graph("vangogh")
    whole.generator.coarse.register_forward_pre_hook(lambda _, inputs: cells.append(inputs[0]))
    painted(whole, rgb)
    with torch.autocast("cpu", torch.bfloat16):
        painted(whole, rgb)
    assert cells[1].dtype == torch.float32
    assert torch.equal(cells[0], cells[1])


@pytest.mark.slow
def test_tensorrt_takes_the_whole_graph_for_every_card() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason='pip install ".[tensorrt-rtx]"')
    network, parser, config, builder = _parsed(trt)
    assert parser.num_errors == 0, [str(parser.get_error(n)) for n in range(parser.num_errors)]
    single = collections.Counter(
        layer.type.name
        for layer in map(network.get_layer, range(network.num_layers))
        if any(layer.get_output(n).dtype == trt.float32 for n in range(layer.num_outputs))
    )
    # Nothing but the contrasts, and the strength, is computed in fp32; of their convolutions there are 5, of 3 and 1
    # channels. All others, which take the time, are not.
    assert single["CONVOLUTION"] == 5
    config.num_compute_capabilities = len(CAPABILITIES)
    for number, name in enumerate(CAPABILITIES):
        config.set_compute_capability(getattr(trt.ComputeCapability, name), number)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None, "TensorRT cannot build the graph"
    assert 500_000 < plan.nbytes < 20_000_000


def _parsed(trt: Any, style: str = "vangogh") -> tuple[Any, Any, Any, Any]:
    """The fp16 graph of a 640×360 frame, as TensorRT reads it; in newer versions every network is strongly typed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.onnx.export(
            graph(style, torch.float16, shuffle_bytes=False),
            (torch.zeros(1, 360, 640, 3, dtype=torch.uint8), torch.ones(1)),
            input_names=["frame", "strength"],
            output_names=["painting"],
            opset_version=OPSET,
            dynamo=True,
        )
    assert program is not None
    file = program.model_proto.SerializeToString()
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network()
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
    parser.parse(file)
    return network, parser, builder.create_builder_config(), builder
