"""What can be asked of a live run by name, with values as they come over a network: for the page and for scripts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from engines.errors import ConfigError, SinkError
from rtstyle.live.session import Live
from rtstyle.live.snapshot import save_picture

T = TypeVar("T")

ON = (True, 1, "on", "true", "1", "yes")
OFF = (False, 0, "off", "false", "0", "no")
"""What switches are told."""


class UnknownActionError(ConfigError):
    """There is nothing of that name."""


class Actions:
    """Reads and changes a live run. Any thread may call any method.

    Args:
        live: the run.
        stop: ends it; must not wait for the end.
    """

    def __init__(self, live: Live, stop: Callable[[], None]) -> None:
        self._live, self._stop = live, stop
        self._readers: dict[str, Callable[[], dict[str, Any]]] = {"stats": self._stats, "styles": self._styles}
        self._changers: dict[str, Callable[[object], dict[str, Any]]] = {
            "style": self._style,
            "strength": self._strength,
            "scale": self._scale,
            "mirror": self._mirror,
            "pause": self._pause,
            "snapshot": self._snapshot,
            "record": self._record,
            "stop": self._end,
        }

    @property
    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What ``read`` knows, and what ``change`` knows."""
        return tuple(self._readers), tuple(self._changers)

    def read(self, name: str) -> dict[str, Any]:
        """Something to know, plain enough for JSON: ``stats`` or ``styles``.

        Raises:
            UnknownActionError
        """
        return _found(self._readers, name)()

    def change(self, name: str, value: object = None) -> dict[str, Any]:
        """Do something.

        Args:
            name: ``style``, ``strength``, ``scale``, ``mirror``, ``pause``, ``record``, ``snapshot`` or ``stop``.
            value: what to set: a name, a number, on or off, also as text. ``None`` turns a switch over.

        Returns:
            what is set now, plain enough for JSON.

        Raises:
            UnknownActionError; ConfigError, StyleError or ShapeError: not a value for it; SinkError: it failed.
        """
        return _found(self._changers, name)(value)

    def _stats(self) -> dict[str, Any]:
        return self._live.reading().to_dict()

    def _styles(self) -> dict[str, Any]:
        reading = self._live.reading()
        return {"styles": list(self._live.controls.styles), "style": reading.style, "wanted": reading.wanted}

    def _style(self, value: object) -> dict[str, Any]:
        controls = self._live.controls
        if not isinstance(value, str):
            raise ConfigError("style takes a name", hint="GET /styles tells which there are; or next, or previous")
        if value in ("next", "previous") and value not in controls.styles:
            names = controls.styles
            step = 1 if value == "next" else -1
            value = names[(names.index(controls.style) + step) % len(names)]
        controls.style = value
        return {"style": value}

    def _strength(self, value: object) -> dict[str, Any]:
        self._live.controls.strength = _number("strength", value)
        return {"strength": self._live.controls.strength}

    def _scale(self, value: object) -> dict[str, Any]:
        self._live.controls.scale = _number("scale", value)
        return {"scale": self._live.controls.scale}

    def _mirror(self, value: object) -> dict[str, Any]:
        self._live.controls.mirror = _switch("mirror", value, now=self._live.controls.mirror)
        return {"mirror": self._live.controls.mirror}

    def _pause(self, value: object) -> dict[str, Any]:
        self._live.controls.paused = _switch("pause", value, now=self._live.controls.paused)
        return {"paused": self._live.controls.paused}

    def _record(self, value: object) -> dict[str, Any]:
        recorder = self._live.recorder
        if _switch("record", value, now=recorder.path is not None):
            return {"recording": str(recorder.start())}
        path = recorder.stop()
        return {"recording": None, "recorded": None if path is None else str(path)}

    def _snapshot(self, _: object) -> dict[str, Any]:
        frame = self._live.newest
        if frame is None:
            raise SinkError("there is no picture yet", hint="try again in a moment")
        return {"saved": str(save_picture(frame.rgb))}

    def _end(self, _: object) -> dict[str, Any]:
        self._stop()
        return {"stopping": True}


def _found(table: Mapping[str, T], name: str) -> T:
    if name not in table:
        raise UnknownActionError(f"there is no {name[:40]!r}", hint=f"there are: {', '.join(table)}")
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
    raise ConfigError(f"{name} takes on or off", hint="nothing at all turns it over")
