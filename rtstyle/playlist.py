"""Styles that take turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engines.errors import ConfigError

EVERY_S = 8.0
"""Default time from one style to the next, seconds."""

GLIDE_MOST_S = 3600.0
"""Longest glide, seconds."""


class Turn(NamedTuple):
    """What a playlist shows at one time: a style, or the way to it from the one before, 0 … 1."""

    before: str
    style: str
    way: float


@dataclass(frozen=True)
class Playlist:
    """Styles that take turns.

    Attributes:
        styles: names or mixes, two or more.
        every: time from one to the next, seconds.
        glide: how long a change takes, seconds, at the beginning of a turn; 0 changes at once.

    Raises:
        ConfigError: there are too few styles, or the times are wrong.
    """

    styles: tuple[str, ...]
    every: float = EVERY_S
    glide: float = 0.0

    def __post_init__(self) -> None:
        check_playlist(self.styles)
        check_every(self.every)
        check_glide(self.glide)
        if self.glide > self.every:
            problem = f"--glide {self.glide:g} is longer than --every {self.every:g}"
            raise ConfigError(problem, hint="a style must be reached before the next one's turn")

    def at(self, seconds: float) -> Turn:
        """Return what is shown after a time; the first style begins at 0."""
        number = max(0, math.floor(seconds / self.every))
        style, before = self.styles[number % len(self.styles)], self.styles[(number - 1) % len(self.styles)]
        into = seconds - number * self.every
        return Turn(before, style, into / self.glide if number and into < self.glide else 1.0)


def read_playlist(text: str, spelled: Callable[[str], str] = str) -> tuple[str, ...]:
    """Read styles or mixes, separated by commas. Raises as ``check_playlist`` and ``spelled``."""
    styles = tuple(spelled(part.strip()) for part in text.split(",") if part.strip())
    check_playlist(styles)
    return styles


def check_playlist(styles: Sequence[str]) -> None:
    """Raise ConfigError unless a playlist has two styles or more, each other than the one before."""
    if len(set(styles)) < 2:
        raise ConfigError("a playlist takes two styles or more", hint="for example --playlist vangogh,wave,scream")


def check_every(seconds: float) -> None:
    """Raise ConfigError unless this is a time from one style to the next."""
    if not 0.0 < seconds < math.inf:
        raise ConfigError(f"--every {seconds:g} is not a time", hint="give seconds, for example 8")


def check_glide(seconds: float) -> None:
    """Raise ConfigError unless this is the length of a glide."""
    if not 0.0 <= seconds <= GLIDE_MOST_S:
        raise ConfigError(f"glide {seconds:g} is out of range", hint=f"give seconds from 0 to {GLIDE_MOST_S:g}")


def next_in(playlist: Sequence[str], style: str) -> str:
    """Return the style whose turn comes after another; the first one after a style that is not in the list."""
    place = playlist.index(style) if style in playlist else -1
    return playlist[(place + 1) % len(playlist)]
