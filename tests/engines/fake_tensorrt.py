"""A stand-in for the TensorRT module that paints on the CPU: its engines are the frame graph behind TensorRT's calls.

A plan is JSON: {"height", "width", "refit"} and the "folder" of the style that was built in; none: weights are zero.
"""

from __future__ import annotations

import ctypes
import enum
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engines.cuda.fp16 import to_fp16
from engines.model.generator import Arch, load_generator
from engines.style_file import StyleModel
from engines.trt.builder import FloatOutputGraph
from engines.trt.refit import CANVAS, random_generator, refittable_weights

PREFIX = "[LAYER]-"
"""How this builder names weights."""


class TensorIOMode(enum.Enum):
    INPUT, OUTPUT = range(2)


class DataType(enum.Enum):
    UINT8, FLOAT, HALF, INT32, INT64, BOOL = range(6)


class Logger:
    ERROR = 1

    def __init__(self, level: int) -> None:
        self.level = level


class Weights:
    def __init__(self, kind: DataType, place: int, count: int) -> None:
        number = {DataType.HALF: torch.float16, DataType.FLOAT: torch.float32, DataType.INT32: torch.int32}[kind]
        self.value = at(place, count, number).clone()


class Engine:
    device_memory_size_v2 = 1000

    def __init__(self, plan: dict[str, Any]) -> None:
        self.size = (plan["height"], plan["width"])
        self.refittable: bool = plan["refit"]
        network = (
            load_generator(StyleModel.open(plan["folder"]))
            if plan.get("folder")
            else random_generator(Arch.from_dict(plan["arch"]))
        )
        self.network = to_fp16(network)
        self.broken = plan.get("broken", False)
        self.output = DataType[plan.get("output", "HALF")]
        self.canvas: Tensor | None = None
        self.num_io_tensors = 3

    def get_tensor_name(self, number: int) -> str:
        return ("strength", "output0", "frame")[number]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.OUTPUT if name == "output0" else TensorIOMode.INPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return {"strength": DataType.FLOAT, "output0": self.output, "frame": DataType.UINT8}[name]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (1,) if name == "strength" else (1, *self.size, 3)

    def create_execution_context(self) -> Context:
        return Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.places: dict[str, int] = {}

    def set_tensor_address(self, name: str, place: int) -> bool:
        self.places[name] = place
        return True

    def execute_async_v3(self, stream: int) -> bool:
        height, width = self.engine.size
        shape = (1, height, width, 3)
        count = height * width * 3
        canvas = self.engine.canvas
        if canvas is not None:
            self.engine.network.canvas.forward = lambda *_: canvas  # type: ignore[method-assign]
        with torch.inference_mode():
            numbers = FloatOutputGraph(self.engine.network)(
                at(self.places["frame"], count, torch.uint8).view(shape),
                at(self.places["strength"], 1, torch.float32),
            )
            at(self.places["output0"], count, torch.float16).view(shape).copy_(numbers)
        return not self.engine.broken


class Refitter:
    """Its weights are those of ``refittable_weights`` without what the canvas is made of, and one constant."""

    def __init__(self, engine: Engine, logger: Logger) -> None:
        self.engine = engine
        self.given: dict[str, Tensor] = {}

    def get_all_weights(self) -> list[str]:
        return [*(PREFIX + name for name in our_names(self.engine.network, *self.engine.size)), "two CONSTANT"]

    def set_named_weights(self, name: str, weights: Weights) -> bool:
        self.given[name] = weights.value
        return True

    def get_missing_weights(self) -> list[str]:
        return [name for name in self.get_all_weights() if name not in self.given]

    def refit_cuda_engine(self) -> bool:
        assert self.given.pop("two CONSTANT").tolist() == [2.0]
        values = {name.removeprefix(PREFIX): value for name, value in self.given.items()}
        whole = our_names(self.engine.network, *self.engine.size)
        self.engine.canvas = values.pop(CANVAS).view(whole[CANVAS].shape)
        state = self.engine.network.state_dict()
        for name, value in values.items():
            state[name].copy_(value.view(state[name].shape))
        return True


class Runtime:
    def __init__(self, logger: Logger) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        try:
            return Engine(json.loads(plan))
        except ValueError:
            return None


def at(place: int, count: int, number: torch.dtype) -> Tensor:
    """The memory at an address, as a tensor."""
    size = count * torch.empty(0, dtype=number).element_size()
    return torch.frombuffer((ctypes.c_uint8 * size).from_address(place), dtype=number)


def our_names(network: Any, height: int, width: int) -> dict[str, Tensor]:
    """What can be exchanged in an engine of this network."""
    return {n: v for n, v in refittable_weights(network, height, width).items() if not n.startswith("canvas.")}


def recorded(network: Any, height: int, width: int) -> dict[str, Tensor]:
    """What Torch-TensorRT would record while it builds this network."""
    named = {PREFIX + name: value for name, value in our_names(network, height, width).items()}
    return {**named, "two CONSTANT": torch.tensor([2.0])}


def plan_of(style: StyleModel | None, height: int, width: int, **more: Any) -> bytes:
    """A plan with the weights of a style, or with none for a refit."""
    folder = {"folder": str(Path(style.folder))} if style else {}
    return json.dumps({"height": height, "width": width, "refit": style is None, **folder, **more}).encode()


def shape(style: StyleModel) -> Arch:
    """The widths and depth of a style's network."""
    return Arch.from_dict(dict(style.arch))
