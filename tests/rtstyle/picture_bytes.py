"""Picture files that Pillow cannot write, byte by byte: ICC profiles, deep TIFF and PNG, BMP, PSD."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.base import RGB

D50 = (0.9642, 1.0, 0.8249)


def corners(height: int = 24, width: int = 40) -> RGB:
    """Red, green, blue and white quarters: any turn or swap of channels shows."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[: height // 2, : width // 2] = (255, 0, 0)
    rgb[: height // 2, width // 2 :] = (0, 255, 0)
    rgb[height // 2 :, : width // 2] = (0, 0, 255)
    rgb[height // 2 :, width // 2 :] = 255
    return rgb


def s15f16(values: Iterable[float]) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def icc_profile(space: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr", pcs: bytes = b"XYZ ") -> bytes:
    """ICC.1:2001-04, sections 6.1 and 6.2."""
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12s4s28s", offset + len(body), b"", 0x02400000, kind, space, pcs, b"", b"acsp", b""
    )
    return (header + s15f16(D50)).ljust(128, b"\0") + table + body


def xyz(values: Iterable[float]) -> bytes:
    return b"XYZ \0\0\0\0" + s15f16(values)


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def rgb_profile(primaries: Sequence[Sequence[float]], exponent: float) -> bytes:
    """Profile of a display: XYZ of its three colours, adapted to D50, and one gamma."""
    tags = {b"wtpt": xyz(D50)}
    for channel, colour in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags |= {channel + b"XYZ": xyz(colour), channel + b"TRC": gamma(exponent)}
    return icc_profile(b"RGB ", tags)


def grey_profile(exponent: float) -> bytes:
    return icc_profile(b"GRAY", {b"wtpt": xyz(D50), b"kTRC": gamma(exponent)})


def cmyk_profile(cyan_lab: tuple[float, float, float]) -> bytes:
    """Profile of a press whose cyan has this colour, whose paper is white, and whose mixtures are black."""
    lab = {(0, 0, 0, 0): (100.0, 0.0, 0.0), (1, 0, 0, 0): cyan_lab}
    table = b""
    for index in range(16):
        inks = tuple(index >> bit & 1 for bit in (3, 2, 1, 0))
        lightness, a, b = lab.get(inks, (0.0, 0.0, 0.0))
        table += bytes([round(lightness * 2.55), round(a) + 128, round(b) + 128])
    straight = bytes(range(256))
    lut = (
        b"mft1\0\0\0\0"
        + bytes([4, 3, 2, 0])
        + s15f16((1, 0, 0, 0, 1, 0, 0, 0, 1))
        + straight * 4
        + table
        + straight * 3
    )
    return icc_profile(b"CMYK", {b"wtpt": xyz(D50), b"A2B0": lut, b"A2B1": lut}, b"prtr", b"Lab ")


def png_file(size: tuple[int, int], depth: int, colour_type: int, rows: Iterable[bytes], **chunks: bytes) -> bytes:
    """PNG with packed rows; chunks such as ``tRNS`` come before the pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, 0)
    extra = b"".join(chunk(name.encode(), data) for name, data in chunks.items())
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + pixels + chunk(b"IEND", b"")


def tiff_file(
    size: tuple[int, int], bits: Sequence[int], photometric: int, strips: Sequence[bytes], **tags: int
) -> bytes:
    """Little-endian uncompressed TIFF; further tags as ``tag_284=2``."""
    at = 8 + 2 + 12 * (9 + len(tags)) + 4
    many = len(strips) > 1
    places = at + 8 if len(bits) > 2 else at
    first = places + (8 * len(strips) if many else 0)
    starts = [first + sum(map(len, strips[:index])) for index in range(len(strips))]
    lengths = [len(strip) for strip in strips]
    entries: dict[int, tuple[int, int, int]] = {
        256: (4, 1, size[0]),
        257: (4, 1, size[1]),
        258: (3, len(bits), at if len(bits) > 2 else int.from_bytes(struct.pack(f"<{len(bits)}H", *bits), "little")),
        259: (3, 1, 1),
        262: (3, 1, photometric),
        273: (4, len(strips), places if many else starts[0]),
        277: (3, 1, len(bits)),
        278: (4, 1, size[1]),
        279: (4, len(strips), places + 4 * len(strips) if many else lengths[0]),
    }
    entries |= {int(name.removeprefix("tag_")): (3, 1, value) for name, value in tags.items()}
    folder = b"".join(struct.pack("<HHII", tag, *entries[tag]) for tag in sorted(entries))
    data = b"II*\0" + struct.pack("<IH", 8, len(entries)) + folder + b"\0\0\0\0"
    if len(bits) > 2:
        data += struct.pack(f"<{len(bits)}H", *bits).ljust(8, b"\0")
    if many:
        data += struct.pack(f"<{2 * len(strips)}I", *starts, *lengths)
    return data + b"".join(strips)


def bmp_file(
    size: tuple[int, int], bits: int, compression: int, pixels: bytes, extra: bytes = b"", header: int = 40
) -> bytes:
    """BMP with its masks or palette as ``extra``; rows from the bottom, padded to 4 bytes."""
    info = struct.pack("<IiiHHIIiiII", header, *size, 1, bits, compression, len(pixels), 0, 0, 0, 0)
    start = 14 + len(info) + len(extra)
    return struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start) + info + extra + pixels


def psd_file(rgb: RGB) -> bytes:
    """Photoshop file with a merged picture and no layers."""
    height, width = rgb.shape[:2]
    header = struct.pack(">4sH6sHIIHH", b"8BPS", 1, b"", 3, height, width, 8, 3)
    return header + struct.pack(">IIIH", 0, 0, 0, 0) + np.moveaxis(rgb, -1, 0).tobytes()


def gif_with_local_palette(gif: bytes) -> bytes:
    """The same GIF with its palette after the picture's own header, and none for the file."""
    flags = gif[10]
    length = 3 << (flags & 7) + 1
    palette, rest = gif[13 : 13 + length], gif[13 + length :]
    assert flags & 0x80 and rest[0] == 0x2C
    picture = rest[:9] + bytes([0x80 | rest[9] & 0x40 | flags & 7]) + palette + rest[10:]
    return gif[:10] + bytes([flags & 0x70]) + gif[11:13] + picture


def packed(values: npt.NDArray[Any], bits: int) -> list[bytes]:
    """Rows of values below 8 bits, from the highest bit on."""
    unpacked = np.unpackbits(values.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :]
    return [np.packbits(row.reshape(-1)).tobytes() for row in unpacked]
