"""Styles that take turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engines.errors import ConfigError
from rtstyle.style_mix import without_textures

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
        first: the style of the first turn; the next one is that after it in the list, or the first of the list for
            one that is not in it. Empty for the first of the list.

    Raises:
        ConfigError: there are too few styles, or the times are wrong.
    """

    styles: tuple[str, ...]
    every: float = EVERY_S
    glide: float = 0.0
    first: str = ""

    def __post_init__(self) -> None:
        check_playlist(self.styles)
        check_every(self.every)
        check_glide(self.glide)
        if self.glide > self.every:
            problem = f"a glide of {self.glide:g} s is longer than a turn of {self.every:g} s"
            raise ConfigError(
                problem, hint="make --glide shorter than --every: a style is reached before the next one's turn"
            )

    def at(self, seconds: float) -> Turn:
        """Return what is shown after a time; the first style begins at 0."""
        number = max(0, math.floor(seconds / self.every))
        into = seconds - number * self.every
        way = into / self.glide if number and into < self.glide else 1.0
        return Turn(self.of_turn(number - 1), self.of_turn(number), way)

    def of_turn(self, number: int) -> str:
        """Return the style of a turn, from 0."""
        first = self.first or self.styles[0]
        if first in self.styles:
            return self.styles[(self.styles.index(first) + number) % len(self.styles)]
        return self.styles[(number - 1) % len(self.styles)] if number else first


def read_playlist(text: str, spelled: Callable[[str], str] = str) -> tuple[str, ...]:
    """Read styles or mixes, separated by commas. Raises as ``check_playlist`` and ``spelled``."""
    styles = tuple(spelled(part.strip()) for part in text.split(",") if part.strip())
    check_playlist(styles)
    return styles


def check_playlist(styles: Sequence[str]) -> None:
    """Raise ConfigError unless a playlist has two styles or more, each other than the one before."""
    if len(set(styles)) < 2:
        raise ConfigError("a playlist takes two styles or more", hint="for example vangogh,wave,scream")


def check_every(seconds: float) -> None:
    """Raise ConfigError unless this is a time from one style to the next."""
    if not 0.0 < seconds < math.inf:
        raise ConfigError(f"every {seconds:g} is not a time", hint="give seconds, for example 8")


def check_glide(seconds: float) -> None:
    """Raise ConfigError unless this is the length of a glide."""
    if not 0.0 <= seconds <= GLIDE_MOST_S:
        raise ConfigError(f"glide {seconds:g} is out of range", hint=f"give seconds from 0 to {GLIDE_MOST_S:g}")


def next_place(playlist: Sequence[str], style: str, place: int = -1) -> int:
    """Return the place of the style whose turn comes after another; 0 after a style that is not in the list.

    ``place`` is where the other one is, for a style that is in the list several times; it is found if that is wrong.
    A style that has got another texture meanwhile is still the same.
    """
    plain, wanted = [without_textures(one) for one in playlist], without_textures(style)
    if not (0 <= place < len(playlist) and plain[place] == wanted):
        place = list(playlist).index(style) if style in playlist else plain.index(wanted) if wanted in plain else -1
    return (place + 1) % len(playlist)
