"""What the text of ``--source`` means, and how such a source is opened."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from engines.errors import SourceError
from rtstyle.sources.base import Source
from rtstyle.sources.camera_discovery import Camera, cameras_hint, find_again, find_camera, list_cameras

_FILE = re.compile(r"[/\\]|\.[a-z][a-z0-9]{1,4}$", re.IGNORECASE)
"""What can only be meant as a file: a folder in it, or a suffix."""


def open_named(
    text: str,
    *,
    size: tuple[int, int] | None = None,
    fps: float | None = None,
    loop: bool = False,
    reconnect: bool = True,
) -> Source:
    """Open a live source.

    Args:
        text: ``pattern``; ``screen``, ``screen:MONITOR`` or ``screen:WxH+X+Y``; number, device file, name or part of
            the name of a camera; clip; URL. A file that exists comes before a camera of that name.
        size: (width, height) to ask a camera for, pixels; of a clip, stream or screen, the height is used.
        fps: frames per second to ask for.
        loop: a clip begins anew at its end; for nothing else.
        reconnect: open a camera or stream again when it is lost.

    Raises:
        SourceError: there is no such source, or it cannot be opened.
    """
    if loop:
        return _looped(text, size)
    if text == "pattern":
        from rtstyle.sources.pattern import PatternSource

        width, height = size or (640, 360)
        return PatternSource(width, height, Fraction(fps or 30).limit_denominator(1001))
    if text.partition(":")[0] == "screen":
        return _screen(text, size, fps, reconnect=reconnect)
    from rtstyle.media.urls import is_url

    if is_camera(text) or not (is_url(text) or Path(text).is_file() or _FILE.search(text)):
        return open_camera(text, size, fps, reconnect=reconnect)
    from rtstyle.sources.file import FileSource
    from rtstyle.sources.reconnecting import Reconnecting

    def clip() -> Source:
        return FileSource(text, height=size[1] if size else None, live=True)

    return Reconnecting(clip, again=reconnect) if is_url(text) else clip()


def _screen(text: str, size: tuple[int, int] | None, fps: float | None, *, reconnect: bool) -> Source:
    from rtstyle.backoff import Backoff
    from rtstyle.sources.reconnecting import Reconnecting
    from rtstyle.sources.screen import ScreenSource

    def screen() -> Source:
        return ScreenSource(text, fps=fps, height=size[1] if size else None)

    # A screen that is locked cannot be seen for a while.
    return Reconnecting(screen, again=reconnect, backoff=Backoff(0.5, 1.0))


def _looped(text: str, size: tuple[int, int] | None) -> Source:
    from rtstyle.media.urls import is_url, shown
    from rtstyle.sources.loop import LoopSource

    if is_camera(text) or is_url(text) or not (Path(text).exists() or _FILE.search(text)):
        raise SourceError(f"{shown(text)} is no clip", hint="--loop is for clips, the others have no end")
    return LoopSource(text, height=size[1] if size else None)


def is_camera(text: str) -> bool:
    """True for the number or the device file of a camera."""
    return text.isdecimal() or (text.startswith("/dev/") and not Path(text).is_file())


def open_camera(text: str, size: tuple[int, int] | None, fps: float | None, *, reconnect: bool) -> Source:
    """Open a camera by number, device file or name.

    Raises:
        SourceError: no such camera, several of that name, or it gives no picture.
    """
    from rtstyle.backoff import Backoff
    from rtstyle.sources.reconnecting import Reconnecting

    # Whether it is plugged in again costs next to nothing to ask.
    return Reconnecting(_CameraLine(text, size, fps), again=reconnect, backoff=Backoff(0.5, 1.0))


class _CameraLine:
    """Opens a camera, and after it was unplugged the same one again, whatever its number is then.

    Args:
        text: number, device file or name.
        size, fps: what to ask for.
    """

    def __init__(self, text: str, size: tuple[int, int] | None, fps: float | None) -> None:
        self._text, self._size, self._fps = text, size, fps
        self._name = f"camera {text}" if is_camera(text) else ""
        self._known: Camera | None = None
        self._opened = False

    def __call__(self) -> Source:
        """Open it.

        Raises:
            SourceError: no such camera, several of that name, it is not plugged in, or gives no picture.
        """
        from rtstyle.sources.camera import CameraSource

        device = self._again() if self._opened and self._known is not None else self._first()
        source = CameraSource(device, size=self._size, fps=self._fps, name=self._name)
        self._opened = True
        return source

    def _first(self) -> int | str:
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

    def _again(self) -> int:
        found = find_again(self._known) if self._known is not None else None
        if found is None:
            raise SourceError(f"{self._name} is not plugged in", hint=cameras_hint())
        return found.index


def _listed(device: int | str) -> Camera | None:
    """The camera behind a number or a device file; None when nothing lists it, or the file follows it by itself."""
    if isinstance(device, str) and device.startswith("/dev/v4l/"):
        return None
    cameras = list_cameras()
    if isinstance(device, int):
        return next((camera for camera in cameras if camera.index == device), None)
    real = str(Path(device).resolve())
    return next((camera for camera in cameras if camera.path == real), None)
