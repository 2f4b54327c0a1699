"""Settings that move by themselves: ``rtstyle webcam --modulate "strength=sine 4s 0.3..1"``.

The grammar, with spaces or colons between the words::

    TARGET=SHAPE PERIOD [LOW..HIGH]

``TARGET`` is one of ``TARGETS``, ``SHAPE`` one of ``SHAPES``, ``PERIOD`` a time like ``4s`` or ``500ms``, a rate like
``0.25Hz``, or a tempo like ``120bpm``, with one cycle for each beat. A ``ModulationSource`` of another kind is written
by its name, in the place of ``SHAPE PERIOD``.

Whoever sets a moving setting by hand takes it over, as on a mixing desk: it stays there until ``modulate`` is switched
on again.
"""

from __future__ import annotations

import logging
import math
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from types import MappingProxyType
from typing import Protocol

from engines.errors import ConfigError
from rtstyle.controls import Controls
from rtstyle.live.action_kinds import RANGES, Range

logger = logging.getLogger(__name__)

PERIODS = (0.1, 3600.0)
"""Shortest and longest period of a cycle, seconds: a frame rate shows nothing faster."""

TARGETS = ("strength", "scale", "colours", "faces")
"""Settings that can move, each also an attribute of ``Controls``. A mix cannot: each has to be prepared in the
background, and one that changes before it is ready is never shown."""

STEPS = {"scale": 2, "colours": 50}
"""Steps from one end of the range to the other. An engine keeps the compiled graphs of three frame sizes, so a stroke
size has three values; and other colours cost the CPU an upload of weights, 5 ms, which slow movements save."""

EXAMPLE = "write it like strength=sine:4s:0.3..1"


class ModulationSource(Protocol):
    """What moves a setting: an oscillator, or something measured."""

    def share(self, elapsed_s: float) -> float:
        """Return where the setting is between its low end, 0, and its high end, 1.

        It is called for each frame in the thread that reads them, so it must not wait.

        Args:
            elapsed_s: seconds since the modulation was switched on; the clock is monotonic.
        """
        ...


SHAPES: dict[str, Callable[[float], float]] = {
    "sine": lambda cycles: 0.5 - 0.5 * math.cos(2 * math.pi * cycles),
    "triangle": lambda cycles: 1.0 - abs(2.0 * (cycles % 1.0) - 1.0),
    "saw": lambda cycles: cycles % 1.0,
    "square": lambda cycles: float(cycles % 1.0 >= 0.5),
    "random": lambda cycles: random.Random(int(cycles)).random(),  # noqa: S311  # no secret
}
"""Shape → share at a number of cycles since the start. All but ``random`` begin at 0."""


@dataclass(frozen=True)
class Oscillator:
    """A low-frequency oscillator (LFO): one of ``SHAPES``, ``period_s`` seconds a cycle."""

    shape: str
    period_s: float

    def share(self, elapsed_s: float) -> float:
        """See ``ModulationSource``."""
        return SHAPES[self.shape](elapsed_s / self.period_s)


@dataclass(frozen=True)
class Modulation:
    """One setting and what moves it.

    Attributes:
        target: one of ``TARGETS``.
        span: the values that it moves through; ``low`` may be the larger one.
        text: what was asked for, after the target.
    """

    target: str
    source: ModulationSource
    span: Range
    text: str


NO_SOURCES: Mapping[str, ModulationSource] = MappingProxyType({})


def parse_modulation(text: str, sources: Mapping[str, ModulationSource] = NO_SOURCES) -> Modulation:
    """Parse the grammar of the module; ``sources`` are those of other kinds, by name.

    Raises:
        ConfigError: the text does not follow the grammar, or a value is out of range.
    """
    target, _, rest = (part.strip() for part in text.partition("="))
    words = [word for word in re.split(r"[\s:]+", rest) if word]
    if target not in TARGETS or not words:
        raise ConfigError(f"cannot modulate {text!r}"[:200], hint=f"{EXAMPLE}; targets: {', '.join(TARGETS)}")
    name = words.pop(0).lower()
    source = sources.get(name)
    if source is None:
        if name not in SHAPES:
            known = ", ".join((*SHAPES, *sources))
            raise ConfigError(f"{text!r}: there is no {name!r}"[:200], hint=f"available: {known}")
        source = Oscillator(name, _period(words.pop(0) if words else "", text))
    span = _span(target, words.pop(0), text) if words else RANGES[target]
    if words:
        raise ConfigError(f"{text!r}: what is {words[0]!r}?"[:200], hint=EXAMPLE)
    span = span._replace(steps=STEPS.get(target, 0))
    return Modulation(target, source, span, " ".join(rest.replace(":", " ").split()))


def _period(word: str, text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)(s|ms|hz|bpm)", word.lower())
    number = float(match[1]) if match else 0.0
    if match is None or not number:
        raise ConfigError(f"{text!r} needs a period"[:200], hint="for example 4s, 500ms, 0.25Hz or 120bpm")
    period = {"s": number, "ms": number / 1000, "hz": 1 / number, "bpm": 60 / number}[match[2]]
    if not PERIODS[0] <= period <= PERIODS[1]:
        raise ConfigError(f"{text!r}: a cycle takes {PERIODS[0]:g} to {PERIODS[1]:g} seconds"[:200], hint=EXAMPLE)
    return period


def _span(target: str, word: str, text: str) -> Range:
    whole = RANGES[target]
    try:
        low, high = (float(end) for end in word.split(".."))
    except ValueError:
        raise ConfigError(f"{text!r}: {word!r} is not a range"[:200], hint=EXAMPLE) from None
    if not all(whole.low <= end <= whole.high for end in (low, high)):
        raise ConfigError(f"{text!r}: {target} takes {whole.low:g}..{whole.high:g}"[:200], hint=EXAMPLE)
    return whole._replace(low=low, high=high)


@dataclass
class _Moving:
    """A modulation that runs since ``start_s``, and the value that it set last."""

    modulation: Modulation
    start_s: float
    value: float


class Modulations:
    """The moving settings of a live run. Any thread may call any method.

    Args:
        controls: the settings.
        sources: what can move a setting besides an oscillator, by name.
        clock: monotonic, seconds.
    """

    def __init__(
        self,
        controls: Controls,
        *,
        sources: Mapping[str, ModulationSource] = NO_SOURCES,
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
            ConfigError: as ``parse_modulation``.
        """
        target, _, rest = (part.strip() for part in text.partition("="))
        if rest.lower() == "off" and target in TARGETS:
            with self._lock:
                self._moving.pop(target, None)
            return
        modulation = parse_modulation(text, self._sources)
        with self._lock:
            self._known[target] = modulation
            self._start(modulation)

    def switch(self, on: bool) -> None:
        """Start again all that were ever started, each from its beginning; or end all. Values stay where they are."""
        with self._lock:
            self._moving.clear()
            if on:
                for modulation in self._known.values():
                    self._start(modulation)

    def apply(self) -> None:
        """Move the settings to where they belong now; called for each frame."""
        if not self._moving:
            return
        with self._lock:
            now_s = self._clock()
            for target, moving in list(self._moving.items()):
                if getattr(self._controls, target) != moving.value:
                    del self._moving[target]
                    logger.info("%s was set by hand and no longer moves", target)
                    continue
                span = moving.modulation.span
                share = moving.modulation.source.share(now_s - moving.start_s)
                moving.value = span.at(min(1.0, max(0.0, share)))
                setattr(self._controls, target, moving.value)

    def _start(self, modulation: Modulation) -> None:
        now = getattr(self._controls, modulation.target)
        self._moving[modulation.target] = _Moving(modulation, self._clock(), now)
