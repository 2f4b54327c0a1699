"""A painting that nobody has seen before, three minutes from the start that comes with rtstyle.

    python -m benchmarks.starts

Trains what is not there yet, a quarter of an hour on two idle cores; runs are kept as by ``benchmarks.training``.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.report import Row, Section, at_least, at_most
from benchmarks.subject import NotMeasuredError, Subject
from benchmarks.training import RUNS, Run

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

MEMORY_GB = 1.5


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
    peak = max(run.peak_gb for run in runs)
    rows.append(at_most("memory", "largest resident set of the five processes", peak, MEMORY_GB, " GB", 1))
    notes = [
        "Each is `rtstyle train --style-picture PAINTING --content PHOTOGRAPHS`, recipe `quick`: three minutes from "
        "`train/base`. Judged by `rtstyle evaluate` on 20 held-out photographs.",
    ]
    return Section("starts", "Three minutes from the start", "trained for this table", rows, notes)


if __name__ == "__main__":
    from benchmarks.bench import main

    main("starts")
