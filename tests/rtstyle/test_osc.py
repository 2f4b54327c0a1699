"""OSC as controllers send it, and as nobody should: real datagrams on this machine."""

from __future__ import annotations

import logging
import math
import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import build_msg
from pythonosc.udp_client import SimpleUDPClient

from engines.errors import ConfigError
from rtstyle.controls import Controls
from rtstyle.live.action_queue import ActionQueue
from rtstyle.live.actions import Actions
from rtstyle.live.http_guard import Address
from rtstyle.live.osc import FEW, MOST_BYTES, OscServer, newest, split_bundle
from rtstyle.live.session import LiveSession
from rtstyle.sources.pattern import PatternSource

pytestmark = pytest.mark.real_time

STYLES = ("wave", "scream", "udnie")


class Observed(Actions):
    """Actions that tell which were carried out, in order; a snapshot and the end only tell."""

    def __init__(self, live: LiveSession) -> None:
        super().__init__(live)
        self.done: list[tuple[str, object]] = []
        self.changed = threading.Condition()
        self.hold = threading.Event()
        self.hold.set()

    def change(self, name: str, value: object = None) -> dict[str, Any]:
        self.hold.wait(20)
        try:
            return {} if name in ("snapshot", "stop") else super().change(name, value)
        finally:
            with self.changed:
                self.done.append((name, value))
                self.changed.notify_all()

    def wait(self, *expected: tuple[str, object]) -> None:
        """Wait until all of these were carried out."""
        with self.changed:
            assert self.changed.wait_for(lambda: set(expected) <= set(self.done), 20), self.done


@dataclass
class Played:
    """A run that OSC steers."""

    actions: Observed
    server: OscServer
    client: SimpleUDPClient
    controls: Controls = field(init=False)

    def __post_init__(self) -> None:
        self.controls = self.actions.live.controls

    def send_raw(self, datagram: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(datagram, ("127.0.0.1", self.server.address.port))


@pytest.fixture
def played() -> Iterator[Played]:
    queue = ActionQueue()
    server = OscServer(Address("127.0.0.1", 0), queue)
    with LiveSession(PatternSource(64, 48, 30), Controls(styles=STYLES)) as live:
        actions = Observed(live)
        server.start(actions)
        queue.actions = actions
        client = SimpleUDPClient("127.0.0.1", server.address.port)
        yield Played(actions, server, client)
        client._sock.close()
        server.close()
        server.close()
        queue.close()


def test_every_action_has_an_address(played: Played) -> None:
    send, controls = played.client.send_message, played.controls
    send("/rtstyle/strength", 0.25)
    send("/rtstyle/scale", 2.0)
    send("/rtstyle/colours", 1)
    send("/rtstyle/style", "udnie")
    send("/rtstyle/mirror", [])
    send("/rtstyle/pause", True)
    send("/rtstyle/modulate", "strength=sine 4s")
    played.actions.wait(("modulate", "strength=sine 4s"))
    assert (controls.strength, controls.scale, controls.colours) == (0.25, 2.0, 1.0)
    assert controls.style == "udnie" and controls.mirror and controls.paused
    assert played.actions.live.modulations.running == {"strength": "sine 4s"}
    assert {name for name, _ in played.actions.done} <= set(played.actions.names[1])


def test_styles_by_number_and_by_buttons(played: Played) -> None:
    send, done = played.client.send_message, played.actions.done
    send("/rtstyle/style", 2)
    send("/rtstyle/style/3", 1.0)
    send("/rtstyle/style/3", 0.0)  # the button comes up
    send("/rtstyle/style/next", [])
    played.actions.wait(("style", "next"))
    assert done == [("style", "scream"), ("style", "udnie"), ("style", "next")] and played.controls.style == "wave"


def test_a_button_that_comes_up_saves_no_second_picture(played: Played) -> None:
    for value in (1.0, 0.0):
        played.client.send_message("/rtstyle/snapshot", value)
    played.client.send_message("/rtstyle/stop", 1)
    played.actions.wait(("stop", None))
    assert played.actions.done == [("snapshot", None), ("stop", None)]


def test_bundles_in_bundles_and_wildcards(played: Played) -> None:
    inner, outer = OscBundleBuilder(IMMEDIATELY), OscBundleBuilder(IMMEDIATELY)
    inner.add_content(build_msg("/rtstyle/s[c]ale", 0.5))
    outer.add_content(build_msg("/rtstyle/{strength,colours}", 0.5))
    outer.add_content(inner.build())
    played.client.send(outer.build())
    played.actions.wait(("strength", 0.5), ("colours", 0.5), ("scale", 0.5))
    assert len(played.actions.done) == 3


def test_of_what_waits_the_newest_of_each_address(played: Played) -> None:
    played.actions.hold.clear()
    played.client.send_message("/rtstyle/mirror", 1)  # is being carried out, slowly
    for number in range(100):  # more would be lost, if the system's buffer is small
        played.client.send_message("/rtstyle/strength", number / 100)
        played.client.send_message("/rtstyle/colours", number / 100)
    played.client.send_message("/rtstyle/pause", 1)
    played.client.send_message("/rtstyle/strength", 1.0)
    played.actions.hold.set()
    played.actions.wait(("strength", 1.0), ("pause", 1))
    assert len(played.actions.done) < 100 and played.controls.strength == 1.0


def test_a_flood_is_thinned_before_it_is_parsed() -> None:
    faders = [build_msg(f"/fader/{number % 50}", number).dgram for number in range(5000)]
    assert newest(faders) == faders[-50:], "the newest of each address, in order"
    assert newest(faders[:FEW]) == faders[:FEW]
    long = [build_msg(f"/fader/{number}", "x" * 1000).dgram for number in range(FEW + 1)]
    assert newest(long) == long[-(MOST_BYTES // len(long[-1])) :]


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"nonsense",
        b"/rtstyle/strength\0\0\0,i\0\0\0\0",
        b"/rtstyle/strength\0\0\0,x\0\0",
        b"/rtstyle/\xff\xfe\0,\0\0\0",
        b"#bundle\0",
        b"#bundle\0" + bytes(7) + b"\1\xff\xff\xff\xfc/a\0\0",  # a negative size, on which python-osc never returns
        b"#bundle\0" + bytes(7) + b"\1\0\0\1\0/a\0\0",
        b"/" + b"a" * MOST_BYTES,
    ],
)
def test_malformed_packets_are_counted_and_the_next_is_heard(
    played: Played, packet: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            played.send_raw(packet)
        played.client.send_message("/rtstyle/strength", 0.5)
        played.actions.wait(("strength", 0.5))
    # Nothing is in an empty bundle, and nothing wrong with it.
    expected = 0 if packet == b"#bundle\0" else 3
    assert played.server.malformed == expected
    assert [record.message.startswith("OSC: ignoring malformed packets") for record in caplog.records] == (
        [True] if expected else []
    )


def test_random_bytes_and_damaged_messages_do_no_harm(played: Played, caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(7)
    bundle = OscBundleBuilder(IMMEDIATELY)
    for _ in range(3):
        bundle.add_content(build_msg("/rtstyle/nothing", [0.5, "text"]))
    good = bundle.build().dgram
    for _ in range(3000):
        damaged = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        played.server._take(bytes(damaged))
        played.server._take(rng.choice((b"/", b"#bundle\0", b"")) + rng.randbytes(rng.randrange(60)))
    assert played.server.malformed > 1000
    assert all(record.name.startswith("rtstyle") for record in caplog.records), "no line for each by python-osc"
    assert len(caplog.records) <= 20


def test_a_pattern_that_would_take_for_ever_is_refused(played: Played, caplog: pytest.LogCaptureFixture) -> None:
    played.client.send_message("/rtstyle/" + "*" * 40 + "x", 0.5)
    played.client.send_message("/rtstyle/s*h", 0.5)
    played.actions.wait(("strength", 0.5))
    assert "at most 3 wildcards" in caplog.text


@pytest.mark.parametrize(
    ("address", "value", "told"),
    [
        ("/rtstyle/strength", 7.0, "strength 7"),
        ("/rtstyle/strength", "loud", "takes a number"),
        ("/rtstyle/strength", [0.5, 0.6], "takes one value"),
        ("/rtstyle/style", "cubism", "no style 'cubism'"),
        ("/rtstyle/style", 9, "no style number 9"),
        ("/rtstyle/style", 1.5, "no style number 1.5"),
        ("/rtstyle/volume", 1.0, "there is no /rtstyle/volume"),
    ],
)
def test_wrong_values_are_said_once(
    played: Played, address: str, value: object, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        played.client.send_message(address, value)  # type: ignore[arg-type]
    played.client.send_message("/elsewhere", 1.0)  # other programs' addresses are none of ours
    played.client.send_message("/rtstyle/mirror", 1)
    played.actions.wait(("mirror", 1))
    assert len(caplog.records) == 1 and told in caplog.text
    assert (played.controls.strength, played.controls.style) == (1.0, "wave")


def test_a_port_in_use(played: Played) -> None:
    with pytest.raises(ConfigError, match="cannot listen for OSC on 127.0.0.1:"):
        OscServer(played.server.address, ActionQueue())


def test_settings_are_sent_to_a_controller_that_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtstyle.live.osc.REPEAT_S", math.inf)
    queue = ActionQueue()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as controller,
        LiveSession(PatternSource(64, 48, 30), Controls(0.5, styles=STYLES)) as live,
    ):
        controller.bind(("127.0.0.1", 0))
        controller.settimeout(20)
        server = OscServer(Address("127.0.0.1", 0), queue, Address("127.0.0.1", controller.getsockname()[1]))
        actions = Actions(live)
        server.start(actions)
        queue.actions = actions

        def receive() -> tuple[str, object]:
            message = OscMessage(controller.recv(1000))
            return message.address, *message.params

        first = dict(receive() for _ in range(18))
        assert first == {
            "/rtstyle/style": "wave", "/rtstyle/strength": 0.5, "/rtstyle/scale": 1.0, "/rtstyle/colours": 0.0,
            "/rtstyle/only": "all", "/rtstyle/faces": 0.0, "/rtstyle/mix": 0.0, "/rtstyle/texture": pytest.approx(0.15),
            "/rtstyle/inside": 1.0, "/rtstyle/outside": 0.0, "/rtstyle/feather": 0.0,
            "/rtstyle/glide": 0.0, "/rtstyle/every": 8.0, "/rtstyle/hold_fps": 1.0,
            "/rtstyle/mirror": 0.0, "/rtstyle/pause": 0.0, "/rtstyle/record": 0.0, "/rtstyle/modulate": 0.0,
        }  # fmt: skip
        actions.change("style", "udnie")
        assert receive() == ("/rtstyle/style", "udnie"), "only what has changed"
        server.close()
        queue.close()


def test_depth_and_order_of_bundles() -> None:
    packet = b"/a\0\0"
    for _ in range(5):
        packet = b"#bundle\0" + bytes(8) + len(packet).to_bytes(4, "big") + packet
    assert list(split_bundle(packet)) == [b"/a\0\0"]
    for _ in range(5):
        packet = b"#bundle\0" + bytes(8) + len(packet).to_bytes(4, "big") + packet
    with pytest.raises(ValueError, match="9"):
        list(split_bundle(packet))
