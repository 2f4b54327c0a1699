"""``rtstyle image``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtstyle.commands import options
from rtstyle.commands.values import whole
from rtstyle.defaults import DEFAULT_STYLE

if TYPE_CHECKING:
    from rtstyle.image import ImageFailure, ImageReport

logger = logging.getLogger(__name__)


def image(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="IN", help="Pictures to stylize: JPEG, PNG, WebP, AVIF, TIFF, HEIC …")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write; for several pictures a folder.")],
    style: options.Style = DEFAULT_STYLE,
    strength: options.Strength = 1.0,
    scale: options.Scale = 1.0,
    colours: options.Colours = 0.0,
    engine: options.EngineName = "auto",
    height: Annotated[
        int | None,
        typer.Option(
            metavar="PX", parser=whole(16), help="Height of the result in pixels; strokes look larger in a small one."
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,  # noqa: ARG001  # its callback has set the level of messages
    as_json: options.Json = False,
) -> None:
    """Stylize pictures.

    Examples:
        rtstyle image photo.jpg painting.jpg
        rtstyle image *.jpg paintings/ --strength 0.7
        rtstyle image photo.jpg poster.png --height 1080 --scale 1.5
    """
    from rtstyle.image import ImageFailure, ImageJob, stylize_images

    job = ImageJob(tuple(inputs), output, strength, height, overwrite, scale, colours)
    reports: list[ImageReport] = []
    failures: list[ImageFailure] = []
    for result in stylize_images(job, lambda: options.load_engine(style, engine)):
        if isinstance(result, ImageFailure):
            failures.append(result)
            continue
        reports.append(result)
        _tell(result, quiet=as_json)
    if as_json:
        listed = [{"input": one.input, "problem": one.error.problem, "hint": one.error.hint} for one in failures]
        options.print_json({"images": reports, "failures": listed})
    if failures:
        _fail(failures, len(inputs))


def _tell(report: ImageReport, *, quiet: bool) -> None:
    size = f"{report.width}×{report.height}"
    if report.reduced:
        logger.warning("%s is larger than an engine takes; %s is %s", report.input, report.output, size)
    if report.flattened:
        logger.warning("%s has transparent parts, which are white in %s", report.input, report.output)
    if not quiet:
        logger.info("%s: %s", report.output, size)


def _fail(failures: list[ImageFailure], count: int) -> None:
    if count == 1:
        raise failures[0].error
    from engines.errors import SourceError

    for failure in failures:
        logger.error("%s", failure.error)
    raise SourceError(f"{len(failures)} of {count} pictures could not be stylized")
