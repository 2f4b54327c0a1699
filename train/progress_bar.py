"""Progress of a training on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import rich.progress
from rich.console import Console
from rich.table import Column

if TYPE_CHECKING:
    from train.loop import Progress

LINE_STEPS = 25
"""Steps between two lines if there is no bar."""


@contextmanager
def show_progress(shown: bool) -> Iterator[Callable[[Progress], None]]:
    """Show a bar on a terminal; elsewhere a line for the first step, every ``LINE_STEPS`` steps and the last one."""
    smooth: dict[str, float] = {}
    bar = rich.progress.Progress(
        rich.progress.BarColumn(bar_width=10),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeRemainingColumn(),
        # Last and cut off if need be: in a narrow terminal the time left matters more than the last losses.
        rich.progress.TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        expand=True,
        console=Console(stderr=True),
        disable=not (shown and sys.stderr.isatty()),
    )
    task = bar.add_task("training", total=1.0)

    def show(progress: Progress) -> None:
        is_due = not smooth or progress.step % LINE_STEPS == 0 or progress.share >= 1.0
        for name, value in progress.losses.items():
            smooth[name] = value if name not in smooth else 0.95 * smooth[name] + 0.05 * value
        text = f"step {progress.step}  {_figures(smooth)}"
        bar.update(task, completed=progress.share, description=text)
        if bar.disable and is_due:
            print(f"{progress.share:6.1%}  {progress.seconds:6.0f} s  {text}", file=sys.stderr, flush=True)

    with bar:
        yield show


def _figures(losses: Mapping[str, float]) -> str:
    """Format the losses with three digits; the total comes first, so that it is seen in a narrow terminal."""
    from train.report.axis import number  # imports OpenCV, which --help does not need

    names = sorted(losses, key=lambda name: name != "total")
    return "  ".join(f"{name} {number(losses[name])}" for name in names)
