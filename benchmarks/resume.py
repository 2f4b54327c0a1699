"""What segments cost, in time, bytes and picture: `rtstyle video` in segments against one piece.

python -m benchmarks.resume [--style NAME|DIR]
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median

import av
import numpy as np

from benchmarks.clips import write_clip
from benchmarks.report import Section, at_most
from benchmarks.subject import Subject, run_json

SECONDS, SEGMENT_S = 44, 20
"""Lengths of the clip and of a segment, which is the default: two whole segments and a short one."""

TURNS = 2
"""How often each way is measured, in turns."""

TIME, BYTES = 1.02, 1.01
"""What segments may cost, as a ratio."""

PICTURE_DB = 0.1
"""How much worse the pictures of segments may be, decibels."""


def measure(subject: Subject) -> Section:
    """Stylize a generated clip both ways, in turns, and compare medians."""
    clip = write_clip(subject.scratch / "scene.mp4", 640, 360, 30, SECONDS)
    seconds: dict[int, list[float]] = {0: [], SEGMENT_S: []}
    processor: dict[int, list[float]] = {0: [], SEGMENT_S: []}
    size = {}
    for _ in range(TURNS):
        for segment, times in seconds.items():
            output = subject.scratch / f"segments-of-{segment}.mp4"
            style = str(subject.style.folder)
            arguments = [str(clip), str(output), "--style", style, "--segment", str(segment), "--json", "--overwrite"]
            begin_s, begin_cpu_s = time.monotonic(), processor_s()
            run_json("video", *arguments)
            times.append(time.monotonic() - begin_s)
            processor[segment].append(processor_s() - begin_cpu_s)
            size[segment] = output.stat().st_size
    how = f"640×360, {SECONDS} s, segments of {SEGMENT_S} s / one piece"
    rows = [
        at_most("time", _turns(how, seconds), median(seconds[SEGMENT_S]) / median(seconds[0]), TIME, " ×", 3),
        at_most(
            "processor time", _turns(how, processor), median(processor[SEGMENT_S]) / median(processor[0]), TIME, " ×", 3
        ),
        at_most("bytes", how, size[SEGMENT_S] / size[0], BYTES, " ×", 3),
    ]
    lossless = subject.scratch / "lossless.mkv"
    style = str(subject.style.folder)
    run_json("video", str(clip), str(lossless), "--style", style, "--codec", "ffv1", "--json", "--overwrite")
    found = {segment: psnr(subject.scratch / f"segments-of-{segment}.mp4", lossless) for segment in seconds}
    picture_how = f"PSNR against FFV1, one piece − segments: {found[0]:.2f} − {found[SEGMENT_S]:.2f} dB"
    rows.append(at_most("picture", picture_how, found[0] - found[SEGMENT_S], PICTURE_DB, " dB", 3))
    spread = f"{min(seconds[0]):.1f} to {max(seconds[0]):.1f} s in one piece"
    return Section("resume", "Segments of a long film", subject.label, rows, [f"Single turns took {spread}."])


def processor_s() -> float:
    """Return the processor time of the processes that have been started and have ended, seconds.

    Other programs of a busy machine take little of it, but much of the time that passes.
    """
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _turns(how: str, seconds: Mapping[int, Sequence[float]]) -> str:
    cut, whole = median(seconds[SEGMENT_S]), median(seconds[0])
    return f"{how}, medians of {TURNS} in turns: {cut:.1f} s / {whole:.1f} s"


def psnr(file: Path, reference: Path) -> float:
    """Return the mean over the frames of the peak signal-to-noise ratio of their red, green and blue, decibels."""
    values = []
    with av.open(str(file)) as one, av.open(str(reference)) as other:
        for a, b in zip(one.decode(video=0), other.decode(video=0), strict=True):
            error = a.to_ndarray(format="rgb24").astype(np.float32) - b.to_ndarray(format="rgb24")
            values.append(10 * math.log10(255**2 / max(float(np.mean(error**2)), 1e-9)))
    return float(mean(values))


if __name__ == "__main__":
    from benchmarks.bench import main

    main("resume")
