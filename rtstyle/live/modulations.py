"""Moving settings of a live run.

Whoever sets a moving setting by hand takes it over, as on a mixing desk: it stays there until ``modulate`` is switched
on again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock

from rtstyle.controls import Controls
from rtstyle.live.mix_slider import set_mix, share_of_second
from rtstyle.modulation import TARGETS, UNHEARD, Modulation, ModulationSource, parse_modulation
from rtstyle.style_mix import without_textures

logger = logging.getLogger(__name__)


@dataclass
class _Moving:
    """A modulation that runs since ``start_s``, and what it set last."""

    modulation: Modulation
    start_s: float
    last: object


class Modulations:
    """The moving settings of a run. Any thread may call any method.

    Args:
        controls: the settings.
        sources: what is measured and can move a setting, by name.
        clock: monotonic, seconds.
    """

    def __init__(
        self,
        controls: Controls,
        *,
        sources: Mapping[str, ModulationSource] = UNHEARD,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._controls, self._sources, self._clock = controls, sources, clock
        self._known: dict[str, Modulation] = {}
        self._moving: dict[str, _Moving] = {}
        self._lock = Lock()

    @property
    def running(self) -> dict[str, str]:
        """What moves now: target → what was asked for."""
        with self._lock:
            return {target: moving.modulation.text for target, moving in self._moving.items()}

    def change(self, text: str) -> None:
        """Start ``TARGET=SHAPE PERIOD LOW..HIGH``, or end ``TARGET=off``.

        Raises:
            ConfigError: as ``parse_modulation``; or there is no sound, or no second style to mix with.
        """
        target, _, rest = (part.strip() for part in text.partition("="))
        if rest.lower() == "off" and target in TARGETS:
            with self._lock:
                self._end(target)
            return
        modulation = parse_modulation(text, self._sources)
        modulation.source.begin()
        with self._lock:
            self._start(modulation)
            self._known[target] = modulation

    def switch(self, on: bool) -> None:
        """Start again all that were ever started, each from its beginning; or end all. Values stay where they are."""
        with self._lock:
            for target in list(self._moving):
                self._end(target)
            if on:
                for modulation in self._known.values():
                    self._start(modulation)

    def apply(self, moment_s: float) -> None:
        """Move the settings to where they belong now; called for each frame, with the moment of its picture."""
        if not self._moving:
            return
        with self._lock:
            now_s = self._clock()
            for target, moving in list(self._moving.items()):
                if self._now(target) != moving.last:
                    self._end(target)
                    logger.info("%s was set by hand and no longer moves", target)
                    continue
                value = moving.modulation.value(now_s - moving.start_s, moment_s)
                moving.last = self._move(target, value)

    def _start(self, modulation: Modulation) -> None:
        target = modulation.target
        if target == "mix":
            set_mix(self._controls, share_of_second(self._controls))  # fails if there is no second style
            self._controls.mix_moves = True
        self._moving[target] = _Moving(modulation, self._clock(), self._now(target))

    def _end(self, target: str) -> None:
        self._moving.pop(target, None)
        if target == "mix":
            self._controls.mix_moves = False

    def _now(self, target: str) -> object:
        """Return what a setting is; a mix as text, since whoever chooses another style takes it over too."""
        return without_textures(self._controls.style) if target == "mix" else getattr(self._controls, target)

    def _move(self, target: str, value: float) -> object:
        if target == "mix":
            set_mix(self._controls, value)
        else:
            setattr(self._controls, target, value)
        return self._now(target)
