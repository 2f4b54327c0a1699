"""Which torch is installed, found without importing it, and the commands that install one for CUDA.

PyPI's torch is built for CUDA on Linux and for the CPU alone on Windows. PyTorch's own index has both builds for both
systems. An installed CPU build satisfies ``torch>=2.11``, so it stays unless pip is told to upgrade from that index,
where a version like 2.14.1+cu130 counts as newer than 2.14.1 and 2.14.1+cpu.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata, util
from pathlib import Path
from typing import NamedTuple

from engines.install_hint import pip_install, pip_upgrade

CUDA = "cu130"
"""The CUDA of PyTorch's index that Torch-TensorRT on PyPI is built for."""

OLDER_CUDA = "cu126"
"""The one for older drivers, and for cards from Maxwell to Volta."""

TORCH = {"cuda": "torch>=2.11", "tensorrt": "torch>=2.11,<2.15", "rtx": "torch>=2.11,<2.15"}
"""Versions of torch by extra, as in pyproject.toml. Torch-TensorRT needs its own minor version; its latest is 2.14."""

_CUDA_LINE = re.compile(r"^cuda\b[^=\n]*=\s*(?:None|['\"]([\d.]+)['\"])", re.MULTILINE)


class TorchBuild(NamedTuple):
    """An installed torch: its version, and the version of CUDA that it is built for, ``None`` for a CPU build."""

    version: str
    cuda: str | None


def torch_build() -> TorchBuild | None:
    """Return the torch that is installed; ``None`` without one.

    The version in its metadata does not tell a CPU build from PyPI, so its own file ``version.py`` is read.
    """
    spec = util.find_spec("torch")
    if spec is None:
        return None
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        version = "?"
    for folder in spec.submodule_search_locations or ():
        try:
            line = _CUDA_LINE.search((Path(folder) / "version.py").read_text(encoding="utf-8"))
        except OSError:
            continue
        if line is not None:
            return TorchBuild(version, line[1])
    # An unknown layout: importing torch will tell.
    return TorchBuild(version, None if "+cpu" in version else version.partition("+cu")[2] or "0")


def torch_for_cuda(engine: str) -> str:
    """Return the command that installs a torch for CUDA 13, also in place of a CPU build."""
    return pip_upgrade(TORCH.get(engine, TORCH["cuda"]), CUDA)


def torch_for_older_cuda() -> str:
    """Return the commands that install a torch for CUDA 12 in place of any other; the cuda engine runs with it."""
    return pip_upgrade(TORCH["cuda"], OLDER_CUDA, replace=True)


def add_packages(engine: str) -> str:
    """Return the command, or two, that install what an engine for NVIDIA GPUs needs on this system."""
    system: str = sys.platform
    if system != "win32":
        return pip_install(engine)
    first = torch_for_cuda(engine)
    return first if engine == "cuda" else f"{first}, then {pip_install(engine)}"
