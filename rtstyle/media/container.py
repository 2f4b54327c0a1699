"""Opens a clip or a stream for reading, with foreign errors converted to SourceError."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import av
import av.logging
from av import Packet
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from engines.errors import SourceError
from engines.os_errors import advice, reason
from rtstyle.media import urls
from rtstyle.media.matroska import encrypted_tracks
from rtstyle.media.scrambling import scrambled_pids, scrambled_program_streams

CLIPS = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m2v", ".ts", ".mts", ".m2ts", ".wmv", ".asf"),
    *(".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".vob", ".mxf", ".dv", ".y4m"),
)
"""Suffixes of clips, by which they are found in folders; a file that is named itself may have any."""

_TEXT_DEMUXERS = ("tty",)
"""Demuxers that render plain text as pictures, which is never what is wanted."""

_STILLS = Disposition.still_image | Disposition.timed_thumbnails

_STILL_BRANDS = frozenset({"heic", "heix", "heim", "heis", "mif1", "avif"})
"""MP4 brands of pictures; a large one is stored as tiles, each a stream. Those of sequences are others."""

_PICTURE_FORMATS = ("image2", "gif", "apng", "ico")
"""Demuxers of pictures, besides those whose name ends in ``_pipe``."""

_KEY_ID = "enc_key_id"
"""Metadata of Matroska streams that need a key."""

_ENCRYPTED_CODECS = ("encv", "enca", "enct", "drmi", "drms")
"""What MP4 calls the codec of a stream that needs a key: the standard's names and Apple's."""

_CLOCK = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


def open_input(name: str, hwaccel: HWAccel | None = None) -> InputContainer:
    """Open a file or URL, for a chip to decode if there is a device.

    Raises:
        SourceError: it does not exist, cannot be read, is encrypted, or is not a video.
    """
    try:
        container = _open_url(name, hwaccel) if urls.is_url(name) else _open_file(name, hwaccel)
    except (av.FFmpegError, OSError, ValueError) as error:
        if _is_scrambled(name):
            raise encrypted(name) from error
        raise _cannot_open(name, error) from error
    if container.format.name in _TEXT_DEMUXERS:
        container.close()
        raise SourceError(f"{name} is text, not video")
    return container


def _is_scrambled(name: str) -> bool:
    """Return True for a transport stream in which not even the codecs can be recognized."""
    with suppress(OSError, ValueError):
        return Path(name).is_file() and bool(scrambled_pids(Path(name)))
    return False


def _open_url(url: str, hwaccel: HWAccel | None) -> InputContainer:
    urls.check_input_url(url)
    timeouts_s = (urls.OPEN_TIMEOUT_S, urls.READ_TIMEOUT_S)
    options = urls.input_options(url, timeouts_s[1])
    return av.open(url, options=options, timeout=timeouts_s, metadata_errors="replace", hwaccel=hwaccel)


def _open_file(name: str, hwaccel: HWAccel | None) -> InputContainer:
    check_file(Path(name))
    # Without the prefix, FFmpeg takes a colon in a file name for a protocol.
    return av.open(f"file:{name}", metadata_errors="replace", hwaccel=hwaccel)


def video_stream(container: InputContainer, name: str, number: int | None = None) -> VideoStream:
    """Return the stream to stylize.

    Args:
        container: the clip.
        name: its name, for errors.
        number: which one of its video streams, from 1, without cover pictures; ``None`` for the film: pictures that
            move before stills, then the longest, then the largest.

    Raises:
        SourceError: there is no such stream, no decoder for it, or it is encrypted.
    """
    streams = video_streams(container)
    if not streams:
        raise SourceError(f"{name} has no video", hint="it holds only audio or a cover picture")
    if number is None:
        decodable = [s for s in streams if s.codec_context is not None]
        chosen = _film(decodable) if decodable else streams[0]
    elif 1 <= number <= len(streams):
        chosen = streams[number - 1]
    else:
        raise SourceError(f"{name} has no video stream {number}", hint=f"it has {len(streams)}, counted from 1")
    _check_readable(container, chosen, name)
    return chosen


def video_streams(container: InputContainer) -> list[VideoStream]:
    """Return the video streams without cover pictures."""
    return [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]


def _film(streams: Sequence[VideoStream]) -> VideoStream:
    longest_s = max(_length_s(s) for s in streams)

    def rank(stream: VideoStream) -> tuple[bool, bool, int, bool, int]:
        # Where a container states no lengths, all streams count as long.
        long = _length_s(stream) >= 0.9 * longest_s
        default = bool(stream.disposition & Disposition.default)
        return _moves(stream), long, stream.width * stream.height, default, -stream.index

    return max(streams, key=rank)


def _moves(stream: VideoStream) -> bool:
    """Return False for a still and for thumbnails; True where the container does not count pictures."""
    return stream.frames != 1 and not stream.disposition & _STILLS


def _length_s(stream: VideoStream) -> float:
    """Return the stated length of a stream, seconds; 0 if there is none."""
    stated_s = stated_length_s(stream)
    if stated_s is None:
        return float((stream.duration or 0) * (stream.time_base or 1))
    return stated_s


def stated_length_s(stream: VideoStream) -> float | None:
    """Return the length in Matroska's statistics tag, seconds."""
    match = _CLOCK.match(stream.metadata.get("DURATION", ""))
    if match is None:
        return None
    hours, minutes, seconds = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def _check_readable(container: InputContainer, stream: VideoStream, name: str) -> None:
    if stream.index in encrypted_streams(container):
        raise encrypted(name)
    if getattr(stream, "codec_context", None) is None:
        codec = _codec_name(container, stream)
        problem = f"{name} uses the codec {codec}, which is not supported" if codec else f"{name} uses an unknown codec"
        raise SourceError(problem, hint="convert it with another program")
    brand = container.metadata.get("major_brand", "").strip()
    if brand in _STILL_BRANDS and not any(s.frames > 1 for s in container.streams.video):
        raise not_a_film(name)


def encrypted_streams(container: InputContainer) -> frozenset[int]:
    """Return the indices of the streams that need a key, as far as the container tells before its packets are read."""
    found = {stream.index for stream in container.streams if _states_key(container, stream)}
    formats = container.format.name.split(",")
    path = Path(container.name.removeprefix("file:"))
    if not container.name.startswith("file:") or not path.is_file():
        return frozenset(found)
    if "matroska" in formats:
        found |= encrypted_tracks(path)
    elif "mpegts" in formats or "mpeg" in formats:
        scrambled = scrambled_pids(path) if "mpegts" in formats else scrambled_program_streams(path)
        found |= {stream.index for stream in container.streams if stream.id in scrambled}
    return frozenset(found)


def _states_key(container: InputContainer, stream: Stream) -> bool:
    if _KEY_ID in stream.metadata:
        return True
    if stream.type not in ("video", "audio"):
        return False
    context = getattr(stream, "codec_context", None)
    if context is None:
        return _codec_name(container, stream) in _ENCRYPTED_CODECS
    with suppress(UnicodeDecodeError):  # AVI numbers the codecs of sound
        return context.codec_tag in _ENCRYPTED_CODECS
    return False


def _codec_name(container: InputContainer, stream: Stream) -> str:
    """Return the name of a codec without a decoder, or its four letters; empty if the container has neither."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)  # the description is a message to FFmpeg's log
    try:
        description = str(cast("Any", container).dumps_format())
    finally:
        av.logging.set_level(level)
    found = re.search(rf"Stream #0:{stream.index}\b.*?: (?:Video|Audio): (\w+)(?: \((\w+) /)?", description)
    if found is None:
        return ""
    return found[2] or "" if found[1] == "none" else found[1]


def may_hold_stills(container: InputContainer) -> bool:
    """Return True for a format of pictures, which may also hold several in a row."""
    name = container.format.name
    return name in _PICTURE_FORMATS or name.endswith("_pipe")


def not_a_film(name: str) -> SourceError:
    """Return the error for a picture in place of a clip."""
    return SourceError(f"{name} is a picture", hint="use `rtstyle image`")


def encrypted(name: str) -> SourceError:
    """Return the error for a clip that needs a key."""
    return SourceError(f"{name} is encrypted", hint="only its own player can decode it; get a copy without protection")


def demux(container: InputContainer, *streams: Stream) -> Iterator[Packet[Stream]]:
    """Yield the packets of the streams, and at the end an empty one for each, which flushes its decoder.

    Raises:
        av.FFmpegError, OSError: the file is damaged, or a stream broke off.
    """
    try:
        yield from container.demux(*streams)
    except IndexError:  # PyAV flushes streams that have appeared meanwhile, too, but does not know them
        return


def states_size(container: InputContainer) -> bool:
    """Return True if a server has told how long its file is, so that FFmpeg reports an early end as an error.

    Without that, the ordinary end of a file is an error, too, or a broken connection looks like the end.
    """
    return container.size > 0 and container.format.name not in urls.SEGMENTED


def broken_download(name: str) -> SourceError:
    """Return the error for a file whose connection broke before its end."""
    return SourceError(f"the connection to {urls.redact(name)} broke", hint="try again, or download the file first")


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


def _cannot_open(name: str, error: Exception) -> SourceError:
    problem = f"cannot open {urls.redact(name)}"
    if isinstance(error, (av.error.InvalidDataError, av.error.EOFError)):
        return SourceError(problem, hint="it is not a video, or was cut off and has lost its index")
    if isinstance(error, (av.error.ExitError, av.error.TimeoutError)):
        hint = f"no picture arrived within {urls.OPEN_TIMEOUT_S:g} s; is it sending to this address?"
        return SourceError(problem, hint=hint)
    remote = urls.is_url(name)
    if remote and getattr(error, "errno", None) == errno.EIO:
        return SourceError(problem, hint="its host is unknown or does not answer")
    otherwise = "check the address" if remote else "check the file"
    return SourceError(f"{problem}: {reason(error)}", hint=advice(error, otherwise))
