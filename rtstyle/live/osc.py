"""OSC control of a live run, for TouchOSC, TouchDesigner, Max, Ableton and others: ``rtstyle webcam --osc``.

Each action is an address below ``/rtstyle``; patterns with wildcards reach several. A flood costs little: datagrams are
fetched at most every ``PACE_S`` seconds, and of those that came in between, only the newest of each address is parsed.
Time tags are ignored: everything happens at once. Settings that change, by whatever means, are sent to a controller
that shows them.
"""

from __future__ import annotations

import re
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from threading import Event, Thread
from typing import Any

from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_message import OscMessage, ParseError
from pythonosc.osc_message_builder import build_msg

from engines.errors import ConfigError, StylerError
from engines.os_errors import listen_advice, reason
from rtstyle.live.action_kinds import number_of
from rtstyle.live.action_queue import ActionQueue
from rtstyle.live.actions import Actions
from rtstyle.live.http_guard import Address
from rtstyle.ranges import RANGES

PREFIX = "/rtstyle/"

PACE_S = 0.01
"""Rest after each look at the socket, seconds. A first message is taken at once, and none waits longer."""

FEW = 16
"""Datagrams that are all carried out, in order, after one rest; of more only the newest of each address."""

MOST_DATAGRAMS = 4096
"""Datagrams that are fetched after one rest."""

FEEDBACK_S, REPEAT_S = 0.1, 5.0
"""How often changed settings are sent, and all of them, for a controller that was not there yet; seconds."""

BUFFER_BYTES = 1 << 20
"""What the system is asked to hold meanwhile: when it is full, the newest are lost."""

MOST_BYTES = 8192
"""Longest datagram, and the bytes of a flood that are parsed after one rest."""

MOST_WILDCARDS = 3
LONGEST_ADDRESS = 200
"""Limits of address patterns, which become regular expressions: more wildcards could take minutes to match."""

BUNDLE = b"#bundle\0"
DEEPEST = 8
"""Bundles within bundles."""

MESSAGE = re.compile(rb"/[^\0]*\0+(,[ifshdTFN]*\0|$)")
"""Start of a message whose arguments are numbers, texts, booleans or nil; python-osc logs a line for unknown types."""


class OscServer:
    """Listens from the start, and hands actions to a queue from ``start`` on, in a thread of its own.

    Anybody who reaches the address can steer the run: OSC knows no passwords.

    Args:
        address: where to listen.
        queue: takes the actions, and knows the run.
        feedback: where to send settings that have changed, if anywhere.

    Raises:
        ConfigError: the address cannot be listened on, or there is no address like that of ``feedback``.
    """

    def __init__(self, address: Address, queue: ActionQueue, feedback: Address | None = None) -> None:
        self._queue = queue
        self._feedback = _Feedback(feedback) if feedback is not None else None
        self._dispatcher = Dispatcher(strict_timing=False)
        self._closing = Event()
        self._thread = Thread(target=self._run, name="OSC", daemon=True)
        self.malformed = 0
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.bind((address.host, address.port))
        except OSError as error:
            self._socket.close()
            if self._feedback is not None:
                self._feedback.close()
            raise ConfigError(
                f"cannot listen for OSC on {address}: {reason(error)}", hint=listen_advice(error, address.port)
            ) from error
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self.address = Address(address.host, self._socket.getsockname()[1])
        self._wake, self._woken = socket.socketpair()

    def start(self, actions: Actions) -> None:
        """Take the addresses from the actions of a run, and listen from now on; what came before is discarded."""
        _, changers = actions.names
        for name in changers:
            self._dispatcher.map(f"{PREFIX}{name}", self._change, name)
        styles = actions.live.controls.styles
        numbered = {str(number): style for number, style in enumerate(styles, start=1)}
        for word, style in {**numbered, "next": "next", "previous": "previous"}.items():
            self._dispatcher.map(f"{PREFIX}style/{word}", self._press, "style", style)
        self._styles = styles
        self._fetch()
        self._thread.start()

    def close(self) -> None:
        """Stop listening; may be called twice."""
        self._closing.set()
        self._wake.close()
        if self._thread.ident is not None:
            self._thread.join()
        self._woken.close()
        self._socket.close()
        if self._feedback is not None:
            self._feedback.close()

    def _run(self) -> None:
        rest_s = None if self._feedback is None else FEEDBACK_S
        while not self._closing.is_set():
            readable, _, _ = select.select([self._socket, self._woken], [], [], rest_s)
            if self._woken in readable:
                return
            for datagram in newest(self._fetch()):
                self._take(datagram)
            if self._feedback is not None and self._queue.actions is not None:
                self._feedback.send(self._queue.actions)
            self._closing.wait(PACE_S)

    def _fetch(self) -> list[bytes]:
        """Return the datagrams that have arrived."""
        datagrams = list[bytes]()
        try:
            while len(datagrams) < MOST_DATAGRAMS:
                datagrams.append(self._socket.recv(MOST_BYTES + 1))
        except OSError:  # there are no more; or Windows reports a datagram that is too long
            pass
        return datagrams

    def _take(self, datagram: bytes) -> None:
        """Carry out what a datagram says, or count it as malformed."""
        try:
            messages = [OscMessage(message) for message in split_bundle(datagram)]
        except (ParseError, ValueError, struct.error):  # a text that is not UTF-8 is a ValueError
            self.malformed += 1
            self._queue.complain("OSC: ignoring malformed packets; their number follows at the end")
            return
        for message in messages:
            self._carry_out(message)

    def _carry_out(self, message: OscMessage) -> None:
        address, values = message.address, message.params
        wildcards = sum(address.count(sign) for sign in "*?[{")
        if not wildcards and not address.startswith(PREFIX):
            return  # for another program
        if wildcards > MOST_WILDCARDS or len(address) > LONGEST_ADDRESS:
            self._queue.complain(f"OSC: {address[:40]}… is not matched; use at most {MOST_WILDCARDS} wildcards")
            return
        if len(values) > 1:
            self._queue.complain(f"OSC: {address} takes one value, not {len(values)}")
            return
        handlers = list(self._dispatcher.handlers_for_address(address))
        if not handlers and address.startswith(PREFIX):
            self._queue.complain(f"OSC: there is no {address}")
        for handler in handlers:
            handler.invoke(("", 0), message)

    def _change(self, _: str, name: list[str], value: object = None) -> None:
        if name[0] == "style" and isinstance(value, int | float) and not isinstance(value, bool):
            if value not in range(1, len(self._styles) + 1):
                self._queue.complain(f"OSC: there is no style number {value:g}; there are {len(self._styles)}")
                return
            value = self._styles[int(value) - 1]
        self._queue.put(name[0], value, "OSC")

    def _press(self, _: str, action: list[str], pressed: object = None) -> None:
        """Carry out an action with a fixed value, unless this is its button coming up."""
        if pressed is None or pressed:
            self._queue.put(action[0], action[1], "OSC")


class _Feedback:
    """Sends settings to a controller that shows them, as the messages that would set them.

    Raises:
        ConfigError: there is no such address.
    """

    def __init__(self, address: Address) -> None:
        try:
            found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"no such address: {address}", hint="write it like 192.168.1.20:9001") from error
        family, _, _, _, target = found[0]
        self._target: tuple[Any, ...] = target
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._sent: dict[str, float | str] = {}
        self._next_s = self._repeat_s = 0.0

    def send(self, actions: Actions) -> None:
        """Send what has changed, unless the last time was a moment ago."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + FEEDBACK_S
        if now_s >= self._repeat_s:
            self._repeat_s = now_s + REPEAT_S
            self._sent.clear()
        for name, value in shown_settings(actions).items():
            if self._sent.get(name) != value:
                self._sent[name] = value
                with suppress(OSError):  # the network is down; everything is repeated
                    self._socket.sendto(build_msg(f"{PREFIX}{name}", value).dgram, self._target)

    def close(self) -> None:
        self._socket.close()


def shown_settings(actions: Actions) -> dict[str, float | str]:
    """Return the settings of a run by the names of their actions; switches are 0 or 1."""
    live, controls = actions.live, actions.live.controls
    switches = {
        "mirror": controls.mirror,
        "hold_fps": controls.hold_fps,
        "pause": controls.paused,
        "record": live.recorder.path is not None,
        "modulate": bool(live.modulations.running),
    }
    shown: dict[str, float | str] = {"style": controls.style, "only": controls.only}
    shown |= {name: float(on) for name, on in switches.items()}
    for name in RANGES:
        with suppress(StylerError):  # a mix of three styles has no share
            shown[name] = number_of(controls, name)
    return shown


def newest(datagrams: list[bytes]) -> list[bytes]:
    """Return a few datagrams as they are; of more the newest of each address, as many as ``MOST_BYTES`` hold."""
    if len(datagrams) <= FEW:
        return datagrams
    by_address = dict[bytes, bytes]()
    for datagram in datagrams:
        # A bundle counts as its first message.
        address = (datagram[20:] if datagram.startswith(BUNDLE) else datagram).partition(b"\0")[0]
        by_address.pop(address, None)
        by_address[address] = datagram
    kept, size = list[bytes](), 0
    for datagram in reversed(by_address.values()):
        size += len(datagram)
        if kept and size > MOST_BYTES:
            break
        kept.append(datagram)
    return kept[::-1]


def split_bundle(packet: bytes, depth: int = 0) -> Iterator[bytes]:
    """Yield the messages of a packet, which is one message or a bundle.

    python-osc's own parser never returns from a bundle that holds a negative size.

    Raises:
        ValueError: the packet is malformed, too long or too deep, or has arguments that no action takes.
    """
    if len(packet) > MOST_BYTES or depth > DEEPEST:
        raise ValueError(depth)
    if not packet.startswith(BUNDLE):
        if MESSAGE.match(packet) is None:
            raise ValueError(packet)
        yield packet
        return
    place = len(BUNDLE) + 8  # the time tag
    while place < len(packet):
        (size,) = struct.unpack_from(">i", packet, place)
        place += 4
        if not 0 < size <= len(packet) - place:
            raise ValueError(size)
        yield from split_bundle(packet[place : place + size], depth + 1)
        place += size
