"""MIDI control of a live run, for knobs, pads and keys: ``rtstyle webcam --midi``."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any

import mido

from engines.errors import ConfigError, SourceError
from rtstyle.live.action_queue import ActionQueue
from rtstyle.live.actions import Actions
from rtstyle.live.midi_map import Control, MidiMap, Move, line_of, read_midi_map, store

logger = logging.getLogger(__name__)

SEQUENCER = Path("/dev/snd/seq")
"""What python-rtmidi opens on Linux; ALSA prints lines of its own if it is missing."""

LOOK_S = 2.0
"""How often the controller is looked for, seconds: drivers do not say when one is unplugged."""

THROUGH = "midi through"
"""Start of the name of a port that Linux always has, and that nothing is connected to."""


def list_inputs() -> list[str]:
    """Return the names of the MIDI inputs.

    Raises:
        SourceError: this system has no MIDI.
    """
    if sys.platform == "linux" and "MIDO_BACKEND" not in os.environ and not SEQUENCER.exists():
        raise SourceError(f"there is no MIDI: {SEQUENCER} is missing", hint="sudo modprobe snd-seq")
    try:
        names: list[str] = mido.get_input_names()
    except ModuleNotFoundError:
        raise
    except Exception as error:  # python-rtmidi's errors have no common class
        raise SourceError(f"there is no MIDI: {error}", hint="is a sound system running?") from error
    return list(dict.fromkeys(names))


def find_input(wanted: str) -> str:
    """Return the input of this name, or whose name holds this text; ``default`` takes the first device.

    Raises:
        SourceError: there is none.
    """
    names = list_inputs()
    if wanted == "default":
        found = [name for name in names if not name.lower().startswith(THROUGH)]
    else:
        found = [name for name in names if name == wanted]
        found = found or [name for name in names if wanted.lower() in name.lower()]
    if not found:
        told = "no MIDI controller is connected" if wanted == "default" else f"there is no MIDI input {wanted!r}"
        raise SourceError(told, hint=f"there are: {', '.join(names)}" if names else "`rtstyle devices` lists them")
    return found[0]


class MidiInput:
    """Reads a MIDI input from the start, and hands actions to a queue from ``start`` on.

    One that is unplugged is taken again when it comes back.

    Args:
        wanted: see ``find_input``.
        queue: takes the actions.
        map_file: lines that replace those of ``midi_map.DEFAULT``; what is learned is stored here too.
        learn: actions, some with a value as in ``style wave``; each takes the next control that is moved, in turn.

    Raises:
        SourceError: there is no such input, or it cannot be opened.
        ConfigError: the file is wrong.
    """

    def __init__(
        self, wanted: str, queue: ActionQueue, *, map_file: Path | None = None, learn: Sequence[str] = ()
    ) -> None:
        self._queue, self._file = queue, map_file
        self._map = MidiMap()
        if map_file is not None and (map_file.exists() or not learn):
            for key, controls in read_midi_map(map_file).items():
                self._map.set(key, controls)
        self._to_learn, self._learned = list(learn), set[Control]()
        self._levels: dict[Control, float] = {}
        self._styles: tuple[str, ...] | None = None
        self._wanted, self.name = wanted, ""
        self._port: Any = None
        self._closing = Event()
        self._watcher = Thread(target=self._watch, name="MIDI watcher", daemon=True)
        self._open()

    def start(self, actions: Actions) -> None:
        """Check the map against the actions of a run, and steer it from now on.

        Raises:
            ConfigError: the map, or what is to be learned, names an action that does not exist.
        """
        _, changers = actions.names
        for key in [*(binding.key for binding in self._map.bindings), *self._to_learn]:
            if key.partition(" ")[0] not in changers:
                raise ConfigError(f"MIDI cannot steer {key!r}", hint=f"actions: {', '.join(changers)}")
        self._styles = actions.live.controls.styles
        self._ask()
        self._watcher.start()

    def close(self) -> None:
        """Close the port; may be called twice."""
        self._closing.set()
        if self._watcher.ident is not None:
            self._watcher.join()
        if self._port is not None:
            self._port.close()

    def take(self, message: Any) -> None:
        """Take a mido message, in the thread of the port."""
        move = self._read(message)
        if move is None or self._styles is None:
            return
        if self._to_learn:
            self._learn(move)
            return
        for binding in self._map.find(move):
            value = binding.value_of(move, self._styles)
            if value is not None:
                self._queue.put(binding.action, value[0], "MIDI")

    def _open(self) -> None:
        name = find_input(self._wanted)
        try:
            self._port = mido.open_input(name, callback=self.take)
        except Exception as error:  # see ``list_inputs``
            raise SourceError(f"cannot open {name}: {error}", hint="does another program use it?") from error
        self.name = name

    def _watch(self) -> None:
        """Close the port when its controller is gone, and open it when it is back."""
        while not self._closing.wait(LOOK_S):
            try:
                if self._port is None:
                    self._open()
                    logger.warning("%s is back", self.name)
                elif self.name not in list_inputs():
                    logger.warning("%s is gone; it is taken again when it comes back", self.name)
                    self._port.close()
                    self._port = None
            except SourceError:  # not yet
                continue
            except Exception as error:  # noqa: BLE001  # this thread must survive whatever a driver raises
                self._queue.complain(f"MIDI: {type(error).__name__}: {error}")

    def _read(self, message: Any) -> Move | None:
        """Return what a control did; ``None`` for messages that are of no use, such as the clock."""
        match message.type:
            case "note_on" if message.velocity:
                return Move(Control("note", message.note, message.channel + 1), message.velocity / 127, pressed=True)
            case "program_change":
                return Move(Control("program", message.program, message.channel + 1), 1.0, pressed=True)
            case "control_change":
                return self._turned(Control("cc", message.control, message.channel + 1), message.value / 127)
            case "pitchwheel":
                return self._turned(Control("pitch", 0, message.channel + 1), (message.pitch + 8192) / 16383)
            case "aftertouch":
                return self._turned(Control("aftertouch", 0, message.channel + 1), message.value / 127)
        return None

    def _turned(self, control: Control, level: float) -> Move:
        before = self._levels.get(control, 0.0)
        self._levels[control] = level
        return Move(control, level, pressed=before < 0.5 <= level)

    def _ask(self) -> None:
        if self._to_learn:
            logger.info("MIDI: move the control for %s", self._to_learn[0])

    def _learn(self, move: Move) -> None:
        """Bind a control to the action whose turn it is; the one before may still be moving."""
        if move.control in self._learned:
            return
        key = self._to_learn.pop(0)
        self._learned.add(move.control)
        control = move.control._replace(channel=None)
        self._map.set(key, [control])
        stored = ""
        if self._file is not None:
            try:
                store(self._file, key, control)
                stored = f"  (stored in {self._file})"
            except ConfigError as error:
                self._queue.complain(str(error))
        logger.info("MIDI: %s%s", line_of(key, control), stored)
        self._ask()
