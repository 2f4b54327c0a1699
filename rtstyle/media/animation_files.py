"""The time for which the last picture of an animation is shown, which FFmpeg's encoders guess."""

from __future__ import annotations

import struct
import zlib
from io import BufferedRandom
from pathlib import Path


def set_last_duration(path: Path, milliseconds: int) -> None:
    """Write into a finished APNG or WebP for how long its last picture is shown.

    Source: the WebP container specification, "Animation frame"; the PNG specification, third edition, 11.3.6.2 "fcTL".
    """
    with path.open("r+b") as file:
        begin = file.read(12)
        if begin[:4] == b"RIFF":
            at = _last_chunk(file, 12, b"ANMF")
            if at is not None:
                file.seek(at + 8 + 12)
                file.write(min(milliseconds, 0xFFFFFF).to_bytes(3, "little"))
            return
        at = _last_chunk(file, 8, b"fcTL")
        if at is not None:
            file.seek(at + 4)
            chunk = bytearray(file.read(4 + 26))
            chunk[24:28] = struct.pack(">HH", min(milliseconds, 0xFFFF), 1000)
            file.seek(at + 4)
            file.write(chunk + struct.pack(">I", zlib.crc32(chunk)))


def _last_chunk(file: BufferedRandom, start: int, name: bytes) -> int | None:
    """Return where the last chunk of this name begins; RIFF puts the name before the length, PNG behind it."""
    found, at = None, start
    while True:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return found
        if start == 12:
            chunk, size = head[:4], int.from_bytes(head[4:], "little")
            size += 8 + size % 2
        else:
            chunk, size = head[4:], int.from_bytes(head[:4], "big") + 12
        if chunk == name:
            found = at
        at += size
