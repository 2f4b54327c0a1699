"""A kernel that is laid out in ctypes as its header, linux/videodev2.h, says."""

from __future__ import annotations

import ctypes
import errno
from typing import Any

U32, U8 = ctypes.c_uint32, ctypes.c_uint8


class Capability(ctypes.Structure):
    _fields_ = [
        ("driver", ctypes.c_char * 16),
        ("card", ctypes.c_char * 32),
        ("bus_info", ctypes.c_char * 32),
        ("version", U32),
        ("capabilities", U32),
        ("device_caps", U32),
        ("reserved", U32 * 3),
    ]


class FormatDescription(ctypes.Structure):
    _fields_ = [
        ("index", U32),
        ("type", U32),
        ("flags", U32),
        ("description", ctypes.c_char * 32),
        ("pixelformat", U32),
        ("mbus_code", U32),
        ("reserved", U32 * 3),
    ]


class FrameSize(ctypes.Structure):
    _fields_ = [
        ("index", U32),
        ("pixel_format", U32),
        ("type", U32),
        ("numbers", U32 * 6),
        ("reserved", U32 * 2),
    ]


class FrameInterval(ctypes.Structure):
    _fields_ = [
        ("index", U32),
        ("pixel_format", U32),
        ("width", U32),
        ("height", U32),
        ("type", U32),
        ("numbers", U32 * 6),
        ("reserved", U32 * 2),
    ]


def request(direction: int, number: int, structure: type[ctypes.Structure]) -> int:
    """The kernel's _IOR ('V') and _IOWR macros."""
    return direction << 30 | ctypes.sizeof(structure) << 16 | ord("V") << 8 | number


def pixel_format(text: str) -> int:
    return int.from_bytes(text.encode(), "little")


class Kernel:
    """Answers as a driver does.

    Args:
        capabilities: of the whole device, then of this device file.
        sizes: format → sizes, or one range (min, max, step of the width; the same of the height).
        intervals: seconds as fractions, the same for all sizes; or a range of three.
    """

    def __init__(
        self,
        driver: bytes = b"uvcvideo",
        capabilities: tuple[int, int] = (0x85A00001, 0x04200001),
        sizes: dict[str, list[tuple[int, ...]]] | None = None,
        intervals: tuple[int, list[tuple[int, int]]] = (1, [(1, 30), (1, 15)]),
    ) -> None:
        self.driver, self.capabilities = driver, capabilities
        self.sizes = {"MJPG": [(1280, 720), (640, 480)]} if sizes is None else sizes
        self.intervals = intervals

    def __call__(self, descriptor: int, number: int, answer: bytearray) -> int:
        for kind, structure, asked in (
            (self._capability, Capability, request(2, 0, Capability)),
            (self._format, FormatDescription, request(3, 2, FormatDescription)),
            (self._size, FrameSize, request(3, 74, FrameSize)),
            (self._interval, FrameInterval, request(3, 75, FrameInterval)),
        ):
            if number == asked:
                assert len(answer) == ctypes.sizeof(structure)
                kind(structure.from_buffer(answer))  # type: ignore[operator]
                return 0
        raise OSError(errno.ENOTTY, "no such request")

    def _capability(self, it: Capability) -> None:
        it.driver, it.card = self.driver, b"HD Pro Webcam C920"
        it.capabilities, it.device_caps = self.capabilities

    def _format(self, it: FormatDescription) -> None:
        assert it.type == 1
        it.pixelformat = pixel_format(self._at(list(self.sizes), it.index))

    def _size(self, it: FrameSize) -> None:
        size = self._at(self.sizes[it.pixel_format.to_bytes(4, "little").decode()], it.index)
        it.type = 1 if len(size) == 2 else 3
        it.numbers[: len(size)] = size

    def _interval(self, it: FrameInterval) -> None:
        assert it.width and it.height and it.pixel_format
        it.type, fractions = self.intervals
        parts = [self._at(fractions, it.index)] if it.type == 1 else fractions
        for place, number in enumerate(number for part in parts for number in part):
            it.numbers[place] = number

    def _at(self, entries: list[Any], index: int) -> Any:
        if index >= len(entries):
            raise OSError(errno.EINVAL, "the end")
        return entries[index]
