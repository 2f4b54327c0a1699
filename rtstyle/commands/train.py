"""``rtstyle train``: hands everything to the training program, which needs torch."""

from __future__ import annotations

import typer

from rtstyle.commands.train_extra import installed, training


def train(context: typer.Context) -> None:
    """Train a style of your own from a painting (needs the train extra).

    \b
    rtstyle train --style-picture painting.jpg --content photos/ --out my-style/
    rtstyle train --help
    """
    with installed():  # it imports torch itself, where it is needed
        code = training("train.__main__").main(list(context.args))
    raise typer.Exit(int(code or 0))
