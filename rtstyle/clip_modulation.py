"""Settings that move by the time or the sound of a clip, so that each run gives the same pictures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from engines.errors import ConfigError
from rtstyle.controls import Controls
from rtstyle.frame import Frame
from rtstyle.media.urls import redact
from rtstyle.mix_engine import MixEngine, no_mix
from rtstyle.modulation import UNHEARD, Modulation, parse_modulation
from rtstyle.sound.follower import sources_of
from rtstyle.sources.clip_sound import ClipFollower
from rtstyle.sources.file import FileSource
from rtstyle.sources.pipe import PipeSource

if TYPE_CHECKING:
    from engines.base import Engine
    from rtstyle.sources.base import Source
    from rtstyle.video_job import VideoJob


class ClipModulation:
    """Moves the settings of a job for each of its frames, in order.

    An oscillator begins with the first frame of the job. ``level`` and ``beat`` are those at the timestamp of a frame.

    Args:
        job: says what moves.
        clip: open.

    Raises:
        ConfigError: what is asked for is wrong, or there is no sound to follow.
        SourceError: the sound cannot be read.
    """

    def __init__(self, job: VideoJob, clip: Source) -> None:
        self._first_pts = getattr(clip, "first_pts", 0)
        self._follower: ClipFollower | None = None
        sources = UNHEARD
        if any(parse_modulation(text).follows_sound for text in job.modulate):
            self._follower = _follower(job, clip)
            sources = sources_of(self._follower)
        self._modulations = [parse_modulation(text, sources) for text in job.modulate]

    def mover(self, controls: Controls, engine: Engine) -> Callable[[Frame], None]:
        """Return what moves the settings before a frame is stylized.

        Raises:
            ConfigError: a mix moves, and the engine has none.
        """
        takers: list[tuple[Modulation, Callable[[float], None]]] = []
        for modulation in self._modulations:
            if modulation.target != "mix":
                takers.append((modulation, partial(setattr, controls, modulation.target)))
            elif isinstance(engine, MixEngine):
                takers.append((modulation, engine.take_share))
            else:
                raise no_mix()

        def move(frame: Frame) -> None:
            elapsed_s = float((frame.pts - self._first_pts) * frame.time_base)
            moment_s = float(frame.pts * frame.time_base)
            for modulation, take in takers:
                take(modulation.value(elapsed_s, moment_s))

        return move

    def close(self) -> None:
        """Close the sound; may be called twice."""
        if self._follower is not None:
            self._follower.close()


def _follower(job: VideoJob, clip: Source) -> ClipFollower:
    if not isinstance(clip, FileSource) or isinstance(clip, PipeSource):
        raise ConfigError(
            f"{redact(job.input)} has no sound to follow", hint="level and beat need a clip with sound; sine does not"
        )
    return ClipFollower(job.input, float(clip.first_pts * clip.time_base), job.video_stream)
