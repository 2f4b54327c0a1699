"""Pipe source: a film that another program sends to standard input."""

from __future__ import annotations

import os
import select
import sys
from fractions import Fraction
from typing import Any

import av

from engines.errors import SourceError
from rtstyle.sources.file import FileSource

NAME = "standard input"

_EXAMPLE = "ffmpeg -i clip.mp4 -f yuv4mpegpipe - | rtstyle video - painting.mp4"


class PipeReader:
    """A pipe as a file for FFmpeg; a read that waits can be ended.

    Args:
        descriptor: of the pipe, which stays open.

    Attributes:
        begin: its first bytes.
    """

    def __init__(self, descriptor: int) -> None:
        self.begin = b""
        self._descriptor = descriptor
        self._wake_reader, self._wake_writer = os.pipe()

    def read(self, size: int) -> bytes:
        """Return what has arrived, at most ``size`` bytes; nothing at the end, or after ``wake``."""
        if os.name == "posix":  # Windows cannot wait for two pipes
            ready, _, _ = select.select([self._descriptor, self._wake_reader], [], [])
            if self._wake_reader in ready:
                return b""
        data = os.read(self._descriptor, size)
        self.begin = self.begin or data[:16]
        return data

    def wake(self) -> None:
        """End a ``read`` that waits, and all after it. May be called from any thread, and twice."""
        os.write(self._wake_writer, b".")


class PipeSource(FileSource):
    """Reads a film from standard input: y4m, raw RGB, or a container that needs no seeking, such as Matroska.

    Args:
        raw_size: (width, height) of raw video, 24-bit RGB; ``None`` for what says itself what it is.
        raw_fps: frames per second of raw video.
        part: ``height``, ``start`` and ``end``, as in ``FileSource``.

    Raises:
        SourceError: standard input is a terminal, is empty, or holds no film that can be read from a pipe.
    """

    def __init__(
        self, *, raw_size: tuple[int, int] | None = None, raw_fps: Fraction | None = None, **part: Any
    ) -> None:
        try:
            terminal, descriptor = sys.stdin.isatty(), sys.stdin.fileno()
        except (AttributeError, OSError, ValueError) as error:  # closed, or replaced by what is no file
            raise SourceError("standard input cannot be read", hint=_EXAMPLE) from error
        if terminal:
            raise SourceError("no program sends a film to standard input", hint=_EXAMPLE)
        self._pipe = PipeReader(descriptor)
        options = {}
        if raw_size is not None:
            size = f"{raw_size[0]}x{raw_size[1]}"
            options = {"pixel_format": "rgb24", "video_size": size, "framerate": str(raw_fps or 25)}
        try:
            container = av.open(
                self._pipe, "r", format="rawvideo" if raw_size else None, options=options, metadata_errors="replace"
            )
            super().__init__(NAME, container=container, **part)
        except (av.FFmpegError, OSError, ValueError, SourceError) as error:
            raise _explained(error, self._pipe.begin) from error

    def close(self) -> None:
        """End ``frames``, even while it waits. May be called from any thread, and twice."""
        self._pipe.wake()
        super().close()


def _explained(error: Exception, begin: bytes) -> SourceError:
    """Return the error for a film that cannot be read, given its first bytes."""
    if not begin:
        return SourceError(f"{NAME} is empty", hint="the program before the pipe has sent nothing")
    if begin[4:8] == b"ftyp":
        hint = "its index is at the end; send Matroska (-f matroska), or give the name of the file"
        return SourceError("this MP4 cannot be read from a pipe", hint=hint)
    if isinstance(error, SourceError):
        return error
    hint = "send y4m (-f yuv4mpegpipe), Matroska or MPEG-TS"
    return SourceError(f"{NAME} is not a film that can be read from a pipe", hint=hint)
