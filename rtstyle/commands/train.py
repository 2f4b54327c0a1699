"""``rtstyle train``: passes its arguments on to the training program, which needs torch."""

from __future__ import annotations

import typer

from rtstyle.commands.train_extra import needs_train_extra, training


def train(context: typer.Context) -> None:
    """Train a style of your own from a painting.

    Needs the extra "train".

    Examples:
        rtstyle train --style-picture painting.jpg --content photos/ --out runs/painting
        rtstyle train --help
    """
    with needs_train_extra():  # it imports torch itself, where it is needed
        code = training("train.__main__").main(list(context.args))
    raise typer.Exit(int(code or 0))
