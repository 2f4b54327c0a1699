"""Live use: a camera, stream, clip or the built-in scene, painted as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.base import Engine, check_size
from engines.errors import SinkError, SourceError
from rtstyle.frame import Frame
from rtstyle.live.recorder import Recorder
from rtstyle.live.session import Live
from rtstyle.media.stream_addresses import check_stream, is_whip
from rtstyle.media.urls import is_url, shown
from rtstyle.pipeline import Controls, run
from rtstyle.sinks.base import Sink
from rtstyle.sinks.tee import SeveralSinks
from rtstyle.sources.base import Source, SourceInfo
from rtstyle.stats import Figures, Stats
from rtstyle.stroke_scale import paint

KINDS = "use window, virtual, null, an address like rtmp://SERVER/APP/KEY, or a video file like out.mp4"


@dataclass(frozen=True)
class WebcamJob:
    """What to show where.

    Attributes:
        source: number, name or device file of a camera, a clip, a URL, ``screen``, or ``pattern``.
        sinks: each ``window``, ``virtual``, ``virtual:NAME``, ``null``, the address of a stream, or a video file to
            write.
        size: (width, height) to ask the camera for, pixels; of a clip, stream or screen, the height is used.
        fps: frames per second to ask for.
        frames: stop after so many; ``None`` goes on until somebody stops it.
        overwrite: replace a file that exists.
        reconnect: wait for a camera or stream that was lost, instead of ending.
        loop: show a clip over and over.
        bits: per second, for streams; ``None`` goes by the size.
    """

    source: str = "0"
    sinks: tuple[str, ...] = ("window",)
    size: tuple[int, int] | None = None
    fps: float | None = None
    frames: int | None = None
    overwrite: bool = False
    reconnect: bool = True
    loop: bool = False
    bits: int | None = None


def run_webcam(
    job: WebcamJob,
    load_engine: Callable[[], Engine],
    controls: Controls,
    *,
    on_frame: Callable[[Stats], None] = lambda _: None,
    on_start: Callable[[Source], None] = lambda _: None,
    on_failure: Callable[[str], None] = lambda _: None,
    on_state: Callable[[str], None] = lambda _: None,
    on_ready: Callable[[Live], None] = lambda _: None,
) -> Figures:
    """Paint a live source, the newest frame first, until it ends or is stopped.

    Args:
        job: source and sinks.
        load_engine: called after the source was found to work.
        controls: live settings, and the request to stop.
        on_frame: called in this thread after each frame.
        on_start: told the open source, so that a caller can close it to end a wait.
        on_failure: told why one of several sinks has failed while the others go on.
        on_state: told in a line when a stream is connected, or is not any more.
        on_ready: given the run to watch and steer, before its sinks are open.

    Returns:
        the final figures.

    Raises:
        SourceError, SinkError, StyleError, EngineError; a recording is kept when its source fails.
    """
    if job.size is not None:
        check_size(job.size[1], job.size[0])
    check_sinks(job)
    source = open_source(job)
    recorder = Recorder(source.info.fps, on_failure)
    engine: Engine | None = None
    try:
        on_start(source)
        engine = load_engine()
        info = source.info
        if info.width and info.height:
            # A new size costs a compilation, which must not count as the age of the first frames.
            paint(engine, np.zeros((info.height, info.width, 3), np.uint8), scale=controls.scale)
        stats = Stats()
        live = Live(source, engine, controls, stats, recorder)
        on_ready(live)
        live.sink = sink = open_sinks(job, live, on_failure, on_state)

        def written(frame: Frame) -> None:
            live.put(frame)
            on_frame(stats)

        lasting = _UntilGone(source)
        run(lasting, engine, sink, controls, stats, max_frames=job.frames, on_frame=written)
        if lasting.failure is not None:
            raise lasting.failure
        return stats.snapshot()
    finally:
        source.close()
        recorder.close()
        if engine is not None:
            engine.close()


class _UntilGone:
    """A source whose failure is its end: a camera that is unplugged must not take the recording with it."""

    def __init__(self, source: Source) -> None:
        self.failure: SourceError | None = None
        self._source = source

    @property
    def info(self) -> SourceInfo:
        return self._source.info

    def frames(self) -> Iterator[Frame]:
        try:
            yield from self._source.frames()
        except SourceError as error:
            self.failure = error

    def close(self) -> None:
        self._source.close()


def open_source(job: WebcamJob) -> Source:
    """Tell from its text what a source is, and open it.

    Raises:
        SourceError: it cannot be opened.
    """
    from rtstyle.sources.factory import open_named

    return open_named(job.source, size=job.size, fps=job.fps, loop=job.loop, reconnect=job.reconnect)


def check_sinks(job: WebcamJob) -> None:
    """Refuse sinks that exclude each other, and a file that must not or cannot be written, before a camera is started.

    Raises:
        SinkError; ConfigError: a kind of file that cannot be written.
    """
    if not job.sinks:
        raise SinkError("there is no sink", hint=KINDS)
    where = [sink if is_url(sink) or not Path(sink).suffix else str(Path(sink).resolve()) for sink in job.sinks]
    twice = next((number for number, sink in enumerate(where) if sink in where[:number]), None)
    if twice is not None:
        raise SinkError(f"the sink {shown(job.sinks[twice])} is given twice")
    for sink in job.sinks:
        _check_sink(job, sink)


def _check_sink(job: WebcamJob, sink: str) -> None:
    if sink in ("window", "null") or _virtual_device(sink) is not None:
        return
    if is_url(sink):
        check_stream(sink)
        return
    from rtstyle.media.codecs import choose

    path = Path(sink)
    if not path.suffix:
        raise SinkError(f"unknown sink {sink!r}", hint=KINDS)
    choose(path, None)
    if path.exists() and Path(job.source).exists() and path.samefile(job.source):
        raise SinkError(f"{path} is the source itself", hint="give another name for the recording")
    if path.exists() and not job.overwrite:
        raise SinkError(f"{path} exists", hint="--overwrite replaces it")
    if not path.parent.is_dir():
        raise SinkError(f"no such folder: {path.parent}", hint="create it first")


def _virtual_device(sink: str) -> str | None:
    """What follows ``virtual:``, empty for ``virtual`` alone; ``None`` for another sink."""
    kind, _, device = sink.partition(":")
    return device if kind == "virtual" else None


def open_sinks(
    job: WebcamJob,
    live: Live,
    on_failure: Callable[[str], None] = lambda _: None,
    on_state: Callable[[str], None] = lambda _: None,
) -> Sink:
    """Open all sinks, as one.

    Args:
        job: which ones.
        live: the run that they show, and that the keys of the window steer.
        on_failure: told why one of several has failed while the others go on.
        on_state: told in a line when a stream is connected, or is not any more.

    Raises:
        SinkError: one of them cannot be opened; then none is left open.
    """
    opened: list[Sink] = []
    try:
        for sink in job.sinks:
            if is_url(sink):
                opened.append(_open_stream(sink, job, live, on_state))
            else:
                opened.append(_open_sink(sink, job, live))
    except BaseException:
        for one in opened:
            one.close(completed=False)
        raise
    return opened[0] if len(opened) == 1 else SeveralSinks(opened, on_failure)


def _open_stream(address: str, job: WebcamJob, live: Live, on_state: Callable[[str], None]) -> Sink:
    from rtstyle.sinks.stream import StreamSink

    if is_whip(address):
        from rtstyle.sinks.whip import WhipSink

        return WhipSink(address, paused=lambda: live.controls.paused, on_state=on_state)
    fps = live.source.info.fps
    return StreamSink(address, fps, bits=job.bits, paused=lambda: live.controls.paused, on_state=on_state)


def _open_sink(sink: str, job: WebcamJob, live: Live) -> Sink:
    source = live.source
    if sink == "window":
        from rtstyle.sinks.window import WindowSink

        info = source.info
        title = f"rtstyle · {info.name} · H for help"
        size = (info.width, info.height)
        return WindowSink(title, live.controls, lambda: live.reading().lines(), size=size, recorder=live.recorder)
    device = _virtual_device(sink)
    if device is not None:
        from rtstyle.sinks.virtual_camera import VirtualSink

        size = (source.info.width or 640, source.info.height or 360)
        return VirtualSink(device or None, size, source.info.fps, paused=lambda: live.controls.paused)
    if sink == "null":
        from rtstyle.sinks.null import NullSink

        return NullSink()
    from rtstyle.sinks.file import FileSink
    from rtstyle.sinks.pausing import Pausing

    recording = FileSink(Path(sink), fps=source.info.fps, overwrite=job.overwrite, live=True)
    return Pausing(recording, lambda: live.controls.paused)
