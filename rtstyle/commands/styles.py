"""``rtstyle styles``."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from rtstyle.commands.options import Json, print_json


def styles(as_json: Json = False) -> None:
    """List the styles that come with rtstyle.

    KEY is the key that chooses the style in the window of `rtstyle webcam`. To use a style that you trained, give its
    folder: --style runs/wave

    Examples:
        rtstyle styles
        rtstyle image photo.jpg painting.jpg --style monet
    """
    from rtstyle.style_library import installed

    entries = installed()
    if as_json:
        print_json({"styles": entries})
        return
    if not entries:
        typer.echo("No styles are installed. `rtstyle train` makes one.")
    rows = [("KEY", "NAME", "TITLE", "PAINTER", "LICENCE", "FOLDER")]
    usable = [entry.name for entry in entries if not entry.fault]
    keys = dict(zip(usable, "123456789", strict=False))
    rows += [(keys.get(e.name, ""), e.name, e.fault or e.title, e.painter, e.licence, e.path) for e in entries]
    if entries:
        typer.echo(table(rows))


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Lay out rows of text in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines)
