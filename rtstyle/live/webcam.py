"""`rtstyle webcam`: a camera, stream, clip or the built-in scene, stylized as it comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engines.base import Engine, check_size
from rtstyle.controls import Controls
from rtstyle.live.actions import Actions
from rtstyle.live.session import LiveSession
from rtstyle.live.window_keys import WindowKeys
from rtstyle.sinks.factory import SinkOptions, check_sinks, open_sinks
from rtstyle.sound.microphone import find_microphone
from rtstyle.sources.base import Source
from rtstyle.sources.factory import open_source
from rtstyle.stats import Stats, StatsSnapshot


@dataclass(frozen=True)
class WebcamJob:
    """What to show, and where.

    Attributes:
        source: number, name or device file of a camera, a clip, a URL, ``screen``, ``ndi:NAME``, or ``pattern``;
            see ``sources.factory.open_source``.
        sinks: each ``window``, ``virtual``, ``ndi``, ``spout`` or ``syphon``, these four also with ``:NAME``; ``null``;
            the URL of a stream; a video file.
        size: (width, height) to ask the camera for, pixels; of a clip, stream or screen the height is used.
        fps: frames per second to ask for.
        frames: stop after this many; ``None`` runs until stopped.
        reconnect: wait for a camera or stream that was lost, instead of ending.
        loop: repeat a clip.
        bits: bit rate of streams and recordings, per second; ``None`` chooses by size, and records by quality.
        encoder: one of ``codecs.ENCODERS``, for streams and recordings.
        microphone: is heard in streams and recordings; number, name, part of a name, or ``default``; ``None`` for none.
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
    encoder: str = "software"
    microphone: str | None = None


def run_webcam(
    job: WebcamJob,
    load_engine: Callable[[], Engine],
    controls: Controls,
    *,
    on_frame: Callable[[Stats], None] = lambda _: None,
    on_start: Callable[[Source], None] = lambda _: None,
    on_ready: Callable[[Actions], None] = lambda _: None,
) -> StatsSnapshot:
    """Stylize a live source, the newest frame first, until it ends or is stopped, and return the final figures.

    ``on_start`` gets the open source before the engine is loaded, ``on_ready`` what reads and steers the run before its
    sinks are open, and ``on_frame`` the figures after each frame, in this thread.

    Raises:
        StylerError: a stage failed; a recording is kept when its source fails.
    """
    if job.size is not None:
        check_size(job.size[1], job.size[0])
    controls.masks.check()
    check_sinks(job.sinks, source=job.source, overwrite=job.overwrite, encoder=job.encoder)
    if job.microphone is not None:
        find_microphone(job.microphone)
    source = open_source(job.source, size=job.size, fps=job.fps, loop=job.loop, reconnect=job.reconnect)
    with LiveSession(source, controls, job.microphone) as session:
        on_start(source)
        session.load(load_engine)
        actions = Actions(session)
        on_ready(actions)
        options = SinkOptions(
            info=source.info,
            paused=lambda: controls.paused,
            controller=WindowKeys(actions),
            overwrite=job.overwrite,
            bits=job.bits,
            encoder=job.encoder,
            sound=session.sound.feed,
        )
        return session.run(open_sinks(job.sinks, options), max_frames=job.frames, on_frame=on_frame)
