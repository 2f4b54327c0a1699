"""``rtstyle devices``."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rtstyle.commands.options import Json, print_json

if TYPE_CHECKING:
    from rtstyle.media.v4l2 import Mode
    from rtstyle.sound.microphone import MicrophoneInfo
    from rtstyle.sources.camera_discovery import Camera


logger = logging.getLogger(__name__)


def devices(as_json: Json = False) -> None:
    """List the cameras of this machine, with their formats, and what else can be seen, heard or played from here.

    `rtstyle webcam --source` takes the number, the path, the name or a part of the name. A path in /dev/v4l/by-id
    always means the same camera, whatever else is plugged in. A virtual camera shows what another program sends.

    `rtstyle webcam --midi` takes the name of a MIDI input, or a part of it. They are listed with the extra "midi".

    `rtstyle webcam --source ndi:NAME` takes a program that sends by NDI. They are listed with the extra "ndi"; those
    that share by Spout (Windows) or Syphon (macOS) with the extras "spout" and "syphon".

    Examples:
        rtstyle devices
        rtstyle webcam --source "HD Pro Webcam"
    """
    from engines.install_hint import pip_install
    from rtstyle.sources.camera_discovery import list_cameras, modes, names_are_known, probe_cameras

    known = names_are_known()
    if not known:
        logger.warning("camera names need another package, so only numbers are tried: %s", pip_install("cameras"))
    cameras = [(camera, modes(camera)) for camera in (list_cameras() if known else list(probe_cameras()))]
    if as_json:
        described = [{**c.to_dict(), "modes": found} for c, found in cameras]
        heard = [one.to_dict() for one in _microphones()]
        print_json({"cameras": described, "microphones": heard, "midi": _midi_inputs(), **_sharing_programs()})
        return
    if not cameras:
        typer.echo("No camera is connected. `rtstyle webcam --source pattern` works without one.")
    for camera, found in cameras:
        typer.echo(describe(camera, found))
        if camera.path and Path(camera.path).exists() and not os.access(camera.path, os.R_OK | os.W_OK):
            typer.echo("   no permission to use it; add yourself to its group with: sudo usermod -aG video $USER")
    _list_beside_cameras()


def _list_beside_cameras() -> None:
    for one in _microphones():
        typer.echo(f"microphone  {one.index}  {one.name}")
    for name in _midi_inputs():
        typer.echo(f"MIDI  {name}")
    for prefix, names in _sharing_programs().items():
        for name in names:
            typer.echo(f"{prefix}:{name}")


def _microphones() -> list[MicrophoneInfo]:
    """Return the microphones; none without the extra, which few need."""
    from engines.errors import SourceError
    from rtstyle.sound.microphone import list_microphones

    try:
        return list_microphones()
    except SourceError:
        return []


def _midi_inputs() -> list[str]:
    """Return the names of the MIDI inputs; none without the extra, or where there is no MIDI."""
    from engines.errors import SourceError

    try:
        from rtstyle.live.midi import list_inputs

        return list_inputs()
    except (ModuleNotFoundError, SourceError):
        return []


def _sharing_programs() -> dict[str, list[str]]:
    """Return prefix of ``--source`` → programs that share their pictures that way; none without the extra."""
    from engines.errors import SourceError
    from rtstyle.sources.ndi import list_ndi_sources
    from rtstyle.sources.spout import list_spout_senders
    from rtstyle.sources.syphon import list_syphon_servers

    found: dict[str, list[str]] = {}
    for prefix, names in (("ndi", list_ndi_sources), ("spout", list_spout_senders), ("syphon", list_syphon_servers)):
        try:
            found[prefix] = names()
        except SourceError:
            found[prefix] = []
    return found


def describe(camera: Camera, found: Sequence[Mode]) -> str:
    """Return the lines that describe a camera: its name, its lasting path, and its formats."""
    kind = "  virtual" if camera.virtual else ""
    waits = ", no program is sending to it" if camera.idle else ""
    lines = [f"{camera.index}  {camera.name}  {camera.path}".rstrip() + kind + waits]
    if camera.stable_path:
        lines.append(f"   {camera.stable_path}")
    return "\n".join(lines + [f"   {', '.join(names)}  {sizes}" for sizes, names in _by_sizes(found).items()])


def _by_sizes(found: Sequence[Mode]) -> dict[str, list[str]]:
    """Group formats with the same sizes; some cameras have twenty."""
    lines: dict[str, list[str]] = {}
    for name, same in groupby(found, key=lambda mode: mode.format):
        lines.setdefault(", ".join(_size(mode) for mode in same), []).append(name)
    return lines


def _size(mode: Mode) -> str:
    """Return text like ``640×480 at 30/15``; of many rates only the highest and the lowest."""
    rates = [f"{rate:.4g}" for rate in mode.fps]
    shown = "/".join(rates) if len(rates) <= 3 else f"{rates[0]}…{rates[-1]}"
    return f"{mode.width}×{mode.height}" + (f" at {shown}" if shown else "")
