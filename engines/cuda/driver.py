"""What NVIDIA's driver says, asked without torch: importing that takes seconds, which is much to find no card."""

from __future__ import annotations

import ctypes
import functools
import sys
from importlib import metadata, util

from engines.errors import EngineError

_DRIVERS = {"win32": "nvcuda.dll", "linux": "libcuda.so.1"}
"""The driver's library; there is none for macOS."""

_SUCCESS = 0


@functools.cache
def cards() -> int:
    """How many NVIDIA cards this process may use; 0 where there is no driver.

    Source:
        CUDA Driver API, ``cuInit`` and ``cuDeviceGetCount``; ``CUDA_VISIBLE_DEVICES`` counts.
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
    """See quickly whether an engine has what it needs.

    Args:
        engine: its name, which is that of its extra as well.
        modules: what it imports.

    Raises:
        EngineError: no card, or a package is missing, or torch was built without CUDA.
    """
    if not cards():
        raise EngineError(
            f"the {engine} engine needs an NVIDIA card and its driver, and none is here",
            hint="`nvidia-smi` must list the card; the cpu engine needs none",
        )
    missing = [module for module in modules if util.find_spec(module) is None]
    if missing:
        raise EngineError(f"the {engine} engine needs {', '.join(missing)}", hint=f'pip install "rtstyle[{engine}]"')
    if "+cpu" in (version := metadata.version("torch")):
        raise built_without_cuda(engine, version)


def built_without_cuda(engine: str, version: str) -> EngineError:
    """What to say of this version of torch."""
    return EngineError(
        f"the {engine} engine needs torch with CUDA; here is {version}",
        hint="pytorch.org/get-started tells the line that installs it",
    )
