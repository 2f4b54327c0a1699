"""``rtstyle explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtstyle.commands.options import Quiet
from rtstyle.commands.train_extra import training


def explain(
    style: Annotated[str, typer.Argument(metavar="STYLE", help="A name from `rtstyle styles`, or a folder.")],
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="A photograph.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page to write, like report.html.")],
    painting: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The painting that the style was trained on.")
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The feature networks; by default those that training has downloaded."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run that trained the style, for its discriminator.")
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option(metavar="STYLE", help="Another style to compare with. Repeat for more.")
    ] = None,
    fine_tune: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            min=0.001,
            help="Train on with 1/4 and with 4 times the weight of a layer, so long each.",
        ),
    ] = None,
    layer: Annotated[
        str, typer.Option(metavar="NAME", help="The layer for --fine-tune: relu1_1 (colours) … relu4_1 (large forms).")
    ] = "relu3_1",
    content: Annotated[Path | None, typer.Option(metavar="DIR", help="Photographs, for --fine-tune.")] = None,
    quiet: Quiet = False,
) -> None:
    """Show on one page what a style does to a picture, where, and why (needs the train extra).

    What the options given do not allow to show is left out, and the page says what it would need.

    \b
    rtstyle explain vangogh photo.jpg --out report.html
    rtstyle explain my-style/ photo.jpg --painting wave.jpg --run runs/wave --against vangogh --out report.html
    """
    material, command = training("train.explain.inputs"), training("train.explain.run")
    job = material.Job(
        style, picture, painting=painting, features=features, run=run, against=tuple(against or ()),
        fine_tune=fine_tune, layer=layer, content=content,
    )  # fmt: skip
    explanation = command.explain(job, out, (lambda _: None) if quiet else (lambda text: typer.echo(text, err=True)))
    if not quiet:
        for line in explanation.left_out:
            typer.echo(f"left out: {line}", err=True)
        typer.echo(f"the page is {out}", err=True)
