"""``rtstyle image``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rtstyle.commands.options import (
    DEFAULT_STYLE,
    EngineName,
    Json,
    Overwrite,
    Quiet,
    Scale,
    Strength,
    Style,
    load_engine,
    print_json,
    warn,
)


def image(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN", help="Pictures: PNG, JPEG, WebP, BMP, TIFF.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="A file, or a folder for one or many pictures.")],
    style: Style = DEFAULT_STYLE,
    strength: Strength = 1.0,
    scale: Scale = 1.0,
    engine: EngineName = "auto",
    height: Annotated[
        int | None,
        typer.Option(metavar="PX", min=16, help="Height of the result; strokes look larger in a smaller one."),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Paint pictures.

    \b
    rtstyle image photo.jpg painting.jpg
    rtstyle image *.jpg paintings/ --strength 0.7
    rtstyle image photo.jpg poster.png --height 1080 --scale 1.5
    """
    from rtstyle.image import ImageJob, stylize_images

    job = ImageJob(tuple(inputs), output, strength, height, overwrite, scale)
    reports = []
    for report in stylize_images(job, lambda: load_engine(style, engine)):
        reports.append(asdict(report))
        if report.reduced:
            warn(f"{report.input} is larger than an engine takes; {report.output} is {report.width}×{report.height}")
        if not (quiet or as_json):
            typer.echo(f"{report.output}: {report.width}×{report.height}", err=True)
    if as_json:
        print_json({"images": reports})
