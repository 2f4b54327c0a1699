"""Source → engine → sink in three threads, every error reaches the caller."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from threading import Event, Lock, Thread

import numpy as np

from engines.base import RGB, Engine, OverlappedEngine, Pending, check_strength
from engines.errors import EngineError, SourceError, StyleError
from rtstyle.frame import Frame
from rtstyle.frame_queue import Link, LinkClosedError
from rtstyle.sinks.base import Sink
from rtstyle.sources.base import Source
from rtstyle.stats import Stats
from rtstyle.stroke_scale import check_scale, paint

LOSSLESS_CAPACITY = 3
"""Frames that may wait between two stages of a file: enough to even out slow frames, 18 MB each link at 1080p."""

IN_FLIGHT = 3
"""Frames of a file that an engine may be at at once: one on its way to the device, one there, one on its way back."""

JOIN_S = 10.0
"""How long a thread may take to notice that it must end, seconds. It is a daemon: the process never waits for more."""


class Controls:
    """Settings that may change while frames run; any thread may call any method.

    Args:
        strength: 0 shows the input, 1 the full style.
        mirror: flip left and right, as people expect of a picture of themselves.
        scale: size of the strokes, 1 is the style's own.
        styles: names to choose from while frames run; none where there is no choice.
        style: the one to begin with, by default the first.

    Raises:
        ShapeError: strength is outside 0…1, or scale outside ``scale.SCALES``. StyleError: no such style.
    """

    def __init__(
        self,
        strength: float = 1.0,
        mirror: bool = False,
        scale: float = 1.0,
        styles: Sequence[str] = (),
        style: str | None = None,
    ) -> None:
        check_strength(strength)
        check_scale(scale)
        self._styles = tuple(styles)
        self._style = self._styles[0] if styles else ""
        self._lock = Lock()
        self._strength = strength
        self._mirror = mirror
        self._scale = scale
        self._paused = False
        self._stop = Event()
        if style is not None:
            self.style = style

    @property
    def strength(self) -> float:
        """Blend of input and style, 0…1. Setting it raises ShapeError when out of range."""
        with self._lock:
            return self._strength

    @strength.setter
    def strength(self, value: float) -> None:
        check_strength(value)
        with self._lock:
            self._strength = value

    @property
    def mirror(self) -> bool:
        """Whether frames are flipped left to right."""
        with self._lock:
            return self._mirror

    @mirror.setter
    def mirror(self, value: bool) -> None:
        with self._lock:
            self._mirror = value

    @property
    def paused(self) -> bool:
        """Whether what others see stands still; frames go on being painted meanwhile."""
        with self._lock:
            return self._paused

    @paused.setter
    def paused(self, value: bool) -> None:
        with self._lock:
            self._paused = value

    @property
    def scale(self) -> float:
        """Size of the strokes, 1 is the style's own. Setting it raises ShapeError when out of range."""
        with self._lock:
            return self._scale

    @scale.setter
    def scale(self, value: float) -> None:
        check_scale(value)
        with self._lock:
            self._scale = value

    @property
    def styles(self) -> tuple[str, ...]:
        """Names to choose from; they do not change."""
        return self._styles

    @property
    def style(self) -> str:
        """Name of the style that is wanted. Setting it raises StyleError for one that is not among ``styles``."""
        with self._lock:
            return self._style

    @style.setter
    def style(self, name: str) -> None:
        if name not in self._styles:
            raise StyleError(f"no style {name!r} here", hint=f"there are: {', '.join(self._styles)}")
        with self._lock:
            self._style = name

    @property
    def stop_requested(self) -> bool:
        """True once somebody has asked to stop."""
        return self._stop.is_set()

    def request_stop(self) -> None:
        """Ask the pipeline to end after the frame at hand. Safe in a signal handler."""
        self._stop.set()


def run(
    source: Source,
    engine: Engine,
    sink: Sink,
    controls: Controls,
    stats: Stats,
    *,
    max_frames: int | None = None,
    on_frame: Callable[[Frame], None] | None = None,
) -> bool:
    """Move every frame from the source through the engine to the sink; then close source and sink.

    The sink runs in the calling thread: windows need the main thread on macOS, and Ctrl-C arrives there.
    A file is read without loss; of a live source, frames that come too fast are dropped, oldest first.
    The sink is closed with ``completed=True`` when the source has ended, ``max_frames`` are written, or a
    live source was stopped or lost, or its engine failed; with False when a file was stopped before its end,
    and after other errors.

    Args:
        source: open; closed here in every case.
        engine: left open, it belongs to the caller.
        sink: open; closed here in every case.
        controls: live settings, and the request to stop.
        stats: receives the figures.
        max_frames: end after so many frames were written; ``None`` for all.
        on_frame: called in this thread after each written frame.

    Returns:
        what the sink was told: True when the result is complete, False when a file was stopped before its end.

    Raises:
        whatever source, engine, sink or ``on_frame`` raised first; KeyboardInterrupt.
    """
    return _Pipeline(source, engine, sink, controls, stats).run(max_frames, on_frame)


class _Flying:
    """A frame that an engine is at, and the seconds that it took to hand it over."""

    def __init__(self, frame: Frame, engine: OverlappedEngine, strength: float) -> None:
        start_s = time.monotonic()
        self.frame = frame
        self.pending: Pending = engine.submit(frame.rgb, strength)
        self.busy_s = time.monotonic() - start_s


class _Pipeline:
    """One run: the five that take part, and the two links between them."""

    def __init__(self, source: Source, engine: Engine, sink: Sink, controls: Controls, stats: Stats) -> None:
        self._source, self._engine, self._sink = source, engine, sink
        self._controls, self._stats = controls, stats
        self._live = source.info.live
        capacity = 1 if self._live else LOSSLESS_CAPACITY
        self._captured: Link[Frame] = Link(capacity, newest_wins=self._live)
        self._painted: Link[Frame] = Link(capacity, newest_wins=self._live)

    def run(self, max_frames: int | None, on_frame: Callable[[Frame], None] | None) -> bool:
        threads = [
            Thread(target=self._read, name="source", daemon=True),
            Thread(target=self._paint, name="engine", daemon=True),
        ]
        completed = False
        try:
            for thread in threads:
                thread.start()
            completed = self._write(max_frames, on_frame) or self._live
        except (KeyboardInterrupt, SourceError, EngineError):
            # What was recorded from a camera until somebody pulled its plug, or the engine broke, is worth keeping.
            completed = self._live
            raise
        finally:
            self._captured.close(drain=False)
            self._painted.close(drain=False)
            self._shut(threads, completed=completed)
        return completed

    def _shut(self, threads: list[Thread], *, completed: bool) -> None:
        """Close both ends, whatever one of them raises, and wait for the threads."""
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
        """Source thread: fetch frames until the source ends or nobody wants more."""
        cause: BaseException | None = None
        try:
            frames = iter(self._source.frames())
            while not self._controls.stop_requested:
                start_s = time.monotonic()
                frame = next(frames, None)
                if frame is None:
                    break
                self._stats.frame_read(time.monotonic() - start_s)
                self._hand_over(self._captured, frame)
        except LinkClosedError:
            pass
        except BaseException as error:  # noqa: BLE001 - it travels to the caller's thread and is raised there
            cause = error
        self._captured.close(cause)

    def _paint(self) -> None:
        """Engine thread: the only one that calls the engine."""
        cause: BaseException | None = None
        try:
            for frame, painting in self._paintings():
                self._hand_over(self._painted, dataclasses.replace(frame, rgb=painting))
        except LinkClosedError:
            pass
        except BaseException as error:  # noqa: BLE001 - it travels to the caller's thread and is raised there
            cause = error
        self._captured.close(drain=False)
        self._painted.close(cause)

    def _paintings(self) -> Iterator[tuple[Frame, RGB]]:
        """Every frame with its painting, in order; an error comes after all frames that were read before it.

        A file's frames overlap on engines that can do that. From a camera they come one at a time: a frame that waits
        for the one before is older when it is shown, and might have been a newer one.
        """
        engine = self._engine if not self._live and isinstance(self._engine, OverlappedEngine) else None
        flight: deque[_Flying] = deque()
        try:
            for frame in self._captured.receive():
                wanted = self._as_wanted(frame)
                overlapped = engine if self._controls.scale == 1.0 else None
                if overlapped is not None:
                    flight.append(_Flying(wanted, overlapped, self._controls.strength))
                # Where the source is slower than the engine, nothing is gained by holding a frame back.
                while flight and not (overlapped and len(flight) < IN_FLIGHT and self._captured.waiting):
                    yield self._landed(flight)
                if overlapped is None:
                    yield wanted, self._painted_now(wanted.rgb)
        except Exception:
            while flight:
                yield self._landed(flight)
            raise
        while flight:
            yield self._landed(flight)

    def _as_wanted(self, frame: Frame) -> Frame:
        rgb = np.ascontiguousarray(frame.rgb[:, ::-1]) if self._controls.mirror else frame.rgb
        # Only a window shows the unpainted frame.
        return dataclasses.replace(frame, rgb=rgb, unpainted=rgb if self._live else None)

    def _painted_now(self, rgb: RGB) -> RGB:
        start_s = time.monotonic()
        painting = paint(self._engine, rgb, self._controls.strength, self._controls.scale)
        self._stats.frame_painted(time.monotonic() - start_s)
        return painting

    def _landed(self, flight: deque[_Flying]) -> tuple[Frame, RGB]:
        """The frame that was first. One that failed takes those after it along: there is no film with a hole."""
        first = flight.popleft()
        start_s = time.monotonic()
        try:
            painting = first.pending.result()
        except BaseException:
            flight.clear()
            raise
        self._stats.frame_painted(first.busy_s + time.monotonic() - start_s)
        return first.frame, painting

    def _hand_over(self, link: Link[Frame], frame: Frame) -> None:
        if not link.put(frame):
            self._stats.frame_dropped(painted=link is self._painted)

    def _write(self, max_frames: int | None, on_frame: Callable[[Frame], None] | None) -> bool:
        """Feed the sink in the calling thread.

        Returns:
            True when all wanted frames are written, False when somebody asked to stop before.
        """
        if max_frames is not None and max_frames <= 0:
            return True
        frames = self._painted.receive(lambda: self._controls.stop_requested)
        for written, frame in enumerate(frames, start=1):
            if self._controls.stop_requested:
                return False
            start_s = time.monotonic()
            wanted = self._sink.write(frame)
            height, width = frame.rgb.shape[:2]
            self._stats.frame_written(time.monotonic() - start_s, frame.captured_s, height, width)
            if on_frame is not None:
                on_frame(frame)
            if not wanted:
                self._controls.request_stop()
                return False
            if written == max_frames:
                return True
        return not self._controls.stop_requested
