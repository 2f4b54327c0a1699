"""Tells which streams of an MPEG transport or program stream are scrambled, as pay television and DVDs are.

Nothing else says so: a demuxer passes the scrambled bytes on, and decoders take them for damage. ISO/IEC 13818-1.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

_READ_BYTES = 4_000_000
"""How much of a file to look at."""

_SHARE = 0.25
"""A stream counts as scrambled from this share of its packets on: DVDs leave some in the clear."""

_SYNC, _SIZES = 0x47, (188, 192, 204)
"""First byte of a transport packet, and distances between packets: bare, on Blu-ray discs, with error correction."""

_PES_START = re.compile(rb"\x00\x00\x01[\xbd\xc0-\xef]")
"""Start of a packet of sound or pictures (table 2-22)."""

_PRIVATE = 0xBD
"""Stream that holds several others, such as AC-3, numbered in their first byte."""


def scrambled_pids(path: Path) -> frozenset[int]:
    """Return the identifiers (PID) of the scrambled streams in a transport stream."""
    data = _beginning(path)
    seen: Counter[int] = Counter()
    scrambled: Counter[int] = Counter()
    first, size = _grid(data)
    if not size:
        return frozenset()
    for place in range(first, len(data) - _SIZES[0] + 1, size):
        flags, control = data[place + 1], data[place + 3]
        if data[place] != _SYNC or not flags & 0x40 or not control & 0x10:  # only where a payload begins
            continue
        payload = place + 4 + (1 + data[place + 4] if control & 0x20 else 0)
        pid = (flags & 0x1F) << 8 | data[place + 2]
        seen[pid] += 1
        # Either whole packets are scrambled, or only what follows the header of a picture.
        scrambled[pid] += bool(control & 0xC0) or _is_scrambled(data, payload)
    return _mostly(scrambled, seen)


def scrambled_program_streams(path: Path) -> frozenset[int]:
    """Return the identifiers of the scrambled streams in a program stream, as FFmpeg numbers them."""
    data = _beginning(path)
    seen: Counter[int] = Counter()
    scrambled: Counter[int] = Counter()
    for match in _PES_START.finditer(data, 0, max(0, len(data) - 300)):
        place = match.start()
        if data[place + 6] & 0xC0 != 0x80:  # not a header of MPEG-2
            continue
        stream = data[place + 3] | 0x100
        if data[place + 3] == _PRIVATE:
            stream = data[place + 9 + data[place + 8]]
        seen[stream] += 1
        scrambled[stream] += _is_scrambled(data, place)
    return _mostly(scrambled, seen)


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_READ_BYTES)


def _grid(data: bytes) -> tuple[int, int]:
    """Return the place of the first transport packet and the distance to the next; 0 if there is none."""
    for size in _SIZES:
        for first in range(size):
            if data[first : first + 8 * size : size] == bytes([_SYNC]) * 8:
                return first, size
    return 0, 0


def _is_scrambled(data: bytes, place: int) -> bool:
    """Return True if a packet of sound or pictures is scrambled behind its header (section 2.4.3.7)."""
    header = data[place : place + 7]
    return header.startswith(b"\0\0\1") and len(header) == 7 and header[6] & 0xC0 == 0x80 and bool(header[6] & 0x30)


def _mostly(scrambled: Counter[int], seen: Counter[int]) -> frozenset[int]:
    return frozenset(stream for stream, count in seen.items() if scrambled[stream] > _SHARE * count)
