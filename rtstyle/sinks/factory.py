"""Open the sinks that the texts of ``--sink`` name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import SinkError
from engines.os_errors import advice, reason
from rtstyle.frame import SourceInfo
from rtstyle.media.picture_sharing import load, name_in, prefix_of
from rtstyle.media.urls import check_output_url, is_url, is_whip, redact
from rtstyle.sinks.base import Sink
from rtstyle.sinks.output_path import OVERWRITE
from rtstyle.sinks.tee import PausableSink, TeeSink

if TYPE_CHECKING:
    from rtstyle.sinks.window import WindowController
    from rtstyle.sound.feed import SoundFeed

KINDS = "use window, virtual, ndi, spout, syphon, null, a URL like rtmp://SERVER/APP/KEY, or a file like out.mp4"


SHARED_NAME = "rtstyle"
"""Name of the picture in other programs, unless the user gives one."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class SinkOptions:
    """What sinks need to know of the run that they show.

    Attributes:
        info: the source.
        paused: returns True while the run is paused.
        controller: steers the window.
        overwrite: replace an existing file.
        bits: bit rate of streams and recordings, per second; ``None`` chooses by size, and records by quality.
        encoder: one of ``codecs.ENCODERS``, for streams and recordings.
        sound: of the source, for streams and recordings.
    """

    info: SourceInfo
    paused: Callable[[], bool] = field(default=_never)
    controller: WindowController | None = None
    overwrite: bool = False
    bits: int | None = None
    encoder: str = "software"
    sound: SoundFeed | None = None


Opener = Callable[[str, SinkOptions], Sink]


def check_sinks(sinks: Sequence[str], *, source: str, overwrite: bool, encoder: str = "software") -> None:
    """Refuse sinks that cannot work before a camera is started.

    Args:
        sinks: texts of ``--sink``.
        source: text of ``--source``; a recording must not overwrite it.
        overwrite: whether files may be replaced.
        encoder: what encodes streams and recordings; it is tried.

    Raises:
        SinkError: no sink, one twice, an unknown kind, a missing package of NDI, Spout or Syphon, or a file that
            cannot be written.
        ConfigError: a container that cannot be written, or an encoder that does not work here.
    """
    if not sinks:
        raise SinkError("no sink was given", hint=KINDS)
    where = [sink if kind_of(sink) != "file" else str(Path(sink).resolve()) for sink in sinks]
    twice = next((number for number, sink in enumerate(where) if sink in where[:number]), None)
    if twice is not None:
        raise SinkError(f"the sink {redact(sinks[twice])} is given twice")
    if encoder != "software":
        _check_encoder(sinks, encoder)
    for sink in sinks:
        _check_sink(sink, source, overwrite)


def _check_sink(sink: str, source: str, overwrite: bool) -> None:
    if prefix_of(sink):
        load(prefix_of(sink), SinkError)
    elif is_url(sink):
        check_output_url(sink)
    elif kind_of(sink) == "file":
        try:
            _check_file(sink, source, overwrite)
        except OSError as error:  # a name that is too long, for example
            raise SinkError(f"cannot write {sink}: {reason(error)}", hint=advice(error)) from error


def _check_encoder(sinks: Sequence[str], encoder: str) -> None:
    """Try an encoder for what the sinks encode; H.264 for streams."""
    from rtstyle.media.codecs import CODECS, CONTAINERS, choose
    from rtstyle.media.hardware import TRIAL_SIZE, pick

    for sink in sinks:
        path = Path(sink)
        if kind_of(sink) == "file" and path.suffix.lower() in CONTAINERS:
            pick(choose(path, None)[1], encoder, *TRIAL_SIZE)
        elif kind_of(sink) == "stream":
            pick(CODECS["h264"], encoder, *TRIAL_SIZE)


def _check_file(sink: str, source: str, overwrite: bool) -> None:
    from rtstyle.media.codecs import choose

    if _plugin(sink) is not None:
        return
    path = Path(sink)
    if not path.suffix:
        raise SinkError(f"unknown sink {sink!r}", hint=KINDS)
    choose(path, None)
    if path.exists() and Path(source).exists() and path.samefile(source):
        raise SinkError(f"{path} is the source itself", hint="give the recording another name")
    if path.exists() and not overwrite:
        raise SinkError(f"{path} already exists", hint=f"{OVERWRITE} to replace it")
    if not path.parent.is_dir():
        raise SinkError(f"no such folder: {path.parent}", hint="create it first")


def _plugin(sink: str) -> Opener | None:
    """Return the function of another package that opens the sink, if any."""
    from engines import plugins

    if Path(sink).suffix and ":" not in sink:
        return None
    return plugins.find("rtstyle.sinks", sink.partition(":")[0], SinkError)


def kind_of(sink: str) -> str:
    """Return the kind of sink that a text names, a key of ``OPENERS``."""
    if prefix_of(sink):
        return prefix_of(sink)
    if is_url(sink):
        return "whip" if is_whip(sink) else "stream"
    prefix = sink.partition(":")[0]
    return prefix if sink in ("window", "null") or prefix == "virtual" else "file"


def open_sinks(sinks: Sequence[str], options: SinkOptions) -> Sink:
    """Open all sinks, as one.

    Raises:
        SinkError: one of them cannot be opened; then none is left open.
    """
    opened: list[Sink] = []
    try:
        for sink in sinks:
            opened.append(OPENERS[kind_of(sink)](sink, options))  # on an error the first must be closed
    except BaseException:
        for one in opened:
            one.close(completed=False)
        raise
    return opened[0] if len(opened) == 1 else TeeSink(opened)


def _open_window(_text: str, options: SinkOptions) -> Sink:
    from rtstyle.sinks.window import WindowSink

    info = options.info
    return WindowSink(f"rtstyle · {info.name} · H for help", options.controller, size=(info.width, info.height))


def _open_virtual(text: str, options: SinkOptions) -> Sink:
    from rtstyle.sinks.virtual_camera import VirtualCameraSink

    info = options.info
    device = text.partition(":")[2] or None
    return VirtualCameraSink(device, (info.width or 640, info.height or 360), info.fps, paused=options.paused)


def _open_ndi(text: str, options: SinkOptions) -> Sink:
    from rtstyle.sinks.ndi import NdiSink

    info = options.info
    size = (info.width or 640, info.height or 360)
    return NdiSink(name_in(text) or SHARED_NAME, size, info.fps, paused=options.paused, sound=options.sound)


def _open_spout(text: str, options: SinkOptions) -> Sink:
    from rtstyle.sinks.spout import SpoutSink

    return SpoutSink(name_in(text) or SHARED_NAME, paused=options.paused)


def _open_syphon(text: str, options: SinkOptions) -> Sink:
    from rtstyle.sinks.syphon import SyphonSink

    return SyphonSink(name_in(text) or SHARED_NAME, paused=options.paused)


def _open_null(_text: str, _options: SinkOptions) -> Sink:
    from rtstyle.sinks.null import NullSink

    return NullSink()


def _open_file(text: str, options: SinkOptions) -> Sink:
    plugin = _plugin(text)
    if plugin is not None:
        return plugin(text, options)
    from rtstyle.sinks.file import FileSink

    fps = options.info.fps or Fraction(0)
    recording = FileSink(
        Path(text),
        fps=fps,
        bits=options.bits,
        encoder=options.encoder,
        overwrite=options.overwrite,
        live=True,
        sound=options.sound,
    )
    return PausableSink(recording, options.paused)


def _open_stream(text: str, options: SinkOptions) -> Sink:
    from rtstyle.sinks.stream import StreamSink

    return StreamSink(
        text,
        options.info.fps,
        bits=options.bits,
        encoder=options.encoder,
        paused=options.paused,
        sound=options.sound,
    )


def _open_whip(text: str, options: SinkOptions) -> Sink:
    from rtstyle.sinks.whip import WhipSink

    return WhipSink(text, paused=options.paused, sound=options.sound)


OPENERS: dict[str, Opener] = {
    "window": _open_window,
    "virtual": _open_virtual,
    "ndi": _open_ndi,
    "spout": _open_spout,
    "syphon": _open_syphon,
    "null": _open_null,
    "file": _open_file,
    "stream": _open_stream,
    "whip": _open_whip,
}
"""Function that opens each kind of sink; other packages add theirs as ``engines.plugins`` describes."""
