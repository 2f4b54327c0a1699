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
from rtstyle.live.session import LiveSession
from rtstyle.live.snapshot import save_picture

T = TypeVar("T")

ON = (True, 1, "on", "true", "1", "yes")
OFF = (False, 0, "off", "false", "0", "no")
"""Values that a switch accepts."""


class UnknownActionError(ConfigError):
    """There is no action of that name."""


class Actions:
    """Read and change a live run. Any thread may call any method.

    Args:
        live: the run.
    """

    def __init__(self, live: LiveSession) -> None:
        self.live = live
        self._readers: dict[str, Callable[[], dict[str, Any]]] = {"stats": self._stats, "styles": self._styles}
        self._changers: dict[str, Callable[[object], dict[str, Any]]] = {
            **{name: partial(setter, live.controls) for name, setter in SETTINGS.items()},
            "pause": partial(_set_paused, live.controls),
            "snapshot": self._snapshot,
            "record": self._record,
            "stop": self._end,
        }

    @property
    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names that ``read`` takes, and names that ``change`` takes."""
        return tuple(self._readers), tuple(self._changers)

    def read(self, name: str) -> dict[str, Any]:
        """Return ``stats`` or ``styles`` as plain values for JSON.

        Raises:
            UnknownActionError: there is no such name.
        """
        return _found(self._readers, name)()

    def change(self, name: str, value: object = None) -> dict[str, Any]:
        """Carry out one action.

        Args:
            name: ``style``, ``strength``, ``scale``, ``mirror``, ``pause``, ``record``, ``snapshot`` or ``stop``.
            value: a name, a number, or on or off, also as text; ``None`` toggles a switch. ``snapshot`` saves an
                RGB picture instead of the newest frame.

        Returns:
            The new setting, as plain values for JSON.

        Raises:
            UnknownActionError: there is no such name.
            ConfigError, StyleError, ShapeError: the value does not fit.
            SinkError: the action failed.
        """
        return _found(self._changers, name)(value)

    def change_settings(self, settings: Mapping[str, object]) -> None:
        """Change several settings, and nothing else; see ``apply_settings``."""
        apply_settings(self.live.controls, settings)

    def _stats(self) -> dict[str, Any]:
        return self.live.read().to_dict()

    def _styles(self) -> dict[str, Any]:
        stats = self.live.read()
        return {"styles": list(self.live.controls.styles), "style": stats.style, "wanted": stats.wanted}

    def _record(self, value: object) -> dict[str, Any]:
        recorder = self.live.recorder
        if _switch("record", value, now=recorder.path is not None):
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

    def _end(self, _: object) -> dict[str, Any]:
        # Closing a camera may take a second, and the caller is waiting.
        Thread(target=self.live.stop, name="stop", daemon=True).start()
        return {"stopping": True}


def apply_settings(controls: Controls, settings: Mapping[str, object]) -> None:
    """Change several settings, as a viewer of the page may: ``style``, ``strength``, ``scale``, ``mirror``.

    Settings before the first error stay applied.

    Raises:
        ConfigError: there is no such setting, or a value has the wrong type.
        StyleError, ShapeError: there is no such style, or a value is out of range.
    """
    for name, value in settings.items():
        if name not in SETTINGS or value is None:
            raise ConfigError(f"cannot set {name!r} to {value!r}"[:200], hint=f"settings: {', '.join(SETTINGS)}")
        SETTINGS[name](controls, value)


def _set_style(controls: Controls, value: object) -> dict[str, Any]:
    if not isinstance(value, str):
        raise ConfigError("style takes a name", hint="GET /styles lists the names; next and previous work too")
    if value in ("next", "previous") and value not in controls.styles:
        names = controls.styles
        step = 1 if value == "next" else -1
        value = names[(names.index(controls.style) + step) % len(names)]
    controls.style = value
    return {"style": value}


def _set_strength(controls: Controls, value: object) -> dict[str, Any]:
    controls.strength = _number("strength", value)
    return {"strength": controls.strength}


def _set_scale(controls: Controls, value: object) -> dict[str, Any]:
    controls.scale = _number("scale", value)
    return {"scale": controls.scale}


def _set_mirror(controls: Controls, value: object) -> dict[str, Any]:
    controls.mirror = _switch("mirror", value, now=controls.mirror)
    return {"mirror": controls.mirror}


def _set_paused(controls: Controls, value: object) -> dict[str, Any]:
    controls.paused = _switch("pause", value, now=controls.paused)
    return {"paused": controls.paused}


SETTINGS: dict[str, Callable[[Controls, object], dict[str, Any]]] = {
    "style": _set_style,
    "strength": _set_strength,
    "scale": _set_scale,
    "mirror": _set_mirror,
}
"""Settings by name, each with the function that checks and sets it."""


def _found(table: Mapping[str, T], name: str) -> T:
    if name not in table:
        raise UnknownActionError(f"there is no {name[:40]!r}", hint=f"available: {', '.join(table)}")
    return table[name]


def _number(name: str, value: object) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{name} takes a number", hint="for example 0.5")
    return number


def _switch(name: str, value: object, *, now: bool) -> bool:
    known = value.lower() if isinstance(value, str) else value
    if known in (None, "", "toggle"):
        return not now
    for answer, words in ((True, ON), (False, OFF)):
        if any(known == word for word in words):
            return answer
    raise ConfigError(f"{name} takes on or off", hint="send nothing to toggle it")
