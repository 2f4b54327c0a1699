"""``rtstyle engine``: the engines that were built for this machine's NVIDIA GPU."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtstyle.commands.options import Json, Size, note, parse_size, print_json, warn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engines.errors import EngineError
    from engines.trt.build_worker import BuildProcess
    from engines.trt.plan_cache import Entry

LISTEN_S = 1.0
"""Longest time between two looks at a build, seconds; a new line is heard at once."""

engine = typer.Typer(rich_markup_mode=None)

Styles = Annotated[list[str], typer.Argument(metavar="STYLE...", help="Names from `rtstyle styles`, or folders.")]
Sizes = Annotated[
    list[Size],
    typer.Option("--size", metavar="WxH", parser=parse_size, help="Size of the frames, pixels; may be repeated."),
]


@engine.callback()
def about() -> None:
    """List, build or remove the engines of an NVIDIA GPU.

    A TensorRT engine is for one size of frames, this GPU and these versions, and for all styles where weights can be
    exchanged. What is missing is built while rtstyle paints; building it before saves the wait. All stay in the cache
    folder, or where RTSTYLE_CACHE says.

    \b
    rtstyle engine build vangogh wave --size 1280x720
    """


@engine.command("list")
def list_engines(as_json: Json = False) -> None:
    """List the engines, the last used first, and what could not be built."""
    from engines.trt.plan_cache import PlanCache

    cache = PlanCache()
    entries = cache.entries()
    if as_json:
        print_json({"folder": cache.folder, "engines": [_plain(entry) for entry in entries]})
    elif not entries:
        typer.echo("There is no engine yet; `rtstyle engine build STYLE --size WxH` makes one.")
    else:
        typer.echo(_table(entries))


@engine.command()
def build(styles: Styles, size: Sizes) -> None:
    """Build the engines of styles for sizes of frames. What is finished stays when it is interrupted."""
    from engines.base import check_size
    from engines.errors import EngineError
    from rtstyle.styles import find

    jobs = [(find(style), one) for style in dict.fromkeys(styles) for one in dict.fromkeys(size)]
    for one in size:
        check_size(one.height, one.width)
    _check_gpu()
    faults = [error for folder, one in jobs if (error := _build(folder, one, alone=len(jobs) == 1)) is not None]
    if len(jobs) == 1 and faults:
        raise faults[0]
    if faults:
        problem = f"{len(faults)} of {len(jobs)} engines could not be built"
        raise EngineError(problem, hint="`rtstyle engine list` says why")


@engine.command()
def clear() -> None:
    """Remove all engines, and forget what could not be built. What is being built at this moment stays."""
    from engines.trt.plan_cache import PlanCache

    cache = PlanCache()
    before = {entry.key: entry for entry in cache.entries()}
    freed = cache.clear()
    left = {entry.key for entry in cache.entries()}
    gone = [entry for key, entry in before.items() if key not in left]
    faults = sum(1 for entry in gone if entry.fault)
    typer.echo(f"Removed {_count(len(gone) - faults, 'engine')} and {_count(faults, 'fault')}: {_megabytes(freed)} MB.")


def _build(folder: Path, size: Size, *, alone: bool) -> EngineError | None:
    """Build one engine and tell how far it is. Returns: why it failed; told already unless it is ``alone``."""
    from engines.trt.build_worker import BUILDERS, BuildProcess

    label, error = f"{folder.name} {size.width}×{size.height}", None
    for builder in BUILDERS:
        with BuildProcess(folder, size.height, size.width, builder=builder) as process:
            _tell(label, process)
        error = process.error
        if error is None:
            return None
        if builder != BUILDERS[-1]:
            note(f"{label}: {error}; tries another way")
    if error is not None and not alone:
        warn(f"{label}: {error}")
    return error


def _tell(label: str, process: BuildProcess) -> None:
    """Each new line of a build, until it ends."""
    shown = ""
    while True:
        over = process.wait(LISTEN_S) is not None
        if process.progress != shown:
            shown = process.progress
            note(f"{label}: {shown}")
        if over:
            return


def _check_gpu() -> None:
    """Say at once, and once, that nothing can be built here.

    Raises:
        EngineError
    """
    from engines.cuda import driver

    driver.check("tensorrt", ("torch", "torch_tensorrt"))


def _table(entries: Iterable[Entry]) -> str:
    from engines.trt.plan_record import gain_of
    from rtstyle.commands.styles import table

    rows: list[tuple[str, ...]] = [
        ("STYLE", "SIZE", "GPU", "TENSORRT", "TORCH", "DRIVER", "MB", "BUILT IN", "× CUDA", "USED", "FAULT")
    ]
    for entry in entries:
        key = entry.key
        built = "" if entry.fault else f"{entry.seconds:.0f} s"
        size = "" if entry.fault else _megabytes(entry.bytes)
        gain = gain_of(entry.extra)
        times = "" if gain is None else f"{gain:.2f}"
        used = f"{datetime.fromtimestamp(entry.used_s, UTC).astimezone():%Y-%m-%d %H:%M}"
        what = (_style(entry), f"{key.width}×{key.height}", key.gpu, key.tensorrt, key.torch, key.driver)
        rows.append((*what, size, built, times, used, entry.fault))
    return table(rows if any(row[-1] for row in rows[1:]) else [row[:-1] for row in rows])


def _plain(entry: Entry) -> dict[str, Any]:
    from dataclasses import asdict

    from engines.trt.plan_record import gain_of

    gain = gain_of(entry.extra)
    figures = {"bytes": entry.bytes, "seconds": entry.seconds, "gain": gain, "fault": entry.fault}
    used = datetime.fromtimestamp(entry.used_s, UTC).isoformat(timespec="seconds")
    return {"style": _style(entry), "key": asdict(entry.key), **figures, "used": used}


def _style(entry: Entry) -> str:
    """Its name; where that is not known, the beginning of its hash."""
    from engines.trt.plan_record import ANY_STYLE

    if entry.key.style_sha256 == ANY_STYLE:
        return "all"
    return str(entry.extra.get("style") or entry.key.style_sha256[:12])


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
