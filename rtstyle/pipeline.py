"""Run source → engine → sink in three threads and raise every error in the caller's thread."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Protocol

import numpy as np

from engines.base import RGB, Engine, PipelinedEngine
from engines.errors import EngineError, SourceError
from rtstyle.controls import Controls
from rtstyle.frame import Frame
from rtstyle.frame_queue import FrameQueue, QueueClosedError
from rtstyle.masks.strength_maps import StrengthMaps
from rtstyle.playlist_engine import PlaylistEngine
from rtstyle.sinks.base import Sink
from rtstyle.sources.base import Source
from rtstyle.stats import Stats
from rtstyle.stroke_scale import nearest_scale, stylize, submit, work_size

LOSSLESS_CAPACITY = 3
"""Frames of a file that may wait between two stages: enough to even out slow frames, 18 MB per queue at 1080p."""


class Hold(Protocol):
    """Chooses the size to stylize at, as ``rtstyle.live.rate_hold`` does."""

    @property
    def scale(self) -> float:
        """The size of the next frame's strokes, which may follow ``Controls.scale`` later."""
        ...

    @property
    def share(self) -> float:
        """The size of the next frame to stylize, as a share of each side."""
        ...

    def note(self, frame: Frame, busy_s: float) -> None:
        """Take the time, seconds, that stylizing one frame took."""
        ...


JOIN_S = 10.0
"""How long a thread may take to end, seconds. Threads are daemons, so the process never waits longer."""


def run(
    source: Source,
    engine: Engine,
    sink: Sink,
    controls: Controls,
    stats: Stats,
    *,
    max_frames: int | None = None,
    on_frame: Callable[[Frame], None] | None = None,
    part_of: Callable[[Frame], int] | None = None,
    hold: Hold | None = None,
    before: Callable[[Frame], None] = lambda _: None,
) -> bool:
    """Stylize every frame of the source into the sink; then close source and sink.

    The sink runs in the calling thread: windows need the main thread on macOS, and Ctrl-C arrives there. A file is
    read without loss; a live source drops frames that come too fast, oldest first. The sink is closed with
    ``completed=True`` if the source has ended, ``max_frames`` are written, or a live source was stopped, was lost or
    lost its engine; with False if a file was stopped before its end, and after other errors.

    Args:
        source: open; always closed here.
        engine: stays open.
        sink: open; always closed here.
        controls: live settings, and the request to stop.
        stats: collects the figures.
        max_frames: stop after this many written frames; ``None`` for all.
        on_frame: called in this thread after each written frame.
        part_of: see ``StrengthMaps``.
        hold: chooses the size at which to stylize, in the engine's thread; ``None`` keeps that of the frames.
        before: called in the engine's thread with each frame before it is stylized; it may change settings.

    Returns:
        True if the result is complete, False if a file was stopped before its end.

    Raises:
        Exception: the first error of source, engine, sink or ``on_frame``, unchanged.
        KeyboardInterrupt: Ctrl-C.
    """
    return _Pipeline(source, engine, sink, controls, stats, part_of, hold, before).run(max_frames, on_frame)


class _InFlight:
    """A frame submitted to an engine, and the seconds that submitting took."""

    def __init__(self, frame: Frame, engine: PipelinedEngine, controls: Controls, maps: StrengthMaps) -> None:
        start_s = time.monotonic()
        self.frame = frame
        self.pending = submit(engine, frame.rgb, maps(frame), controls.scale, controls.colours)
        self.busy_s = time.monotonic() - start_s


class _Pipeline:
    """One run: its source, engine and sink, and the two queues between them."""

    def __init__(
        self,
        source: Source,
        engine: Engine,
        sink: Sink,
        controls: Controls,
        stats: Stats,
        part_of: Callable[[Frame], int] | None,
        hold: Hold | None,
        before: Callable[[Frame], None],
    ) -> None:
        self._source, self._engine, self._sink, self._part_of = source, engine, sink, part_of
        self._controls, self._stats, self._hold, self._before = controls, stats, hold, before
        self._live = source.info.live
        self._first_pts: int = getattr(source, "first_pts", 0)
        capacity = 1 if self._live else LOSSLESS_CAPACITY
        self._captured: FrameQueue[Frame] = FrameQueue(capacity, newest_wins=self._live)
        self._stylized: FrameQueue[Frame] = FrameQueue(capacity, newest_wins=self._live)

    def run(self, max_frames: int | None, on_frame: Callable[[Frame], None] | None) -> bool:
        threads: list[Thread] = []
        completed = False
        try:
            maps = StrengthMaps(self._controls, self._source, self._part_of)  # loads what frames would wait for
            threads = [
                Thread(target=self._read, name="source", daemon=True),
                Thread(target=self._stylize, args=(maps,), name="engine", daemon=True),
            ]
            for thread in threads:
                thread.start()
            completed = self._write(max_frames, on_frame) or self._live
        except (KeyboardInterrupt, SourceError, EngineError):
            # What a camera recorded before it was unplugged, or the engine failed, is worth keeping.
            completed = self._live
            raise
        finally:
            self._captured.close(drain=False)
            self._stylized.close(drain=False)
            self._close(threads, completed=completed)
        return completed

    def _close(self, threads: list[Thread], *, completed: bool) -> None:
        """Close source and sink even if one of them raises, and wait for the threads."""
        try:
            self._source.close()
        finally:
            try:
                self._sink.close(completed=completed)
            finally:
                for thread in threads:
                    if thread.ident is not None:
                        thread.join(JOIN_S)

    def _read(self) -> None:
        """Source thread: read frames until the source or the run ends."""
        cause: BaseException | None = None
        try:
            frames = iter(self._source.frames())
            while not self._controls.stop_requested:
                start_s = time.monotonic()
                frame = next(frames, None)
                if frame is None:
                    break
                self._stats.frame_read(time.monotonic() - start_s)
                self._put(self._captured, frame)
        except QueueClosedError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            cause = error
        self._captured.close(cause)

    def _stylize(self, maps: StrengthMaps) -> None:
        """Engine thread, the only one that calls the engine."""
        cause: BaseException | None = None
        try:
            for frame, rgb in self._stylized_frames(maps):
                self._put(self._stylized, dataclasses.replace(frame, rgb=rgb))
        except QueueClosedError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            cause = error
        self._stats.unfound = maps.unfound()
        maps.close()
        self._captured.close(drain=False)
        self._stylized.close(cause)

    def _stylized_frames(self, maps: StrengthMaps) -> Iterator[tuple[Frame, RGB]]:
        """Yield each input frame with its stylized picture, in order; raise an error after all frames before it.

        Engines that can overlap the frames of a file do so. Those of a camera are stylized one at a time: a frame
        that waits for another one is shown later, when a newer one could have been.
        """
        engine = self._engine if not self._live and isinstance(self._engine, PipelinedEngine) else None
        flight: deque[_InFlight] = deque()
        try:
            for captured in self._captured.receive():
                frame = self._prepare(captured)
                if engine is None:
                    yield frame, self._stylize_now(frame, maps)
                    continue
                flight.append(_InFlight(frame, engine, self._controls, maps))
                # If the source is slower than the engine, nothing is gained by holding a frame back.
                while flight and not (len(flight) < engine.info.in_flight and self._captured.waiting):
                    yield self._finish_first(flight)
        except Exception:
            while flight:
                yield self._finish_first(flight)
            raise
        while flight:
            yield self._finish_first(flight)

    def _prepare(self, frame: Frame) -> Frame:
        self._before(frame)
        if isinstance(self._engine, PlaylistEngine):
            self._engine.seek(float((frame.pts - self._first_pts) * frame.time_base))
        rgb = np.ascontiguousarray(frame.rgb[:, ::-1]) if self._controls.mirror else frame.rgb
        # Only a window shows the input, and it shows live sources only.
        return dataclasses.replace(frame, rgb=rgb, input=rgb if self._live else None)

    def _stylize_now(self, frame: Frame, maps: StrengthMaps) -> RGB:
        start_s = time.monotonic()
        now, hold = self._controls, self._hold
        scale, share = (now.scale, 1.0) if hold is None else (hold.scale, hold.share)
        stylized = stylize(self._engine, frame.rgb, maps(frame), scale, now.colours, share=share)
        busy_s = time.monotonic() - start_s
        self._stats.frame_stylized(busy_s)
        if hold is not None:
            height, width = frame.rgb.shape[:2]
            self._stats.worked_at(*work_size(height, width, nearest_scale(scale, height, width), share))
            hold.note(frame, busy_s)
        return stylized

    def _finish_first(self, flight: deque[_InFlight]) -> tuple[Frame, RGB]:
        """Wait for the oldest frame. If it failed, drop those after it: a film must not have a hole."""
        first = flight.popleft()
        start_s = time.monotonic()
        try:
            stylized = first.pending.result()
        except BaseException:
            flight.clear()
            raise
        self._stats.frame_stylized(first.busy_s + time.monotonic() - start_s)
        return first.frame, stylized

    def _put(self, queue: FrameQueue[Frame], frame: Frame) -> None:
        if not queue.put(frame):
            self._stats.frame_dropped(stylized=queue is self._stylized)

    def _write(self, max_frames: int | None, on_frame: Callable[[Frame], None] | None) -> bool:
        """Feed the sink in the calling thread; return False if the run was stopped before its end."""
        if max_frames is not None and max_frames <= 0:
            return True
        frames = self._stylized.receive(lambda: self._controls.stop_requested)
        for written, frame in enumerate(frames, start=1):
            if self._controls.stop_requested:
                return False
            start_s = time.monotonic()
            wants_more = self._sink.write(frame)
            height, width = frame.rgb.shape[:2]
            self._stats.frame_written(time.monotonic() - start_s, frame.captured_s, height, width)
            if on_frame is not None:
                on_frame(frame)
            if not wants_more:
                self._controls.request_stop()
                return False
            if written == max_frames:
                return True
        return not self._controls.stop_requested
