"""Which arithmetic is fastest on this machine: measured once, and remembered.

fp32 and int8 are compared on frames of one size; another size would not change which one wins. bf16 is left to the
user: where it is fast, int8 is faster, and closer to fp32.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Lock

import numpy as np

from engines.atomic_write import atomic_write
from engines.cache_dirs import cache_folder
from engines.openvino.engine import CpuEngine, Precision
from engines.openvino.runtime import import_openvino, shared_core
from engines.style_file import StyleModel

SIZE = (360, 640)
"""Height and width of the frames that are timed, pixels."""

RUNS = 9
"""Frames that are timed with each arithmetic, in turn."""

GAIN = 1.15
"""How many times as fast as fp32 int8 must be to be taken."""

FILE = "cpu-precision.json"
"""Name of the file in the cache that remembers the times, by machine."""

_lock = Lock()
_known: dict[str, dict[str, float]] = {}


@dataclass(frozen=True)
class Choice:
    """The arithmetic that ``auto`` takes, and the milliseconds a frame that each one took; empty if not compared."""

    precision: Precision
    milliseconds: Mapping[str, float]


def choose(style: StyleModel, threads: int | None = None) -> Choice:
    """Return the faster one of fp32 and int8 for a style; the first call on a machine takes about a second.

    A style without ranges for int8, see ``engines.openvino.quantized_graph``, runs in fp32.

    Raises:
        EngineError: OpenVINO is missing or cannot run here.
    """
    if not style.ranges:
        return Choice("fp32", {})
    with _lock:
        key = _key(style, threads)
        times = _known.get(key) or _stored().get(key)
        if times is None:
            times = _measured(style, threads)
            _store(key, times)
        _known[key] = times
    return Choice("int8" if times["fp32"] >= GAIN * times["int8"] else "fp32", times)


def _key(style: StyleModel, threads: int | None) -> str:
    """Return what the times depend on."""
    device = str(shared_core().get_property("CPU", "FULL_DEVICE_NAME")).strip()
    arch = ",".join(str(width) for width in style.arch.values())
    return f"{device} | OpenVINO {import_openvino().__version__} | {threads or 'all'} threads | {arch}"


def _measured(style: StyleModel, threads: int | None) -> dict[str, float]:
    frame = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    engines: dict[str, CpuEngine] = {
        "fp32": CpuEngine(style, threads, "fp32"),
        "int8": CpuEngine(style, threads, "int8"),
    }
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(RUNS + 1):
        for name, engine in engines.items():
            began_s = time.perf_counter()
            engine(frame)
            times[name].append(1000 * (time.perf_counter() - began_s))
    for engine in engines.values():
        engine.close()
    return {name: round(median(values[1:]), 2) for name, values in times.items()}  # the first one compiles


def _file() -> Path:
    return cache_folder("engines") / FILE


def _stored() -> dict[str, dict[str, float]]:
    """Return the times that the file holds; what is damaged is measured again."""
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
        return {key: {name: float(times[name]) for name in ("fp32", "int8")} for key, times in found.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _store(key: str, times: Mapping[str, float]) -> None:
    text = json.dumps({**_stored(), key: dict(times)}, indent=1)
    with contextlib.suppress(OSError):  # measured again the next time
        _file().parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(_file()) as file:
            file.write(text.encode())
