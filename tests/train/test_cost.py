"""What a style costs, against counting by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import engines
from engines.cuda import driver
from engines.errors import EngineError, StyleError
from engines.model.generator import Canvas, FrameGraph, load_generator
from engines.style_file import StyleModel
from train.evaluate import efficiency


@pytest.fixture
def known(tmp_path: Path) -> StyleModel:
    """A style whose graph is written out below: two convolutions of the frame, and one of a constant."""

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return onnx.numpy_helper.from_array(np.ones(shape, np.float32), name)

    node = onnx.helper.make_node
    nodes = [
        node("Cast", ["frame"], ["floats"], to=onnx.TensorProto.FLOAT),
        node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        node("Mul", ["planes", "strength"], ["x"]),
        node("Conv", ["x", "a"], ["half"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Conv", ["canvas", "b"], ["texture"]),
        node("ReduceMean", ["texture"], ["mean"], keepdims=0),
        node("Add", ["half", "mean"], ["y"]),
        node("Conv", ["y", "c"], ["painting"], group=2),
    ]
    weights = [weight("a", 6, 3, 3, 3), weight("b", 5, 4, 3, 3), weight("c", 8, 3, 5, 1), weight("canvas", 1, 4, 9, 9)]
    frame = onnx.helper.make_tensor_value_info("frame", onnx.TensorProto.UINT8, [1, "h", "w", 3])
    strength = onnx.helper.make_tensor_value_info("strength", onnx.TensorProto.FLOAT, [1])
    painting = onnx.helper.make_tensor_value_info("painting", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph(nodes, "known", [frame, strength], [painting], weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "graph.onnx")
    return StyleModel("known", "", "", "", "", {}, folder=tmp_path, arch={})


def test_multiply_adds_are_those_counted_by_hand(known: StyleModel) -> None:
    """40×30 in: 20×15 of 6 channels, each 3·3·3; then 20×11 of 8 channels, each 3 (half of 6) ·5·1."""
    assert efficiency.multiply_adds(known, 40, 30) == 20 * 15 * 6 * 27 + 20 * 11 * 8 * 15


@pytest.mark.parametrize(("width", "height"), [(64, 64), (101, 77)])
def test_multiply_adds_are_those_that_torch_does(tiny_style: Path, width: int, height: int) -> None:
    style = StyleModel.open(tiny_style)
    graph = FrameGraph(load_generator(style))
    canvas = next(module for module in graph.modules() if isinstance(module, Canvas))
    frame = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    with torch.no_grad(), FlopCounterMode(display=False) as whole:
        graph(frame, torch.ones(1))
    with torch.no_grad(), FlopCounterMode(display=False) as constant:
        canvas(8, 8, (0, 0))
    counted = (whole.get_total_flops() - constant.get_total_flops()) // 2
    assert efficiency.multiply_adds(style, width, height) == counted > 0


def test_parameters_are_those_of_the_generator(tiny_style: Path) -> None:
    style = StyleModel.open(tiny_style)
    assert efficiency.parameters(style) == sum(value.numel() for value in load_generator(style).state_dict().values())


def test_a_graph_that_cannot_be_read(tiny_style: Path, tmp_path: Path) -> None:
    style = StyleModel.open(tiny_style)
    broken = StyleModel(**{**vars(style), "folder": tmp_path})
    (tmp_path / "graph.onnx").write_bytes(b"rubbish")
    with pytest.raises(StyleError, match=r"graph\.onnx cannot be read"):
        efficiency.multiply_adds(broken)


def test_every_engine_is_timed_or_says_why_not(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficiency, "WIDTH", 64)
    monkeypatch.setattr(efficiency, "HEIGHT", 48)
    load = engines.load

    def without_torch(style: StyleModel, name: str) -> object:
        if name == "torch":
            raise EngineError("the torch engine needs torch")
        return load(style, name)

    monkeypatch.setattr(engines, "load", without_torch)
    found = {each.engine: each for each in efficiency.latencies(StyleModel.open(tiny_style), seconds=0.0)}
    assert set(found) == set(engines.NAMES) - {"auto", *engines.GPU_ENGINES, *engines.INTEL_ENGINES}
    timing = found["cpu"].timing
    assert timing is not None and 0 < timing.median_ms <= timing.p95_ms
    assert found["torch"].timing is None and "needs torch" in found["torch"].runtime
    monkeypatch.setattr(driver, "device_count", lambda: 1)
    found = {each.engine: each for each in efficiency.latencies(StyleModel.open(tiny_style), seconds=0.0)}
    assert set(found) == set(engines.NAMES) - {"auto", *engines.INTEL_ENGINES}
    assert all(found[name].timing is None and found[name].runtime for name in engines.GPU_ENGINES)
