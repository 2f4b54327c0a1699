"""``rtstyle image``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtstyle.commands import options
from rtstyle.commands.mask_options import Masking
from rtstyle.commands.option_groups import grouped
from rtstyle.commands.values import LEAST_HEIGHT, choice, whole
from rtstyle.defaults import DEFAULT_STYLE

if TYPE_CHECKING:
    from engines.base import Engine
    from rtstyle.image import ImageJob, ImageReport

logger = logging.getLogger(__name__)

MOST_NAMES = 5
"""Pictures that are named in a line about several."""

Height = Annotated[
    int | None,
    typer.Option(
        metavar="PX",
        parser=whole(LEAST_HEIGHT),
        help="Height of the result in pixels; strokes look larger in a small one.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="png|jpg|webp",
        parser=choice("png", "jpg", "webp"),
        help="Format of the pictures in a folder. [default: that of the input, or png]",
    ),
]


@grouped
def image(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN",
            help="Pictures to stylize: JPEG, PNG, WebP, AVIF, TIFF, HEIC …; or folders with all pictures below them.",
        ),
    ],
    output: Annotated[str, typer.Argument(metavar="OUT", help="The file to write; for several pictures a folder.")],
    style: options.Style = DEFAULT_STYLE,
    strength: options.Strength = 1.0,
    scale: options.Scale = 1.0,
    colours: options.Colours = 0.0,
    engine: options.EngineName = "auto",
    device: options.Device = None,  # noqa: ARG001  # its callback has chosen it
    height: Height = None,
    picture_format: Format = None,
    *,
    masking: Masking,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Stylize pictures.

    Of many, one that fails does not stop the others; the same command again skips what is finished.

    Examples:
        rtstyle image photo.jpg painting.jpg
        rtstyle image *.jpg paintings/ --strength 0.7
        rtstyle image portrait.jpg painting.jpg --only background
        rtstyle image photos paintings/ --format webp
        rtstyle image photo.jpg poster.png --height 1080 --scale 1.5
    """
    from rtstyle.image import ImageJob
    from rtstyle.jobs.folder_batch import is_batch
    from rtstyle.style_library import identify

    job = ImageJob(
        tuple(inputs), Path(output), strength, height, overwrite, scale, picture_format,
        colours=colours, only=masking.only, masks=masking.settings(), faces=masking.faces,
    )  # fmt: skip
    load_engine = partial(options.load_engine, style, engine)
    if is_batch([str(name) for name in inputs], output):
        _stylize_many(job, load_engine, identify(style, engine), quiet=quiet, as_json=as_json)
    else:
        _stylize_one(job, load_engine, as_json=as_json)


def _stylize_one(job: ImageJob, load_engine: Callable[[], Engine], *, as_json: bool) -> None:
    from rtstyle.image import ImageFailure, stylize_images

    for result in stylize_images(job, load_engine):
        if isinstance(result, ImageFailure):
            raise result.error
        _warn(result)
        for note in result.notes:
            logger.info("%s: %s", result.input, note)
        if as_json:
            options.print_json({"status": "done", **vars(result)})
        else:
            logger.info("%s: %d×%d", result.output, result.width, result.height)


def _stylize_many(
    job: ImageJob, load_engine: Callable[[], Engine], made_by: Mapping[str, Any], *, quiet: bool, as_json: bool
) -> None:
    from rtstyle.commands.batch import BatchDisplay
    from rtstyle.image import ImageBatch, ImageFailure

    with ImageBatch(job, made_by) as batch:
        display = BatchDisplay(batch, "pictures", quiet=quiet, as_json=as_json)
        notes = dict[str, list[str]]()
        with display.explaining_stop():
            for result in batch.run(load_engine):
                if isinstance(result, ImageFailure):
                    display.failed(result.input, Path(result.output), result.error)
                else:
                    _warn(result)
                    for note in result.notes:
                        notes.setdefault(note, []).append(result.input)
                    display.done(Path(result.output), f"{result.width}×{result.height}", vars(result))
        for note, names in notes.items():
            logger.info("%s: %s", note, _listed(names))
    display.finish()


def _listed(names: list[str]) -> str:
    """Return the first few names, and how many there are beside."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _warn(report: ImageReport) -> None:
    if report.reduced:
        size = f"{report.width}×{report.height}"
        logger.warning("%s is larger than an engine takes; %s is %s", report.input, report.output, size)
    if report.flattened:
        logger.warning("%s has transparent parts, which are white in %s", report.input, report.output)
