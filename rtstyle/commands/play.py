"""Options of a live run that is played like an instrument: OSC, MIDI and modulation."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtstyle.commands.extras import needs_extra
from rtstyle.commands.options import Modulate
from rtstyle.commands.values import Parser

if TYPE_CHECKING:
    from rtstyle.live.action_queue import ActionQueue
    from rtstyle.live.actions import Actions
    from rtstyle.live.midi import MidiInput
    from rtstyle.live.osc import OscServer

logger = logging.getLogger(__name__)


def _read_address(text: str) -> str:
    from engines.errors import ConfigError
    from rtstyle.live.http_guard import parse_address

    try:
        parse_address(text)
    except ConfigError as error:
        raise ValueError(text) from error
    return text


ADDRESS: Parser[str] = Parser("a port like 9000, or an address like 127.0.0.1:9000", _read_address, numbers_too=True)


@dataclass(frozen=True)
class Play:
    """What steers a live run besides keys and HTTP."""

    osc: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:]PORT",
            parser=ADDRESS,
            help='Listen for OSC: /rtstyle/strength 0.5, /rtstyle/style "wave" and so on. Needs the extra "osc".',
        ),
    ] = None
    osc_feedback: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:]PORT",
            parser=ADDRESS,
            help="Send settings that change, by whatever means, as OSC to a controller that shows them.",
        ),
    ] = None
    midi: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|default",
            help="Take knobs, pads and keys of a MIDI controller, by a part of its name; `rtstyle devices` lists them. "
            'Needs the extra "midi".',
        ),
    ] = None
    midi_map: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='TOML file of lines like: strength = "cc 21". They replace the default map.'),
    ] = None
    midi_learn: Annotated[
        list[str],
        typer.Option(
            metavar="ACTION",
            help="Give this action to the next control that you move, and print the line for --midi-map, or store it "
            "there. Repeat it to go through several.",
        ),
    ] = ()  # type: ignore[assignment]  # typer makes a list of it
    modulate: Modulate = ()  # type: ignore[assignment]

    @property
    def follows_sound(self) -> bool:
        """True if something moves with sound. Raises ConfigError if what should move is wrong."""
        from rtstyle.modulation import parse_modulation

        return any(parse_modulation(text).follows_sound for text in self.modulate)

    @property
    def any(self) -> bool:
        """True if there is anything to do."""
        return self.osc is not None or self.midi is not None or bool(self.modulate)


class Instruments:
    """Opens what ``Play`` asks for, and steers a run from ``begin`` on.

    Raises:
        StylerError: an extra is missing, a port is in use, or an option is wrong.
    """

    def __init__(self, play: Play) -> None:
        from engines.errors import ConfigError

        self._play = play
        self._queue: ActionQueue | None = None
        self._osc: OscServer | None = None
        self._midi: MidiInput | None = None
        self._started = False
        if play.midi is None and (play.midi_map is not None or play.midi_learn):
            raise ConfigError("--midi-map and --midi-learn need a controller", hint="add --midi default")
        if play.osc is None and play.osc_feedback is not None:
            raise ConfigError("--osc-feedback goes with --osc", hint="add --osc 9000")
        if not play.any:
            return
        from rtstyle.live.action_queue import ActionQueue
        from rtstyle.modulation import modulation_errors

        for error in modulation_errors(play.modulate):
            raise error
        self._queue = ActionQueue()
        try:
            self._open(self._queue)
        except BaseException:
            self.close()
            raise

    def begin(self, actions: Actions) -> None:
        """Steer this run, in place of one before it; raise ConfigError if the MIDI map names unknown actions."""
        if self._queue is None:
            return
        for text in self._play.modulate:
            actions.change("modulate", text)
        if not self._started:
            self._started = True
            if self._midi is not None:
                self._midi.start(actions)
                logger.info("MIDI from %s", self._midi.name)
            if self._osc is not None:
                self._osc.start(actions)
                logger.info("OSC at %s", self._osc.address)
        self._queue.actions = actions

    def follow(self, actions: Actions | None) -> None:
        """Steer a run of several, one after another; ``None`` discards everything until the next."""
        from engines.errors import StylerError

        if self._queue is None:
            return
        self._queue.actions = None
        if actions is not None:
            try:
                self.begin(actions)
            except StylerError as error:  # the page goes on without it
                logger.warning("%s", error)

    def close(self) -> None:
        """Close everything; may be called twice."""
        if self._midi is not None:
            self._midi.close()
        if self._osc is not None:
            self._osc.close()
            malformed, self._osc.malformed = self._osc.malformed, 0
            if malformed:
                logger.warning("OSC: %d malformed packets were ignored", malformed)
        if self._queue is not None:
            self._queue.close()

    def _open(self, queue: ActionQueue) -> None:
        from engines.errors import ConfigError
        from rtstyle.live.http_guard import is_loopback, parse_address

        play = self._play
        if play.osc is not None:
            with needs_extra("osc", "OSC", ConfigError):
                from rtstyle.live.osc import OscServer
            address = parse_address(play.osc)
            feedback = parse_address(play.osc_feedback) if play.osc_feedback is not None else None
            self._osc = OscServer(address, queue, feedback)
            if not is_loopback(address.host):
                logger.warning("OSC has no passwords: whoever reaches %s can steer this run", self._osc.address)
        if play.midi is not None:
            with needs_extra("midi", "MIDI", ConfigError):
                from rtstyle.live.midi import MidiInput

                self._midi = MidiInput(play.midi, queue, map_file=play.midi_map, learn=play.midi_learn)
