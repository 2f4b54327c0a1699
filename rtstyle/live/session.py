"""A live run: source → engine → sink, assembled once for the command line and the page alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from engines.base import Engine
from engines.errors import SourceError
from rtstyle.controls import Controls
from rtstyle.frame import Frame, SourceInfo
from rtstyle.live.modulations import Modulations
from rtstyle.live.rate_hold import RateHold
from rtstyle.live.recorder import Recorder
from rtstyle.live.sound import LiveSound
from rtstyle.live.style_switcher import StyleSwitcher
from rtstyle.live.texture import texture_now
from rtstyle.pipeline import run
from rtstyle.progress import status
from rtstyle.sinks.base import Sink, dropped_by, state_of
from rtstyle.sinks.tee import TeeSink
from rtstyle.sound.follower import LiveFollower, sources_of
from rtstyle.sources.base import Source, notice_of
from rtstyle.stats import Stats, StatsSnapshot
from rtstyle.stroke_scale import nearest_scale
from rtstyle.style_mix import caption_of

LIVE = "live"
"""State of a source that delivers frames."""


@dataclass(frozen=True)
class SessionStats:
    """State and figures of a live run at one instant.

    Attributes:
        style, wanted: the style that is shown, and the one that was asked for last.
        fault: why the wanted style is not shown; empty while it is shown or being prepared.
        source_state: ``LIVE``, or what is wrong.
        dropped_by: cause → dropped frames: ``engine``, and each sink.
        sink_states: name → state, e.g. ``open``, ``connected``, or why it failed.
        recording: the file that is being recorded, if any.
        modulation: what moves by itself: setting → shape, period and range.
    """

    style: str
    wanted: str
    fault: str
    strength: float
    scale: float
    texture: float
    colours: float
    only: str
    faces: float
    inside: float
    outside: float
    feather: float
    glide: float
    playlist: tuple[str, ...]
    every: float
    mirror: bool
    hold_fps: bool
    paused: bool
    source: str
    source_state: str
    figures: StatsSnapshot
    dropped_by: dict[str, int]
    sink_states: dict[str, str]
    recording: Path | None
    modulation: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain = {**vars(self), **self.figures.to_dict(), "recording": self.recording and str(self.recording)}
        del plain["figures"]
        return plain | {name: round(plain[name], 3) for name in ("strength", "scale", "colours", "glide", "every")}

    def lines(self) -> list[str]:
        """Return the lines that the I key shows: style and figures, then anything out of order."""
        scale = nearest_scale(self.scale, self.figures.height, self.figures.width)
        shown = caption_of(self.style)
        waiting = f" (preparing {caption_of(self.wanted)})" if self.wanted != self.style and not self.fault else ""
        late = [f"{cause} {count}" for cause, count in self.dropped_by.items() if count]
        own = f" · own colours {self.colours:.1f}" if self.colours else ""
        part = f" · only {self.only}" if self.only != "all" else ""
        if self.only != "all" and (self.inside, self.outside) != (1.0, 0.0):
            part += f" ({self.inside:.1f} inside, {self.outside:.1f} outside)"
        part += f" · faces kept {self.faces:.1f}" if self.faces else ""
        lines = [
            f"{self.fault or shown + waiting} · strength {self.strength:.1f} · scale {scale:.2f}{own}{part}",
            f"{status(self.figures)} · engine {self.figures.engine_p50_ms:.0f} ms",
        ]
        if late:
            lines.append(f"dropped by {', '.join(late)}")
        if self.source_state != LIVE:
            lines.append(f"{self.source}: {self.source_state}")
        lines += [f"{name}: {state}" for name, state in self.sink_states.items() if state != "open"]
        return lines


class LiveSession:
    """One live run, which owns its source, engine and recorder. Any thread may call any method but ``run``.

    Usage: create it, ``load`` the engine, ``run`` it into a sink. Leaving its context closes everything.
    ``microphone`` is heard beside the source, see ``microphone.find_microphone``.
    """

    def __init__(self, source: Source, controls: Controls, microphone: str | None = None) -> None:
        self.source, self.controls = source, controls
        try:
            self.sound = LiveSound(source, microphone, lambda: controls.paused)
        except SourceError:
            source.close()
            raise
        self.stats, self.recorder = Stats(), Recorder(source.info.fps, self.sound.feed)
        self._follower = LiveFollower(self.sound.feed)
        self.modulations = Modulations(controls, sources=sources_of(self._follower))
        self.engine: Engine | None = None
        self._hold: RateHold | None = None
        self.sink: Sink | None = None
        self.newest: Frame | None = None  # the newest stylized frame

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self, load_engine: Callable[[], Engine]) -> None:
        """Load the engine, and warm it up if the frame size is known."""
        self.engine = load_engine()
        info = self.source.info
        self._hold = RateHold(self.engine, self.controls, info)
        if info.width and info.height:
            # A new size costs a compilation, which must not count as the age of the first frames.
            self._hold.rehearse(info.height, info.width)

    def run(
        self, sink: Sink, *, max_frames: int | None = None, on_frame: Callable[[Stats], None] = lambda _: None
    ) -> StatsSnapshot:
        """Stylize frames, newest first, until the source ends or somebody asks to stop; then close the sink.

        What was recorded is kept when a stage fails.
        """
        assert self.engine is not None, "load comes before run"
        self.sink = sink
        hold = self._hold = self._hold or RateHold(self.engine, self.controls, self.source.info)

        def shown(frame: Frame) -> None:
            if self.newest is None and isinstance(self.engine, StyleSwitcher):
                self.engine.begin_turns()
            self.newest = frame
            if not self.controls.paused:
                self.recorder.put(frame)
            on_frame(self.stats)

        source = _UntilLost(self.source, lambda frame: self.modulations.apply(frame.moment_s))
        run(source, hold, sink, self.controls, self.stats, max_frames=max_frames, on_frame=shown, hold=hold)
        if source.failure is not None:
            raise source.failure
        return self.stats.snapshot()

    def stop(self) -> None:
        """Ask the run to end; closing a camera may take a second."""
        self.controls.request_stop()
        self.source.close()

    def close(self) -> None:
        """Close source, recorder and engine; may be called twice."""
        self.source.close()
        self._follower.close()
        self.sound.close()
        self.recorder.close()
        if self._hold is not None:
            self._hold.close()
        elif self.engine is not None:
            self.engine.close()

    def read(self) -> SessionStats:
        """Read state and figures, for the window, ``--json``, HTTP and the page."""
        controls, figures = self.controls, self.stats.snapshot()
        switcher = self.engine if isinstance(self.engine, StyleSwitcher) else None
        shown = switcher.shown if switcher else self.engine.info.style if self.engine else ""
        dropped, states = self._read_sinks(figures.dropped - figures.dropped_engine)
        if self.recorder.dropped:
            dropped["recording"] = self.recorder.dropped
        return SessionStats(
            figures=figures,
            style=shown,
            wanted=controls.style if switcher else shown,
            fault=switcher.fault if switcher else "",
            strength=controls.strength,
            scale=controls.scale,
            texture=texture_now(controls),
            colours=controls.colours,
            only=controls.only,
            faces=controls.faces,
            inside=controls.inside,
            outside=controls.outside,
            feather=controls.feather,
            glide=controls.glide,
            playlist=controls.playlist,
            every=controls.every,
            mirror=controls.mirror,
            hold_fps=controls.hold_fps,
            paused=controls.paused,
            source=self.source.info.name,
            source_state=notice_of(self.source) or LIVE,
            dropped_by={"engine": figures.dropped_engine, **dropped},
            sink_states=states,
            recording=self.recorder.path,
            modulation=self.modulations.running,
        )

    def _read_sinks(self, late: int) -> tuple[dict[str, int], dict[str, str]]:
        """Return drops and states by sink; ``late`` frames were dropped before the sink of the calling thread."""
        if self.sink is None:
            return {}, {}
        if isinstance(self.sink, TeeSink):
            dropped = self.sink.drops()
            dropped[next(iter(dropped))] += late
            return dropped, self.sink.states()
        name = self.sink.name
        return {name: late + dropped_by(self.sink)}, {name: state_of(self.sink)}


class _UntilLost:
    """A source whose failure is its end: an unplugged camera must not take the recording with it.

    ``on_frame`` is called with each frame before it is handed on.
    """

    def __init__(self, source: Source, on_frame: Callable[[Frame], None]) -> None:
        self.failure: SourceError | None = None
        self._source, self._on_frame = source, on_frame

    @property
    def info(self) -> SourceInfo:
        return self._source.info

    def frames(self) -> Iterator[Frame]:
        try:
            for frame in self._source.frames():
                self._on_frame(frame)
                yield frame
        except SourceError as error:
            self.failure = error

    def close(self) -> None:
        self._source.close()
