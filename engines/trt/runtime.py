"""Run a built TensorRT engine: load it, refit a style's weights, capture it in a CUDA graph, and verify it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from engines.base import RGB
from engines.cuda.fp16 import without_tf32
from engines.cuda.graph_capture import capture
from engines.errors import EngineError
from engines.model.generator import FrameGraph, load_generator
from engines.model.own_colours import LUMA
from engines.parity import mismatch
from engines.style_file import StyleModel
from engines.trt.compat import Flavour, import_tensorrt
from engines.trt.plan_record import Plan
from engines.trt.refit import RefitError, refit, refittable_weights
from engines.trt.runtime_cache import RuntimeCache

REFIT = "refit"
"""Metadata: the table of an engine's weights; absent for an engine of one style."""

logger = logging.getLogger(__name__)


class MismatchError(EngineError):
    """An engine gives another result than the network that it was built from."""


class PlanBody:
    """One frame size of one style: an ``engines.cuda.body.Body``. Not thread-safe.

    TensorRT's graph takes bytes and returns fp16, see ``engines.trt.compat``; the truncation to bytes is captured in
    the same CUDA graph. The engine is loaded already, and its weights refitted. Own colours are mixed in later, by a
    second CUDA graph, captured when it is first needed: refitting weights would take longer than a frame.

    Raises:
        EngineError: the engine is not a frame graph of this size.
    """

    def __init__(
        self,
        trt: Any,
        engine: Any,
        height: int,
        width: int,
        device: torch.device,
        runtime_cache: RuntimeCache | None = None,
    ) -> None:
        self.frame = torch.zeros((1, height, width, 3), dtype=torch.uint8, device=device)
        self.stylized = torch.empty_like(self.frame)
        self.strength = torch.ones(1, device=device)
        self._colours = torch.zeros(1, device=device)
        self._luma = torch.tensor(LUMA, device=device)
        self._output = torch.empty(self.frame.shape, dtype=torch.float16, device=device)
        self._device = device
        self.bytes_beside = int(getattr(engine, "device_memory_size_v2", 0))
        self._engine = engine  # it must outlive its context
        self._context, self._beside = (
            runtime_cache.create_context(trt, engine) if runtime_cache else (engine.create_execution_context(), None)
        )
        if self._context is None:
            raise RuntimeError("TensorRT: out of memory")
        self._bind(trt, engine)
        self._plain = self.run = capture(self._once, device, self._can_capture)
        self._own: Callable[[], None] | None = None

    def take_colours(self, colours: float) -> None:
        """Enqueue, on the current stream, the share of the frame's own colours for the next run."""
        if not colours:
            self.run = self._plain
            return
        self._colours.fill_(colours)
        if self._own is None:
            self._own = capture(self._once_with_own_colours, self._device, self._can_capture)
        self.run = self._own

    def _bind(self, trt: Any, engine: Any) -> None:
        """Bind the tensors to the engine's inputs and outputs; their addresses never change."""
        expected = {
            (trt.TensorIOMode.INPUT, trt.DataType.UINT8): self.frame,
            (trt.TensorIOMode.INPUT, trt.DataType.FLOAT): self.strength,
            (trt.TensorIOMode.OUTPUT, trt.DataType.HALF): self._output,
        }
        for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
            kind = (engine.get_tensor_mode(name), engine.get_tensor_dtype(name))
            tensor = expected.pop(kind, None)
            if tensor is None or tuple(engine.get_tensor_shape(name)) != tuple(tensor.shape):
                raise EngineError(f"the engine is not a frame graph of this size: unexpected tensor {name}")
            if not self._context.set_tensor_address(name, tensor.data_ptr()):
                raise EngineError(f"TensorRT rejects the address of {name}")
        if expected:
            raise EngineError("the engine is not a frame graph of this size: a tensor is missing")

    def _can_capture(self, stream: torch.cuda.Stream) -> bool:
        """Return False if TensorRT for RTX, which compiles kernels as it runs, cannot be captured on a stream."""
        ask = getattr(self._context, "is_stream_capturable", None)
        if ask is None or ask(stream.cuda_stream):
            return True
        logger.info("TensorRT cannot be captured in a CUDA graph here; its kernels are launched one by one")
        return False

    def _once(self) -> None:
        self._execute()
        self.stylized.copy_(self._output)  # truncates

    def _once_with_own_colours(self) -> None:
        """Mix in own colours after the blend, which is linear like they are; see ``engines.model.own_colours``."""
        self._execute()
        x, y = self.frame.float(), self._output.float() - 0.5
        own = x + ((y - x) @ self._luma)[..., None]
        self.stylized.copy_((torch.lerp(y, own, self._colours) + 0.5).clamp_(0.0, 255.0))

    def _execute(self) -> None:
        stream = torch.cuda.current_stream(self._device).cuda_stream if self._device.type == "cuda" else 0
        if not self._context.execute_async_v3(stream):
            raise RuntimeError("TensorRT cannot start the engine")


@functools.cache
def _runtime(trt: Any) -> tuple[Any, Any]:
    """Return TensorRT's logger and runtime, of which a process must have one each."""
    errors = trt.Logger(trt.Logger.ERROR)
    return errors, trt.Runtime(errors)


def load_body(
    flavour: Flavour,
    plan: Plan,
    style: StyleModel,
    height: int,
    width: int,
    device: torch.device,
    runtime_cache: RuntimeCache | None = None,
) -> PlanBody:
    """Load an engine for a frame size in pixels, refit the weights of a style, and verify its output.

    Kernels from ``runtime_cache`` are verified with it: if the output is wrong, they are compiled once again.

    Raises:
        RefitError: its weights cannot be refitted.
        MismatchError: its result is not the network's.
        EngineError: TensorRT cannot load it.
    """
    trt = import_tensorrt(flavour)
    errors, runtime = _runtime(trt)
    engine = runtime.deserialize_cuda_engine(plan.data)
    if engine is None:
        raise EngineError("TensorRT cannot load the engine", hint="rtstyle engine clear")
    if weight_names := plan.extra.get(REFIT):
        if not engine.refittable:
            raise RefitError("TensorRT built an engine whose weights cannot be refitted")
        refit(trt, engine, errors, weight_names, refittable_weights(load_generator(style), height, width))
    body = PlanBody(trt, engine, height, width, device, runtime_cache)
    try:
        verify(body, style)
    except MismatchError:
        if runtime_cache is None or not runtime_cache.forget():
            raise
        body = PlanBody(trt, engine, height, width, device, runtime_cache)
        verify(body, style)
    if runtime_cache is not None:
        runtime_cache.save()
    return body


def verify(body: PlanBody, style: StyleModel) -> None:
    """Compare an engine with torch in fp32 on a test frame.

    TensorRT's release notes mention refittable engines that lose a bias (11.3, known issues); only the output shows it.
    """
    picture = torch.from_numpy(verification_frame(body.frame.shape[1], body.frame.shape[2]))[None]
    body.frame.copy_(picture)
    body.strength.fill_(1.0)
    body.run()
    actual = body.stylized[0].cpu().numpy()
    # Not every version of torch reflects bytes on a GPU.
    graph = FrameGraph(load_generator(style), shuffle_bytes=False).eval().to(body.frame.device)
    with torch.inference_mode(), without_tf32(benchmark=False):
        expected = graph(body.frame, body.strength)[0].contiguous().cpu().numpy()
    if fault := mismatch(expected, actual):
        raise MismatchError(f"the engine's output differs from the network's: {fault}")


def verification_frame(height: int, width: int) -> RGB:
    """Return a test frame with waves of many lengths and colours, flat parts, edges and sensor noise."""
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    right = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    colours = np.array([0.0, 0.3, 0.6], np.float32)
    picture = 127 + 90 * np.sin(2 * np.pi * (1 + 40 * down) * (right + colours)) * (right > 0.25)
    stripes = np.where(np.arange(width) // 32 % 2, 230.0, 20.0)[None, :, None]
    picture = np.where(down > 0.75, stripes, picture)
    noise = np.random.default_rng(0).normal(0, 3, picture.shape)
    rgb: RGB = np.clip(picture + noise, 0, 255).astype(np.uint8)
    return rgb
