"""What segments cost: `rtstyle video` in segments, which can be resumed, against one piece.

python -m benchmarks.resume [--style NAME|DIR]
"""

from __future__ import annotations

import time
from statistics import median

from benchmarks.clips import write_clip
from benchmarks.report import Section, at_most
from benchmarks.subject import Subject, run_json

SECONDS, SEGMENT_S = 44, 20
"""Lengths of the clip and of a segment, which is the default: two whole segments and a short one."""

TURNS = 2
"""How often each way is measured, in turns."""

TIME, BYTES = 1.02, 1.01
"""What segments may cost, as a ratio."""


def measure(subject: Subject) -> Section:
    """Stylize a generated clip both ways, in turns, and compare medians."""
    clip = write_clip(subject.scratch / "scene.mp4", 640, 360, 30, SECONDS)
    seconds: dict[int, list[float]] = {0: [], SEGMENT_S: []}
    size = {}
    for _ in range(TURNS):
        for segment, times in seconds.items():
            output = subject.scratch / f"segments-of-{segment}.mp4"
            style = str(subject.style.folder)
            arguments = [str(clip), str(output), "--style", style, "--segment", str(segment), "--json", "--overwrite"]
            begin_s = time.monotonic()
            run_json("video", *arguments)
            times.append(time.monotonic() - begin_s)
            size[segment] = output.stat().st_size
    how = f"640×360, {SECONDS} s, segments of {SEGMENT_S} s / one piece"
    whole, cut = median(seconds[0]), median(seconds[SEGMENT_S])
    times_how = f"{how}, medians of {TURNS} in turns: {cut:.1f} s / {whole:.1f} s"
    rows = [
        at_most("time", times_how, cut / whole, TIME, " ×", 3),
        at_most("bytes", how, size[SEGMENT_S] / size[0], BYTES, " ×", 3),
    ]
    spread = f"{min(seconds[0]):.1f} to {max(seconds[0]):.1f} s in one piece"
    return Section("resume", "Segments of a long film", subject.label, rows, [f"Single turns took {spread}."])


if __name__ == "__main__":
    from benchmarks.bench import main

    main("resume")
