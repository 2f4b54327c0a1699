"""A stand-in for TensorRT for RTX: ``fake_tensorrt`` with a runtime cache.

What it compiles when an engine first runs are the bytes of ``KERNELS``, and its cache takes no others. Contexts with
cached kernels that are in ``WRONG`` return black frames.
"""

from __future__ import annotations

import json
from typing import Any

import torch

from tests.engines import fake_tensorrt
from tests.engines.fake_tensorrt import DataType, Logger, Refitter, TensorIOMode, Weights, at

__all__ = ["DataType", "IRuntimeCache", "Logger", "Refitter", "Runtime", "TensorIOMode", "Weights"]

KERNELS = b"kernels for this card"
WRONG = b"kernels, as long, wrong"

compiled: list[str] = []
"""How each context got its kernels: ``compiled`` or ``cached``."""


class IRuntimeCache:
    def __init__(self) -> None:
        self.data = b""

    def deserialize(self, data: bytes) -> bool:
        self.data = data if data in (KERNELS, WRONG) else b""
        return bool(self.data)

    def serialize(self) -> bytes | None:
        return self.data or None


class RuntimeConfig:
    def __init__(self) -> None:
        self.cache: IRuntimeCache | None = None

    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache()

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        self.cache = cache
        return True


class Engine(fake_tensorrt.Engine):
    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig()

    def create_execution_context(self, config: RuntimeConfig | None = None) -> Context:
        return Context(self, config.cache if config else None)


class Context(fake_tensorrt.Context):
    def __init__(self, engine: Engine, cache: IRuntimeCache | None) -> None:
        super().__init__(engine)
        self.cache = cache or IRuntimeCache()
        compiled.append("cached" if self.cache.data else "compiled")

    def execute_async_v3(self, stream: int) -> bool:
        started = super().execute_async_v3(stream)
        self.cache.data = self.cache.data or KERNELS
        if self.cache.data == WRONG:
            height, width = self.engine.size
            at(self.places["output0"], height * width * 3, torch.float16).zero_()
        return started

    def is_stream_capturable(self, stream: int) -> bool:
        return stream != 0


class Runtime(fake_tensorrt.Runtime):
    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        return Engine(json.loads(plan))
