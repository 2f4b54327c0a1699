"""The machine that a table was measured on, in one line."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine() -> str:
    """Chip, cores that this process may use, its load, system and Python."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f", load {os.getloadavg()[0]:.1f} before the start" if hasattr(os, "getloadavg") else ""
    return f"{_chip()}, {cores} cores{load}, {platform.system()}, Python {platform.python_version()}"


def _chip() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    pairs = (line.partition(":") for line in lines)
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    names = [fields.get("model name", platform.processor() or platform.machine())]
    if "cpu family" in fields:
        names.append(f"family {fields['cpu family']} model {fields['model']}")
    return " ".join(names)
