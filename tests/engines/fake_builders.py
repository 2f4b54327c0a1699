"""Stand-ins for the builders of plans, and what paints with them on a machine without a card."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch

from engines.base import RGB
from engines.cuda.fp16 import to_fp16
from engines.style_file import StyleModel
from engines.trt.compat import Flavour
from engines.trt.engine import TensorRtEngine
from engines.trt.plan_cache import PlanCache
from engines.trt.plan_record import PlanKey
from engines.trt.refit import random_generator, refit_table, refittable_weights
from engines.trt.runtime import REFIT, verification_frame
from tests.engines.fake_tensorrt import recorded, shape

HIGH, WIDE = 48, 64

ANY = Flavour("tensorrt", "tensorrt 11.0.0", "torch-tensorrt 2.13.0")

KEY = PlanKey("any", "g", HIGH, WIDE, "card", "8.9", "580.1", "13.0", "tensorrt 11", "2.13", "torch-tensorrt 2.13", "f")


class FakeBuilders:
    """Stand-ins for the two builders: their keys alone."""

    def __init__(self) -> None:
        self.shared, self.own = SimpleNamespace(key=self._shared), SimpleNamespace(key=self._own)

    def _shared(self, style: StyleModel, height: int, width: int) -> PlanKey:
        return replace(KEY, height=height, width=width)

    def _own(self, style: StyleModel, height: int, width: int) -> PlanKey:
        return replace(KEY, height=height, width=width, style_sha256=style.name)

    def extra(self, style: StyleModel, height: int, width: int) -> dict[str, Any]:
        network = to_fp16(random_generator(shape(style)))
        return {REFIT: refit_table(recorded(network, height, width), refittable_weights(network, height, width))}


def on_cpu(style: StyleModel, cache: PlanCache) -> TensorRtEngine:
    return TensorRtEngine(style, cache=cache, device=torch.device("cpu"))


def photograph() -> RGB:
    return verification_frame(HIGH, WIDE)[::-1].copy()
