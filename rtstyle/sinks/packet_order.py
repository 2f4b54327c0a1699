"""Times of packets that are missing, repeat, or go back."""

from __future__ import annotations

from av import Packet
from av.stream import Stream

_ROUNDED = 2
"""Packets this short, in units of their clock, may have equal times or lie a unit too early only by rounding."""


class PacketOrder:
    """Checks and repairs the times of one track of the input, in its own time base.

    Args:
        kind: type of the stream. Subtitles may begin together. Of video the muxer finds missing decoding times.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._last_dts: int | None = None
        self._end = 0
        self._payload = b""

    def accept(self, packet: Packet[Stream]) -> bool:
        """Give the packet a valid time.

        Returns:
            False if it repeats what came before and must be left out, or has no time at all.
        """
        if not self._place(packet):
            return False
        if packet.dts is None:
            return True
        self._last_dts, self._payload = packet.dts, bytes(packet)
        self._end = packet.dts + (packet.duration or 0)
        return True

    def _place(self, packet: Packet[Stream]) -> bool:
        if packet.pts is None:
            packet.pts = packet.dts if self._last_dts is None else self._end
        if packet.pts is None:
            return False
        if packet.dts is None and self._kind != "video":
            packet.dts = packet.pts
        if packet.dts is None or self._last_dts is None or packet.dts > self._last_dts or self._kind == "subtitle":
            return True
        behind, length = self._last_dts - packet.dts, packet.duration or 0
        if behind > max(length, _ROUNDED) or (behind == 0 and bytes(packet) == self._payload):
            return False
        if length > _ROUNDED:  # a repeated time: the packet follows the one before
            packet.pts, packet.dts = max(packet.pts, self._end), self._end
        return True
