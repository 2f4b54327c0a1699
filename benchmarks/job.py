"""A whole clip: `rtstyle video`, and what its slowest stage could do alone.

python -m benchmarks.job [--style NAME|DIR]
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TypeVar

import engines
from benchmarks.clips import write_clip
from benchmarks.report import Row, Section, at_least, not_measured
from benchmarks.subject import Subject, run_json
from engines.base import RGB, Engine, PendingFrame, PipelinedEngine
from rtstyle.frame import Frame
from rtstyle.sinks.file import FileSink
from rtstyle.sources.file import FileSource

T = TypeVar("T")

FPS, SHARE = 30.0, 0.9
"""The bars: frames a second, and the share of what the slowest stage alone allows."""

SECONDS = 24
"""Length of the generated clip."""

REAL = "intel__bottle_detection.mp4"
STAGE_FRAMES = 150
"""Frames with which each stage is measured alone."""


def measure(subject: Subject) -> Section:
    """Paint a generated and a real clip, then time each stage alone."""
    generated = write_clip(subject.scratch / "scene.mp4", 640, 360, 30, SECONDS)
    rows = _job(subject, generated, f"generated, 640×360, h264 + aac, {SECONDS} s")
    real = subject.data / "video" / REAL
    if real.is_file():
        rows += _job(subject, real, f"{REAL}, 640×360, h264")
    else:
        rows.append(not_measured("whole job, real clip", REAL, f"≥ {FPS:g} fps", "the data folder is absent"))
    notes = [
        "Frames divided by the time of the whole process, from its start to its end: interpreter, imports, "
        "compilation, first and last frame are in it. The share is taken of the same figure.",
        f"Stages alone: {STAGE_FRAMES} frames of the clip through decoder, engine or encoder, nothing else running, "
        "each free to use all cores. In the whole job they share these cores, so with few of them the costs add up.",
    ]
    return Section("job", "Whole job", subject.label, rows, notes)


def _job(subject: Subject, clip: Path, how: str) -> list[Row]:
    painted = subject.scratch / f"painted-{clip.stem}.mp4"
    began_s = time.monotonic()
    report = run_json("video", str(clip), str(painted), "--style", str(subject.style.folder), "--json", "--overwrite")
    seconds = time.monotonic() - began_s
    fps = report["frames_out"] / seconds
    alone = _alone(subject, clip)
    slowest = min(alone, key=lambda name: alone[name])
    figures = report["figures"]
    busy = ", ".join(f"{stage} {figures[f'{stage}_s'] / seconds:.0%}" for stage in ("source", "engine", "sink"))
    return [
        at_least("whole job", f"{how}, {report['frames_out']} frames", fps, FPS, " fps"),
        Row("stages alone", how, ", ".join(f"{name} {rate:.0f} fps" for name, rate in alone.items())),
        Row("stages at work", "share of the time of the whole process", busy),
        at_least(
            "share of the slowest stage alone", f"whole job / {slowest} alone", fps / alone[slowest], SHARE, "", 2
        ),
    ]


def _alone(subject: Subject, clip: Path) -> dict[str, float]:
    """Frames a second of each stage by itself."""
    source = FileSource(str(clip))
    frames, decode_s = _timed(lambda: list(islice(source.frames(), STAGE_FRAMES)))
    fps = source.info.fps
    source.close()
    engine = engines.load(subject.style, "cpu")
    engine(frames[0].rgb)
    painted, engine_s = _timed(lambda: _painted(engine, [frame.rgb for frame in frames]))
    engine.close()
    for_sink = [
        Frame(rgb, frame.index, frame.pts, frame.time_base, frame.captured_s)
        for rgb, frame in zip(painted, frames, strict=True)
    ]
    _, encode_s = _timed(lambda: _encode(subject.scratch / "alone.mp4", for_sink, fps))
    seconds = {"decoder": decode_s, "engine": engine_s, "encoder": encode_s}
    return {name: len(frames) / value for name, value in seconds.items()}


def _painted(engine: Engine, frames: list[RGB]) -> list[RGB]:
    """Paint as for a clip: several frames at once, where the engine can."""
    if not isinstance(engine, PipelinedEngine):
        return [engine(rgb) for rgb in frames]
    flight, painted = deque[PendingFrame](), list[RGB]()
    for rgb in frames:
        if len(flight) >= engine.info.in_flight:
            painted.append(flight.popleft().result())
        flight.append(engine.submit(rgb))
    return painted + [pending.result() for pending in flight]


def _encode(path: Path, frames: list[Frame], fps: Fraction) -> None:
    """With the encoder and the settings that `rtstyle video` takes unless told."""
    sink = FileSink(path, fps=fps, overwrite=True)
    for frame in frames:
        sink.write(frame)
    sink.close(completed=True)


def _timed(run: Callable[[], T]) -> tuple[T, float]:
    began_s = time.perf_counter()
    result = run()
    return result, time.perf_counter() - began_s


if __name__ == "__main__":
    from benchmarks.bench import main

    main("job")
