"""Queries V4L2 devices on Linux: driver, capabilities, formats, sizes and rates. Nothing is captured.

Numbers and structures come from the kernel's linux/videodev2.h. Only structures without pointers are used, so their
layout is the same on every processor.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

Ioctl = Callable[[int, int, bytearray], Any]
"""``fcntl.ioctl``: (file descriptor, request, structure to change in place)."""

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

_MAX_ENTRIES = 256
"""Limit for a list of the driver: one that never ends must not hang the program."""

COMMON_SIZES = (
    (160, 120), (320, 240), (640, 360), (640, 480), (800, 600), (1280, 720), (1920, 1080), (2560, 1440), (3840, 2160)
)  # fmt: skip
"""Sizes to list for a device that scales to any size."""


@dataclass(frozen=True)
class Mode:
    """A format and size that a camera can deliver.

    Attributes:
        format: four characters, e.g. ``MJPG`` or ``YUYV``.
        width, height: pixels.
        fps: frames per second, highest first; the two ends of a range; empty when unknown.
    """

    format: str
    width: int
    height: int
    fps: tuple[float, ...]


@dataclass(frozen=True)
class DeviceNode:
    """The capabilities of a device file.

    Attributes:
        driver: e.g. ``uvcvideo`` or ``v4l2 loopback``.
        card: name of the device.
        captures: True when pictures can be read from it.
        modes: capture modes, if requested.
        outputs: True when pictures can be written to it.
    """

    driver: str
    card: str
    captures: bool
    modes: tuple[Mode, ...]
    outputs: bool = False


def query_device(path: str, *, modes: bool = False, ioctl: Ioctl | None = None) -> DeviceNode:
    """Query the capabilities of a device file. Works while another program uses the camera.

    Args:
        path: device file.
        modes: also query the capture modes.
        ioctl: for tests.

    Raises:
        OSError: it is gone, forbidden, or not a video device.
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
        return DeviceNode(_text(driver), _text(card), captures, found, bool(can & (_OUTPUT | _OUTPUT_MPLANE)))
    finally:
        os.close(descriptor)


def free_output(path: str, *, ioctl: Ioctl | None = None) -> None:
    """Make a v4l2loopback device accept pictures again that its last writer left as neither camera nor output.

    Up to version 0.12.7, with ``exclusive_caps=1``, v4l2loopback misses the end of writers that never start a stream,
    as pyvirtualcam (v4l2loopback's issue 470). Starting a stream and closing the file resets it.

    Args:
        path: device file; one in working order is left alone.
        ioctl: for tests.
    """
    try:
        node = query_device(path, ioctl=ioctl)
        if "loopback" not in node.driver or node.captures or node.outputs:
            return
        if ioctl is None:
            import fcntl

            ioctl = fcntl.ioctl
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return  # opening it next reports the error
    try:
        with suppress(OSError):  # fails without a format, but has the effect
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
    """Return (width, height) in the driver's order; for a range, the common sizes in it or its largest."""
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
    """Return frames per second, highest first."""
    rates: set[float] = set()
    head = struct.pack("4I", 0, pixel_format, width, height)
    for entry in _listed(ioctl, descriptor, ENUM_FRAMEINTERVALS, 52, head):
        (kind,) = struct.unpack_from("I", entry, 16)
        # An interval is a fraction of seconds, numerator first; a range is shortest, longest and step.
        numbers = struct.unpack_from("2I" if kind == _DISCRETE else "4I", entry, 20)
        intervals = zip(numbers[::2], numbers[1::2], strict=True)
        rates.update(round(below / above, 3) for above, below in intervals if above and below)
        if kind != _DISCRETE:
            break
    return tuple(sorted(rates, reverse=True))


def _listed(ioctl: Ioctl, descriptor: int, request: int, size: int, head: bytes) -> Iterator[bytearray]:
    """Yield the entries of a list, which the driver ends with an error."""
    with suppress(OSError):
        for number in range(_MAX_ENTRIES):
            entry = bytearray(size)
            entry[: len(head)] = head
            struct.pack_into("I", entry, 0, number)
            ioctl(descriptor, request, entry)
            yield entry


def fourcc(number: int) -> str:
    """Return the four characters of a pixel format: 0x47504A4D → ``MJPG``. The highest bit means big-endian."""
    return _text(struct.pack("<I", number & 0x7FFFFFFF)).strip() + ("-BE" if number & 0x80000000 else "")


def _text(raw: bytes) -> str:
    """Return the printable characters of a field up to its first zero."""
    text = raw.partition(b"\0")[0].decode("utf-8", "replace")
    return "".join(character for character in text if character.isprintable())
