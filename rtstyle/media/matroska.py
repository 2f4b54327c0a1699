"""Tells whether a Matroska or WebM file was cut off, from the sizes that its elements state."""

from __future__ import annotations

import mmap
from pathlib import Path

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
"""Elements whose size a live recording may leave open. RFC 9559, section 5."""


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
