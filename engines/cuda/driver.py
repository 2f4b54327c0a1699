"""Ask NVIDIA's driver without torch: importing torch takes seconds, too long only to find that there is no GPU."""

from __future__ import annotations

import ctypes
import functools
import sys
from importlib import metadata, util

from engines.errors import EngineError
from engines.install_hint import pip_install

_DRIVERS = {"win32": "nvcuda.dll", "linux": "libcuda.so.1"}
"""The driver's library by platform; macOS has none."""

_SUCCESS = 0


@functools.cache
def device_count() -> int:
    """Return how many NVIDIA GPUs this process may use; 0 without a driver.

    Source:
        CUDA Driver API, ``cuInit`` and ``cuDeviceGetCount``; they honour ``CUDA_VISIBLE_DEVICES``.
    """
    name = _DRIVERS.get(sys.platform)
    if name is None:
        return 0
    try:
        driver = ctypes.CDLL(name)
        count = ctypes.c_int(0)
        if driver.cuInit(0) != _SUCCESS or driver.cuDeviceGetCount(ctypes.byref(count)) != _SUCCESS:
            return 0
    except (OSError, AttributeError):
        return 0
    return count.value


def check(engine: str, modules: tuple[str, ...] = ("torch",)) -> None:
    """Raise EngineError unless an engine has a GPU, the packages that it imports, and a torch with CUDA. Quick."""
    if not device_count():
        raise EngineError(
            f"the {engine} engine needs an NVIDIA GPU and its driver, and none was found",
            hint="`nvidia-smi` must list the GPU; the cpu engine needs none",
        )
    missing = [module for module in modules if util.find_spec(module) is None]
    if missing:
        raise EngineError(f"the {engine} engine needs {', '.join(missing)}", hint=pip_install(engine))
    if "+cpu" in (version := metadata.version("torch")):
        raise torch_without_cuda(engine, version)


def torch_without_cuda(engine: str, version: str) -> EngineError:
    """Return the error for a torch build without CUDA."""
    return EngineError(
        f"the {engine} engine needs torch with CUDA; torch {version} is installed",
        hint="get the install command from pytorch.org/get-started",
    )
