"""Opens a clip or a stream for reading, with foreign errors converted to SourceError."""

from __future__ import annotations

import errno
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from engines.errors import SourceError
from rtstyle.media import urls

_TEXT_DEMUXERS = ("tty",)
"""Demuxers that render plain text as pictures, which is never what is wanted."""


def open_input(name: str) -> InputContainer:
    """Open a file or URL.

    Raises:
        SourceError: it does not exist, cannot be read, or is not a video.
    """
    try:
        container = _open_url(name) if urls.is_url(name) else _open_file(name)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise SourceError(f"cannot open {urls.redact(name)}", hint=_reason(error)) from error
    if container.format.name in _TEXT_DEMUXERS:
        container.close()
        raise SourceError(f"{name} is text, not video")
    return container


def _open_url(url: str) -> InputContainer:
    urls.check_input_url(url)
    timeouts_s = (urls.OPEN_TIMEOUT_S, urls.READ_TIMEOUT_S)
    return av.open(url, options=urls.input_options(url, timeouts_s[1]), timeout=timeouts_s, metadata_errors="replace")


def _open_file(name: str) -> InputContainer:
    check_file(Path(name))
    # Without the prefix, FFmpeg takes a colon in a file name for a protocol.
    return av.open(f"file:{name}", metadata_errors="replace")


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """Return the stream to stylize: the default one, else the largest. Cover pictures do not count.

    Raises:
        SourceError: there is no video stream, or no decoder for it.
    """
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise SourceError(f"{name} has no video", hint="it holds only audio or a cover picture")
    decodable = [s for s in streams if s.codec_context is not None]
    if not decodable:
        raise SourceError(f"{name} uses a codec that is not supported")
    return max(decodable, key=lambda s: (bool(s.disposition & Disposition.default), s.width * s.height, -s.index))


def check_file(path: Path) -> None:
    """Reject a path that cannot be a clip.

    Raises:
        SourceError: the file does not exist, is a folder, or is empty.
    """
    if not path.exists():
        raise SourceError(f"no such file: {path}", hint="check the name and the folder")
    if path.is_dir():
        raise SourceError(f"{path} is a folder", hint="give one video file")
    if path.is_file() and path.stat().st_size == 0:
        raise SourceError(f"{path} is empty", hint="copy it again; it was not written completely")


def _reason(error: Exception) -> str:
    if isinstance(error, av.error.InvalidDataError):
        return "it is not a video, or was cut off and has lost its index"
    if isinstance(error, (av.error.ExitError, av.error.TimeoutError)):
        return f"no picture arrived within {urls.OPEN_TIMEOUT_S:g} s; is it sending to this address?"
    if getattr(error, "errno", None) == errno.EIO:
        return "its host is unknown or does not answer"
    return getattr(error, "strerror", None) or str(error)
