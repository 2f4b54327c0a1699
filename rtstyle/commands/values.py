"""Parsers for the values of options: sizes, times and numbers within a range."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

import typer

T = TypeVar("T")

LEAST_HEIGHT = 24
"""``engines.base.MIN_SIDE``, which is not imported: help and errors come before the engines."""


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


@dataclass(frozen=True)
class Parser(Generic[T]):
    """Reads the text of an option; ``read`` raises ValueError if it is not what messages call ``expected``.

    ``numbers_too`` is True for texts that may be plain numbers, without quotes in a file of settings.
    """

    expected: str
    read: Callable[[str], T]
    numbers_too: bool = field(default=False, kw_only=True)

    def __call__(self, value: object) -> T:
        """Return the value of a text; a value that was read before may be given too."""
        try:
            return self.read(str(value).strip())
        except ValueError:
            raise typer.BadParameter(f"must be {self.expected}, not {value!r}{self._suggestion(value)}") from None

    def _suggestion(self, value: object) -> str:
        """Return the number without its unit: 720 for 720p, 0.8 for 80%."""
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%|[a-z]+)\s*", str(value), re.IGNORECASE)
        if match is None:
            return ""
        number = f"{float(match[1]) / 100:g}" if match[2] == "%" else match[1]
        try:
            self.read(number)
        except ValueError:
            return ""
        return f"; did you mean {number}?"


@dataclass(frozen=True)
class NumberParser(Parser[T]):
    """Read a number from ``least`` to ``most``."""

    least: float
    most: float | None


def number(least: float, most: float) -> NumberParser[float]:
    """Return a parser of numbers from ``least`` to ``most``."""

    def read(text: str) -> float:
        value = float(text)
        if not (math.isfinite(value) and least <= value <= most):
            raise ValueError(text)
        return value

    return NumberParser(f"a number from {least:g} to {most:g}", read, least, most)


def whole(least: int, most: int | None = None) -> NumberParser[int]:
    """Return a parser of whole numbers from ``least`` to ``most``."""

    def read(text: str) -> int:
        value = int(text)
        if value < least or (most is not None and value > most):
            raise ValueError(text)
        return value

    span = f"of at least {least}" if most is None else f"from {least} to {most}"
    return NumberParser(f"a whole number {span}", read, least, most)


def choice(*words: str) -> Parser[str]:
    """Return a parser of one of a few words; the dot of a suffix and capitals do not matter."""

    def read(text: str) -> str:
        word = text.lower().removeprefix(".")
        if word not in words:
            raise ValueError(text)
        return word

    return Parser(f"{', '.join(words[:-1])} or {words[-1]}", read)


def _read_size(text: str) -> Size:
    from engines.frame_size import parse_size

    return Size(*parse_size(text))


def _read_time(text: str) -> float:
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d*)?", text):
        raise ValueError(text)
    seconds = 0.0
    for part in text.split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def _read_bits(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kM]?)(?:bit/s)?", text)
    if match is None:
        raise ValueError(text)
    bits = round(float(match[1]) * (1_000_000 if match[2] == "M" else 1000))
    if not 10_000 <= bits <= 1_000_000_000:
        raise ValueError(text)
    return bits


def _read_bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMG]i?)B?", text, re.IGNORECASE)
    if match is None:
        raise ValueError(text)
    unit = match[2].lower()
    step = 1024.0 if unit.endswith("i") else 1000.0
    count = round(float(match[1]) * math.pow(step, "kmg".index(unit[0]) + 1))
    if not 1000 <= count <= 10**15:
        raise ValueError(text)
    return count


SIZE: Parser[Size] = Parser("a size like 1280x720", _read_size)
TIME: Parser[float] = Parser("a time in seconds like 90, or like 1:30 or 0:01:30", _read_time)
BITS: Parser[int] = Parser("a bit rate in kbit/s like 4000, or like 4000k or 4M", _read_bits, numbers_too=True)
"""Bits per second."""
BYTES: Parser[int] = Parser("a file size like 25MB or 1.5GB", _read_bytes)
RATE = number(0.01, 1000)
"""Frames per second."""
