"""Frame in, frame out: the engines, the generator that they run, and the styles that they load.

Importing this loads no runtime; ``load`` imports what it starts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engines.base import Engine
from engines.errors import EngineError
from engines.model_file import StyleModel

__all__ = ["NAMES", "load"]


def _cpu(style: StyleModel, threads: int | None) -> Engine:
    from engines.cpu import CpuEngine

    return CpuEngine(style, threads)


def _torch(style: StyleModel, threads: int | None) -> Engine:
    from engines.eager import EagerEngine

    return EagerEngine(style, threads)


_ENGINES: dict[str, Callable[[StyleModel, int | None], Engine]] = {"cpu": _cpu, "torch": _torch}

AUTO_ORDER = ("cpu", "torch")
"""What ``auto`` tries, best first; an engine that raises EngineError is passed over."""

NAMES = ("auto", *_ENGINES)
"""What ``load`` takes."""


def load(style: StyleModel | str | Path, name: str = "auto", *, threads: int | None = None) -> Engine:
    """Start an engine.

    Args:
        style: a style, or the folder of one.
        name: one of ``NAMES``.
        threads: for arithmetic on the CPU; ``None`` leaves it to the runtime, which takes every core.
    Returns: an engine that is ready; the first frame of each size costs it a compilation.
    Raises:
        EngineError: unknown name, or the engine cannot run here; for ``auto``, none can.
        StyleError: the style is missing, damaged or newer than this version.
    """
    if name not in NAMES:
        raise EngineError(f"there is no engine {name!r}", hint=f"choose one of {', '.join(NAMES)}")
    if not isinstance(style, StyleModel):
        style = StyleModel.open(style)
    if name != "auto":
        return _ENGINES[name](style, threads)
    failures: list[EngineError] = []
    for candidate in AUTO_ORDER:
        try:
            return _ENGINES[candidate](style, threads)
        except EngineError as error:
            failures.append(error)
    raise failures[0]
