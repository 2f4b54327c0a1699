"""Open a clip or a stream for reading, foreign errors turned into ours."""

from __future__ import annotations

import errno
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from engines.errors import SourceError
from rtstyle.media import network
from rtstyle.media.urls import is_url, shown

_NOT_VIDEO = ("tty",)
"""Demuxers that turn plain text into pictures; nobody means that."""


def open_input(name: str) -> InputContainer:
    """Open a file or URL.

    Raises:
        SourceError: it does not exist, cannot be read, or is no video; one line that says which.
    """
    try:
        container = _open_url(name) if is_url(name) else _open_file(name)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise SourceError(f"cannot open {shown(name)}", hint=_reason(error)) from error
    if container.format.name in _NOT_VIDEO:
        container.close()
        raise SourceError(f"{name} is text, not video")
    return container


def _open_url(url: str) -> InputContainer:
    network.check_url(url)
    timeouts_s = (network.OPEN_TIMEOUT_S, network.READ_TIMEOUT_S)
    return av.open(url, options=network.options(url, timeouts_s[1]), timeout=timeouts_s, metadata_errors="replace")


def _open_file(name: str) -> InputContainer:
    check_file(Path(name))
    # Without the prefix, a colon in a file name would be taken for a protocol.
    return av.open(f"file:{name}", metadata_errors="replace")


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The stream to stylize: the default one, else the largest; cover pictures do not count.

    Raises:
        SourceError: there is none, or no decoder for it.
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

    Raises:
        SourceError: there is no such file, it is a folder, or it is empty.
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
    if isinstance(error, (av.error.ExitError, av.error.TimeoutError)):
        return f"no picture arrives within {network.OPEN_TIMEOUT_S:g} s; is it sending, and to this address?"
    if getattr(error, "errno", None) == errno.EIO:
        return "its host is not known or does not answer"
    return getattr(error, "strerror", None) or str(error)
