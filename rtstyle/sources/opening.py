"""Open a clip or a stream for reading, foreign errors turned into ours."""

from __future__ import annotations

from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from engines.errors import SourceError

URL_TIMEOUT_S = (10.0, 5.0)
"""Seconds to wait for a stream to open, and for its next data."""

_NOT_VIDEO = ("tty",)
"""Demuxers that turn plain text into pictures; nobody means that."""


def is_url(name: str) -> bool:
    """True for ``rtsp://…`` and the like, False for file names."""
    return "://" in name


def open_input(name: str) -> InputContainer:
    """Open a file or URL.

    Raises: SourceError: it does not exist, cannot be read, or is no video; one line that says which.
    """
    if not is_url(name):
        check_file(Path(name))
    try:
        if is_url(name):
            options = {"rtsp_transport": "tcp"} if name.startswith("rtsp") else {}
            container = av.open(name, options=options, timeout=URL_TIMEOUT_S, metadata_errors="replace")
        else:
            # Without the prefix, a colon in a file name would be taken for a protocol.
            container = av.open(f"file:{name}", metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise SourceError(f"cannot open {name}", hint=_reason(error)) from error
    if container.format.name in _NOT_VIDEO:
        container.close()
        raise SourceError(f"{name} is text, not video")
    return container


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The stream to stylize: the default one, else the largest; cover pictures do not count.

    Raises: SourceError: there is none, or no decoder for it.
    """
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise SourceError(f"{name} has no video", hint="only sound or a cover picture")
    known = [s for s in streams if s.codec_context is not None]
    if not known:
        raise SourceError(f"{name} is compressed in a way that is not known here")
    return max(known, key=lambda s: (bool(s.disposition & Disposition.default), s.width * s.height, -s.index))


def check_file(path: Path) -> None:
    """Refuse what cannot be a clip.

    Raises: SourceError: there is no such file, it is a folder, or it is empty.
    """
    if not path.exists():
        raise SourceError(f"no such file: {path}", hint="check the name and the folder")
    if path.is_dir():
        raise SourceError(f"{path} is a folder", hint="give one video file")
    if path.is_file() and path.stat().st_size == 0:
        raise SourceError(f"{path} is empty", hint="it was not written to the end; copy it again")


def _reason(error: Exception) -> str:
    if isinstance(error, av.error.InvalidDataError):
        return "it is no video, or its index is missing because it was cut off"
    return getattr(error, "strerror", None) or str(error)
