"""Parsers for the values of options: sizes, times and numbers within a range."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import typer

T = TypeVar("T")


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


@dataclass(frozen=True)
class Parser(Generic[T]):
    """Reads the text of an option; ``read`` raises ValueError if it is not what messages call ``expected``."""

    expected: str
    read: Callable[[str], T]

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


SIZE: Parser[Size] = Parser("a size like 1280x720", _read_size)
TIME: Parser[float] = Parser("a time in seconds like 90, or like 1:30 or 0:01:30", _read_time)
RATE = number(0.01, 1000)
"""Frames per second."""
