"""``rtstyle bench``."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from rtstyle.commands.options import Device, EngineName, Json, Style, Threads, load_engine, print_json
from rtstyle.commands.styles import table
from rtstyle.commands.values import SIZE, Size, number
from rtstyle.defaults import DEFAULT_STYLE

logger = logging.getLogger(__name__)


def bench(
    style: Style = DEFAULT_STYLE,
    engine: EngineName = "auto",
    device: Device = None,  # noqa: ARG001  # its callback has chosen it
    size: Annotated[
        list[Size] | None,
        typer.Option(
            metavar="WxH",
            parser=SIZE,
            help="Frame size to measure. Repeat for more. [default: 640x360 1280x720 1920x1080]",
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(metavar="S", parser=number(0, 600), help="How long to measure each size, in seconds.")
    ] = 3.0,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Measure how fast this machine stylizes frames.

    FPS is the rate of a camera, whose frames are stylized one at a time. On a GPU, the frames of a file overlap.

    Examples:
        rtstyle bench
        rtstyle bench --engine cpu --size 1280x720
    """
    from rtstyle.bench import SIZES, measure
    from rtstyle.doctor import cpu_name

    loaded = load_engine(style, engine, threads)
    try:
        timings = []
        for width, height in [(one.width, one.height) for one in size or []] or SIZES:
            if not as_json:
                logger.info("measuring %d×%d …", width, height)
            timings.append(measure(loaded, width, height, seconds=seconds))
        info = loaded.info
    finally:
        loaded.close()
    if as_json:
        print_json({"engine": info, "cpu": cpu_name(), "timings": timings})
        return
    typer.echo(f"{info.style} · {info.name} ({info.runtime}, {info.precision}) · {info.device}")
    rows = [("SIZE", "MEDIAN", "P95", "FPS", "FPS OF FILES", "FIRST CALL")]
    for t in timings:
        times = (f"{t.median_ms:.1f} ms", f"{t.p95_ms:.1f} ms", f"{t.fps:.1f}")
        rows.append((f"{t.width}×{t.height}", *times, f"{t.pipelined_fps or t.fps:.1f}", f"{t.first_ms:.0f} ms"))
    typer.echo(table(rows))
