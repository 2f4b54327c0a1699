"""The torch engine: runs the generator as it was trained; the reference for all others."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import numpy as np

from engines.base import RGB, BaseEngine, EngineInfo, StrengthMap, check_colours, check_rgb
from engines.errors import EngineError
from engines.install_hint import pip_install
from engines.model.own_colours import with_own_colours
from engines.strength_map import blend, check_strength_for, graph_strength
from engines.style_file import StyleModel


class EagerEngine(BaseEngine):
    """Stylizes with torch on CUDA, MPS or the CPU; implements ``engines.base.Engine``.

    Args:
        threads: CPU threads of torch, a setting of the whole process; ``None`` leaves it alone.
        device: ``cuda``, ``mps``, ``cpu``, or ``auto`` for the first of these that is available.

    Raises:
        EngineError: torch is missing or has no such device.
    """

    def __init__(self, style: StyleModel, threads: int | None = None, device: str = "auto") -> None:
        super().__init__(threads)
        try:
            import torch
        except ImportError as error:
            raise EngineError("the torch engine needs torch", hint=pip_install("train")) from error
        if threads is not None:
            torch.set_num_threads(threads)
        self._device = _device(device)
        from engines.model.generator import FrameGraph, load_generator

        try:
            # Not every version of torch can reflect bytes on a GPU.
            on_cpu = self._device == "cpu"
            self._graph: Any = FrameGraph(load_generator(style), shuffle_bytes=on_cpu).eval().to(self._device)
        except RuntimeError as error:
            raise EngineError(f"torch cannot use {self._device}: {error}") from error
        self._weights, self._colours = style.tensors(), 0.0
        self.info = EngineInfo(
            name="torch",
            runtime=f"torch {torch.__version__}",
            device=str(torch.cuda.get_device_name()) if self._device == "cuda" else self._device,
            precision="fp32",
            style=style.name,
        )

    def __call__(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> RGB:
        """Stylize one frame; see ``engines.base.Engine``."""
        import torch

        check_rgb(rgb)
        check_strength_for(rgb, strength)
        check_colours(colours)
        if self._graph is None:
            raise EngineError("the engine is closed")
        # torch shares memory only with writable, contiguous arrays and warns about others.
        frame = torch.from_numpy(np.require(rgb, requirements=["C", "W"]))
        try:
            with torch.inference_mode(), self._full_precision():
                self._take_colours(colours)
                stylized = self._graph(
                    frame[None].to(self._device), torch.tensor([graph_strength(strength)], device=self._device)
                )
                result: RGB = stylized[0].contiguous().cpu().numpy()
        except RuntimeError as error:
            raise EngineError(f"torch failed on a frame of {rgb.shape[1]}×{rgb.shape[0]}: {error}") from error
        return blend(result, rgb, strength)

    def _full_precision(self) -> AbstractContextManager[object]:
        """Keep cuDNN from TF32, which would reduce the reference to 10 bits.

        That is a setting of the process, which a CPU has no use for while another thread has set it for a GPU.
        """
        import torch

        if self._device == "cpu":
            return nullcontext()
        # `flags` disables whatever is not passed, so pass `enabled`.
        return cast("AbstractContextManager[object]", torch.backends.cudnn.flags(enabled=True, allow_tf32=False))

    def _take_colours(self, colours: float) -> None:
        """Load the weights for a share of own colours, if it is another one than before."""
        import torch

        if colours != self._colours:
            state = self._graph.generator.state_dict()
            for name, value in with_own_colours(self._weights, colours).items():
                state[name].copy_(torch.from_numpy(value))
            self._colours = colours

    def close(self) -> None:
        """Free the weights. May be called twice."""
        self._graph = None


def _device(name: str) -> str:
    """Return the device to use. Raise EngineError if torch does not have it."""
    import torch

    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, available in present.items() if available)
    if not present.get(name, False):
        devices = ", ".join(device for device, available in present.items() if available)
        raise EngineError(f"torch has no device {name} here", hint=f"available: {devices}")
    return name
