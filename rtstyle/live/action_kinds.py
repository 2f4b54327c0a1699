"""Which actions of a live run take on or off, or nothing, for controllers that send positions and presses."""

from __future__ import annotations

from rtstyle.controls import Controls
from rtstyle.live.mix_slider import share_of_second
from rtstyle.live.texture import texture_now

SWITCHES = ("mirror", "hold_fps", "pause", "record", "modulate")
"""Actions that take on or off; without a value they toggle."""

TRIGGERS = ("snapshot", "stop")
"""Actions without a value."""


def number_of(controls: Controls, name: str) -> float:
    """Return what one of ``ranges.RANGES`` is now.

    Raises:
        StylerError: it is the share of a mix, and there are no two styles.
    """
    if name == "texture":
        return texture_now(controls)
    return share_of_second(controls) if name == "mix" else float(getattr(controls, name))
