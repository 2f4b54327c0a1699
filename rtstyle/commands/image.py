"""``rtstyle image``."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rtstyle.commands.options import (
    EngineName,
    Json,
    Overwrite,
    Quiet,
    Scale,
    Strength,
    Style,
    load_engine,
    print_json,
)
from rtstyle.commands.values import whole
from rtstyle.defaults import DEFAULT_STYLE

logger = logging.getLogger(__name__)


def image(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="IN", help="Pictures to stylize: PNG, JPEG, WebP, BMP or TIFF.")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write; for several pictures a folder.")],
    style: Style = DEFAULT_STYLE,
    strength: Strength = 1.0,
    scale: Scale = 1.0,
    engine: EngineName = "auto",
    height: Annotated[
        int | None,
        typer.Option(
            metavar="PX", parser=whole(16), help="Height of the result in pixels; strokes look larger in a small one."
        ),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,  # noqa: ARG001  # its callback has set the level of messages
    as_json: Json = False,
) -> None:
    """Stylize pictures.

    Examples:
        rtstyle image photo.jpg painting.jpg
        rtstyle image *.jpg paintings/ --strength 0.7
        rtstyle image photo.jpg poster.png --height 1080 --scale 1.5
    """
    from rtstyle.image import ImageJob, stylize_images

    job = ImageJob(tuple(inputs), output, strength, height, overwrite, scale)
    reports = []
    for report in stylize_images(job, lambda: load_engine(style, engine)):
        reports.append(asdict(report))
        size = f"{report.width}×{report.height}"
        if report.reduced:
            logger.warning("%s is larger than an engine takes; %s is %s", report.input, report.output, size)
        if not as_json:
            logger.info("%s: %s", report.output, size)
    if as_json:
        print_json({"images": reports})
