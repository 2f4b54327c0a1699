"""``rtstyle doctor``."""

from __future__ import annotations

import typer

from rtstyle.commands.options import DEFAULT_STYLE, Json, Style, print_json


def doctor(style: Style = DEFAULT_STYLE, as_json: Json = False) -> None:
    """Say what this machine can do, what is missing, and the line that adds it."""
    from rtstyle.doctor import examine

    findings = examine(style)
    if as_json:
        print_json({"findings": [finding.to_dict() for finding in findings]})
        return
    width = max(len(finding.topic) for finding in findings)
    for finding in findings:
        hint = f" → {finding.hint}" if finding.hint else ""
        typer.echo(f"{'✓' if finding.good else '–'} {finding.topic.ljust(width)}  {finding.found}{hint}")
