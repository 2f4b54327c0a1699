"""The text of --source selects a source, and cameras reconnect after they were unplugged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.errors import SourceError
from rtstyle.sources import camera_discovery, factory
from rtstyle.sources.base import Source
from rtstyle.sources.camera_discovery import Camera
from rtstyle.sources.factory import OPENERS, is_camera, kind_of, open_source
from rtstyle.sources.file import FileSource
from rtstyle.sources.pattern import PatternSource
from tests.rtstyle.clips import Clip
from tests.rtstyle.test_camera import FakeDevice

C920 = Camera(0, "/dev/video0", "HD Pro Webcam C920")


class Desk:
    """Cameras that are plugged in and out: index → device."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plugged: dict[int, tuple[Camera, FakeDevice]] = {}
        self.opened: list[int | str] = []
        for module in (camera_discovery, factory):
            monkeypatch.setattr(module, "list_cameras", lambda: [camera for camera, _ in self.plugged.values()])
        monkeypatch.setattr("rtstyle.sources.camera.check_device", self.check)
        monkeypatch.setattr("rtstyle.sources.camera.open_device", self.open)
        monkeypatch.setattr("rtstyle.sources.camera.RETRY_S", 0.05)

    def plug(self, camera: Camera, device: FakeDevice | None = None) -> FakeDevice:
        device = device or FakeDevice()
        self.plugged[camera.index] = camera, device
        return device

    def pull(self, camera: Camera) -> None:
        """Reads fail from now on, and the system forgets it."""
        _, device = self.plugged.pop(camera.index)
        device.frames = 0

    def check(self, device: int | str) -> None:
        if device not in self.plugged:
            raise SourceError(f"no camera {device}")

    def open(self, device: Any) -> FakeDevice:
        self.opened.append(device)
        return self.plugged[device][1]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(monkeypatch)


def lost_and_back(source: Source, desk: Desk, back: Camera) -> list[str]:
    """Pull the C920, wait for the notice, plug ``back`` in, wait for pictures. Returns: the notices."""
    notices: list[str] = []
    for frame in source.frames():
        if not frame.notice and not notices and C920.index in desk.plugged:
            desk.pull(C920)
        if frame.notice:
            notices.append(frame.notice)
            if len(notices) == 4:
                desk.plug(back)
        elif len(notices) >= 4:
            break
        assert len(notices) < 60
    source.close()
    return notices


@pytest.mark.parametrize("text", ["0", "pro webcam"])
def test_a_camera_comes_back_under_another_number(desk: Desk, text: str) -> None:
    desk.plug(C920)
    source = open_source(text, size=(640, 480), fps=30)
    assert source.info.name == ("camera 0" if text == "0" else "HD Pro Webcam C920")
    notices = lost_and_back(source, desk, Camera(3, "/dev/video3", C920.name))
    assert notices[-1] == f"{source.info.name} is not plugged in; waiting for it"
    assert desk.opened == [0, 3]


def test_another_camera_at_its_number_is_left_alone(desk: Desk) -> None:
    desk.plug(C920)
    source = open_source("0")
    frames = source.frames()
    next(frames)
    desk.pull(C920)
    desk.plug(Camera(0, "/dev/video0", "Somebody's phone"))
    next(frame for frame in frames if "not plugged in" in frame.notice)
    source.close()
    assert desk.opened == [0]


def test_without_reconnect_the_loss_is_the_end(desk: Desk) -> None:
    desk.plug(C920)
    source = open_source("0", reconnect=False)
    frames = source.frames()
    next(frames)
    desk.pull(C920)
    with pytest.raises(SourceError, match="camera 0 stopped sending pictures"):
        list(frames)
    source.close()


def test_a_virtual_camera_without_a_writer(desk: Desk) -> None:
    desk.plug(Camera(7, "/dev/video7", "rtstyle", virtual=True, idle=True))
    with pytest.raises(SourceError, match="no program sends pictures"):
        open_source("rtstyle")
    with pytest.raises(SourceError, match="no program sends pictures"):
        open_source("7")
    assert desk.opened == []


def test_a_file_comes_before_a_camera_of_its_name(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.plug(C920)
    monkeypatch.chdir(tmp_path)
    Clip(frames=3).write(tmp_path / "clip.mp4").rename(tmp_path / "webcam")
    source = open_source("webcam")
    assert isinstance(source, FileSource)
    source.close()
    (tmp_path / "webcam").unlink()
    (tmp_path / "webcam").mkdir()
    source = open_source("webcam")
    source.close()
    assert desk.opened == [0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kinect", "no camera or file is named 'kinect'"),
        ("", "no camera or file is named ''"),
        ("none.mp4", "no such file: none.mp4"),
        ("folder/none", "no such file: folder/none"),
        ("5", "no camera 5"),
        ("/dev/video5", "no camera /dev/video5"),
        ("/dev/v4l/by-id/usb-none", "no camera /dev/v4l/by-id/usb-none"),
    ],
)
def test_a_missing_source_is_one_clear_line(desk: Desk, text: str, problem: str) -> None:
    desk.plug(C920)
    with pytest.raises(SourceError) as caught:
        open_source(text)
    assert caught.value.problem == problem and desk.opened == []


def test_several_cameras_of_one_name(desk: Desk) -> None:
    desk.plug(C920)
    desk.plug(Camera(2, "/dev/video2", C920.name))
    with pytest.raises(SourceError, match=r"0 \(HD Pro Webcam C920\), 2 \(HD Pro Webcam C920\)"):
        open_source("webcam")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("pattern", "pattern"),
        ("screen:2", "screen"),
        ("0", "camera"),
        ("/dev/video0", "camera"),
        ("webcam", "camera"),
        ("clip.mp4", "file"),
        ("folder/clip", "file"),
        ("rtsp://host/1", "url"),
    ],
)
def test_every_kind_has_an_opener(text: str, kind: str) -> None:
    assert kind_of(text) == kind and kind in OPENERS


def test_kinds_of_sources() -> None:
    assert is_camera("0") and is_camera("12") and is_camera("/dev/video0")
    assert not is_camera("clip.mp4") and not is_camera("rtsp://host/1") and not is_camera("pattern")
    assert isinstance(open_source("pattern"), PatternSource)
