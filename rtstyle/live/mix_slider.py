"""A slider between two styles: which two, and how much of the second."""

from __future__ import annotations

import math
from typing import Any

from engines.errors import ConfigError
from rtstyle.controls import Controls
from rtstyle.style_mix import Mix, split_texture


def set_mix(controls: Controls, value: object) -> dict[str, Any]:
    """Mix a second style into the requested one.

    Args:
        controls: of the run; they remember the pair while the slider is at one of its ends.
        value: share of the second style, 0 … 1, or its name, or ``next`` or ``previous`` for another one.

    Returns:
        the style as text, the second style, and its share.

    Raises:
        ConfigError: the value is neither, there are no two styles, or the mix has three styles or more.
        StyleError: there is no such style.
    """
    first, second, share = _pair(controls)
    number = read_share("mix", value)
    if number is not None:
        share = number
    elif value in ("next", "previous"):
        second = _other(controls, first, second, 1 if value == "next" else -1)
        share = share or 0.5
    elif isinstance(value, str) and value:
        wanted = controls.read(value)
        second, share = wanted.names[0] if len(wanted.parts) == 1 else wanted.main, share or 0.5
    else:
        raise ConfigError("mix takes a share from 0 to 1, or the name of a second style", hint="for example 0.4")
    second = second or _other(controls, first, second, 1)
    if split_texture(second)[0] == split_texture(first)[0]:
        raise ConfigError(f"{split_texture(first)[0]} cannot be mixed with itself", hint="give another style")
    controls.style = str(Mix.of([(first, 1.0 - share), (second, share)]))
    controls.pair = first, second
    return {"style": controls.style, "second": second, "mix": share}


def share_of_second(controls: Controls) -> float:
    """Return the share of the second style. Raises ConfigError for a mix of three styles or more."""
    return _pair(controls)[2]


def with_first(controls: Controls, name: str) -> str:
    """Return the mix with another first style; the style alone if no two are mixed, or it is the second."""
    parts = controls.mix.parts
    if len(parts) != 2 or name == split_texture(parts[1][0])[0]:
        return name
    return str(Mix(((name, parts[0][1]), parts[1])))


def step_first(controls: Controls, step: int) -> str:
    """Return the requested style with the first of two that are mixed, or the only one, ``step`` places further on."""
    names, mix = controls.styles, controls.mix
    if len(mix.parts) != 2:
        return names[(controls.place + step) % len(names)]
    first, second = mix.styles
    place = names.index(first) + step
    if len(names) > 2 and names[place % len(names)] == second:
        place += step
    return with_first(controls, names[place % len(names)])


def _pair(controls: Controls) -> tuple[str, str, float]:
    """Return the two styles of the slider, and the share of the second; the second is "" if there is none yet."""
    mix = controls.mix
    if controls.pair is not None and set(mix.names) <= set(controls.pair):
        first, second = controls.pair
        return first, second, mix.share(second)
    if len(mix.parts) > 2:
        raise ConfigError(f"a mix of {len(mix.parts)} styles has no slider", hint="choose one style or two first")
    first, second = (*mix.names, "")[:2]
    return first, second, mix.share(second)


def read_share(name: str, value: object) -> float | None:
    """Return a share; ``None`` for what is not a number. Raise ConfigError if it is out of range."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    if math.isnan(number):
        return None
    if not 0.0 <= number <= 1.0:
        raise ConfigError(f"{name} {number:g} is out of range", hint="give a value from 0 to 1")
    return number


def _other(controls: Controls, first: str, second: str, step: int) -> str:
    """Return the style after or before the second one, or after the first if there is no second."""
    names = controls.styles
    if len(names) < 2:
        raise ConfigError("there is no second style to mix with")
    first, second = (split_texture(name)[0] for name in (first, second))
    place = names.index(second or first) + step
    if names[place % len(names)] == first:
        place += step
    return names[place % len(names)]
