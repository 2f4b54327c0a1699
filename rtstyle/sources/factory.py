"""Opens the live source that the text of ``--source`` names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

from engines import plugins
from engines.errors import SourceError
from rtstyle.backoff import Backoff
from rtstyle.media.picture_sequence import PictureSequence
from rtstyle.media.picture_sharing import prefix_of
from rtstyle.media.urls import is_url, redact
from rtstyle.sources.base import Source
from rtstyle.sources.camera_discovery import Camera, cameras_hint, find_again, find_camera, list_cameras

_FILE = re.compile(r"[/\\]|\.[a-z][a-z0-9]{1,4}$", re.IGNORECASE)
"""Text that can only be a file: it contains a folder or ends in a suffix."""


@dataclass(frozen=True)
class SourceOptions:
    """How to open a source; see ``open_source``."""

    size: tuple[int, int] | None = None
    fps: float | None = None
    loop: bool = False
    reconnect: bool = True

    @property
    def height(self) -> int | None:
        """Height to resize a clip, stream or screen to, pixels."""
        return self.size[1] if self.size else None


Opener = Callable[[str, SourceOptions], Source]


def open_source(
    text: str,
    *,
    size: tuple[int, int] | None = None,
    fps: float | None = None,
    loop: bool = False,
    reconnect: bool = True,
) -> Source:
    """Open a live source.

    Args:
        text: ``pattern``; ``screen``, ``screen:MONITOR`` or ``screen:WxH+X+Y``; ``ndi``, ``spout`` or ``syphon``, with
            ``:NAME`` if there are several; number, device file, name or part of the name of a camera; clip; URL. An
            existing file takes precedence over a camera of that name, and a source of another package (see
            ``engines.plugins``) over a camera of its name.
        size: (width, height) to request from a camera, pixels; for a clip, stream or screen only the height counts.
        fps: frames per second to request.
        loop: restart a clip at its end. Only clips can loop.
        reconnect: reopen a camera, stream or screen when it is lost.

    Raises:
        SourceError: there is no such source, or it cannot be opened.
    """
    kind = kind_of(text)
    if loop and kind != "file":
        raise SourceError(f"{redact(text)} is not a clip", hint="--loop works with clips only; other sources never end")
    if kind == "file" and PictureSequence.parse(text) is not None:
        raise SourceError(f"{text} names the frames of a film", hint="`rtstyle video` reads numbered pictures")
    options = SourceOptions(size, fps, loop, reconnect)
    if kind in ("camera", "file") and not is_camera(text) and not Path(text).is_file():
        plugin = plugins.find("rtstyle.sources", text.partition(":")[0], SourceError)
        if plugin is not None:
            return cast("Source", plugin(text, options))
    return OPENERS[kind](text, options)


def kind_of(text: str) -> str:
    """Return the kind of source that a text names, a key of ``OPENERS``."""
    prefix = text.partition(":")[0]
    if text == "pattern" or prefix == "screen":
        return prefix
    if prefix_of(text):
        return prefix
    if is_camera(text):
        return "camera"
    if is_url(text):
        return "url"
    return "file" if Path(text).is_file() or _FILE.search(text) else "camera"


def is_camera(text: str) -> bool:
    """Return True for the number or the device file of a camera."""
    return text.isdecimal() or (text.startswith("/dev/") and not Path(text).is_file())


def _open_pattern(_text: str, options: SourceOptions) -> Source:
    from rtstyle.sources.pattern import PatternSource

    width, height = options.size or (640, 360)
    return PatternSource(width, height, Fraction(options.fps or 30).limit_denominator(1001))


def _open_screen(text: str, options: SourceOptions) -> Source:
    from rtstyle.sources.reconnecting import ReconnectingSource
    from rtstyle.sources.screen import ScreenSource

    # A locked screen cannot be captured for a while.
    return ReconnectingSource(
        lambda: ScreenSource(text, fps=options.fps, height=options.height),
        reconnect=options.reconnect,
        backoff=Backoff(0.5, 1.0),
    )


def _open_file(text: str, options: SourceOptions) -> Source:
    from rtstyle.sound.feed import SoundFeed
    from rtstyle.sources.file import FileSource
    from rtstyle.sources.loop import LoopSource

    if options.loop:
        return LoopSource(text, height=options.height, sound=SoundFeed())
    return FileSource(text, height=options.height, live=True, sound=SoundFeed())


def _open_url(text: str, options: SourceOptions) -> Source:
    from rtstyle.sound.feed import SoundFeed
    from rtstyle.sources.file import FileSource
    from rtstyle.sources.reconnecting import ReconnectingSource

    sound = SoundFeed()  # of all connections
    return ReconnectingSource(
        lambda: FileSource(text, height=options.height, live=True, sound=sound),
        reconnect=options.reconnect,
        sound=sound,
    )


def _open_ndi(text: str, options: SourceOptions) -> Source:
    from rtstyle.sound.feed import SoundFeed
    from rtstyle.sources.ndi import NdiOpener
    from rtstyle.sources.reconnecting import ReconnectingSource

    sound = SoundFeed()  # of all connections
    opener = NdiOpener(text, height=options.height, sound=sound)
    return ReconnectingSource(opener, reconnect=options.reconnect, sound=sound)


def _open_spout(text: str, options: SourceOptions) -> Source:
    from rtstyle.sources.reconnecting import ReconnectingSource
    from rtstyle.sources.spout import SpoutOpener

    opener = SpoutOpener(text, height=options.height)
    return ReconnectingSource(opener, reconnect=options.reconnect, backoff=Backoff(0.5, 1.0))


def _open_syphon(text: str, options: SourceOptions) -> Source:
    from rtstyle.sources.reconnecting import ReconnectingSource
    from rtstyle.sources.syphon import SyphonOpener

    opener = SyphonOpener(text, height=options.height)
    return ReconnectingSource(opener, reconnect=options.reconnect, backoff=Backoff(0.5, 1.0))


def _open_camera(text: str, options: SourceOptions) -> Source:
    from rtstyle.sources.reconnecting import ReconnectingSource

    # Looking for a camera costs next to nothing, so the waits are short.
    return ReconnectingSource(_CameraOpener(text, options), reconnect=options.reconnect, backoff=Backoff(0.5, 1.0))


OPENERS: dict[str, Opener] = {
    "pattern": _open_pattern,
    "screen": _open_screen,
    "ndi": _open_ndi,
    "spout": _open_spout,
    "syphon": _open_syphon,
    "camera": _open_camera,
    "file": _open_file,
    "url": _open_url,
}
"""Kind of source → function that opens it. Other packages add sources as ``engines.plugins`` describes."""


class _CameraOpener:
    """Opens a camera, and after it was unplugged the same camera, whatever its number is then."""

    def __init__(self, text: str, options: SourceOptions) -> None:
        self._text, self._options = text, options
        self._name = f"camera {text}" if is_camera(text) else ""
        self._known: Camera | None = None
        self._opened = False

    def __call__(self) -> Source:
        """Open the camera.

        Raises:
            SourceError: no such camera, several match, it is not connected, or delivers no picture.
        """
        from rtstyle.sources.camera import CameraSource

        device = self._find_again(self._known) if self._opened and self._known is not None else self._find()
        source = CameraSource(device, size=self._options.size, fps=self._options.fps, name=self._name)
        self._opened = True
        return source

    def _find(self) -> int | str:
        if is_camera(self._text):
            device: int | str = int(self._text) if self._text.isdecimal() else self._text
            self._known = _listed(device)
        else:
            self._known = find_camera(self._text)
            device, self._name = self._known.index, self._known.name
        if self._known is not None and self._known.idle:
            problem = f"{self._known} is virtual, and no program sends pictures to it"
            raise SourceError(problem, hint="start that program first")
        return device

    def _find_again(self, known: Camera) -> int:
        found = find_again(known)
        if found is None:
            raise SourceError(f"{self._name} is not plugged in", hint=cameras_hint())
        return found.index


def _listed(device: int | str) -> Camera | None:
    """Return the listed camera of a number or device file; ``None`` if unlisted, or if the path is stable by itself."""
    if isinstance(device, str) and device.startswith("/dev/v4l/"):
        return None
    cameras = list_cameras()
    if isinstance(device, int):
        return next((camera for camera in cameras if camera.index == device), None)
    path = str(Path(device).resolve())
    return next((camera for camera in cameras if camera.path == path), None)
