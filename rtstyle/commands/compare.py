"""``rtstyle compare``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from rtstyle.commands.options import (
    Device,
    EngineName,
    Overwrite,
    Painting,
    Quiet,
    Strength,
    StyleArgument,
    load_engine,
)
from rtstyle.commands.values import LEAST_HEIGHT, number, whole

logger = logging.getLogger(__name__)


def compare(
    first: StyleArgument,
    second: StyleArgument,
    inputs: Annotated[list[Path], typer.Argument(metavar="IN", help="Photographs and clips to stylize.")],
    html: Annotated[Path, typer.Option(metavar="FILE", help="The page to write.")],
    question: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT", help="What to ask about each pair. Repeat for more. [default: Which do you prefer?]"
        ),
    ] = None,
    painting: Painting = None,
    strength: Strength = 1.0,
    engine: EngineName = "auto",
    device: Device = None,  # noqa: ARG001  # its callback has chosen it
    height: Annotated[
        int, typer.Option(metavar="PX", parser=whole(LEAST_HEIGHT), help="Height of the results in pixels.")
    ] = 480,
    seconds: Annotated[
        float, typer.Option(metavar="N", parser=number(0.1, 60), help="How much of each clip is shown, in seconds.")
    ] = 4.0,
    seed: Annotated[int, typer.Option(metavar="N", parser=whole(0), help="Draws other sides and another order.")] = 0,
    overwrite: Overwrite = False,
    quiet: Quiet = False,  # noqa: ARG001  # its callback has set the level of messages
) -> None:
    """Compare two styles without knowing which is which.

    Writes one page that shows the results side by side, with the sides drawn at random. Choose with the arrow keys; at
    the end it counts the choices, with a 95 % interval, and tells which style was which.

    Examples:
        rtstyle compare vangogh my-style/ photos/*.jpg --html vote.html
        rtstyle compare wave runs/wave/ face.jpg street.mp4 --html vote.html --painting wave.jpg
    """
    from rtstyle import compare as comparison

    job = comparison.CompareJob(
        (first, second), tuple(inputs), html, tuple(question or (comparison.QUESTION,)), painting, height, seconds,
        strength, seed, overwrite,
    )  # fmt: skip
    comparison.compare(job, lambda style: load_engine(style, engine), lambda path: logger.info("stylizing %s", path))
    logger.info("%s: open it in a browser", html)
