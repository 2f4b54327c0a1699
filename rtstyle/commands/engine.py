"""``rtstyle engine``: the engines that were built for this machine's NVIDIA GPU."""

from __future__ import annotations

import logging
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtstyle.commands.help import Commands, PlainCommand
from rtstyle.commands.options import Device, Json, print_json
from rtstyle.commands.values import SIZE, Size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engines.errors import EngineError
    from engines.trt.build_worker import BuildProcess
    from engines.trt.plan_cache import Entry

logger = logging.getLogger(__name__)

POLL_S = 1.0
"""Longest time between two looks at a build, seconds; a new line of progress is noticed at once."""

engine = typer.Typer(cls=Commands, rich_markup_mode=None)

Styles = Annotated[list[str], typer.Argument(metavar="STYLE", help="Names from `rtstyle styles`, or folders.")]
Sizes = Annotated[
    list[Size], typer.Option("--size", metavar="WxH", parser=SIZE, help="Frame size in pixels. Repeat for more.")
]


@engine.callback()
def about() -> None:
    """List, build or remove TensorRT engines for an NVIDIA GPU.

    An engine fits one frame size, this GPU and the installed versions, and usually all styles. rtstyle builds missing
    ones while it runs; building them in advance saves the wait. They are kept in the user's cache folder, or in the
    folder that the environment variable RTSTYLE_CACHE names.

    Examples:
        rtstyle engine build vangogh wave --size 1280x720
        rtstyle engine list
    """


@engine.command("list", cls=PlainCommand)
def list_engines(as_json: Json = False) -> None:
    """List the engines, last used first, and the builds that failed."""
    from engines.trt.plan_cache import PlanCache

    cache = PlanCache()
    entries = cache.entries()
    if as_json:
        print_json({"folder": cache.folder, "engines": [_plain(entry) for entry in entries]})
    elif not entries:
        typer.echo("No engines are built yet. `rtstyle engine build STYLE --size WxH` builds one.")
    else:
        typer.echo(_table(entries))


@engine.command(cls=PlainCommand)
def build(
    styles: Styles,
    size: Sizes,
    device: Device = None,  # noqa: ARG001  # its callback has chosen it
) -> None:
    """Build engines for the given styles and frame sizes; those that are finished survive an interruption.

    Examples:
        rtstyle engine build vangogh wave --size 1280x720 --size 640x360
    """
    from engines.base import check_size
    from engines.errors import EngineError
    from rtstyle.style_library import find

    jobs = [(find(style), one) for style in dict.fromkeys(styles) for one in dict.fromkeys(size)]
    for one in size:
        check_size(one.height, one.width)
    _check_gpu()
    faults = [error for folder, one in jobs if (error := _build(folder, one, alone=len(jobs) == 1)) is not None]
    if len(jobs) == 1 and faults:
        raise faults[0]
    if faults:
        problem = f"{len(faults)} of {len(jobs)} engines could not be built"
        raise EngineError(problem, hint="`rtstyle engine list` shows the reasons")


@engine.command(cls=PlainCommand)
def clear() -> None:
    """Remove all engines and forget failed builds. Builds that are running now are kept."""
    from engines.trt.plan_cache import PlanCache

    cache = PlanCache()
    before = {entry.key: entry for entry in cache.entries()}
    freed = cache.clear()
    left = {entry.key for entry in cache.entries()}
    gone = [entry for key, entry in before.items() if key not in left]
    faults = sum(1 for entry in gone if entry.fault)
    typer.echo(f"Removed {_count(len(gone) - faults, 'engine')} and {_count(faults, 'fault')}: {_megabytes(freed)} MB.")


def _build(folder: Path, size: Size, *, alone: bool) -> EngineError | None:
    """Build one engine; log and return the error if it failed (an ``alone`` one is not logged)."""
    from engines.trt.build_worker import BUILDERS, BuildProcess

    label, error = f"{folder.name} {size.width}×{size.height}", None
    for builder in BUILDERS:
        with closing(BuildProcess(folder, size.height, size.width, builder=builder)) as process:
            _log_progress(label, process)
        error = process.error
        if error is None:
            return None
        if builder != BUILDERS[-1]:
            logger.info("%s: %s; trying another way", label, error)
    if error is not None and not alone:
        logger.warning("%s: %s", label, error)
    return error


def _log_progress(label: str, process: BuildProcess) -> None:
    """Log each new line of a build until it ends."""
    shown = ""
    over = False
    while not over:
        over = process.wait(POLL_S) is not None
        if process.progress != shown:
            shown = process.progress
            logger.info("%s: %s", label, shown)


def _check_gpu() -> None:
    """Raise EngineError if nothing can be built here."""
    from engines.cuda import driver

    driver.check("tensorrt", ("torch", "torch_tensorrt"))


def _table(entries: Iterable[Entry]) -> str:
    from engines.trt.plan_record import speedup_of
    from rtstyle.commands.styles import table

    rows: list[tuple[str, ...]] = [
        ("STYLE", "SIZE", "GPU", "TENSORRT", "TORCH", "DRIVER", "MB", "BUILT IN", "× CUDA", "USED", "FAULT")
    ]
    for entry in entries:
        key = entry.key
        built = "" if entry.fault else f"{entry.seconds:.0f} s"
        size = "" if entry.fault else _megabytes(entry.bytes)
        gain = speedup_of(entry.extra)
        times = "" if gain is None else f"{gain:.2f}"
        used = f"{datetime.fromtimestamp(entry.used_s, UTC).astimezone():%Y-%m-%d %H:%M}"
        what = (_style(entry), f"{key.width}×{key.height}", key.gpu, key.tensorrt, key.torch, key.driver)
        rows.append((*what, size, built, times, used, entry.fault))
    return table(rows if any(row[-1] for row in rows[1:]) else [row[:-1] for row in rows])


def _plain(entry: Entry) -> dict[str, Any]:
    from engines.trt.plan_record import speedup_of

    gain = speedup_of(entry.extra)
    figures = {"bytes": entry.bytes, "seconds": entry.seconds, "gain": gain, "fault": entry.fault}
    used = datetime.fromtimestamp(entry.used_s, UTC).isoformat(timespec="seconds")
    return {"style": _style(entry), "key": entry.key, **figures, "used": used}


def _style(entry: Entry) -> str:
    """Return the style's name, or the beginning of its hash."""
    from engines.trt.plan_record import ANY_STYLE

    if entry.key.style_sha256 == ANY_STYLE:
        return "all"
    return str(entry.extra.get("style") or entry.key.style_sha256[:12])


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
