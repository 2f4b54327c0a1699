"""Replace the mDNS names in a browser's offer by addresses.

Until a page may use a camera, browsers hide the addresses of their machine behind names like ``3fc3fd5c-….local``,
which are resolved by multicast. Containers, firewalls and many wireless networks carry no multicast, and aioice gives
up if it resolves none of the names. The sender of the offer is known, though.

Source:
    draft-ietf-mmusic-mdns-ice-candidates.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

_HIDDEN = re.compile(r"a=candidate:(\S+) (\d+) (\S+) (\d+) [0-9A-Za-z-]+\.local (.+)")

MAX_CANDIDATES = 16
"""Most candidates written."""


def with_addresses(offer: str, sender: str, ours: list[str]) -> str:
    """Return an offer (SDP) with the sender's address for its names; a sender here may use any of ``ours``."""
    try:
        addresses = ours if ip_address(sender).is_loopback else [sender]
    except ValueError:  # not an IP socket
        return offer
    lines: list[str] = []
    written = 0
    for line in offer.splitlines():
        found = _HIDDEN.fullmatch(line)
        if found is None:
            lines.append(line)
            continue
        foundation, component, transport, priority, rest = found.groups()
        if transport.lower() != "udp":
            continue
        for number, address in enumerate(addresses):
            if written < MAX_CANDIDATES:
                lines.append(f"a=candidate:{foundation}x{number} {component} {transport} {priority} {address} {rest}")
                written += 1
    return "\r\n".join(lines) + "\r\n"
