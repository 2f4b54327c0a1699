"""Which arithmetic and which of Intel's processors is fastest on this machine: measured once, and remembered.

All are compared on frames of one size; another size would not change which one wins. bf16 is left to the user: where it
is fast, int8 is faster, and closer to fp32.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from threading import Lock

import numpy as np

from engines.atomic_write import atomic_write
from engines.cache_dirs import cache_folder
from engines.errors import EngineError
from engines.openvino.engine import CpuEngine, Precision
from engines.openvino.intel import NAMES, IntelEngine, device_name
from engines.openvino.runtime import import_openvino, shared_core
from engines.style_file import StyleModel
from engines.trusted_files import make_folder

SIZE = (360, 640)
"""Height and width of the frames that are timed, pixels."""

RUNS, LEAST_RUNS = 9, 3
"""Frames that are timed with each arithmetic, in turn: so many, or on a slow processor fewer, whose median one hiccup
does not change."""

TIMING_S = 3.0
"""Time after which a slow processor times only ``LEAST_RUNS``, seconds, so that the user does not wait for minutes."""

GAIN = 1.15
"""How many times as fast as fp32 int8 must be to be taken, and as the CPU another processor."""

FILE = "cpu-precision.json"
"""Name of the file in the cache that remembers the times, by machine."""

logger = logging.getLogger(__name__)

_lock = Lock()
_known: dict[str, dict[str, float]] = {}


@dataclass(frozen=True)
class Choice:
    """The arithmetic that ``auto`` takes, and the milliseconds a frame that each one took; empty if not compared."""

    precision: Precision
    milliseconds: Mapping[str, float]


def choose(style: StyleModel, threads: int | None = None) -> Choice:
    """Return the faster one of fp32 and int8 for a style.

    The first call on a machine compiles and times both, which takes about a second; a slow one times fewer frames.

    A style without ranges for int8, see ``engines.openvino.quantized_graph``, runs in fp32.

    Raises:
        EngineError: OpenVINO is missing or cannot run here.
    """
    if not style.ranges:
        return Choice("fp32", {})
    kinds: tuple[Precision, ...] = ("fp32", "int8")
    makers: dict[str, Callable[[], CpuEngine]] = {name: partial(CpuEngine, style, threads, name) for name in kinds}
    times = _remembered(_key(style, threads), makers)
    return Choice("int8" if times["fp32"] >= GAIN * times["int8"] else "fp32", times)


def fastest_processor(style: StyleModel, threads: int | None = None) -> str:
    """Return ``cpu``, ``intel-gpu`` or ``intel-npu``, whichever is fastest; with only a CPU, nothing is measured.

    Raises:
        EngineError: OpenVINO is missing or cannot run here.
    """
    best, least_ms = "cpu", 0.0
    for device, name in NAMES.items():
        try:
            full_name = device_name(device)
            makers: dict[str, Callable[[], CpuEngine]] = {
                "cpu": partial(CpuEngine, style, threads, choose(style, threads).precision),
                name: partial(IntelEngine, style, threads, device),
            }
            times = _remembered(f"{_key(style, threads)} | {full_name}", makers, others=(name,))
        except EngineError as error:
            logger.debug("%s is not used: %s", name, error)
            continue
        if times["cpu"] >= GAIN * times[name] and (best == "cpu" or times[name] < least_ms):
            best, least_ms = name, times[name]
    return best


def _key(style: StyleModel, threads: int | None) -> str:
    """Return what the times depend on."""
    device = str(shared_core().get_property("CPU", "FULL_DEVICE_NAME")).strip()
    arch = ",".join(str(width) for width in style.arch.values())
    return f"{device} | OpenVINO {import_openvino().__version__} | {threads or 'all'} threads | {arch}"


def _remembered(
    key: str, makers: Mapping[str, Callable[[], CpuEngine]], others: Collection[str] = ()
) -> dict[str, float]:
    """Return the milliseconds a frame of each engine, measured if that was never done; inf for ``others`` that fail."""
    with _lock:
        times = _known.get(key) or _stored().get(key)
        if times is None or times.keys() != makers.keys():
            try:
                times = _measured(makers)
            except EngineError as error:
                if not others:
                    raise
                logger.info("%s is not used: %s", ", ".join(others), error)
                times = {name: math.inf if name in others else 0.0 for name in makers}
            _store(key, times)
        _known[key] = times
    return times


def _measured(makers: Mapping[str, Callable[[], CpuEngine]]) -> dict[str, float]:
    frame = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    with contextlib.ExitStack() as stack:
        engines = {name: stack.enter_context(contextlib.closing(make())) for name, make in makers.items()}
        times: dict[str, list[float]] = {name: [] for name in engines}
        for run in range(RUNS + 1):
            for name, engine in engines.items():
                began_s = time.perf_counter()
                engine(frame)
                times[name].append(1000 * (time.perf_counter() - began_s))
            if run >= LEAST_RUNS and sum(sum(values[1:]) for values in times.values()) > 1000 * TIMING_S:
                break
    return {name: round(median(values[1:]), 2) for name, values in times.items()}  # the first one compiles


def _file() -> Path:
    return cache_folder("engines") / FILE


def _stored() -> dict[str, dict[str, float]]:
    """Return the times that the file holds; what is damaged is measured again."""
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
        return {key: {name: float(ms) for name, ms in times.items()} for key, times in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _store(key: str, times: Mapping[str, float]) -> None:
    text = json.dumps({**_stored(), key: dict(times)}, indent=1)
    with contextlib.suppress(OSError):  # measured again the next time
        make_folder(_file().parent)
        with atomic_write(_file()) as file:
            file.write(text.encode())
