"""The command ``rtstyle explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtstyle.commands import logs
from rtstyle.commands.extras import training
from rtstyle.commands.options import Painting, Quiet, StyleArgument
from rtstyle.commands.values import number


def explain(
    style: StyleArgument,
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="The photograph to explain it on.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="HTML page to write, for example report.html.")],
    painting: Painting = None,
    features: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Feature networks. [default: those that training downloaded]")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Training run of the style, to show its discriminator.")
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option(metavar="STYLE", help="Another style to compare with. Repeat for more.")
    ] = None,
    fine_tune: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            parser=number(0.001, 100_000),
            help="Also train on twice, this long each: with a quarter and with four times the weight of --layer.",
        ),
    ] = None,
    layer: Annotated[
        str,
        typer.Option(metavar="NAME", help="Layer for --fine-tune, from relu1_1 (colours) to relu4_1 (large forms)."),
    ] = "relu3_1",
    content: Annotated[Path | None, typer.Option(metavar="DIR", help="Photographs for --fine-tune.")] = None,
    quiet: Quiet = False,
) -> None:
    """Show on one page what a style does to a picture, and why.

    Needs the extra "train". Parts that need an input you did not give are left out, and the page names their option.

    Examples:
        rtstyle explain vangogh photo.jpg --out report.html
        rtstyle explain my-style/ photo.jpg --painting wave.jpg --run runs/wave --against vangogh --out report.html
    """
    inputs, run_module = training("train.explain.inputs"), training("train.explain.run")
    job = inputs.ExplainJob(
        style, picture, painting=painting, features=features, run=run, against=tuple(against or ()),
        fine_tune=fine_tune, layer=layer, content=content,
    )  # fmt: skip
    logs.configure(quiet=quiet)
    run_module.explain(job, out)
