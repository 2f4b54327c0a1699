"""Engines that stylize frames, the generator network that they run, and the style files that they load.

Importing this package loads no runtime; ``load`` imports the one that it starts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TypeAlias, cast

from engines import plugins
from engines.base import Engine
from engines.errors import EngineError
from engines.style_file import StyleModel

__all__ = ["AUTO_ORDER", "GPU_ENGINES", "INTEL_ENGINES", "NAMES", "load"]

logger = logging.getLogger(__name__)

_Maker: TypeAlias = Callable[[StyleModel, int | None], Engine]


def _cpu(style: StyleModel, threads: int | None, *, precision: str = "", shared: bool = False) -> Engine:
    from engines.openvino.engine import CpuEngine, Precision
    from engines.openvino.precision import choose
    from engines.openvino.shared_weights import SharedCpuEngine

    kind = SharedCpuEngine if shared else CpuEngine
    return kind(style, threads, cast("Precision", precision) if precision else choose(style, threads).precision)


def _intel(style: StyleModel, threads: int | None, *, device: str, fall_back: bool = False) -> Engine:
    from engines.openvino.intel import Device, IntelEngine

    return IntelEngine(style, threads, cast("Device", device), fall_back=fall_back)


def _torch(style: StyleModel, threads: int | None) -> Engine:
    from engines.torch_eager import EagerEngine

    return EagerEngine(style, threads)


def _cuda(style: StyleModel, threads: int | None, *, live: bool = False) -> Engine:
    from engines.cuda.engine import CudaEngine

    return CudaEngine(style, threads, search="later" if live else "first")


def _tensorrt(style: StyleModel, threads: int | None) -> Engine:
    from engines.cuda import driver

    driver.check("tensorrt", ("torch", "torch_tensorrt"))
    from engines.trt.engine import TensorRtEngine

    return TensorRtEngine(style, threads)


_ENGINES: dict[str, _Maker] = {
    "tensorrt": _tensorrt,
    "cuda": _cuda,
    "intel-gpu": partial(_intel, device="GPU"),
    "intel-npu": partial(_intel, device="NPU"),
    "cpu": _cpu,
    "torch": _torch,
}

PRECISIONS = ("fp32", "bf16", "int8")
"""Kinds of arithmetic of the CPU engine."""

_PRECISE: dict[str, _Maker] = {f"cpu:{name}": partial(_cpu, precision=name) for name in PRECISIONS}
"""The CPU engine with a given arithmetic; ``cpu`` takes the faster one of fp32 and int8."""

_SHARED: dict[str, _Maker] = {
    "cpu": partial(_cpu, shared=True),
    **{f"cpu:{name}": partial(_cpu, precision=name, shared=True) for name in PRECISIONS},
}
"""Replacements for ``shared=True``; ``cuda`` always shares its graphs, and ``torch`` compiles nothing."""

_LIVE: dict[str, _Maker] = {"cuda": partial(_cuda, live=True)}
"""Replacements for ``live=True``; the other engines have nothing to search for."""

AUTO_ORDER = ("tensorrt", "cuda", "cpu", "torch")
"""The preference of ``auto``; an engine that raises EngineError is skipped.

``tensorrt`` has to be built first: ``auto`` starts with ``cuda`` and, with ``build_ahead``, switches later.
"""

GPU_ENGINES = ("tensorrt", "cuda")
"""Engines that need an NVIDIA GPU."""

INTEL_ENGINES = ("intel-gpu", "intel-npu")
"""Engines that need an Intel GPU or NPU; ``auto`` takes one where it is faster than ``cpu``."""

NAMES = ("auto", *_ENGINES)
"""Names that ``load`` accepts, apart from those with a precision and those that plugins add."""


def load(
    style: StyleModel | str | Path,
    name: str = "auto",
    *,
    threads: int | None = None,
    build_ahead: bool = False,
    shared: bool = False,
    live: bool = False,
) -> Engine:
    """Start an engine.

    Args:
        style: a style, or the folder of one.
        name: one of ``NAMES``, or an engine that a plugin adds. ``tensorrt`` stylizes only frame sizes that
            ``rtstyle engine build`` has built. ``cpu`` takes the faster one of fp32 and int8, ``cpu:fp32``,
            ``cpu:bf16`` and ``cpu:int8`` the arithmetic that they name.
        threads: CPU threads for the arithmetic; ``None`` leaves the choice to the runtime, which uses every core.
        build_ahead: where ``auto`` runs ``cuda`` and TensorRT is installed, build a TensorRT engine in another process
            meanwhile, and switch to it between two frames if it is at least 1.2 times as fast. The progress is logged.
            Not worth it for a few images.
        shared: prepare for many styles in turn, each with an engine of its own, which share compiled graphs so that
            changing the style takes no time. On the CPU, frames take a few percent longer.
        live: prepare for frames that are shown as they come: ``cuda`` searches for the fastest kernels for a frame size
            while frames run instead of before the first one. When they take over, the last bits of the picture change.

    Returns:
        an engine that is ready; the first frame of each size costs a compilation.

    Raises:
        EngineError: there is no such engine, or it cannot run here; for ``auto``, none can.
        StyleError: the style is missing, damaged, or newer than this version.
    """
    plugin = None
    makers = _ENGINES | _PRECISE | (_SHARED if shared else {}) | (_LIVE if live else {})
    if name != "auto" and name not in makers:
        plugin = plugins.find("rtstyle.engines", name, EngineError)
        if plugin is None:
            names = [*NAMES, *_PRECISE, *plugins.names("rtstyle.engines")]
            raise EngineError(f"there is no engine {name!r}", hint=f"choose one of {', '.join(names)}")
    if not isinstance(style, StyleModel):
        style = StyleModel.open(style)
    if plugin is not None:
        return cast("Engine", plugin(style, threads))
    return makers[name](style, threads) if name != "auto" else _auto(makers, style, threads, build_ahead=build_ahead)


def _auto(makers: Mapping[str, _Maker], style: StyleModel, threads: int | None, *, build_ahead: bool) -> Engine:
    """Return the first engine that works. Skip ``cuda`` without a GPU: torch would take seconds to find out."""
    from engines.cuda import driver

    if not driver.device_count():
        return _without_gpu(makers, style, threads, driver.why_unavailable())
    try:
        engine = _proven(makers["cuda"], style, threads)
    except EngineError as error:
        return _without_gpu(makers, style, threads, str(error))
    from engines.fallback import FallbackEngine

    first = FallbackEngine(engine, style, lambda other: _without_gpu(makers, other, threads))
    return _with_hot_swap(first, style) if build_ahead else first


def _proven(cuda: _Maker, style: StyleModel, threads: int | None) -> Engine:
    """Return the CUDA engine. Raise EngineError if it does not work, or stylizes otherwise than the CPU."""
    engine = cuda(style, threads)
    from engines.cuda.proof import prove

    try:
        prove(engine, style)
    except BaseException:
        engine.close()
        raise
    return engine


def _without_gpu(makers: Mapping[str, _Maker], style: StyleModel, threads: int | None = None, why: str = "") -> Engine:
    """Return the first engine that works without an NVIDIA GPU, and say once why there is none, if it is known."""
    failures: list[EngineError] = []
    for name in AUTO_ORDER:
        if name in GPU_ENGINES:
            continue
        try:
            engine = _fastest(makers["cpu"], style, threads) if name == "cpu" else makers[name](style, threads)
        except EngineError as error:
            failures.append(error)
            continue
        if why:
            _warn_without_gpu(name, why)
        return engine
    raise failures[0]  # the one that every machine can have


def _fastest(cpu: _Maker, style: StyleModel, threads: int | None) -> Engine:
    """Return the CPU engine, or that of Intel's GPU or NPU where it is faster."""
    from engines.openvino.precision import fastest_processor

    name = fastest_processor(style, threads)
    return cpu(style, threads) if name == "cpu" else _intel(style, threads, device=name[-3:].upper(), fall_back=True)


@cache  # once: a live run loads an engine for each style
def _warn_without_gpu(name: str, why: str) -> None:
    logger.warning("the NVIDIA GPU is not used, and %s is slower: %s", name, why)


def _with_hot_swap(engine: Engine, style: StyleModel) -> Engine:
    """Return an engine that turns into a TensorRT engine, or the same one where TensorRT cannot run."""
    from engines.cuda import driver

    try:
        driver.check("tensorrt", ("torch", "torch_tensorrt"))
    except EngineError:
        return engine
    from engines.hot_swap import HotSwapEngine
    from engines.trt.background_build import BackgroundBuild
    from engines.trt.plan_record import MIN_SPEEDUP

    def start_build(height: int, width: int) -> BackgroundBuild:
        return BackgroundBuild(style, height, width, min_speedup=MIN_SPEEDUP)

    return HotSwapEngine(engine, start_build)
