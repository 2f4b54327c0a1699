"""Print results as a table in the terminal, or save them as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from train.evaluate.html_report import page
from train.evaluate.results import Metric, Results
from train.html import write_page

BETTER = {"lower": "↓ lower", "higher": "↑ higher", "": ""}

REST = 80
"""Characters that all columns but the first need on a line."""


def value_text(value: float | None, unit: str = "") -> str:
    """Format a value with three significant digits and its unit; ``None`` gives an empty string."""
    if value is None:
        return ""
    number = f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{number} {unit}".rstrip()


def rows(figures: Sequence[Metric]) -> list[tuple[str, str, str, str, str]]:
    """Figure, value, unpainted, better, meaning; the last two only where they are not those of the row above."""
    found = []
    before = ""
    for figure in figures:
        meaning = figure.meaning
        label = f"{meaning.label} · {figure.of}" if figure.of else meaning.label
        same = figure.name == before
        found.append((
            label,
            value_text(figure.value, meaning.unit),
            value_text(figure.unpainted, meaning.unit),
            "" if same else BETTER[meaning.better],
            "" if same else meaning.text,
        ))  # fmt: skip
        before = figure.name
    return found


HEAD = ("figure", "value", "unstylized", "better", "what it means")


def print_table(results: Results, console: Console | None = None) -> None:
    """Print the table, what was left out, and the notes.

    In a narrow terminal the meanings follow below the table, so that clip names are not broken.
    """
    console = console or Console(highlight=False)
    lines = rows(results.figures)
    roomy = console.width >= REST + max((len(label) for label, *_ in lines), default=0)
    columns = HEAD if roomy else HEAD[:-1]
    table = Table(title=results.heading, title_justify="left", title_style="bold")
    for heading in columns:
        right, first = heading in ("value", "unstylized"), heading == HEAD[0]
        table.add_column(heading, justify="right" if right else "left", overflow="fold", no_wrap=roomy and first)
    for row in lines:
        table.add_row(*row[: len(columns)])
    console.print(table, markup=False)
    if not roomy:
        for meaning in dict.fromkeys(figure.meaning for figure in results.figures):
            console.print(f"{meaning.label}: {meaning.text}", markup=False)
    for gap in results.left_out:
        console.print(f"left out: {gap}", markup=False)
    for note in results.notes:
        console.print(note, markup=False, style="dim")


def save_html(path: Path, results: Results) -> None:
    """Write the page atomically.

    Raises:
        TrainError: it cannot be written.
    """
    write_page(path, page(results, HEAD, rows(results.figures)))
