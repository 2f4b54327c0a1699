"""A built TensorRT engine that paints: loaded, given a style's weights, captured in a CUDA graph, and proved."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch

from engines.base import RGB
from engines.cuda.fp16 import without_tf32
from engines.cuda.graph_capture import capture
from engines.errors import EngineError
from engines.model.generator import FrameGraph, load_generator
from engines.parity import difference
from engines.style_file import StyleModel
from engines.trt.compat import Flavour, import_tensorrt
from engines.trt.plan_record import Plan
from engines.trt.refit import RefitError, exchangeable, refit

REFIT = "refit"
"""In what is kept beside an engine: the table of its weights; absent where the engine is one style's own."""


class DifferentError(EngineError):
    """An engine paints another picture than the network that it was built from."""


class PlanBody:
    """One frame size of one style: an ``engines.cuda.stream_pipeline.Body``.

    One execution context, which one thread uses at a time.

    TensorRT's graph takes bytes and gives fp16, see ``engines.trt.compat``. What is left, a cut to bytes, is captured
    in the same CUDA graph.

    Args:
        trt: the TensorRT module.
        engine: that was loaded, its weights exchanged.
        height, width: of the frame, pixels.
        device: where it paints.

    Raises:
        EngineError: the engine is none of ours.
        RuntimeError: of torch, for example where memory is too small.
    """

    def __init__(self, trt: Any, engine: Any, height: int, width: int, device: torch.device) -> None:
        self.frame = torch.zeros((1, height, width, 3), dtype=torch.uint8, device=device)
        self.painting = torch.empty_like(self.frame)
        self.strength = torch.ones(1, device=device)
        self._numbers = torch.empty(self.frame.shape, dtype=torch.float16, device=device)
        self._device = device
        self.bytes_beside = int(getattr(engine, "device_memory_size_v2", 0))
        self._engine = engine  # it must outlive its context
        self._context = engine.create_execution_context()
        if self._context is None:
            raise RuntimeError("TensorRT: out of memory")
        self._bind(trt, engine)
        self.run = capture(self._once, device)

    def _bind(self, trt: Any, engine: Any) -> None:
        """Give TensorRT the place of each tensor; they stay there for good."""
        expected = {
            (trt.TensorIOMode.INPUT, trt.DataType.UINT8): self.frame,
            (trt.TensorIOMode.INPUT, trt.DataType.FLOAT): self.strength,
            (trt.TensorIOMode.OUTPUT, trt.DataType.HALF): self._numbers,
        }
        for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
            kind = (engine.get_tensor_mode(name), engine.get_tensor_dtype(name))
            tensor = expected.pop(kind, None)
            if tensor is None or tuple(engine.get_tensor_shape(name)) != tuple(tensor.shape):
                raise EngineError(f"the engine is no frame graph: it has a tensor {name}")
            if not self._context.set_tensor_address(name, tensor.data_ptr()):
                raise EngineError(f"TensorRT does not take the place of {name}")
        if expected:
            raise EngineError("the engine is no frame graph: a tensor is missing")

    def _once(self) -> None:
        stream = torch.cuda.current_stream(self._device).cuda_stream if self._device.type == "cuda" else 0
        if not self._context.execute_async_v3(stream):
            raise RuntimeError("TensorRT does not start the engine")
        self.painting.copy_(self._numbers)  # truncates


@functools.cache
def _runtime(trt: Any) -> tuple[Any, Any]:
    """TensorRT's logger and runtime: one of each for the process, as TensorRT wants it."""
    logger = trt.Logger(trt.Logger.ERROR)
    return logger, trt.Runtime(logger)


def load_body(
    flavour: Flavour, plan: Plan, style: StyleModel, height: int, width: int, device: torch.device
) -> PlanBody:
    """An engine from the cache, with the weights of a style, proved.

    Args:
        flavour: that built it.
        plan: its bytes, and what is kept beside them.
        style: whose picture it must paint.
        height, width: of the frame, pixels.
        device: where it paints.

    Raises:
        RefitError, DifferentError: it cannot be trusted with this style.
        EngineError: TensorRT does not load it.
        RuntimeError: of torch, for example where memory is too small.
    """
    trt = import_tensorrt(flavour)
    logger, runtime = _runtime(trt)
    engine = runtime.deserialize_cuda_engine(plan.data)
    if engine is None:
        raise EngineError("TensorRT does not load the engine", hint="rtstyle engine clear")
    if table := plan.extra.get(REFIT):
        if not engine.refittable:
            raise RefitError("TensorRT built an engine whose weights cannot be exchanged")
        refit(trt, engine, logger, table, exchangeable(load_generator(style), height, width))
    body = PlanBody(trt, engine, height, width, device)
    prove(body, style)
    return body


def prove(body: PlanBody, style: StyleModel) -> None:
    """Paint a test picture with an engine, and with torch in fp32; both must look alike.

    TensorRT's own notes tell of refittable engines that lose a bias (11.3, known issues), and nothing but the picture
    would show it.

    Raises:
        DifferentError.
    """
    picture = torch.from_numpy(trial_picture(body.frame.shape[1], body.frame.shape[2]))[None]
    body.frame.copy_(picture)
    body.strength.fill_(1.0)
    body.run()
    painting = body.painting[0].cpu().numpy()
    # Not every version of torch reflects bytes on a card.
    graph = FrameGraph(load_generator(style), shuffle_bytes=False).eval().to(body.frame.device)
    with torch.inference_mode(), without_tf32(measured=False):
        expected = graph(body.frame, body.strength)[0].contiguous().cpu().numpy()
    if fault := difference(expected, painting):
        raise DifferentError(f"TensorRT's engine paints another picture than the network: {fault}")


def trial_picture(height: int, width: int) -> RGB:
    """Something of everything: waves of many lengths and colours, flat parts, edges, and the noise of a sensor."""
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    right = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    colours = np.array([0.0, 0.3, 0.6], np.float32)
    picture = 127 + 90 * np.sin(2 * np.pi * (1 + 40 * down) * (right + colours)) * (right > 0.25)
    stripes = np.where(np.arange(width) // 32 % 2, 230.0, 20.0)[None, :, None]
    picture = np.where(down > 0.75, stripes, picture)
    noise = np.random.default_rng(0).normal(0, 3, picture.shape)
    rgb: RGB = np.clip(picture + noise, 0, 255).astype(np.uint8)
    return rgb
