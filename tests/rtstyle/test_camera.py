"""The camera source against devices that work, lie, hang, fail and go away."""

from __future__ import annotations

import sys
import threading
import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from engines.errors import SourceError
from rtstyle.sources.camera import CameraSource, to_rgb
from rtstyle.sources.opencv_capture import open_device

pytestmark = pytest.mark.real_time


class FakeDevice:
    """A camera of known pictures: the first pixel of each, blue, green and red, holds its number.

    Args:
        frames: pictures until it is unplugged.
        opened: whether opening works.
        pause: set to let reads go on; a cleared one hangs like a driver.
    """

    def __init__(self, frames: int = 1_000_000, opened: bool = True, shape: tuple[int, ...] = (48, 64, 3)) -> None:
        self.frames = frames
        self.opened = opened
        self.shape = shape
        self.asked: dict[int, float] = {}
        self.released = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.count = 0

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return self.opened

    def read(self) -> tuple[bool, Any]:
        self.go.wait(30.0)
        if self.count >= self.frames:
            return False, None
        picture = np.zeros(self.shape, np.uint8)
        picture[0, 0] = self.count % 256
        self.count += 1
        return True, picture

    def get(self, prop: int, /) -> float:
        return 30.0

    def set(self, prop: int, value: float, /) -> bool:
        self.asked[prop] = value
        return True

    def release(self) -> None:
        self.released.set()


def test_pictures_come_in_order_and_newest_first() -> None:
    device = FakeDevice()
    source = CameraSource(0, opener=lambda _: device)
    frames = [frame for frame, _ in zip(source.frames(), range(5), strict=False)]
    source.close()
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert all(a.captured_s < b.captured_s and a.pts <= b.pts for a, b in pairwise(frames))
    assert frames[0].rgb.shape == (48, 64, 3) and frames[0].pts == 0
    assert source.info.live and (source.info.width, source.info.height) == (64, 48)
    assert device.released.wait(5.0)


def test_size_is_measured_not_assumed() -> None:
    source = CameraSource(0, size=(1280, 720), fps=60, opener=lambda _: FakeDevice(shape=(48, 64)))
    frame = next(source.frames())
    source.close()
    assert (source.info.width, source.info.height) == (64, 48)
    assert frame.rgb.shape == (48, 64, 3)


def test_rate_is_measured_not_trusted() -> None:
    class Dim(FakeDevice):
        def read(self) -> tuple[bool, Any]:
            time.sleep(0.05)  # what a camera does in a dark room
            return super().read()

    source = CameraSource(0, fps=30, opener=lambda _: Dim())
    source.close()
    assert 0 < source.info.fps <= 20


def test_pixel_format_is_read_back() -> None:
    import cv2

    class Claims(FakeDevice):
        def __init__(self, code: float) -> None:
            super().__init__()
            self.code = code

        def get(self, prop: int, /) -> float:
            return self.code if prop == cv2.CAP_PROP_FOURCC else 30.0

    for code, expected in ((cv2.VideoWriter.fourcc(*"YUYV"), "YUYV"), (0.0, ""), (-1.0, ""), (22.0, "")):
        source = CameraSource(0, fps=30, opener=lambda _, code=code: Claims(code))
        source.close()
        assert source.info.pixel_format == expected


def test_unplugged_device_is_reported() -> None:
    device = FakeDevice(frames=3)
    source = CameraSource(2, opener=lambda _: device, read_timeout_s=0.1)
    with pytest.raises(SourceError, match="camera 2 stopped sending pictures"):
        list(source.frames())
    source.close()
    assert device.released.wait(5.0)


def test_device_that_hangs_while_reading_is_reported() -> None:
    device = FakeDevice()
    source = CameraSource(0, opener=lambda _: device, read_timeout_s=0.1)
    device.go.clear()
    with pytest.raises(SourceError, match="stopped sending"):
        list(source.frames())
    device.go.set()
    source.close()


def test_device_that_hangs_while_opening_is_reported() -> None:
    release = threading.Event()

    def opener(_: int | str) -> FakeDevice:
        release.wait(30.0)
        return FakeDevice()

    threading.Timer(1.5, release.set).start()  # lets the thread end; the error comes long before
    with pytest.raises(SourceError, match="no picture within 0.05 s"):
        CameraSource(0, opener=opener, open_timeout_s=0.05)
    release.set()


def test_device_that_does_not_open_or_gives_nothing() -> None:
    with pytest.raises(SourceError, match="cannot open camera 0"):
        CameraSource(0, opener=lambda _: FakeDevice(opened=False))
    with pytest.raises(SourceError, match="opens but delivers no picture"):
        CameraSource(0, opener=lambda _: FakeDevice(frames=0), read_timeout_s=0.1)


def test_driver_that_raises_is_mapped() -> None:
    def opener(_: int | str) -> FakeDevice:
        raise RuntimeError("driver broke")

    with pytest.raises(SourceError, match="driver broke"):
        CameraSource(0, opener=opener)


def test_close_ends_a_waiting_reader() -> None:
    device = FakeDevice()
    source = CameraSource(0, opener=lambda _: device, read_timeout_s=30.0)
    device.go.clear()
    ended = threading.Event()

    def read() -> None:
        list(source.frames())
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    threading.Thread(target=source.close, daemon=True).start()
    assert ended.wait(5.0)
    device.go.set()
    assert device.released.wait(5.0)


def test_colours_are_rgb() -> None:
    blue = np.zeros((2, 2, 3), np.uint8)
    blue[..., 0] = 255
    assert to_rgb(blue)[0, 0].tolist() == [0, 0, 255]
    assert to_rgb(np.full((2, 2), 9, np.uint8))[0, 0].tolist() == [9, 9, 9]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="device files are Linux's")
def test_missing_device_is_one_clear_line(tmp_path: Any) -> None:
    with pytest.raises(SourceError, match="no camera 97"):
        CameraSource(97)
    file = tmp_path / "video0"
    file.write_text("no device")
    with pytest.raises(SourceError, match="is not a camera"):
        CameraSource(str(file))


def test_opening_nothing_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    capture = open_device(97)
    assert not capture.isOpened()
    capture.release()
    assert capfd.readouterr().err == ""
