"""The torch engine: the generator as it was trained. The reference that all others are compared with."""

from __future__ import annotations

from typing import Any

import numpy as np

from engines.base import RGB, EngineInfo, check_rgb, check_strength
from engines.errors import EngineError
from engines.style_file import StyleModel


class EagerEngine:
    """Stylizes with torch on CUDA, MPS or the CPU; see ``engines.base.Engine`` for the promises.

    Args:
        style: a verified style.
        threads: for the CPU's arithmetic; torch has one such setting for the whole process, so ``None`` leaves it.
        device: ``auto``, ``cuda``, ``mps`` or ``cpu``; ``auto`` takes the first of these that is there.

    Raises:
        EngineError: torch is missing, or has no such device.
        StyleError: the weights do not fit the generator.
    """

    def __init__(self, style: StyleModel, threads: int | None = None, device: str = "auto") -> None:
        if threads is not None and threads < 1:
            raise EngineError(f"cannot run on {threads} threads", hint="give 1 or more")
        try:
            import torch
        except ImportError as error:
            raise EngineError("the torch engine needs torch", hint='pip install "rtstyle[train]"') from error
        if threads is not None:
            torch.set_num_threads(threads)
        self._device = _device(device)
        from engines.model.generator import FrameGraph, load_generator

        try:
            # Not every version of torch reflects bytes on a card.
            bytes_too = self._device == "cpu"
            self._graph: Any = FrameGraph(load_generator(style), shuffle_bytes=bytes_too).eval().to(self._device)
        except RuntimeError as error:
            raise EngineError(f"torch cannot use {self._device}: {error}") from error
        self._info = EngineInfo(
            name="torch",
            runtime=f"torch {torch.__version__}",
            device=_device_name(self._device),
            precision="fp32",
            style=style.name,
        )

    @property
    def info(self) -> EngineInfo:
        """What this engine is."""
        return self._info

    def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
        """Stylize one frame; see ``engines.base.Engine``.

        Raises:
            ShapeError: not an RGB picture, or outside the size limits; strength outside 0…1.
            EngineError: the engine is closed, or torch failed (out of memory).
        """
        import torch

        check_rgb(rgb)
        check_strength(strength)
        if self._graph is None:
            raise EngineError("the engine is closed")
        # torch shares memory with writable, contiguous arrays only, and warns about the rest.
        frame = torch.from_numpy(np.require(rgb, requirements=["C", "W"]))
        try:
            # TF32 would make the reference itself 10 bits exact. `flags` turns off what it is not told to leave on.
            with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                painting = self._graph(frame[None].to(self._device), torch.tensor([strength], device=self._device))
                result: RGB = painting[0].contiguous().cpu().numpy()
        except RuntimeError as error:
            raise EngineError(f"torch failed on a frame of {rgb.shape[1]}×{rgb.shape[0]}: {error}") from error
        return result

    def close(self) -> None:
        """Free the weights."""
        self._graph = None


def _device(name: str) -> str:
    """The device that is meant, if torch has it."""
    import torch

    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, there in present.items() if there)
    if not present.get(name, False):
        raise EngineError(
            f"torch has no device {name} here", hint=f"here: {', '.join(d for d in present if present[d])}"
        )
    return name


def _device_name(device: str) -> str:
    import torch

    return str(torch.cuda.get_device_name()) if device == "cuda" else device
