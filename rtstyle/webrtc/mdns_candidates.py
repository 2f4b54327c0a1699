"""The addresses that a browser's offer hides.

A page that has no leave to use a camera must not learn the addresses of its machine, so browsers put names like
``3fc3fd5c-….local`` in their place, which are asked for by multicast. Containers, firewalls and many wireless networks
carry no multicast, and aioice gives up a connection none of whose names it finds. Who sent the offer is known, though.

Source:
    draft-ietf-mmusic-mdns-ice-candidates.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

_HIDDEN = re.compile(r"a=candidate:(\S+) (\d+) (\S+) (\d+) [0-9A-Za-z-]+\.local (.+)")

MOST = 16
"""Candidates that are written at most."""


def with_addresses(offer: str, sender: str, ours: list[str]) -> str:
    """Put addresses in the place of the names that hide them.

    Args:
        offer: SDP.
        sender: address that the offer came from.
        ours: of this machine: a sender on this machine may be at any of them.

    Returns:
        the offer, in which no name is left.
    """
    try:
        addresses = ours if ip_address(sender).is_loopback else [sender]
    except ValueError:  # a socket of another kind, or nobody knows
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
            if written < MOST:
                lines.append(f"a=candidate:{foundation}x{number} {component} {transport} {priority} {address} {rest}")
                written += 1
    return "\r\n".join(lines) + "\r\n"
