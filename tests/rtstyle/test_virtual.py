"""The virtual camera, with a device of pyvirtualcam's that keeps what it is sent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from engines.errors import SinkError
from rtstyle.frame import Frame
from rtstyle.sinks.virtual import VirtualSink, fitted

pyvirtualcam = pytest.importorskip("pyvirtualcam")


class Device:
    """A backend in this process."""

    made: ClassVar[list[Device]] = []

    def __init__(self, *, width: int, height: int, fps: float, fourcc: int, device: str | None) -> None:
        if device == "missing":
            raise RuntimeError("missing is no camera\nmore")
        self.shape, self.fps, self.path = (height, width), fps, device or "/dev/test"
        self.times: list[float] = []
        self.shades: list[int] = []
        self.broken = self.closed = False
        Device.made.append(self)

    def close(self) -> None:
        self.closed = True

    def send(self, frame: npt.NDArray[np.uint8]) -> None:
        if self.broken:
            raise RuntimeError("unplugged")
        self.times.append(time.monotonic())
        self.shades.append(int(np.asarray(frame).reshape(*self.shape, 3)[self.shape[0] // 2, self.shape[1] // 2, 0]))

    def device(self) -> str:
        return self.path

    def native_fourcc(self) -> None:
        return None


pyvirtualcam.register_backend("test", Device)


def frame(shade: int, width: int = 64, height: int = 48) -> Frame:
    return Frame(np.full((height, width, 3), shade, np.uint8), 0, 0, Fraction(1, 30), time.monotonic())


@pytest.fixture
def sink() -> Iterator[VirtualSink]:
    one = VirtualSink(None, (64, 48), Fraction(100), backend="test")
    yield one
    one.close(completed=True)


def paced(fps: int, seconds: float) -> list[float]:
    """Distance of each frame from the nearest tick of a clock that started with the first one, milliseconds."""
    one = VirtualSink(None, (64, 48), Fraction(fps), backend="test")
    one.write(frame(1))
    time.sleep(seconds)
    one.close(completed=True)
    times = Device.made[-1].times
    return [((at - times[0] + 0.5 / fps) % (1 / fps) - 0.5 / fps) * 1000 for at in times]


def test_the_last_frame_is_repeated_at_a_constant_rate(sink: VirtualSink) -> None:
    device = Device.made[-1]
    time.sleep(0.1)
    assert sink.write(frame(50))
    time.sleep(0.2)
    assert sink.write(frame(90))
    time.sleep(0.1)
    sink.close(completed=True)
    assert device.closed
    assert list(dict.fromkeys(device.shades)) == [0, 50, 90], "black until there is something to show"
    assert device.shades.count(50) >= 10


def test_the_rate_does_not_drift() -> None:
    off = paced(100, 2.0)
    assert len(off) >= 150
    # Single ticks are late on a busy machine; a clock that drifts is late for good.
    assert abs(min(off[-50:], key=abs) - min(off[1:50], key=abs)) < 1.0


@pytest.mark.slow
def test_the_rate_does_not_drift_in_a_minute() -> None:
    off = paced(30, 60.0)
    assert len(off) >= 1700
    assert abs(min(off[-60:], key=abs) - min(off[1:60], key=abs)) < 1.0


def test_frames_of_another_size_are_fitted(sink: VirtualSink) -> None:
    assert sink.write(frame(70, 20, 60))
    whole = fitted(frame(70, 20, 60).rgb, (64, 48))
    assert whole.shape == (48, 64, 3) and whole[:, 24:40].min() == 70 and whole[:, :23].max() == 0


def test_a_camera_that_is_gone_is_told(sink: VirtualSink) -> None:
    Device.made[-1].broken = True
    time.sleep(0.1)
    with pytest.raises(SinkError, match="unplugged"):
        sink.write(frame(1))


def test_one_that_is_not_there_is_told_with_what_to_do() -> None:
    with pytest.raises(SinkError, match="cannot open the virtual camera missing: .*missing is no camera") as caught:
        VirtualSink("missing", (64, 48), backend="test")
    assert "\n" not in caught.value.problem and caught.value.hint


def test_close_twice(sink: VirtualSink) -> None:
    sink.close(completed=True)
    sink.close(completed=False)
