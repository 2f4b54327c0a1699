"""A control of how much of their texture the requested styles have."""

from __future__ import annotations

from typing import Any

from engines.errors import ConfigError
from rtstyle.controls import Controls
from rtstyle.live.mix_slider import read_share
from rtstyle.style_library import texture_of
from rtstyle.style_mix import Mix, join_texture, split_texture


def set_texture(controls: Controls, value: object) -> dict[str, Any]:
    """Give the requested style a texture, or all styles of a mix, also while its slider is at one of its ends.

    Args:
        controls: of the run.
        value: share of the trained texture, 0 … 1, also as text; or ``own`` for that of each style.

    Returns:
        the style as text, and the texture.

    Raises:
        ConfigError: the value is neither, or out of range, or no style has a texture to change.
    """
    share = None
    if not (isinstance(value, str) and value.lower() == "own"):
        share = read_share("texture", value)
        if share is None:
            raise ConfigError("texture takes a number from 0 to 1, or own", hint="for example 0.5")
    mix, pair = controls.mix, controls.pair or ()
    if share is not None and not any(texture_of(split_texture(name)[0]) for name in (*mix.names, *pair)):
        raise ConfigError(f"{mix.main} has no texture", hint="choose another style")
    controls.style = str(Mix.of([(_textured(name, share), part) for name, part in mix.parts]))
    if controls.pair is not None:
        controls.pair = _textured(controls.pair[0], share), _textured(controls.pair[1], share)
    return {"style": controls.style, "texture": texture_now(controls)}


def texture_now(controls: Controls) -> float:
    """Return the texture of the requested style, or of the largest part of a mix that has one; 0 … 1."""
    mix = controls.mix
    for name, _ in sorted(mix.parts, key=lambda part: -part[1]):
        style, texture = split_texture(name)
        if own := texture_of(style):
            return own if texture is None else texture
    return 0.0


def _textured(name: str, texture: float | None) -> str:
    """Return a style with a texture, ``None`` for its own; one that has none stays without."""
    style = split_texture(name)[0]
    return style if texture is None or not texture_of(style) else join_texture(style, texture)
