"""Memory: the peak of `rtstyle video` must not depend on the length of the clip.

python -m benchmarks.memory [--style NAME|DIR]
"""

from __future__ import annotations

from benchmarks.clips import write_clip
from benchmarks.report import Row, Section, at_most, not_measured
from benchmarks.subject import Subject, run_json

WIDTH, HEIGHT = 1920, 1080
FPS = 5
"""Frames a second of the clips: few, so that two cores are done in minutes. What could pile up, frames in the links
and packets of the copied sound, goes by frames and by seconds of sound, and both are there in the ratio 1 : 10."""

SHORT_S, LONG_S = 30, 300
PEAK_MB, CHANGE = 1500.0, 0.10
"""The bars: the largest peak, and how far the two may lie apart."""

DISTINCT = 25
"""Pictures that are rendered; the clips repeat them."""


def measure(subject: Subject) -> Section:
    """Paint a short and a long clip."""
    bar = f"≤ {PEAK_MB:g} MB"
    peaks: list[float] = []
    rows: list[Row] = []
    for seconds in (SHORT_S, LONG_S):
        clip = write_clip(subject.scratch / f"{seconds}.mp4", WIDTH, HEIGHT, FPS, seconds, distinct=DISTINCT)
        how = f"{WIDTH}×{HEIGHT}, h264 + aac, {seconds} s at {FPS} fps, {seconds * FPS} frames"
        painted = subject.scratch / "painted.mp4"
        command = ["video", str(clip), str(painted), "--style", str(subject.style.folder), "--overwrite", "--quiet"]
        peak = run_json(*command, driven=True)["peak_mb"]
        clip.unlink()
        if peak is None:
            rows.append(not_measured("peak memory", how, bar, "this system has no /proc"))
            continue
        peaks.append(float(peak))
        rows.append(at_most("peak memory", how, float(peak), PEAK_MB, " MB", 0))
    if len(peaks) == 2:
        change = abs(peaks[1] / peaks[0] - 1) * 100
        rows.append(at_most("difference of the peaks", "long / short − 1, absolute", change, CHANGE * 100, " %"))
    notes = [f"Peak resident memory of the process (VmHWM), libraries included. The clips have {FPS} frames a second."]
    return Section("memory", "Memory", subject.label, rows, notes)


if __name__ == "__main__":
    from benchmarks.bench import main

    main("memory")
