"""The TensorRT engine: fp16 on an NVIDIA GPU, from a plan that was built on this machine for this frame size.

A plan is never built while a frame waits: ``engines.trt.background_build`` builds it in another process, and
``engines.hot_swap`` keeps another engine running meanwhile.
"""

from __future__ import annotations

from typing import cast

import torch

from engines.base import RGB, BaseEngine, EngineInfo, PendingFrame, StrengthMap, check_colours, check_rgb
from engines.cuda.engine import require
from engines.cuda.stream_pipeline import StreamPipeline
from engines.errors import EngineError
from engines.strength_map import blend_pending, check_strength_for, graph_strength
from engines.style_file import StyleModel
from engines.trt import builder
from engines.trt.compat import import_tensorrt, installed
from engines.trt.plan_cache import PlanCache
from engines.trt.refit import RefitError
from engines.trt.runtime import MismatchError, PlanBody, load_body
from engines.trt.runtime_cache import RuntimeCache


class TensorRtEngine(BaseEngine):
    """Stylizes with built plans; implements ``engines.base.PipelinedEngine``. Thread-safe.

    A frame size whose plan is not in the cache raises an error; ``engines.trt.background_build`` builds it. Each engine
    holds its own copy of the plan on the GPU, with its style's weights, so changing the style means changing the engine
    and takes no time. Importing this module imports torch; ``engines.cuda.engine.require`` says whether that works.

    Args:
        threads: ignored, but must be 1 or more; as for the other engines.
        cache: where the plans are; by default the user's cache.
        device: for tests only, ``cpu`` with a stand-in for TensorRT.

    Raises:
        EngineError: there is no GPU, TensorRT is missing or does not run on this GPU, or the cache is not safe to use.
    """

    def __init__(
        self,
        style: StyleModel,
        threads: int | None = None,
        cache: PlanCache | None = None,
        *,
        device: torch.device | None = None,
    ) -> None:
        super().__init__(threads)
        device = device or builder.DEVICE
        require(device.type)
        self._flavour = installed()
        if device.type == "cuda":
            major, minor = torch.cuda.get_device_capability(device)
            self._flavour.check(f"{major}.{minor}")
        import_tensorrt(self._flavour)  # fail now rather than at the first frame
        self._style, self._device = style, device
        self._cache = cache or PlanCache()
        self._pipeline = StreamPipeline(self._body, str(device))
        self.info = EngineInfo(
            name="tensorrt",
            runtime=self._flavour.runtime,
            device=str(torch.cuda.get_device_name(device)) if device.type == "cuda" else str(device),
            precision="fp16",
            style=style.name,
        )

    def submit(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> PendingFrame:
        """Start on one frame; see ``engines.base.PipelinedEngine``. Raise EngineError if its size has no plan."""
        check_rgb(rgb)
        check_strength_for(rgb, strength)
        check_colours(colours)
        pending = self._pipeline.submit(
            rgb, graph_strength(strength), lambda body: cast("PlanBody", body).take_colours(colours)
        )
        return blend_pending(pending, rgb, strength)

    def __call__(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> RGB:
        """Stylize one frame; see ``submit``."""
        return self.submit(rgb, strength, colours).result()

    def close(self) -> None:
        """Free the GPU memory. May be called twice."""
        self._pipeline.close()

    def _body(self, height: int, width: int) -> PlanBody:
        """Load the best plan in the cache that passes verification."""
        for plan_builder in builder.BUILDERS.values():
            key = plan_builder.key(self._style, height, width)
            if self._cache.fault(key) or (plan := self._cache.get(key)) is None:
                continue
            try:
                kernels = RuntimeCache(self._cache, key)
                return load_body(self._flavour, plan, self._style, height, width, self._device, kernels)
            except (RefitError, MismatchError) as error:
                self._cache.mark_failed(key, error.problem)
        raise EngineError(
            f"no TensorRT engine is built for {width}×{height}",
            hint=f"rtstyle engine build {self._style.name} --size {width}x{height}",
        )
