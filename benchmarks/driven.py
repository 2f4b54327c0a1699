"""Runs the command line and tells what only the process itself knows, as one JSON object at the end.

    python -m benchmarks.driven video in.mp4 out.mp4

``first_frame_at``: when the first frame was painted, Unix time, seconds; ``None`` if none was.
``peak_mb``: the largest resident memory of this process, MB; ``None`` where the system does not tell. It is read from
inside because the figure that a parent gets (``ru_maxrss``) counts the parent's own memory at the fork.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from rtstyle.cli import main
from rtstyle.stats import Stats

STATUS = Path("/proc/self/status")


def peak_mb() -> float | None:
    """``VmHWM`` of this process, MB."""
    if not STATUS.is_file():
        return None
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def _note_first_frame(noted: list[float]) -> None:
    """Make ``Stats`` put the time at which the engine returned its first frame into a list."""
    counted = Stats.frame_stylized

    def frame_stylized(self: Stats, busy_s: float) -> None:
        if not noted:
            noted.append(time.time())
        counted(self, busy_s)

    Stats.frame_stylized = frame_stylized  # type: ignore[method-assign]


def run(arguments: list[str]) -> dict[str, Any]:
    """Run `rtstyle` with these arguments."""
    noted: list[float] = []
    _note_first_frame(noted)
    code = main(arguments)
    return {"code": code, "first_frame_at": noted[0] if noted else None, "peak_mb": peak_mb()}


if __name__ == "__main__":
    result = run(sys.argv[1:])
    print(json.dumps(result))
    sys.exit(result["code"])
