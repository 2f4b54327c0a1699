"""The virtual camera, with a device of pyvirtualcam's that keeps what it is sent."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
import numpy.typing as npt
import pytest

from engines.errors import SinkError
from rtstyle.controls import Controls
from rtstyle.frame import Frame
from rtstyle.media.resize import letterbox
from rtstyle.sinks import virtual_camera as module
from rtstyle.sinks.paused_slate import paused_slate
from rtstyle.sinks.virtual_camera import HINTS, VirtualCameraSink, device_file, virtual_cameras
from tests.rtstyle.test_style_switcher import until

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
def sink() -> Iterator[VirtualCameraSink]:
    one = VirtualCameraSink(None, (64, 48), Fraction(100), backend="test")
    yield one
    one.close(completed=True)


def paced(fps: int, seconds: float) -> list[float]:
    """Distance of each frame from the nearest tick of a clock that started with the first one, milliseconds."""
    one = VirtualCameraSink(None, (64, 48), Fraction(fps), backend="test")
    one.write(frame(1))
    time.sleep(seconds)
    one.close(completed=True)
    times = Device.made[-1].times
    return [((at - times[0] + 0.5 / fps) % (1 / fps) - 0.5 / fps) * 1000 for at in times]


def test_the_last_frame_is_repeated_at_a_constant_rate(sink: VirtualCameraSink) -> None:
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


def test_frames_of_another_size_are_fitted(sink: VirtualCameraSink) -> None:
    assert sink.write(frame(70, 20, 60))
    whole = letterbox(frame(70, 20, 60).rgb, (64, 48))
    assert whole.shape == (48, 64, 3) and whole[:, 24:40].min() == 70 and whole[:, :23].max() == 0


def test_a_camera_that_is_gone_is_an_error(sink: VirtualCameraSink) -> None:
    Device.made[-1].broken = True
    time.sleep(0.1)
    with pytest.raises(SinkError, match="unplugged"):
        sink.write(frame(1))


def test_one_that_is_missing_comes_with_a_hint() -> None:
    with pytest.raises(SinkError, match="cannot open the virtual camera missing: .*missing is no camera") as caught:
        VirtualCameraSink("missing", (64, 48), backend="test")
    assert "\n" not in caught.value.problem and caught.value.hint


def test_without_a_frame_for_a_while_there_is_a_slate(sink: VirtualCameraSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLATE_AFTER_S", 0.3)
    monkeypatch.setattr(module, "paused_slate", lambda rgb: np.full_like(rgb, 7))
    device = Device.made[-1]
    sink.write(frame(200))
    until(lambda: device.shades[-1:] == [7])
    sink.write(frame(100))
    until(lambda: device.shades[-1:] == [100])
    lost = replace_notice(frame(100))
    for _ in range(20):
        sink.write(lost)  # the last picture again: it is no news
        time.sleep(0.03)
    assert device.shades[-1] == 7


def replace_notice(one: Frame) -> Frame:
    class Lost:
        rgb, notice = one.rgb, "the camera was unplugged"

    return cast("Frame", Lost())


def test_the_slate_is_there_as_soon_as_somebody_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    controls = Controls()
    sink = VirtualCameraSink(None, (64, 48), Fraction(100), backend="test", paused=lambda: controls.paused)
    device = Device.made[-1]
    monkeypatch.setattr(module, "paused_slate", lambda rgb: np.full_like(rgb, 7))
    for paused, shade in ((False, 200), (True, 7), (False, 200)):
        controls.paused = paused
        sink.write(frame(200))
        until(lambda: device.shades[-1:] == [shade])  # noqa: B023  # it is asked at once
    sink.close(completed=True)


def test_the_slate_is_the_picture_dimmed_with_a_word() -> None:
    for height, width in ((360, 640), (48, 64), (16, 16), (640, 360)):
        rgb = np.full((height, width, 3), 100, np.uint8)
        shown = paused_slate(rgb)
        assert shown.shape == rgb.shape and (rgb == 100).all() and shown[0, 0, 0] == 35
        rows, columns = np.nonzero(shown[..., 0] > 100)
        assert len(rows) and abs(columns.mean() - width / 2) < width / 8 and abs(rows.mean() - height / 2) < height / 8


def devices(folder: Path, **names: str) -> Path:
    """A tree as the kernel lists video devices: ``video0`` is a real one."""
    (folder / "class").mkdir()
    for entry, name in names.items():
        real = folder / "devices" / ("pci0" if entry == "video0" else "virtual") / "video4linux" / entry
        real.mkdir(parents=True)
        (real / "name").write_text(f"{name}\n")
        (folder / "class" / entry).symlink_to(real)
    return folder / "class"


def test_by_name_or_by_path(tmp_path: Path) -> None:
    there = devices(tmp_path, video0="HD Webcam", video2="OBS Cam", video10="rtstyle", video11="Rtstyle")
    assert virtual_cameras(there) == {"/dev/video2": "OBS Cam", "/dev/video10": "rtstyle", "/dev/video11": "Rtstyle"}
    assert device_file("rtstyle", there) == "/dev/video10" and device_file("Rtstyle", there) == "/dev/video11"
    assert device_file("obs cam", there) == "/dev/video2" and device_file("/dev/video7", there) == "/dev/video7"
    with pytest.raises(SinkError, match="no virtual camera 'HD Webcam'") as caught:
        device_file("HD Webcam", there)
    assert caught.value.hint == "there are: OBS Cam (/dev/video2), rtstyle (/dev/video10), Rtstyle (/dev/video11)"
    with pytest.raises(SinkError) as caught:
        device_file("rtstyle", tmp_path / "none")
    assert virtual_cameras(tmp_path / "none") == {} and caught.value.hint == HINTS.get(sys.platform, "")


def test_close_twice(sink: VirtualCameraSink) -> None:
    sink.close(completed=True)
    sink.close(completed=False)
