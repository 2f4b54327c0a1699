"""Frame in, frame out: the engines, the generator that they run, and the styles that they load.

Importing this loads no runtime; ``load`` imports what it starts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engines.base import Engine
from engines.errors import EngineError
from engines.style_file import StyleModel

__all__ = ["AUTO_ORDER", "NAMES", "ON_CARDS", "load"]


def _cpu(style: StyleModel, threads: int | None) -> Engine:
    from engines.openvino.engine import CpuEngine

    return CpuEngine(style, threads)


def _cpu_shared(style: StyleModel, threads: int | None) -> Engine:
    from engines.openvino.shared_weights import SharedCpuEngine

    return SharedCpuEngine(style, threads)


def _torch(style: StyleModel, threads: int | None) -> Engine:
    from engines.torch_eager import EagerEngine

    return EagerEngine(style, threads)


def _cuda(style: StyleModel, threads: int | None) -> Engine:
    from engines.cuda.engine import CudaEngine

    return CudaEngine(style, threads)


def _tensorrt(style: StyleModel, threads: int | None) -> Engine:
    from engines.cuda import driver

    driver.check("tensorrt", ("torch", "torch_tensorrt"))
    from engines.trt.engine import TensorRtEngine

    return TensorRtEngine(style, threads)


_ENGINES: dict[str, Callable[[StyleModel, int | None], Engine]] = {
    "tensorrt": _tensorrt,
    "cuda": _cuda,
    "cpu": _cpu,
    "torch": _torch,
}

_SHARING: dict[str, Callable[[StyleModel, int | None], Engine]] = {"cpu": _cpu_shared}
"""Those that are others where many styles are painted in turn; ``cuda`` always shares, ``torch`` compiles nothing."""

AUTO_ORDER = ("tensorrt", "cuda", "cpu", "torch")
"""What ``auto`` tries, best first; an engine that raises EngineError is passed over.

``tensorrt`` has to be built first: ``auto`` begins with the next and lets it take over if it is faster; see ``load``.
"""

ON_CARDS = ("tensorrt", "cuda")
"""Those that only an NVIDIA card runs."""

NAMES = ("auto", *_ENGINES)
"""What ``load`` takes."""


def load(
    style: StyleModel | str | Path,
    name: str = "auto",
    *,
    threads: int | None = None,
    told: Callable[[str], None] | None = None,
    sharing: bool = False,
) -> Engine:
    """Start an engine.

    Args:
        style: a style, or the folder of one.
        name: one of ``NAMES``. ``tensorrt`` paints only those frame sizes that `rtstyle engine build` has built.
        threads: for arithmetic on the CPU; ``None`` leaves it to the runtime, which takes every core.
        told: where this is given, ``auto`` has a TensorRT engine built in another process when it can, paints on
            meanwhile, and changes to it between two frames if it is 1.2 × as fast; this takes a line about how far that
            is, in another thread. For a picture or two that is not worth it.
        sharing: many styles are painted in turn, each by an engine of its own; they share what is compiled, so that a
            change of style takes no time. On the CPU this costs each frame a few hundredths.

    Returns:
        an engine that is ready; the first frame of each size costs it a compilation.

    Raises:
        EngineError: unknown name, or the engine cannot run here; for ``auto``, none can.
        StyleError: the style is missing, damaged or newer than this version.
    """
    if name not in NAMES:
        raise EngineError(f"there is no engine {name!r}", hint=f"choose one of {', '.join(NAMES)}")
    if not isinstance(style, StyleModel):
        style = StyleModel.open(style)
    makers = _ENGINES | _SHARING if sharing else _ENGINES
    return makers[name](style, threads) if name != "auto" else _auto(makers, style, threads, told)


def _auto(
    makers: dict[str, Callable[[StyleModel, int | None], Engine]],
    style: StyleModel,
    threads: int | None,
    told: Callable[[str], None] | None,
) -> Engine:
    """The first that works; none of those for a card where there is no card: to find that out takes torch seconds."""
    from engines.cuda import driver

    order = [name for name in AUTO_ORDER if name != "tensorrt" and (name != "cuda" or driver.cards())]
    failures: dict[str, EngineError] = {}
    for name in order:
        try:
            engine = makers[name](style, threads)
        except EngineError as error:
            failures[name] = error
            continue
        return _improving(engine, style, told) if name == "cuda" and told is not None else engine
    raise failures["cpu"]  # what every machine can have


def _improving(engine: Engine, style: StyleModel, told: Callable[[str], None]) -> Engine:
    """An engine that becomes a TensorRT engine, where that can be had here."""
    from engines.cuda import driver

    try:
        driver.check("tensorrt", ("torch", "torch_tensorrt"))
    except EngineError:
        return engine
    from engines.hot_swap import TakeOver
    from engines.trt.engine import PlanAhead

    def ahead(height: int, width: int) -> PlanAhead:
        return PlanAhead(style, height, width, choosy=True)

    return TakeOver(engine, ahead, on_fault=told, on_progress=told)
