"""``rtstyle evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtstyle.commands import logs
from rtstyle.commands.extras import training
from rtstyle.commands.options import Json, Painting, Quiet, StyleArgument, print_json
from rtstyle.commands.values import whole


def evaluate(
    style: StyleArgument,
    content: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Photographs to stylize, preferably unseen by training.")
    ] = None,
    painting: Painting = None,
    paintings: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Other paintings: is the style closest to its own, or to one of these?"),
    ] = None,
    style_pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Pictures of the artist that training did not see.")
    ] = None,
    clip: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A clip, to measure flicker. Repeat for more.")
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Feature networks; VGG19 (575 MB) is downloaded into it if needed."),
    ] = None,
    pictures: Annotated[
        int, typer.Option(metavar="N", parser=whole(2, 10_000), help="Use at most N photographs.")
    ] = 20,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write an HTML page with figures and pictures.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure how good a style is: similarity, flicker, speed.

    Needs the extra "train". Figures that need an input you did not give are left out, and the output names its option.

    Examples:
        rtstyle evaluate vangogh
        rtstyle evaluate my-style/ --content photos/ --painting wave.jpg --clip street.mp4 --html wave.html
    """
    evaluation, table = training("train.evaluate.run"), training("train.evaluate.table")
    if html is not None:
        training("train.html").check_page(html, "--html")
    job = evaluation.EvaluationJob(
        style, content, painting, style_pictures, tuple(clip or ()), features, pictures, paintings
    )
    logs.configure(quiet=quiet or as_json)
    results = evaluation.evaluate(job)
    if html is not None:
        table.save_html(html, results)
    if as_json:
        print_json(results.to_dict())
    else:
        table.print_table(results)
