"""A live run as others see and steer it: keys, the control address and the browser page all come here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.base import Engine
from rtstyle.frame import Frame
from rtstyle.live.recorder import Recorder
from rtstyle.live.style_switcher import Palette
from rtstyle.pipeline import Controls
from rtstyle.progress import status
from rtstyle.sinks.base import Sink, dropped_by, state_of
from rtstyle.sinks.tee import SeveralSinks
from rtstyle.sources.base import Source, notice_of
from rtstyle.stats import Figures, Stats
from rtstyle.stroke_scale import fitting

COMING = "live"
"""State of a source whose pictures come."""


@dataclass(frozen=True)
class Reading:
    """All that can be told of a live run at one instant.

    Attributes:
        figures: rates, ages and counts.
        style: the one that is shown.
        wanted: the one that was asked for last: not shown yet, or never, see ``fault``.
        fault: why the wanted one is not shown; empty when it is, or is being made ready.
        strength, scale, mirror, paused: as they are set.
        source: its name.
        source_state: ``COMING``, or what is wrong.
        dropped_by: cause → frames: ``engine``, which was too slow, and each sink that was too slow for its frames.
        sinks: name → state, e.g. ``open``, ``connected``, or why it has failed.
        recording: the file that grows; ``None`` when there is none.
    """

    figures: Figures
    style: str
    wanted: str
    fault: str
    strength: float
    scale: float
    mirror: bool
    paused: bool
    source: str
    source_state: str
    dropped_by: dict[str, int]
    sinks: dict[str, str]
    recording: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON: the figures beside the rest."""
        return {
            "style": self.style,
            "wanted": self.wanted,
            "fault": self.fault,
            "strength": round(self.strength, 3),
            "scale": round(self.scale, 3),
            "mirror": self.mirror,
            "paused": self.paused,
            "source": self.source,
            "source_state": self.source_state,
            **self.figures.to_dict(),
            "dropped_by": self.dropped_by,
            "sink_states": self.sinks,
            "recording": None if self.recording is None else str(self.recording),
        }

    def lines(self) -> list[str]:
        """What the I key shows: style and figures, and then whatever is not as it should be."""
        scale = fitting(self.scale, self.figures.height, self.figures.width)
        waiting = f" (making {self.wanted} ready)" if self.wanted != self.style and not self.fault else ""
        late = [f"{cause} {count}" for cause, count in self.dropped_by.items() if count]
        told = [
            f"{self.fault or self.style + waiting} · strength {self.strength:.1f} · scale {scale:.2f}",
            f"{status(self.figures)} · engine {self.figures.engine_p50_ms:.0f} ms",
        ]
        if late:
            told.append(f"dropped by {', '.join(late)}")
        if self.source_state != COMING:
            told.append(f"{self.source}: {self.source_state}")
        told += [f"{name}: {state}" for name, state in self.sinks.items() if state != "open"]
        return told


class Live:
    """One live run. Any thread may call any method.

    Args:
        source, engine, controls, stats: those that run.
        recorder: what begins and ends recordings.

    Attributes:
        sink: where the frames go; set once it is open.
    """

    def __init__(self, source: Source, engine: Engine, controls: Controls, stats: Stats, recorder: Recorder) -> None:
        self.source, self.engine, self.controls, self.stats = source, engine, controls, stats
        self.recorder = recorder
        self.sink: Sink | None = None
        self._newest: Frame | None = None

    @property
    def newest(self) -> Frame | None:
        """The last painting; ``None`` before the first one."""
        return self._newest

    def put(self, frame: Frame) -> None:
        """A painting has been shown; never waits."""
        self._newest = frame
        if not self.controls.paused:
            self.recorder.put(frame)

    def reading(self) -> Reading:
        """Read everything, for the overlay, for ``--json`` and for whoever asks over the network."""
        controls, figures = self.controls, self.stats.snapshot()
        palette = self.engine if isinstance(self.engine, Palette) else None
        shown = palette.shown if palette else self.engine.info.style
        losses, states = self._of_sinks(figures.dropped - figures.dropped_engine)
        if self.recorder.dropped:
            losses["recording"] = self.recorder.dropped
        return Reading(
            figures=figures,
            style=shown,
            wanted=controls.style if palette else shown,
            fault=palette.fault if palette else "",
            strength=controls.strength,
            scale=controls.scale,
            mirror=controls.mirror,
            paused=controls.paused,
            source=self.source.info.name,
            source_state=notice_of(self.source) or COMING,
            dropped_by={"engine": figures.dropped_engine, **losses},
            sinks=states,
            recording=self.recorder.path,
        )

    def _of_sinks(self, before: int) -> tuple[dict[str, int], dict[str, str]]:
        """Losses and states of the sinks. ``before``: frames that the one in the calling thread was too slow for."""
        if self.sink is None:
            return {}, {}
        if isinstance(self.sink, SeveralSinks):
            losses = self.sink.losses()
            losses[next(iter(losses))] += before
            return losses, self.sink.states()
        name = self.sink.name
        return {name: before + dropped_by(self.sink)}, {name: state_of(self.sink)}
