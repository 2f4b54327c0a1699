"""Plain help texts, and short names for commands."""

from __future__ import annotations

import re
from typing import Any

import typer
import typer.core

from rtstyle.commands.environment import naming_variables
from rtstyle.commands.option_rules import check_options

ALIASES = {"live": "webcam", "picture": "image", "photo": "image", "cameras": "devices"}
"""Other names of commands, which the help does not list."""


class PlainCommand(typer.core.TyperCommand):
    """A command whose help groups its options, and keeps the lines of its examples.

    Rich's help takes longer to import than to read.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.help = with_examples(self.help)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the arguments without the braces that typer adds."""
        return [piece.strip("{}").replace("}", "") for piece in super().collect_usage_pieces(ctx)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the single word ``help`` as ``--help``, and name the argument that is missing."""
        args = ["--help"] if args == ["help"] else args
        try:
            with naming_variables(ctx):
                return super().parse_args(ctx, [*args])
        except typer.BadParameter as error:
            if error.param is not None and error.param.nargs == -1:
                # The only word for IN... OUT is taken as OUT, although whoever wrote it meant IN.
                given, _, _ = self.make_parser(ctx).parse_args([*args])
                arguments = [one for one in self.params if one.param_type_name == "argument" and given.get(one.name)]
                error.param = arguments[-1] if arguments else error.param  # type: ignore[assignment]
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run the command, unless one of its options would do nothing."""
        check_options(ctx)
        with naming_variables(ctx):
            return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group of options."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            name, text = record
            is_argument = parameter.param_type_name == "argument"
            heading = getattr(parameter, "rich_help_panel", None) or ("Arguments" if is_argument else "Options")
            # Types of arguments, like <list[Path]>, mean nothing to a reader.
            groups.setdefault(heading, []).append((re.sub(r" <.*>$", "", name) if is_argument else name, text))
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class Commands(typer.core.TyperGroup):
    """A group of commands that also answers to ``help`` and to aliases."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.help = with_examples(self.help)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of a name or alias, or ``None``."""
        return super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read ``help COMMAND`` as ``COMMAND --help``."""
        while args[:1] == ["help"]:
            args = [*(word for word in args[1:] if word != "--help"), "--help"]
        return super().parse_args(ctx, args)


def with_examples(text: str | None) -> str | None:
    """Keep the lines of the section ``Examples:``, which would be wrapped into one paragraph."""
    return text and text.replace("\n\nExamples:\n", "\n\n\b\nExamples:\n")
