"""Torch-TensorRT's conversion on a machine without a card, in a process of its own, as it changes torch for good.

    python -m tests.engines.torch_tensorrt_conversion OUT.json 'shared 256x144 8.9' 'single 1280x720 12.0'

Torch-TensorRT and TensorRT for RTX are the real ones, and so is the code that calls them. What only a card could do is
left out: the C++ runtime of Torch-TensorRT, which needs a torch with CUDA, loading the plan, and the code that TensorRT
adds to a plan for a refit.
"""

from __future__ import annotations

import collections
import contextlib
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from engines.cuda.fp16 import to_fp16
from engines.frame_size import parse_size
from engines.model.generator import load_generator
from engines.style_file import StyleModel
from engines.trt import builder
from engines.trt.compat import import_torch_tensorrt, installed
from engines.trt.refit import refit, refittable_weights
from engines.trt.runtime import REFIT, PlanBody
from rtstyle.style_library import find

STYLE = "vangogh"


def without_card() -> Any:
    """Import Torch-TensorRT with answers to what it asks CUDA."""
    cuda: Any = torch.cuda
    cuda.current_device = lambda: 0
    cuda.get_device_capability = lambda device=None: (8, 9)  # it only asks for Jetson's
    cuda.mem_get_info = lambda device=None: (1 << 34, 1 << 34)
    if not hasattr(torch._C, "_CudaDeviceProperties"):
        torch._C._CudaDeviceProperties = SimpleNamespace  # type: ignore[misc, assignment]  # an annotation names it
    with without_its_runtime():
        return import_torch_tensorrt()


@contextlib.contextmanager
def without_its_runtime() -> Iterator[None]:
    """Hide the C++ runtime, which needs libtorch_cuda.so; Torch-TensorRT then goes without."""
    is_file = os.path.isfile
    os.path.isfile = lambda path: "libtorchtrt" not in str(path) and is_file(path)
    try:
        yield
    finally:
        os.path.isfile = is_file


class Refitter:
    """Takes weights like TensorRT's, under the names that it gives to the layers' weights; none is needed."""

    def __init__(self, sizes: dict[str, int], logger: object) -> None:
        self._sizes = sizes
        self.given: list[str] = []

    def get_all_weights(self) -> list[str]:
        return list(self._sizes)

    def set_named_weights(self, name: str, weights: Any) -> bool:
        self.given.append(name)
        return bool(weights.size == self._sizes[name])

    def get_missing_weights(self) -> list[str]:
        return []

    def refit_cuda_engine(self) -> bool:
        return True


@dataclass
class Built:
    """What TensorRT would have loaded: the plan."""

    plan: Any

    def serialize(self) -> Any:
        return self.plan


class NetworkEngine:
    """A network with the calls of an engine, so that ``PlanBody`` can check its tensors."""

    def __init__(self, trt: Any, network: Any) -> None:
        inputs = [network.get_input(number) for number in range(network.num_inputs)]
        outputs = [network.get_output(number) for number in range(network.num_outputs)]
        both = [(trt.TensorIOMode.INPUT, tensor) for tensor in inputs]
        both += [(trt.TensorIOMode.OUTPUT, tensor) for tensor in outputs]
        self._tensors = {str(tensor.name): (mode, tensor) for mode, tensor in both}
        self.num_io_tensors = len(self._tensors)

    def get_tensor_name(self, number: int) -> str:
        return list(self._tensors)[number]

    def get_tensor_mode(self, name: str) -> Any:
        return self._tensors[name][0]

    def get_tensor_dtype(self, name: str) -> Any:
        return self._tensors[name][1].dtype

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensors[name][1].shape)

    def create_execution_context(self) -> Any:
        return SimpleNamespace(
            set_tensor_address=lambda name, address: bool(address), execute_async_v3=lambda stream: True
        )


class Conversions:
    """Watches Torch-TensorRT: notes each network, and has it built for a card that is not here.

    Attributes:
        networks: a description of each network of a conversion.
        sizes: elements of each weight of the last network, by the name that TensorRT gives to it.
    """

    def __init__(self, torch_tensorrt: Any) -> None:
        from torch_tensorrt.dynamo.conversion import _TRTInterpreter as module

        def configure(interpreter: Any, *rest: Any, **named: Any) -> Any:
            return self._config(interpreter, *rest, **named)

        trt: Any = sys.modules["tensorrt"]  # what Torch-TensorRT uses
        trt.Runtime = lambda logger: SimpleNamespace(deserialize_cuda_engine=Built)
        self.trt, self._torch_tensorrt = trt, torch_tensorrt
        self._configure = module.TRTInterpreter._populate_trt_builder_config
        module.TRTInterpreter._populate_trt_builder_config = configure
        self.networks: list[dict[str, Any]] = []
        self.sizes: dict[str, int] = {}
        self._capability = ""

    def build(self, name: str, height: int, width: int, capability: str) -> dict[str, Any]:
        """Build as ``PlanBuilder.build`` does, and describe what came of it."""
        self.networks.clear()
        self._size, self._capability = (height, width), capability
        made, style = builder.BUILDERS[name], StyleModel.open(find(STYLE))
        start_s = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            plan, extra = made._plan(self._torch_tensorrt, style, height, width, made.settings(Path(folder)))
            left = [path.name for path in Path(folder).iterdir()]
        seconds = time.monotonic() - start_s
        found = {"networks": self.networks.copy(), "seconds": seconds, "bytes": len(plan), "left": left}
        return found | (self._refit(style, height, width, extra[REFIT]) if extra else {})

    def _config(self, interpreter: Any, *rest: Any, **named: Any) -> Any:
        config, trt = self._configure(interpreter, *rest, **named), self.trt
        self.networks.append(self._describe(interpreter.ctx.net))
        self.networks[-1]["refit"] = config.get_flag(trt.BuilderFlag.REFIT)
        self.networks[-1]["tf32"] = config.get_flag(trt.BuilderFlag.TF32)
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{self._capability.replace('.', '')}"), 0)
        config.clear_flag(trt.BuilderFlag.REFIT)  # its code is compiled with the driver
        return config

    def _describe(self, network: Any) -> dict[str, Any]:
        trt = self.trt
        layers = [network.get_layer(number) for number in range(network.num_layers)]
        convolutions = [layer for layer in layers if layer.type == trt.LayerType.CONVOLUTION]
        constants = [layer for layer in layers if layer.type == trt.LayerType.CONSTANT]
        self.sizes = {f"{layer.name} CONSTANT": math.prod(layer.get_output(0).shape) for layer in constants}
        for layer in convolutions:
            layer.__class__ = trt.IConvolutionLayer  # how TensorRT's bindings have it
            self.sizes |= {f"{layer.name} KERNEL": layer.kernel.size, f"{layer.name} BIAS": layer.bias.size}
        self.sizes = {name: size for name, size in self.sizes.items() if size}
        body = PlanBody(trt, NetworkEngine(trt, network), *self._size, torch.device("cpu"))  # it refuses other tensors
        return {
            "inputs": [network.get_input(number).name for number in range(network.num_inputs)],
            "outputs": network.num_outputs,
            "frame": list(body.frame.shape),
            "convolutions": collections.Counter(layer.get_output(0).dtype.name for layer in convolutions),
        }

    def _refit(self, style: StyleModel, height: int, width: int, table: dict[str, Any]) -> dict[str, Any]:
        """Put the weights of the style in by the table, as far as that goes without an engine."""
        refitters: list[Refitter] = []

        def refitter(engine: object, logger: object) -> Refitter:
            refitters.append(Refitter(self.sizes, logger))
            return refitters[-1]

        trt = SimpleNamespace(Refitter=refitter, Weights=self.trt.Weights, DataType=self.trt.DataType)
        weights = refittable_weights(to_fp16(load_generator(style)), height, width)
        refit(trt, None, None, table, weights)
        return {"table": table, "style": sorted(weights), "given": refitters[0].given, "listed": list(self.sizes)}


def main() -> None:
    out, *cases = sys.argv[1:]
    builder.DEVICE = torch.device("cpu")
    names = {"shared": "engines.trt.builder:SHARED", "single": "engines.trt.builder:SINGLE"}
    conversions = Conversions(without_card())
    found = {}
    for case in cases:
        kind, size, capability = case.split()
        width, height = parse_size(size)
        found[case] = conversions.build(names[kind], height, width, capability)
    Path(out).write_text(json.dumps({"flavour": asdict(installed()), "cases": found}))


if __name__ == "__main__":
    main()
