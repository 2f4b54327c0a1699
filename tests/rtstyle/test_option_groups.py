"""Options as fields of a dataclass: each is an option of the command, from the command line and from a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.testing import CliRunner

from rtstyle.commands import options
from rtstyle.commands.config_file import settings_of
from rtstyle.commands.option_groups import grouped
from rtstyle.commands.values import number, whole


@dataclass(frozen=True)
class Length:
    """Of the thing."""

    metres: Annotated[float, typer.Option("--length", parser=number(0, 9))] = 2.0
    knots: Annotated[int | None, typer.Option(parser=whole(1))] = None


def app_and_calls() -> tuple[typer.Typer, list[Any]]:
    app, calls = typer.Typer(), list[Any]()

    @grouped
    def video(name: str, *, length: Length, config: options.Config = None, loud: bool = False) -> None:
        calls.append((name, length, loud))

    app.command()(video)
    app.command("webcam")(video)
    app.command("web")(video)
    return app, calls


def test_fields_are_options() -> None:
    app, calls = app_and_calls()
    result = CliRunner().invoke(app, ["video", "rope", "--length", "3", "--loud"])
    assert result.exit_code == 0, result.output
    assert calls == [("rope", Length(3.0), True)]
    shown = CliRunner().invoke(app, ["video", "--help"]).output
    assert "--length" in shown and "--knots" in shown and "--metres" not in shown and "LENGTH" not in shown


def test_a_file_sets_an_option_whose_parameter_has_another_name(tmp_path: Path) -> None:
    app, calls = app_and_calls()
    path = tmp_path / "rope.toml"
    path.write_text("length = 4.5\nknots = 2\n")
    for line, expected in ([], Length(4.5, 2)), (["--length", "1"], Length(1.0, 2)):
        result = CliRunner().invoke(app, ["video", "rope", "--config", str(path), *line])
        assert result.exit_code == 0, result.output
        assert calls.pop() == ("rope", expected, False)


def test_settings_of_a_grouped_command() -> None:
    @grouped
    def command(*, length: Length) -> None:
        raise AssertionError(length)

    assert list(settings_of(command)) == ["length", "knots"]
