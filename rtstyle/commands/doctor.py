"""``rtstyle doctor``."""

from __future__ import annotations

import typer

from rtstyle.commands.options import Device, Json, Style, print_json
from rtstyle.defaults import DEFAULT_STYLE


def doctor(
    style: Style = DEFAULT_STYLE,
    device: Device = None,  # noqa: ARG001  # its callback has chosen it
    as_json: Json = False,
) -> None:
    """Check engines, cameras, display and extras.

    Each line that names something missing ends with the command that adds it.
    """
    from rtstyle.doctor import examine

    findings = examine(style)
    if as_json:
        print_json({"findings": findings})
        return
    width = max(len(finding.topic) for finding in findings)
    for finding in findings:
        hint = f" → {finding.hint}" if finding.hint else ""
        typer.echo(f"{'✓' if finding.good else '–'} {finding.topic.ljust(width)}  {finding.found}{hint}")
