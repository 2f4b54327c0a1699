"""Settings that move by themselves: ``rtstyle webcam --modulate "strength=sine 4s 0.3..1"``.

The grammar, with spaces or colons between the words::

    TARGET=SHAPE PERIOD [LOW..HIGH]
    TARGET=level [LOW..HIGH]
    TARGET=beat [LOW..HIGH]

``TARGET`` is one of ``TARGETS``, ``SHAPE`` one of ``SHAPES``, ``PERIOD`` a time like ``4s`` or ``500ms``, a rate like
``0.25Hz``, or a tempo like ``120bpm``, with one cycle for each beat. ``level`` and ``beat`` are those of the sound, see
``rtstyle.sound.follower``.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from engines.errors import ConfigError
from rtstyle.ranges import RANGES, Range
from rtstyle.sound.follower import Beat, Level, Silence, sources_of

PERIODS = (0.1, 3600.0)
"""Shortest and longest period of a cycle, seconds: a frame rate shows nothing faster."""

TARGETS = ("strength", "scale", "colours", "faces", "inside", "outside", "mix")
"""Settings that can move. ``mix`` is the slider between two styles; the others are attributes of ``Controls``."""

STEPS = {"scale": 2, "colours": 50}
"""Steps from one end of the range to the other. An engine keeps the compiled graphs of three frame sizes, so a stroke
size has three values; and other colours cost the CPU an upload of weights, 5 ms, which slow movements save."""

EXAMPLE = "write it like strength=sine:4s:0.3..1"


class ModulationSource(Protocol):
    """What moves a setting: an oscillator, or something measured."""

    def begin(self) -> None:
        """Get ready to move a setting from now on. Raises ConfigError if that is impossible."""
        ...

    def share(self, elapsed_s: float, moment_s: float) -> float:
        """Return where the setting is between its low end, 0, and its high end, 1.

        It is called for each frame in the thread that reads them, so it must not wait.

        Args:
            elapsed_s: seconds since the modulation was switched on; the clock is monotonic.
            moment_s: when the picture was taken, see ``Frame.moment_s``; in a clip, its timestamp.
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

    def begin(self) -> None:
        """See ``ModulationSource``."""

    def share(self, elapsed_s: float, moment_s: float) -> float:  # noqa: ARG002
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

    @property
    def follows_sound(self) -> bool:
        """True if sound moves it."""
        return isinstance(self.source, Level | Beat)

    def value(self, elapsed_s: float, moment_s: float) -> float:
        """Return what the setting is at a time; see ``ModulationSource.share``."""
        return self.span.at(min(1.0, max(0.0, self.source.share(elapsed_s, moment_s))))


UNHEARD: Mapping[str, ModulationSource] = MappingProxyType(sources_of(Silence()))
"""Sources that are measured, by name, while there is nothing to measure yet."""


def parse_modulation(text: str, sources: Mapping[str, ModulationSource] = UNHEARD) -> Modulation:
    """Parse the grammar of the module; ``sources`` are what is measured, by name.

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


def modulation_errors(texts: Sequence[str]) -> list[ConfigError]:
    """Return what is wrong with the modulations of a job: each text, or two for one setting."""
    errors, targets = list[ConfigError](), list[str]()
    for text in texts:
        try:
            targets.append(parse_modulation(text).target)
        except ConfigError as error:
            errors.append(error)
    twice = [target for target in dict.fromkeys(targets) if targets.count(target) > 1]
    hint = "leave one --modulate out (in Python: modulate)"
    return errors + [ConfigError(f"{target} is modulated twice", hint=hint) for target in twice]


def moves_mix(texts: Sequence[str]) -> bool:
    """Return True if a mix is among what moves."""
    with suppress(ConfigError):  # another check says what is wrong
        return any(parse_modulation(text).target == "mix" for text in texts)
    return False
