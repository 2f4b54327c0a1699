"""Styles that take turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from engines.errors import ConfigError

EVERY_S = 8.0
"""Default time from one style to the next, seconds."""

GLIDE_MOST_S = 3600.0
"""Longest glide, seconds."""


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
