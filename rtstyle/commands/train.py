"""``rtstyle train``: hands everything to the training program, which needs torch."""

from __future__ import annotations

import importlib

import typer

PIP_LINE = 'pip install "rtstyle[train]"'


def train(context: typer.Context) -> None:
    """Train a style of your own from a painting (needs the train extra).

    \b
    rtstyle train --style-picture painting.jpg --content photos/ --out my-style/
    rtstyle train --help
    """
    from engines.errors import TrainError

    try:
        program = importlib.import_module("train.__main__")
        code = program.main(list(context.args))  # imports torch itself, where it is needed
    except ModuleNotFoundError as error:
        # Only a missing extra is the user's to mend; a missing module of our own is a fault to see.
        if error.name is None or error.name.split(".")[0] in ("engines", "rtstyle"):
            raise
        raise TrainError(f"training needs {error.name}, which is not installed", hint=PIP_LINE) from error
    raise typer.Exit(int(code or 0))
