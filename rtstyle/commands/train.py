"""``rtstyle train``: passes its arguments on to the training program, which needs torch."""

from __future__ import annotations

import typer

from rtstyle.commands.extras import needs_extra, training


def train(context: typer.Context) -> None:
    """Train a style of your own from a painting.

    Needs the extra "train".

    Examples:
        rtstyle train --style-picture painting.jpg --content photos/ --out runs/painting
        rtstyle train --help
    """
    from engines.errors import TrainError

    with needs_extra("train", "training", TrainError):  # it imports torch itself, where it is needed
        code = training("train.__main__").main(["--help"] if context.args == ["help"] else list(context.args))
    raise typer.Exit(int(code or 0))
