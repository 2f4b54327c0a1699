"""Start: how long a user waits for the help, and for the first painted frame.

python -m benchmarks.start [--style NAME|DIR]
"""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

from benchmarks.clips import write_clip
from benchmarks.report import ROOT, Row, Section, at_most
from benchmarks.subject import NotMeasuredError, Subject, run_json

HELP_S, FRAME_S = 0.3, 2.0
"""The bars, seconds."""

HELPS, CLIPS = 10, 5
"""How often each is measured."""


def measure(subject: Subject) -> Section:
    """Start the command again and again."""
    clip = write_clip(subject.scratch / "short.mp4", 640, 360, 30, 1)
    painted = str(subject.scratch / "short-painted.mp4")
    command = ["video", str(clip), painted, "--style", str(subject.style.folder), "--overwrite", "--quiet"]
    frames = [_first_frame_s(command) for _ in range(CLIPS)]
    help_s, python_s, frame_s = _median_s(["-m", "rtstyle", "--help"]), _median_s(["-c", "pass"]), median(frames)
    rows = [
        at_most("`rtstyle --help`", f"whole process, median of {HELPS}", help_s, HELP_S, " s", 2),
        Row("for comparison: Python alone", f"`python -c pass`, median of {HELPS}", f"{python_s:.2f} s"),
        at_most(
            "first stylized frame of a clip",
            f"640×360, from process start, median of {CLIPS}, {min(frames):.2f} to {max(frames):.2f} s",
            frame_s, FRAME_S, " s", 2,
        ),
    ]  # fmt: skip
    notes = ["Files are in the system's memory: the first start after a boot is slower by the time of the disk."]
    return Section("start", "Start", subject.label, rows, notes)


def _median_s(arguments: list[str]) -> float:
    times = []
    for _ in range(HELPS + 1):
        began_s = time.perf_counter()
        done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=False)
        times.append(time.perf_counter() - began_s)
        if done.returncode:
            raise NotMeasuredError(f"`python {' '.join(arguments)}` ended with {done.returncode}")
    return median(times[1:])  # the first one brings the files into memory


def _first_frame_s(command: list[str]) -> float:
    began_s = time.time()
    told = run_json(*command, driven=True, timeout_s=600.0)
    if told["first_frame_at"] is None:
        raise NotMeasuredError("no frame was painted")
    return float(told["first_frame_at"]) - began_s


if __name__ == "__main__":
    from benchmarks.bench import main

    main("start")
