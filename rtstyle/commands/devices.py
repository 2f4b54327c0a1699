"""``rtstyle devices``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rtstyle.commands.options import Json, print_json, warn

if TYPE_CHECKING:
    from rtstyle.sources.camera_discovery import Camera
    from rtstyle.sources.v4l2 import Mode


def devices(as_json: Json = False) -> None:
    """List the cameras of this machine, and what they give.

    The number, the path, the name or a part of it is what `rtstyle webcam --source` takes. A virtual camera is fed by a
    program. A path in /dev/v4l/by-id stays the same whatever is plugged in.

    \b
    rtstyle devices
    rtstyle webcam --source "HD Pro Webcam"
    """
    from rtstyle.sources.camera_discovery import NAMES_EXTRA, list_cameras, modes, names_are_known, probe_cameras

    known = names_are_known()
    if not known:
        warn(f"names are not known, so the first numbers are tried; {NAMES_EXTRA} adds them")
    cameras = list_cameras() if known else list(probe_cameras())
    told = [(camera, modes(camera)) for camera in cameras]
    if as_json:
        print_json({"cameras": [{**c.to_dict(), "modes": [_plain(mode) for mode in found]} for c, found in told]})
        return
    if not told:
        typer.echo("No camera is connected; `rtstyle webcam --source pattern` needs none.")
    for camera, found in told:
        typer.echo(describe(camera, found))
        if camera.path and Path(camera.path).exists() and not os.access(camera.path, os.R_OK | os.W_OK):
            typer.echo("   no permission to use it; add yourself to its group: sudo usermod -aG video $USER")


def describe(camera: Camera, found: Sequence[Mode]) -> str:
    """A camera and its modes, for people: a line for it, one for its lasting path, one for each format."""
    kind = "  virtual" if camera.virtual else ""
    waits = ", no program sends pictures to it yet" if camera.idle else ""
    lines = [f"{camera.index}  {camera.name}  {camera.path}".rstrip() + kind + waits]
    if camera.stable_path:
        lines.append(f"   {camera.stable_path}")
    return "\n".join(lines + [f"   {', '.join(names)}  {sizes}" for sizes, names in _by_sizes(found).items()])


def _by_sizes(found: Sequence[Mode]) -> dict[str, list[str]]:
    """Formats with the same sizes share a line: some cameras have twenty."""
    lines: dict[str, list[str]] = {}
    for name, same in groupby(found, key=lambda mode: mode.format):
        lines.setdefault(", ".join(_size(mode) for mode in same), []).append(name)
    return lines


def _size(mode: Mode) -> str:
    """``640×480 at 30/15``; of many rates the highest and the lowest."""
    rates = [f"{rate:.4g}" for rate in mode.fps]
    told = "/".join(rates) if len(rates) <= 3 else f"{rates[0]}…{rates[-1]}"
    return f"{mode.width}×{mode.height}" + (f" at {told}" if told else "")


def _plain(mode: Mode) -> dict[str, object]:
    return {"format": mode.format, "width": mode.width, "height": mode.height, "fps": list(mode.fps)}
