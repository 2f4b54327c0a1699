"""A painting that nobody has seen before, three, fifteen and sixty minutes from the start that comes with rtstyle.

    python -m benchmarks.starts

Trains what is not there yet, an hour and a half on two idle cores; runs are kept as by ``benchmarks.training``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.report import ROOT, Row, Section, at_least, at_most
from benchmarks.subject import NotMeasuredError, Subject, run_json
from benchmarks.training import RUNS, Run
from train.live_preview import EVERY_S, SNAPSHOT

PAINTINGS = (
    "cezanne__trees.jpg",
    "delaunay__portrait_metzinger.jpg",
    "anon__luther_engraving.jpg",
    "turner__shipwreck_of_minotaur.jpg",
    "vangogh__self_portrait_1889.jpg",
)
"""Paintings that the meta-training did not see."""

BARS: tuple[tuple[str, str, Callable[..., Row], float, str], ...] = (
    ("style", "style_ratio", at_most, 0.25, " ×"),
    ("strokes", "strokes_ratio", at_most, 0.35, " ×"),
    ("SSIM", "ssim", at_least, 0.45, ""),
    ("noise", "noise", at_most, 0.9, " ×"),
)
"""Title, name of the figure, which way, bar and unit."""

LONGER = "hokusai__great_wave_hi.jpg"

AN_HOUR: tuple[tuple[str, str, Callable[..., Row], float, str], ...] = (
    ("style", "style_ratio", at_most, 0.160, " ×"),
    ("strokes", "strokes_ratio", at_most, 0.287, " ×"),
    ("SSIM", "ssim", at_least, 0.474, ""),
)
"""What `LONGER` had after sixty minutes from nothing: ``benchmarks.training`` on AMD EPYC, Zen 4, 2026-11-21."""

HOUR_STYLE = 0.1
"""Bar of the style after sixty minutes from the start."""

MEMORY_GB, PREVIEW_FPS = 1.5, 5.0


def measure(subject: Subject) -> Section:
    """Train and judge every painting."""
    data = subject.data
    if not (data / "content").is_dir():
        raise NotMeasuredError(f"no pictures, clips and feature networks in {data}; set RTSTYLE_DATA")
    RUNS.mkdir(parents=True, exist_ok=True)
    runs = [
        Run(f"quick-{name.partition('.')[0]}", data / "styles" / name, data, ("--recipe", "quick"))
        for name in PAINTINGS
    ]
    rows = []
    for run in runs:
        how = f"`{run.painting.stem}`, {run.record['steps_done']} steps" if run.figures else ""
        rows += [bar(title, how, run.figures[figure], limit, unit, 3) for title, figure, bar, limit, unit in BARS]
    longer = Run("fast-base", data / "styles" / LONGER, data, ("--init", "base", "--minutes", "15"))
    found, how = longer.figures, f"15 minutes, recipe `fast`, {longer.record['steps_done']} steps; bar: 60 from nothing"
    rows += [bar(f"{title}, the wave", how, found[name], limit, unit, 3) for title, name, bar, limit, unit in AN_HOUR]
    hour = Run("fast-base-hour", data / "styles" / LONGER, data, ("--init", "base", "--minutes", "60"))
    found = hour.figures
    how = f"60 minutes, recipe `fast`, {hour.record['steps_done']} steps; SSIM {found['ssim']:.3f}"
    rows.append(at_most("style, the wave", how, found["style_ratio"], HOUR_STYLE, " ×", 3))
    rows.append(_preview(runs[0]))
    peak = max(run.peak_gb for run in runs)
    rows.append(at_most("memory", "largest resident set of the five processes", peak, MEMORY_GB, " GB", 1))
    notes = [
        "Each is `rtstyle train --style-picture PAINTING --content PHOTOGRAPHS`, recipe `quick`: three minutes from "
        "`train/base`. Judged by `rtstyle evaluate` on 20 held-out photographs.",
        "Eyes preferred it to `--init vangogh` after the same time in 16 of 20 pictures of two of the paintings; see "
        "benchmarks/candidates/README.md.",
    ]
    return Section("starts", "Three minutes from the start", "trained for this table", rows, notes)


def _preview(like: Run) -> Row:
    """Train again, on one core, and show the unfinished style meanwhile, on another one."""
    folder = RUNS / "quick-preview"
    shutil.rmtree(folder, ignore_errors=True)
    command = [
        sys.executable, "-m", "train", "--recipe", "quick", "--style-picture", str(like.painting), "--content",
        str(like.data / "content"), "--features", str(like.data / "features"), "--out", str(folder),
        "--threads", "1", "--set", f"run.snapshot_seconds={EVERY_S}",
    ]  # fmt: skip
    training = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        patience = time.monotonic() + 120
        while not (folder / SNAPSHOT / "style.json").exists():
            if training.poll() is not None or time.monotonic() > patience:
                raise NotMeasuredError("the training shows no style")
            time.sleep(0.5)
        shown = run_json(
            "webcam", "--source", "pattern", "--fps", "60", "--size", "640x360", "--style", str(folder / SNAPSHOT),
            "--threads", "1", "--no-hold-fps", "--sink", "null", "--frames", "600", "--json",
        )  # fmt: skip
        if training.poll() is not None:
            raise NotMeasuredError("the training ended before the preview")
    finally:
        training.terminate()
        training.wait()
    rate = shown["frames_out"] / shown["seconds"]
    return at_least("preview while training", "640×360, one core for each of the two", rate, PREVIEW_FPS, " fps")


if __name__ == "__main__":
    from benchmarks.bench import main

    main("starts")
