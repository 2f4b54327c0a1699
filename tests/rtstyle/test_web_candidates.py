"""Addresses that a browser's offer hides."""

from __future__ import annotations

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("aiortc")

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from rtstyle.webrtc.mdns_candidates import MAX_CANDIDATES, with_addresses
from tests.rtstyle.browsers import in_loop, serving

NAME = "3fc3fd5c-576a-4c8e-9959-54a30d2d35f6.local"
OFFER = (
    "v=0\r\n"
    f"a=candidate:0 1 UDP 2122187007 {NAME} 56370 typ host\r\n"
    f"a=candidate:2 1 TCP 2105458943 {NAME} 9 typ host tcptype active\r\n"
    "a=candidate:3 1 UDP 2122187007 192.0.2.7 56371 typ host\r\n"
    "a=end-of-candidates\r\n"
)


def candidates(offer: str) -> list[str]:
    return [line.split()[4] for line in offer.splitlines() if line.startswith("a=candidate")]


def test_a_name_becomes_the_address_of_the_sender() -> None:
    assert candidates(with_addresses(OFFER, "198.51.100.3", ["192.0.2.2"])) == ["198.51.100.3", "192.0.2.7"]


@pytest.mark.parametrize("sender", ["127.0.0.1", "::1"])
def test_a_sender_on_this_machine_may_be_at_any_of_its_addresses(sender: str) -> None:
    offer = with_addresses(OFFER, sender, ["192.0.2.2", "fd00::2"])
    assert candidates(offer) == ["192.0.2.2", "fd00::2", "192.0.2.7"]
    places = [line.split()[0] for line in offer.splitlines() if line.startswith("a=candidate")]
    assert len(set(places)) == 3, "each is a candidate of its own"


def test_an_offer_without_names_stays_as_it_is() -> None:
    offer = "\r\n".join(line for line in OFFER.split("\r\n") if NAME not in line)
    assert with_addresses(offer, "127.0.0.1", ["192.0.2.2"]) == offer
    assert with_addresses(OFFER, "", ["192.0.2.2"]) == OFFER, "nobody knows where it came from"


def test_a_flood_of_names_is_bounded() -> None:
    flood = "v=0\r\n" + OFFER.splitlines()[1] * 1 + "\r\n" + f"{OFFER.splitlines()[1]}\r\n" * 5000
    assert len(candidates(with_addresses(flood, "127.0.0.1", ["192.0.2.2", "fd00::2"]))) == MAX_CANDIDATES


@in_loop
async def test_a_browser_that_hides_its_addresses_is_answered_with_ours() -> None:
    async with serving() as (_, studio):
        browser = RTCPeerConnection(RTCConfiguration([]))
        browser.addTransceiver("video", direction="sendrecv")
        await browser.setLocalDescription(await browser.createOffer())
        lines = browser.localDescription.sdp.splitlines()
        plain = [line for line in lines if not line.startswith("a=candidate")]
        end = plain.index("a=end-of-candidates")
        hidden = [*plain[:end], f"a=candidate:0 1 udp 2122187007 {NAME} 9 typ host", *plain[end:]]
        answer = await studio.join("\r\n".join(hidden) + "\r\n", sender="127.0.0.1", watch=False, initial={})
        assert candidates(answer), "and so it can reach us, whatever it has hidden"
        await browser.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await browser.close()
