"""What Linux says of a capture device: driver, abilities, formats, sizes and rates. Nothing is captured.

Source:
    the kernel's linux/videodev2.h. Only structures without pointers are used, so that they are the same on
every processor with eight-bit bytes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

Ioctl = Callable[[int, int, bytearray], Any]
"""``fcntl.ioctl``: (file descriptor, request, structure that is changed in place)."""

QUERYCAP = 0x80685600
ENUM_FMT = 0xC0405602
ENUM_FRAMESIZES = 0xC02C564A
ENUM_FRAMEINTERVALS = 0xC034564B
STREAMON = 0x40045612

_CAPTURE, _CAPTURE_MPLANE = 0x00000001, 0x00001000
_OUTPUT, _OUTPUT_MPLANE = 0x00000002, 0x00002000
_M2M, _M2M_MPLANE = 0x00008000, 0x00004000
_DEVICE_CAPS = 0x80000000
_DISCRETE = 1

_TYPE_CAPTURE, _TYPE_OUTPUT, _TYPE_CAPTURE_MPLANE = 1, 2, 9

_MOST = 256
"""Entries of one list at most: a driver that never ends its list must not hang the program."""

COMMON_SIZES = (
    (160, 120),
    (320, 240),
    (640, 360),
    (640, 480),
    (800, 600),
    (1280, 720),
    (1920, 1080),
    (2560, 1440),
    (3840, 2160),
)
"""What is shown of a device that scales to any size."""


@dataclass(frozen=True)
class Mode:
    """One way in which a camera gives pictures.

    Attributes:
        format: four characters, e.g. ``MJPG`` or ``YUYV``.
        width, height: pixels.
        fps: frames per second, highest first; of a range its two ends; empty when the driver does not say.
    """

    format: str
    width: int
    height: int
    fps: tuple[float, ...]


@dataclass(frozen=True)
class Node:
    """A device file.

    Attributes:
        driver: e.g. ``uvcvideo`` or ``v4l2 loopback``.
        card: name of the device.
        captures: True when pictures can be read from it.
        modes: how; empty for a device that captures nothing.
        outputs: True when pictures can be written to it.
    """

    driver: str
    card: str
    captures: bool
    modes: tuple[Mode, ...]
    outputs: bool = False


def look_at(path: str, *, modes: bool = False, ioctl: Ioctl | None = None) -> Node:
    """Ask a device file what it is. Works while another program uses the camera.

    Args:
        path: device file.
        modes: ask for the formats, too.
        ioctl: for tests.

    Raises:
        OSError: it is gone, forbidden, or no video device.
    """
    if ioctl is None:
        import fcntl

        ioctl = fcntl.ioctl
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        answer = bytearray(104)
        ioctl(descriptor, QUERYCAP, answer)
        driver, card, _bus, _version, whole, of_node = struct.unpack_from("16s32s32s3I", answer)
        can = of_node if whole & _DEVICE_CAPS else whole
        captures = bool(can & (_CAPTURE | _CAPTURE_MPLANE)) and not can & (_M2M | _M2M_MPLANE)
        kind = _TYPE_CAPTURE if can & _CAPTURE else _TYPE_CAPTURE_MPLANE
        found = tuple(_modes(ioctl, descriptor, kind)) if modes and captures else ()
        return Node(_text(driver), _text(card), captures, found, bool(can & (_OUTPUT | _OUTPUT_MPLANE)))
    finally:
        os.close(descriptor)


def free_output(path: str, *, ioctl: Ioctl | None = None) -> None:
    """Let a v4l2loopback device take pictures again that its last writer left behind as neither camera nor output.

    Up to version 0.12.7, with ``exclusive_caps=1``, it counts as a writer only who has started a stream, and so misses
    the end of those who just write, as pyvirtualcam does: see v4l2loopback's issue 470. One that starts a stream and
    leaves is missed by none.

    Args:
        path: device file; any that is in order is left alone.
        ioctl: for tests.
    """
    try:
        node = look_at(path, ioctl=ioctl)
        if "loopback" not in node.driver or node.captures or node.outputs:
            return
        if ioctl is None:
            import fcntl

            ioctl = fcntl.ioctl
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return  # whoever opens it next is told
    try:
        with suppress(OSError):  # it fails for want of a format, and has its effect
            ioctl(descriptor, STREAMON, bytearray(struct.pack("i", _TYPE_OUTPUT)))
    finally:
        os.close(descriptor)


def _modes(ioctl: Ioctl, descriptor: int, kind: int) -> Iterator[Mode]:
    for entry in _listed(ioctl, descriptor, ENUM_FMT, 64, struct.pack("2I", 0, kind)):
        (pixel_format,) = struct.unpack_from("I", entry, 44)
        for width, height in _sizes(ioctl, descriptor, pixel_format):
            rates = _rates(ioctl, descriptor, pixel_format, width, height)
            yield Mode(fourcc(pixel_format), width, height, rates)


def _sizes(ioctl: Ioctl, descriptor: int, pixel_format: int) -> list[tuple[int, int]]:
    """(width, height) in the driver's order; of a range the common ones in it, and its largest."""
    found: list[tuple[int, int]] = []
    for entry in _listed(ioctl, descriptor, ENUM_FRAMESIZES, 44, struct.pack("2I", 0, pixel_format)):
        (kind,) = struct.unpack_from("I", entry, 8)
        if kind == _DISCRETE:
            found.append(struct.unpack_from("2I", entry, 12))
            continue
        low, high, step, low_high, high_high, step_high = struct.unpack_from("6I", entry, 12)
        sizes = [
            (width, height)
            for width, height in COMMON_SIZES
            if _in_range(width, low, high, step) and _in_range(height, low_high, high_high, step_high)
        ]
        return sizes or [(high, high_high)]  # a range is the only entry
    return found


def _in_range(value: int, low: int, high: int, step: int) -> bool:
    return low <= value <= high and (value - low) % max(1, step) == 0


def _rates(ioctl: Ioctl, descriptor: int, pixel_format: int, width: int, height: int) -> tuple[float, ...]:
    """Frames per second, highest first."""
    rates: set[float] = set()
    wanted = struct.pack("4I", 0, pixel_format, width, height)
    for entry in _listed(ioctl, descriptor, ENUM_FRAMEINTERVALS, 52, wanted):
        (kind,) = struct.unpack_from("I", entry, 16)
        # An interval is seconds as a fraction, numerator first; a range is its shortest, its longest and a step.
        numbers = struct.unpack_from("2I" if kind == _DISCRETE else "4I", entry, 20)
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        rates.update(round(below / above, 3) for above, below in pairs if above and below)
        if kind != _DISCRETE:
            break
    return tuple(sorted(rates, reverse=True))


def _listed(ioctl: Ioctl, descriptor: int, request: int, size: int, wanted: bytes) -> Iterator[bytearray]:
    """The entries of a list, which the driver ends with an error."""
    with suppress(OSError):
        for number in range(_MOST):
            entry = bytearray(size)
            entry[: len(wanted)] = wanted
            struct.pack_into("I", entry, 0, number)
            ioctl(descriptor, request, entry)
            yield entry


def fourcc(number: int) -> str:
    """The four characters of a pixel format; the highest bit means the larger byte first. 0x47504A4D → ``MJPG``."""
    return _text(struct.pack("<I", number & 0x7FFFFFFF)).strip() + ("-BE" if number & 0x80000000 else "")


def _text(raw: bytes) -> str:
    """A field of fixed length, up to its first zero; what is not printable is left out."""
    text = raw.partition(b"\0")[0].decode("utf-8", "replace")
    return "".join(character for character in text if character.isprintable())
