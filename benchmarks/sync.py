"""Sync: how far sound and picture of a live run are apart, at each sink that has sound.

python -m benchmarks.sync [--style NAME|DIR]
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.delay import SLOWED_MS, SlowEngine
from benchmarks.report import ROOT, Row, Section, at_least, at_most
from benchmarks.subject import NotMeasuredError, Subject
from benchmarks.sync_clip import FPS, Heard, clicks_s, write_clip
from engines.base import RGB, Engine, EngineInfo, StrengthMap
from rtstyle.controls import Controls
from rtstyle.live.webcam import WebcamJob, run_webcam

SECONDS = 600
"""Length of each run."""

OFFSET_MS = 40.0
"""The bar: largest distance of a click from its picture, milliseconds."""

HEARD_PERCENT = 99.0
"""The bar: clicks that reach a sink. The first ones may come before a receiver listens."""


class CopyEngine:
    """Leaves pictures as they are, so that their numbers stay readable."""

    info = EngineInfo("copy", "numpy", "here", "uint8", "none")

    def __call__(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> RGB:  # noqa: ARG002
        """Return a copy."""
        return rgb.copy()

    def close(self) -> None:
        """Do nothing."""


def measure(subject: Subject) -> Section:
    """Play the clip in real time into all sinks at once, with a fast engine and with one that drops frames."""
    clip: Path = write_clip(subject.scratch / "clicks.mp4", SECONDS)
    rows: list[Row] = []
    slowed = f"engine slowed to {SLOWED_MS:.0f} ms a frame"
    for how, engine in (("engine that keeps up", CopyEngine()), (slowed, SlowEngine(CopyEngine()))):
        rows += run(clip, subject.scratch, engine, how, SECONDS)
    notes = [f"A clip of {SECONDS} s at {FPS} fps with a number in each picture and {len(clicks_s(SECONDS))} clicks."]
    return Section("sync", "Sound in step", "none, pictures are copied", rows, notes)


def run(clip: Path, folder: Path, engine: Engine, how: str, seconds: float) -> list[Row]:
    """Play the clip once, and return the offsets at all sinks."""
    files = {ending: folder / f"take.{ending}" for ending in ("mp4", "mkv", "webm")}
    ports = {"udp": _free_port(socket.SOCK_DGRAM), "rtmp": _free_port(socket.SOCK_STREAM)}
    urls = {"udp": f"udp://127.0.0.1:{ports['udp']}", "rtmp": f"rtmp://127.0.0.1:{ports['rtmp']}/live/key"}
    receivers = {kind: _receiver(url, seconds) for kind, url in urls.items()}
    sinks = (*(str(path) for path in files.values()), *urls.values(), "null")
    controls = Controls(hold_fps=False)  # frames are to be dropped
    figures = run_webcam(WebcamJob(str(clip), sinks, overwrite=True), lambda: engine, controls)
    offsets = {ending: Heard.of(str(path)).offsets_s(seconds) for ending, path in files.items()}
    for kind, receiver in receivers.items():
        printed, _ = receiver.communicate(timeout=60.0)
        if receiver.returncode:
            raise NotMeasuredError(f"the receiver of {kind} failed")
        offsets[kind] = json.loads(printed)
    how = f"{how}, {figures.dropped} of {figures.frames_in} frames dropped"
    return [row for sink, found in offsets.items() for row in _rows(sink, how, found, len(clicks_s(seconds)))]


def _rows(sink: str, how: str, offsets_s: Sequence[float], expected: int) -> list[Row]:
    largest_ms = max((abs(one) * 1e3 for one in offsets_s), default=float("inf"))
    heard, share = f"{len(offsets_s)} of {expected}", 100 * len(offsets_s) / expected
    return [
        at_most(f"{sink}: largest offset", how, largest_ms, OFFSET_MS, " ms"),
        at_least(f"{sink}: clicks heard", heard, share, HEARD_PERCENT, " %"),
    ]


def _receiver(url: str, seconds: float) -> subprocess.Popen[bytes]:
    call = [sys.executable, "-m", "benchmarks.sync_clip", url, str(seconds)]
    return subprocess.Popen(call, cwd=ROOT, stdout=subprocess.PIPE)


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


if __name__ == "__main__":
    from benchmarks.bench import main

    main("sync")
