"""Everything that can be asked of a live run, by name: window keys, HTTP and the page translate into it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from threading import Thread
from typing import Any, TypeVar

import numpy as np

from engines.base import RGB
from engines.errors import ConfigError, SinkError
from rtstyle.controls import Controls
from rtstyle.live.mix_slider import set_mix, step_first
from rtstyle.live.session import LiveSession
from rtstyle.live.snapshot import save_picture
from rtstyle.live.texture import set_texture
from rtstyle.masks.settings import ONLY
from rtstyle.stroke_scale import nearest_step

T = TypeVar("T")

ON = (True, 1, "on", "true", "1", "yes")
OFF = (False, 0, "off", "false", "0", "no")
"""Values that a switch accepts."""


class UnknownActionError(ConfigError):
    """There is no action of that name."""


class Actions:
    """Read and change a live run. Any thread may call any method."""

    def __init__(self, live: LiveSession) -> None:
        self.live = live
        self._readers: dict[str, Callable[[], dict[str, Any]]] = {"stats": self._stats, "styles": self._styles}
        self._changers: dict[str, Callable[[object], dict[str, Any]]] = {
            **{name: partial(setter, live.controls) for name, setter in SETTINGS.items()},
            "pause": partial(_set, "pause", "paused", _switch, live.controls),
            "snapshot": self._snapshot,
            "record": self._record,
            "modulate": self._modulate,
            "stop": self._end,
        }

    @property
    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names that ``read`` takes, and names that ``change`` takes."""
        return tuple(self._readers), tuple(self._changers)

    def read(self, name: str) -> dict[str, Any]:
        """Return ``stats`` or ``styles`` as plain values for JSON."""
        return _found(self._readers, name)()

    def change(self, name: str, value: object = None) -> dict[str, Any]:
        """Carry out one action, and return the new setting as plain values for JSON.

        Args:
            name: ``style``, ``mix``, ``glide``, ``playlist``, ``every``, ``strength``, ``scale``, ``texture``,
                ``colours``, ``only``, ``faces``, ``inside``, ``outside``, ``feather``, ``mirror``, ``hold_fps``,
                ``pause``, ``record``, ``modulate``, ``snapshot`` or ``stop``.
            value: a name, a number, or on or off, also as text; ``None`` toggles a switch. ``scale`` takes the nearest
                of its steps. ``snapshot`` saves an RGB picture instead of the newest frame; ``modulate`` also takes
                the texts of ``modulation``.

        Raises:
            StylerError: there is no such action, its value does not fit, or (SinkError) it failed.
        """
        return _found(self._changers, name)(value)

    def _stats(self) -> dict[str, Any]:
        return self.live.read().to_dict()

    def _styles(self) -> dict[str, Any]:
        stats = self.live.read()
        return {"styles": list(self.live.controls.styles), "style": stats.style, "wanted": stats.wanted}

    def _record(self, value: object) -> dict[str, Any]:
        recorder = self.live.recorder
        if _switch("record", value, recorder.path is not None):
            return {"recording": str(recorder.start())}
        path = recorder.stop()
        return {"recording": None, "recorded": None if path is None else str(path)}

    def _snapshot(self, value: object) -> dict[str, Any]:
        picture: RGB | None = value if isinstance(value, np.ndarray) else None
        if picture is None and (frame := self.live.newest) is not None:
            picture = frame.rgb
        if picture is None:
            raise SinkError("there is no picture yet", hint="try again in a moment")
        return {"saved": str(save_picture(picture))}

    def _modulate(self, value: object) -> dict[str, Any]:
        modulations = self.live.modulations
        if isinstance(value, str) and "=" in value:
            modulations.change(value)
        else:
            modulations.switch(_switch("modulate", value, bool(modulations.running)))
        return {"modulation": modulations.running}

    def _end(self, _: object) -> dict[str, Any]:
        # Closing a camera may take a second, and the caller is waiting.
        Thread(target=self.live.stop, name="stop", daemon=True).start()
        return {"stopping": True}


def apply_settings(controls: Controls, settings: Mapping[str, object]) -> None:
    """Change several ``SETTINGS``, as a viewer of the page may; those before the first error stay applied."""
    for name, value in settings.items():
        if name not in SETTINGS or value is None:
            raise ConfigError(f"cannot set {name!r} to {value!r}"[:200], hint=f"settings: {', '.join(SETTINGS)}")
        SETTINGS[name](controls, value)


def _found(table: Mapping[str, T], name: str) -> T:
    if name not in table:
        raise UnknownActionError(f"there is no {name[:40]!r}", hint=f"available: {', '.join(table)}")
    return table[name]


def _set(
    name: str, attribute: str, read: Callable[[str, object, Any], Any], controls: Controls, value: object
) -> dict[str, Any]:
    """Set an attribute to what ``read`` makes of a value, given the action's name and the present value."""
    setattr(controls, attribute, read(name, value, getattr(controls, attribute)))
    return {attribute: getattr(controls, attribute)}


def _set_style(controls: Controls, value: object) -> dict[str, Any]:
    if not isinstance(value, str):
        raise ConfigError("style takes a name", hint="GET /styles lists the names; next and previous work too")
    if value in ("next", "previous") and value not in controls.styles:
        value = step_first(controls, 1 if value == "next" else -1)
    controls.style = value
    return {"style": controls.style}


def _set_playlist(controls: Controls, value: object) -> dict[str, Any]:
    """Let styles take turns: a list, or names separated by commas; nothing or off ends it."""
    if value is None or any(value == word for word in (*OFF, "")):
        value = []
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigError("playlist takes names of styles", hint='for example "vangogh,wave,scream", or off')
    controls.playlist = tuple(name.strip() for name in names)
    return {"playlist": list(controls.playlist)}


def _set_only(controls: Controls, value: object) -> dict[str, Any]:
    part = value if isinstance(value, str) else ""
    controls.only = ONLY[(ONLY.index(controls.only) + 1) % len(ONLY)] if part == "next" else part
    return {"only": controls.only}


def _number(name: str, value: object, _now: float) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{name} takes a number", hint="for example 0.5")
    return number


def _set_scale(controls: Controls, value: object) -> dict[str, Any]:
    controls.scale = nearest_step(_number("scale", value, controls.scale))
    return {"scale": controls.scale}


def _switch(name: str, value: object, now: bool) -> bool:
    known = value.lower() if isinstance(value, str) else value
    if known in (None, "", "toggle"):
        return not now
    for answer, words in ((True, ON), (False, OFF)):
        if any(known == word for word in words):
            return answer
    raise ConfigError(f"{name} takes on or off", hint="send nothing to toggle it")


SETTINGS: dict[str, Callable[[Controls, object], dict[str, Any]]] = {
    "style": _set_style,
    "mix": set_mix,
    "glide": partial(_set, "glide", "glide", _number),
    "playlist": _set_playlist,
    "every": partial(_set, "every", "every", _number),
    "strength": partial(_set, "strength", "strength", _number),
    "scale": _set_scale,
    "texture": set_texture,
    "colours": partial(_set, "colours", "colours", _number),
    "only": _set_only,
    "faces": partial(_set, "faces", "faces", _number),
    "inside": partial(_set, "inside", "inside", _number),
    "outside": partial(_set, "outside", "outside", _number),
    "feather": partial(_set, "feather", "feather", _number),
    "mirror": partial(_set, "mirror", "mirror", _switch),
    "hold_fps": partial(_set, "hold_fps", "hold_fps", _switch),
}
"""Settings by name, each with the function that checks and sets it."""
