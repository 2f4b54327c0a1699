"""Tells whether a Matroska or WebM file was cut off or is encrypted, from its elements."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
"""Elements whose size a live recording may leave open. RFC 9559, section 5."""

_TRACKS, _TRACK = 0x1654AE6B, 0xAE
_ENCODINGS, _ENCODING, _ENCODING_TYPE = 0x6D80, 0x6240, 0x5033
"""How the packets of a track are stored, section 5.1.4.1.31."""

_ENCRYPTION = 1
"""Type of an encoding; the other one is compression."""


def is_cut_off(path: Path) -> bool:
    """Return True if the file ends inside an element; a cut exactly between two elements cannot be seen."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place = 0
        while place < len(data):
            element, after_id = _number(data, place, keep_marker=True)
            if element is None:
                return after_id > len(data)
            size, body = _number(data, after_id)
            if body > len(data):
                return True
            if size is None:
                if element not in (_SEGMENT, _CLUSTER):
                    return False  # not Matroska, or damaged
                place = body
            else:
                place = body + size
        return place > len(data)


def encrypted_tracks(path: Path) -> frozenset[int]:
    """Return the places of the encrypted tracks in the list of tracks, from 0."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for segment in _children(data, 0, len(data), _SEGMENT):
            for tracks in _children(data, *segment, _TRACKS):
                places = enumerate(_children(data, *tracks, _TRACK))
                return frozenset(place for place, track in places if _is_encrypted(data, *track))
    return frozenset()


def _is_encrypted(data: mmap.mmap, begin: int, end: int) -> bool:
    return any(
        int.from_bytes(data[slice(*kind)]) == _ENCRYPTION
        for encodings in _children(data, begin, end, _ENCODINGS)
        for encoding in _children(data, *encodings, _ENCODING)
        for kind in _children(data, *encoding, _ENCODING_TYPE)
    )


def _children(data: mmap.mmap, begin: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of the contents of each wanted element inside another one; stop at what is not valid."""
    place = begin
    while place < end:
        element, after_id = _number(data, place, keep_marker=True)
        size, body = _number(data, after_id)
        if element is None or body > end:
            return
        # An open size lasts to the end; clusters are only followed by clusters then.
        place = end if size is None else min(end, body + size)
        if element == wanted:
            yield body, place


def _number(data: mmap.mmap, place: int, *, keep_marker: bool = False) -> tuple[int | None, int]:
    """Read a variable-length integer; None if it says "unknown", is not valid, or the data ends. RFC 8794, section 4.

    Returns:
        The number, and the place after it.
    """
    if place >= len(data):
        return None, place + 1
    if data[place] == 0:
        return None, place
    length = 9 - data[place].bit_length()
    if place + length > len(data):
        return None, place + length
    value = int.from_bytes(data[place : place + length])
    bits = 7 * length
    number = value & ((1 << bits) - 1)
    if number == (1 << bits) - 1:
        return None, place + length
    return (value if keep_marker else number), place + length
