"""Which knob, key or pad of a MIDI controller means which action, and the TOML file that says so.

A file holds one line for each action, with one control or a list of them::

    strength = "cc 21"
    style = "note 36"                    # the first style; 37 is the second, and so on
    "style wave" = "note 60"             # an action with its value
    record = ["cc 45", "note 40 channel 10"]
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from engines.atomic_write import atomic_write
from engines.errors import ConfigError, SettingsError
from engines.os_errors import reason
from rtstyle.live.action_kinds import SWITCHES
from rtstyle.ranges import RANGES

MAX_BYTES = 100_000
"""Larger files are refused: somebody gave something else by mistake."""

KINDS = {"cc": 128, "note": 128, "program": 128, "pitch": 0, "aftertouch": 0}
"""Kinds of controls, each with how many numbers it has."""

STARTS = ("note", "program")
"""Kinds whose next numbers mean the next styles."""


class Control(NamedTuple):
    """A control of a MIDI device: its kind, its number if the kind has numbers, and its channel, 1…16, or any."""

    kind: str
    number: int = 0
    channel: int | None = None

    def __str__(self) -> str:
        number = f" {self.number}" if KINDS[self.kind] else ""
        return f"{self.kind}{number}" + ("" if self.channel is None else f" channel {self.channel}")


class Move(NamedTuple):
    """What a control did.

    Attributes:
        control: the control, with its channel.
        level: its position, or how hard it was struck, 0…1.
        pressed: True when a key went down, or a knob came past its middle from below.
    """

    control: Control
    level: float
    pressed: bool


@dataclass(frozen=True)
class Binding:
    """A control, and the action that it means; with ``value`` it is a button that always asks for this value."""

    control: Control
    action: str
    value: str | None = None

    @property
    def key(self) -> str:
        """The action and its value, as the file names them."""
        return self.action if self.value is None else f"{self.action} {self.value}"

    def answers(self, move: Move) -> bool:
        """Return True if the move is of this control."""
        control, moved = self.control, move.control
        same = control.kind == moved.kind and control.channel in (None, moved.channel)
        if self.action == "style" and self.value is None and control.kind in STARTS:
            return same and moved.number >= control.number
        return same and moved.number == control.number

    def value_of(self, move: Move, styles: tuple[str, ...]) -> tuple[object] | None:
        """Return what to ask the action for, in a tuple, or ``None`` if this move asks for nothing."""
        if self.value is None:
            if self.action == "style":
                return self._style(move, styles)
            turned = move.control.kind not in STARTS
            if self.action in RANGES and (turned or move.pressed):
                return (RANGES[self.action].at(move.level),)
            if self.action in SWITCHES and turned:
                return (move.level >= 0.5,)
        return (self.value,) if move.pressed else None

    def _style(self, move: Move, styles: tuple[str, ...]) -> tuple[object] | None:
        if self.control.kind not in STARTS:
            return (styles[min(int(move.level * len(styles)), len(styles) - 1)],) if styles else None
        place = move.control.number - self.control.number
        return (styles[place],) if move.pressed and place < len(styles) else None


def parse_control(text: str) -> Control:
    """Parse ``cc 21``, ``note 36 channel 10``, ``program 0``, ``pitch`` or ``aftertouch``; raise ValueError."""
    match = re.fullmatch(r"(\w+)(?: (\d{1,3}))?(?: channel (\d{1,2}))?", " ".join(text.lower().split()))
    if match is None or match[1] not in KINDS:
        raise ValueError(text)
    numbers = KINDS[match[1]]
    if (match[2] is None) != (numbers == 0):
        raise ValueError(text)
    number, channel = int(match[2] or 0), int(match[3]) if match[3] else None
    if number >= max(1, numbers) or (channel is not None and not 1 <= channel <= 16):
        raise ValueError(text)
    return Control(match[1], number, channel)


DEFAULT: Mapping[str, tuple[str, ...]] = {
    "strength": ("cc 1",),
    "colours": ("cc 2",),
    "scale": ("cc 3",),
    "mix": ("cc 4",),
    "style": ("note 36", "program 0"),
}
"""The map without a file; 1 is the modulation wheel, and pads begin at note 36 on most controllers."""


class MidiMap:
    """Bindings of a controller. What is bound later wins."""

    def __init__(self, lines: Mapping[str, Iterable[str]] = DEFAULT) -> None:
        self.bindings: tuple[Binding, ...] = ()
        for key, controls in lines.items():
            self.set(key, [parse_control(control) for control in controls])

    def set(self, key: str, controls: Iterable[Control]) -> None:
        """Let these controls, and no others, mean an action, ``record``, or an action with a value, ``style wave``."""
        action, _, value = key.partition(" ")
        new = [Binding(control, action, value.strip() or None) for control in controls]
        taken = {binding.control for binding in new}
        kept = [old for old in self.bindings if old.key != key and old.control not in taken]
        self.bindings = (*kept, *new)  # replaced at once: the thread of the MIDI port reads it

    def find(self, move: Move) -> list[Binding]:
        """Return the bindings that answer to a move: an exact one before a row of styles that it lies in."""
        found = [binding for binding in self.bindings if binding.answers(move)]
        exact = [binding for binding in found if binding.control.number == move.control.number]
        return exact or found


def read_midi_map(path: Path) -> dict[str, list[Control]]:
    """Read a file of lines ``action = "control"``.

    Raises:
        ConfigError: the file cannot be read, or is not valid TOML.
        SettingsError: some lines are wrong; all of them.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is too large for a MIDI map", hint="give a TOML file with --midi-map")
        lines = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {reason(error)}", hint="--midi-map takes a TOML file") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", hint='write lines like: strength = "cc 21"') from error
    found, errors = dict[str, list[Control]](), list[ConfigError]()
    for key, value in lines.items():
        texts = value if isinstance(value, list) else [value]
        try:
            found[key] = [parse_control(text if isinstance(text, str) else "") for text in texts]
        except ValueError:
            errors.append(ConfigError(f"{path}: {key} must be like cc 21 or note 36 channel 10, not {value!r}"[:200]))
    if errors:
        raise SettingsError(errors, hint=f"fix {path}")
    return found


def line_of(key: str, control: Control) -> str:
    """Return the line of a file that binds a control."""
    name = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)
    return f'{name} = "{control}"'


def store(path: Path, key: str, control: Control) -> None:
    """Put a line into a file, in the place of the one for the same action; other lines stay as they are.

    Raises:
        ConfigError: the file cannot be written, or would no longer be valid.
    """
    new = line_of(key, control)
    try:
        lines = path.read_text("utf-8-sig").splitlines() if path.exists() else []
        start = new.partition("=")[0].strip()
        kept = [line for line in lines if line.partition("=")[0].strip() != start]
        text = "\n".join([*kept, new]) + "\n"
        tomllib.loads(text)  # a list over several lines was cut
        with atomic_write(path) as file:
            file.write(text.encode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot write {path}: {error}", hint=f"add the line yourself: {new}") from error
