"""Errors of a GPU's runtime as errors of an engine, and what tells a lack of memory from other faults."""

from __future__ import annotations

from contextlib import suppress

import torch

from engines.errors import EngineError

SMALLER = (1080, 720, 480, 360)
"""Heights, in pixels, that are suggested when the memory is too small."""

_OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED", "OutOfMemory", "not enough memory")
"""How torch, CUDA, cuDNN, cuBLAS and TensorRT say it."""

NO_KERNEL = "unable to find an engine"
"""What cuDNN says if each kernel failed: for lack of memory, or because it has none for this card and these types."""

AMPLE = 512 << 20, 100
"""Free device memory in bytes, and for each pixel of the frame, with which a kernel does not fail for lack of it."""


def as_engine_error(error: BaseException, height: int, width: int) -> EngineError:
    """Return a runtime's error on a frame of this size, in pixels, as one line with a hint."""
    frame = f"a frame of {width}×{height}"
    if is_out_of_memory(error, height * width):
        smaller = next((side for side in SMALLER if side < height), None)
        hint = (
            f"use a smaller working size: --height {smaller} (in Python: height={smaller})"
            if smaller
            else "close other programs that use the GPU"
        )
        return EngineError(f"the GPU memory is too small for {frame}", hint=hint)
    if NO_KERNEL in str(error):
        hint = "another version of torch may have one; --engine cpu (in Python: engine='cpu') needs none"
        return EngineError(f"cuDNN has no kernel for {frame} on this GPU", hint=hint)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return EngineError(
        f"the GPU failed on {frame}: {lines[0].strip().rstrip('.')}",
        hint="restart; if it fails again, check with nvidia-smi that the GPU is still there",
    )


def is_out_of_memory(error: BaseException, pixels: int = 0) -> bool:
    """Return True if a runtime reports a lack of memory, for a frame of this many pixels."""
    text = str(error)
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(words in text for words in _OUT_OF_MEMORY):
        return True
    return NO_KERNEL in text and free_bytes() < AMPLE[0] + AMPLE[1] * pixels


def free_bytes() -> int:
    """Return the device memory that torch can still get, bytes; 0 if unknown."""
    with suppress(RuntimeError):
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return 0
