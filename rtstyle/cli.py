"""The command line: registers the commands, and is the one place where errors are printed."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Annotated

import typer

import rtstyle
from rtstyle.commands.bench import bench
from rtstyle.commands.devices import devices
from rtstyle.commands.doctor import doctor
from rtstyle.commands.engine import engine
from rtstyle.commands.evaluate import evaluate
from rtstyle.commands.explain import explain
from rtstyle.commands.image import image
from rtstyle.commands.styles import styles
from rtstyle.commands.train import train
from rtstyle.commands.video import video
from rtstyle.commands.web import web
from rtstyle.commands.webcam import webcam
from rtstyle.signals import STOPPER

OK, FAILED, USAGE = 0, 1, 2

# Rich's help takes longer to import than everything else together; plain help is there at once.
app = typer.Typer(name="rtstyle", rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
for command in (video, image, webcam, web, devices, styles, doctor, bench, evaluate, explain):
    app.command()(command)
app.add_typer(engine, name="engine")
# Its options belong to the training program, --help included.
app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(train)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rtstyle {rtstyle.__version__}")
        raise typer.Exit


@app.callback(epilog="`rtstyle COMMAND --help` shows the options of a command.")
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Turn any camera, video or picture into a painting, in real time.

    \b
    rtstyle webcam                   paint what the camera sees
    rtstyle video in.mp4 out.mp4     paint a clip, sound and all
    rtstyle image in.jpg out.jpg     paint a picture
    """


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; those of the process unless given.

    Returns:
        0; 1 for an error, 2 for wrong usage; 128 + number of the signal that stopped it.
    """
    args = sys.argv[1:] if argv is None else argv
    with STOPPER.installed():
        STOPPER.received = None
        try:
            result = app(args=args or ["--help"], prog_name="rtstyle", standalone_mode=False)
            code = result if isinstance(result, int) else OK
            sys.stdout.flush()
        except (KeyboardInterrupt, typer.Abort):
            code = FAILED
        except BrokenPipeError:
            code = _forget_stdout()
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else FAILED
        except Exception as error:
            if os.environ.get("RTSTYLE_DEBUG") == "1":
                raise
            code = _explain(error)
        return code if STOPPER.received is None else 128 + STOPPER.received


def _explain(error: Exception) -> int:
    """Print an error as one line and its hint, or a line for each wrong setting. Returns: the exit code."""
    from engines.errors import SettingsError, StylerError

    usage = typer.BadParameter.__mro__[1]
    if isinstance(error, SettingsError):
        for fault in error.faults:
            _say(f"rtstyle: {_one_line(str(fault))}")
        if not any(fault.hint for fault in error.faults):
            _say(f"hint: {_one_line(error.hint) or 'see `rtstyle train --help`'}")
        return USAGE
    if isinstance(error, StylerError):
        problem, hint, code = error.problem, error.hint, FAILED
    elif isinstance(error, usage):
        problem, hint, code = error.format_message(), _usage_hint(error), USAGE  # type: ignore[attr-defined]
    else:
        # Not raised on purpose, so a fault of ours: the type is what a report needs first.
        problem = f"{type(error).__name__}: {error}".strip()
        hint, code = "this is a fault in rtstyle; RTSTYLE_DEBUG=1 shows where", FAILED
    _say(f"rtstyle: {_one_line(problem)}")
    if hint:
        _say(f"hint: {_one_line(hint)}")
    return code


def _usage_hint(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "rtstyle"
    return f"see `{command} --help`"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _say(line: str) -> None:
    with suppress(OSError):  # the terminal may be gone; the exit code still tells
        print(line, file=sys.stderr, flush=True)


def _forget_stdout() -> int:
    """Whoever read our output has left, like ``head``: end in silence, also when Python flushes at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED
