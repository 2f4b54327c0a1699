"""The frame graph in fp16, as graphics cards run it: how far it is from fp32, and whether TensorRT takes it whole."""

from __future__ import annotations

import collections
import warnings
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from engines.base import RGB
from engines.export import OPSET
from engines.model.generator import FrameGraph, load_generator
from engines.style_file import StyleModel
from rtstyle.style_library import find
from train.evaluate.photographs import photographs

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


@pytest.fixture(scope="module")
def exported() -> bytes:
    """The fp16 graph of a 640×360 frame in ONNX."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.onnx.export(
            graph("vangogh", torch.float16, shuffle_bytes=False),
            (torch.zeros(1, 360, 640, 3, dtype=torch.uint8), torch.ones(1)),
            input_names=["frame", "strength"],
            output_names=["painting"],
            opset_version=OPSET,
            dynamo=True,
        )
    assert program is not None
    return program.model_proto.SerializeToString()


class Rtx:
    """TensorRT for RTX with the graph as it reads it; in newer versions every network is strongly typed."""

    def __init__(self, exported: bytes) -> None:
        self.trt: Any = pytest.importorskip("tensorrt_rtx", reason='pip install ".[tensorrt-rtx]"')
        self._logger = self.trt.Logger(self.trt.Logger.INTERNAL_ERROR)
        self.builder = self.trt.Builder(self._logger)
        self.network, parser = self.parser()
        assert parser.parse(exported), [str(parser.get_error(n)) for n in range(parser.num_errors)]
        self._parser = parser  # it owns the weights

    def parser(self) -> tuple[Any, Any]:
        network = self.builder.create_network()
        return network, self.trt.OnnxParser(network, self._logger)

    def layers(self) -> list[Any]:
        return [self.network.get_layer(number) for number in range(self.network.num_layers)]


@pytest.fixture
def rtx(exported: bytes) -> Rtx:
    return Rtx(exported)


@pytest.mark.slow
def test_tensorrt_takes_every_operation_in_one_piece(rtx: Rtx, exported: bytes) -> None:
    _, parser = rtx.parser()
    assert parser.supports_model_v2(exported)
    assert parser.num_subgraphs == 1 and parser.is_subgraph_supported(0)
    assert len(parser.get_subgraph_nodes(0)) == len(onnx.load_from_string(exported).graph.node)
    names = [rtx.network.get_input(n).name for n in range(rtx.network.num_inputs)]
    assert (names, rtx.network.num_outputs) == (["frame", "strength"], 1)


@pytest.mark.slow
def test_tensorrt_computes_nothing_but_the_contrasts_in_fp32(rtx: Rtx) -> None:
    trt = rtx.trt
    single = [
        layer
        for layer in rtx.layers()
        if any(layer.get_output(n).dtype == trt.float32 for n in range(layer.num_outputs))
    ]
    kinds = collections.Counter(layer.type.name for layer in single)
    # Nothing but the contrasts, and the strength, is computed in fp32; of their convolutions there are 5, of 3 and 1
    # channels. All others, which take the time, are not.
    assert kinds["CONVOLUTION"] == 5
    for layer in single:
        if layer.type == trt.LayerType.CONVOLUTION:
            assert layer.get_output(0).shape[1] in (1, 3) and layer.get_input(0).shape[1] in (3, 48)
    assert kinds["RESIZE"] == 0
    assert sum(layer.type == trt.LayerType.CONVOLUTION for layer in rtx.layers()) > 15


@pytest.mark.slow
@pytest.mark.parametrize("capabilities", [*((name,) for name in CAPABILITIES), CAPABILITIES])
def test_tensorrt_builds_a_plan_for_every_card(rtx: Rtx, capabilities: tuple[str, ...]) -> None:
    config = rtx.builder.create_builder_config()
    config.num_compute_capabilities = len(capabilities)
    for number, name in enumerate(capabilities):
        config.set_compute_capability(getattr(rtx.trt.ComputeCapability, name), number)
    plan = rtx.builder.build_serialized_network(rtx.network, config)
    assert plan is not None, "TensorRT cannot build the graph"
    assert 500_000 < plan.nbytes < 20_000_000


@pytest.mark.slow
def test_tensorrt_knows_every_weight_of_a_style_by_name(rtx: Rtx) -> None:
    # Building for a refit needs a card: TensorRT compiles what exchanges the weights, and does not without CUDA.
    weights = load_generator(StyleModel.open(find("vangogh"))).state_dict()
    assert len(weights) > 30
    for name in weights:
        assert rtx.network.mark_weights_refittable(f"generator.{name}"), name
    assert not rtx.network.mark_weights_refittable("generator.nobody")
