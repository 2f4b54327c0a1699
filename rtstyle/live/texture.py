"""A control of how much of their texture the requested styles have."""

from __future__ import annotations

from typing import Any

from engines.base import check_share
from engines.errors import ConfigError
from rtstyle.controls import Controls
from rtstyle.style_library import texture_of
from rtstyle.style_mix import Mix, join_texture, split_texture


def set_texture(controls: Controls, value: object) -> dict[str, Any]:
    """Give the requested style, or all styles of a mix, a texture.

    Args:
        controls: of the run.
        value: share of the trained texture, 0 … 1, also as text; or ``own`` for that of each style.

    Returns:
        the style as text, and the texture.

    Raises:
        ConfigError: the value is neither, or the style has none, or is being trained.
        ShapeError: it is out of range.
    """
    share = None if value == "own" else _number(value)
    mix = controls.mix
    able = {name for name in mix.styles if texture_of(name)}
    if not able and share is not None:
        raise ConfigError(f"{mix.main} has no texture", hint="choose another style")

    def textured(name: str) -> str:
        style = split_texture(name)[0]
        return join_texture(style, share) if style in able else name

    controls.style = str(Mix.of([(textured(name), part) for name, part in mix.parts]))
    if controls.pair is not None:
        first, second = controls.pair
        controls.pair = textured(first), textured(second)
    return {"style": controls.style, "texture": texture_now(controls)}


def texture_now(controls: Controls) -> float:
    """Return the texture of the requested style, or of the largest part of a mix, 0 … 1."""
    texture, style = controls.mix.texture, controls.mix.main
    return texture_of(style) if texture is None else texture


def _number(value: object) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        number = None
    if number is None:
        raise ConfigError("texture takes a number from 0 to 1, or own", hint="for example 0.5")
    check_share("texture", number)
    return number
