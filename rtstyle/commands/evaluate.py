"""``rtstyle evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtstyle.commands.options import Json, Quiet, print_json
from rtstyle.commands.train_extra import training


def evaluate(
    style: Annotated[str, typer.Argument(metavar="STYLE", help="A name from `rtstyle styles`, or a folder.")],
    content: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Photographs to paint, best such as training did not see.")
    ] = None,
    painting: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The painting that the style should be like.")
    ] = None,
    style_pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Pictures of the artist that training did not see.")
    ] = None,
    clip: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A clip, to measure flicker. Repeat for more.")
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The feature networks; VGG19 is downloaded into it (575 MB) if need be."),
    ] = None,
    pictures: Annotated[int, typer.Option(metavar="N", min=2, max=10_000, help="At most so many photographs.")] = 20,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with the figures and pictures as well.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure how good a style is: likeness, steadiness, speed (needs the train extra).

    What the options given do not allow to measure is left out, and the output says why.

    \b
    rtstyle evaluate vangogh
    rtstyle evaluate my-style/ --content photos/ --painting wave.jpg --clip street.mp4 --html wave.html
    """
    judging, show = training("train.evaluate.run"), training("train.evaluate.table")
    if html is not None:
        training("train.html").check_page(html, "--html")
    job = judging.Job(style, content, painting, style_pictures, tuple(clip or ()), features, pictures)
    silent = quiet or as_json
    verdict = judging.judge(job, (lambda _: None) if silent else (lambda text: typer.echo(text, err=True)))
    if html is not None:
        show.save_page(html, verdict)
    if as_json:
        print_json(verdict.to_dict())
    else:
        show.print_table(verdict)
