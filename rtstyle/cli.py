"""The command line: registers the commands, and is the one place where errors are printed."""

from __future__ import annotations

import importlib.util
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

import rtstyle
from rtstyle.commands import logs
from rtstyle.commands.bench import bench
from rtstyle.commands.compare import compare
from rtstyle.commands.devices import devices
from rtstyle.commands.doctor import doctor
from rtstyle.commands.engine import engine
from rtstyle.commands.environment import told_variables, variable_of
from rtstyle.commands.evaluate import evaluate
from rtstyle.commands.explain import explain
from rtstyle.commands.help import Commands, PlainCommand
from rtstyle.commands.image import image
from rtstyle.commands.styles import styles
from rtstyle.commands.train import train
from rtstyle.commands.video import video
from rtstyle.commands.web import web
from rtstyle.commands.webcam import webcam
from rtstyle.signals import STOPPER

OK, FAILED, USAGE = 0, 1, 2

HELP = {"help_option_names": ["-h", "--help"]}

NUMBERS = {"a valid int": "must be a whole number", "a valid number": "must be a number"}
"""Part of typer's message → ours, for options of ``train``, which have no parser from ``values``."""

app = typer.Typer(
    name="rtstyle", cls=Commands, context_settings=HELP, rich_markup_mode=None, pretty_exceptions_enable=False
)
for command in (webcam, video, image, web, devices, doctor, bench):
    app.command(cls=PlainCommand)(command)
app.add_typer(styles, name="styles")
app.add_typer(engine, name="engine")
# Its options belong to the training program, --help included.
app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(train)
app.command(cls=PlainCommand)(evaluate)
app.command(cls=PlainCommand)(explain)
app.command(cls=PlainCommand)(compare)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rtstyle {rtstyle.__version__}")
        raise typer.Exit


@app.callback(
    epilog="`rtstyle COMMAND --help` shows options and examples. The environment variables RTSTYLE_STYLE, "
    "RTSTYLE_ENGINE, RTSTYLE_STRENGTH, RTSTYLE_SCALE, RTSTYLE_SOURCE and RTSTYLE_CONTROL (both of webcam) set the "
    "options of those names where the command line does not; RTSTYLE_TOKEN sets --token and --control-token."
)
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Turn any camera, video or picture into a moving painting, in real time.

    Examples:
        rtstyle webcam                      your camera, in a window
        rtstyle video clip.mp4 painting.mp4 a video file, with its sound
        rtstyle image photo.jpg painting.jpg
        rtstyle webcam --source pattern     without a camera
    """


def main(argv: list[str] | None = None) -> int:
    """Run the command line with these arguments, or those of the process.

    Returns:
        The exit code: 0, 1 after an error, 2 for wrong usage, or 128 + the number of the signal that ended it.
    """
    args = sys.argv[1:] if argv is None else argv
    logs.configure()
    if hidden := _hidden_package():
        _print(f"rtstyle: {hidden} hides the package of rtstyle that has this name")
        _print("hint: rename it, or run rtstyle in another folder")
        return FAILED
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


def _hidden_package() -> str:
    """Return the file or folder that Python would import instead of one of our packages; empty if there is none."""
    home = Path(__file__).resolve().parent.parent
    for name in ("engines", "train"):
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec is not None and spec.origin else home / name / "__init__.py"
        if origin != home / name / "__init__.py":
            return str(origin.parent if origin.name == "__init__.py" else origin)
    return ""


def _explain(error: Exception) -> int:
    """Print an error and its hint, or a line for each wrong setting, and return the exit code."""
    from engines.errors import SettingsError, StylerError
    from engines.os_errors import advice, at, is_known, reason

    usage = typer.BadParameter.__mro__[1]
    if isinstance(error, SettingsError):
        for one in error.errors:
            _print(f"rtstyle: {_one_line(str(one))}")
        if not any(one.hint for one in error.errors):
            _print(f"hint: {_one_line(error.hint) or 'see `rtstyle train --help`'}")
        return USAGE
    if isinstance(error, StylerError):
        problem, hint, code = error.problem, error.hint, FAILED
    elif isinstance(error, usage):
        command = getattr(getattr(error, "ctx", None), "command_path", "rtstyle")
        problem, hint, code = _usage_problem(error), f"see `{command} --help`", USAGE
        hint += told_variables([variable_of(getattr(error, "ctx", None), getattr(error, "param", None))], "; ")
    elif isinstance(error, OSError) and is_known(error):
        problem, hint, code = f"{at(error, type(error).__name__)}: {reason(error)}", advice(error), FAILED
    else:
        # Not raised on purpose, so it is a bug: the type is what a report needs first.
        problem = f"{type(error).__name__}: {error}".strip()
        hint, code = "this is a bug in rtstyle; RTSTYLE_DEBUG=1 shows the traceback", FAILED
    _print(f"rtstyle: {_one_line(problem)}")
    if hint:
        _print(f"hint: {_one_line(hint)}")
    return code


def _usage_problem(error: Exception) -> str:
    """Return what is wrong with the command line, without the words of typer's parts."""
    message, parameter = getattr(error, "message", ""), getattr(error, "param", None)
    message = next((expected for part, expected in NUMBERS.items() if part in message), message)
    if parameter is not None and message.startswith("must be "):
        option = next((name for name in parameter.opts if name.startswith("--")), parameter.name)
        return f"{option} {message}"
    return str(error.format_message())  # type: ignore[attr-defined]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _print(line: str) -> None:
    with suppress(OSError):  # the terminal may be gone; the exit code remains
        print(line, file=sys.stderr, flush=True)


def _forget_stdout() -> int:
    """End in silence, because whoever read our output has left, like ``head``; Python flushes once more at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED
