"""Cameras are listed, distinguished and found by name; the kernel is simulated with the layout of its header."""

from __future__ import annotations

import errno
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.errors import SourceError
from engines.install_hint import pip_install
from rtstyle.cli import main
from rtstyle.commands.devices import describe
from rtstyle.media import v4l2
from rtstyle.media.v4l2 import Mode
from rtstyle.sources import camera_discovery
from rtstyle.sources.camera_discovery import Camera, find_again, find_camera, linux_cameras, modes
from tests.rtstyle.v4l2_kernel import Capability, FormatDescription, FrameInterval, FrameSize, Kernel, request

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="device files are Linux's")


@pytest.fixture(autouse=True)
def nothing_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is connected to this machine."""
    monkeypatch.setattr("rtstyle.live.midi.list_inputs", list)
    monkeypatch.setattr("rtstyle.sources.ndi.list_ndi_sources", list)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A sysfs with a camera of two device files, and one of v4l2loopback; empty files as devices."""
    for number, (name, index) in enumerate([("Cam\n", 0), ("Cam\n", 1), ("rtstyle\n", 0)]):
        folder = tmp_path / "sys" / f"video{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(name)
        (folder / "index").write_text(f"{index}\n")
        (tmp_path / f"video{number}").touch()
    (tmp_path / "v4l" / "by-id").mkdir(parents=True)
    (tmp_path / "v4l" / "by-path").mkdir(parents=True)
    (tmp_path / "v4l" / "by-id" / "usb-Cam_1234-video-index0").symlink_to("../../video0")
    (tmp_path / "v4l" / "by-path" / "pci-0000-usb-0:1:1.0-video-index0").symlink_to("../../video0")
    return tmp_path


def by_file(kernels: dict[str, Kernel]) -> v4l2.Ioctl:
    def ioctl(descriptor: int, number: int, answer: bytearray) -> int:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        return kernels[name](descriptor, number, answer)

    return ioctl


UVC = Kernel()
METADATA = Kernel(capabilities=(0x85A00001, 0x04A00000))
FED = Kernel(b"v4l2 loopback", (0x85208003, 0x85200001))
EMPTY = Kernel(b"v4l2 loopback", (0x85208003, 0x85200002))


@linux
def test_requests_are_the_kernels() -> None:
    assert request(2, 0, Capability) == v4l2.QUERYCAP
    assert request(3, 2, FormatDescription) == v4l2.ENUM_FMT
    assert request(3, 74, FrameSize) == v4l2.ENUM_FRAMESIZES
    assert request(3, 75, FrameInterval) == v4l2.ENUM_FRAMEINTERVALS


@linux
def test_device_files_without_pictures_are_left_out(machine: Path) -> None:
    ioctl = by_file({"video0": UVC, "video1": METADATA, "video2": FED})
    real, virtual = linux_cameras(machine / "sys", machine, ioctl)
    assert (real.index, real.name, real.driver, real.virtual) == (0, "Cam", "uvcvideo", False)
    assert real.stable_path.endswith("by-id/usb-Cam_1234-video-index0")
    assert (virtual.index, virtual.name, virtual.virtual, virtual.idle) == (2, "rtstyle", True, False)
    assert virtual.stable_path == ""


@linux
def test_a_virtual_camera_without_a_writer_is_listed_as_idle(machine: Path) -> None:
    ioctl = by_file({"video0": UVC, "video1": METADATA, "video2": EMPTY})
    assert linux_cameras(machine / "sys", machine, ioctl)[1].idle
    assert modes(linux_cameras(machine / "sys", machine, ioctl)[1], ioctl) == ()


@linux
def test_a_codec_is_no_camera(machine: Path) -> None:
    codec = Kernel(b"bcm2835-codec", (0x84208003, 0x04208000))
    ioctl = by_file({"video0": codec, "video1": codec, "video2": codec})
    assert linux_cameras(machine / "sys", machine, ioctl) == []


@linux
def test_forbidden_and_vanished_device_files(machine: Path) -> None:
    """What may not be opened is known from sysfs; what is gone half-way is left out."""

    def forbidden(descriptor: int, number: int, answer: bytearray) -> int:
        raise PermissionError(errno.EACCES, "no")

    driver = machine / "drivers" / "uvcvideo"
    driver.mkdir(parents=True)
    (machine / "sys" / "video0" / "device").mkdir()
    (machine / "sys" / "video0" / "device" / "driver").symlink_to(driver)
    (machine / "sys" / "video2" / "name").unlink()
    (camera,) = linux_cameras(machine / "sys", machine, forbidden)
    assert (camera.index, camera.driver, camera.virtual) == (0, "uvcvideo", False)
    assert modes(camera, forbidden) == ()


@linux
def test_only_a_loopback_that_is_neither_camera_nor_output_is_freed(machine: Path) -> None:
    asked: list[tuple[str, bytes]] = []
    left = Kernel(b"v4l2 loopback", (0x85208003, 0x85200000))  # what version 0.12.7 says after its first writer
    kernels = {"video0": UVC, "video1": METADATA, "video2": left}

    def ioctl(descriptor: int, number: int, answer: bytearray) -> int:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if number == v4l2.STREAMON:
            asked.append((name, bytes(answer)))
            raise OSError(errno.EINVAL, "no format")
        return kernels[name](descriptor, number, answer)

    for number in (0, 1, 2):
        v4l2.free_output(str(machine / f"video{number}"), ioctl=ioctl)
    assert asked == [("video2", (2).to_bytes(4, "little"))]
    for kernel in (FED, EMPTY):
        kernels["video2"] = kernel
        v4l2.free_output(str(machine / "video2"), ioctl=ioctl)
    v4l2.free_output(str(machine / "video7"), ioctl=ioctl)  # missing: opening it reports the error
    assert len(asked) == 1


def test_names_of_formats() -> None:
    assert v4l2.fourcc(0x47504A4D) == "MJPG" and v4l2.fourcc(0x20363159) == "Y16"
    assert v4l2.fourcc(0x20363159 | 1 << 31) == "Y16-BE"  # or its sizes would be listed twice under one name


@linux
def test_modes(machine: Path) -> None:
    kernel = Kernel(sizes={"MJPG": [(1280, 720), (640, 480)], "YUYV": [(640, 480)]})
    assert modes(Camera(0, str(machine / "video0"), "Cam"), kernel) == (
        Mode("MJPG", 1280, 720, (30.0, 15.0)),
        Mode("MJPG", 640, 480, (30.0, 15.0)),
        Mode("YUYV", 640, 480, (30.0, 15.0)),
    )


@linux
def test_ranges_are_listed_as_common_sizes(machine: Path) -> None:
    camera = Camera(0, str(machine / "video0"), "Cam")
    steps = Kernel(sizes={"YUYV": [(16, 1280, 16, 16, 720, 8)]}, intervals=(3, [(1, 60), (1, 5)]))
    found = modes(camera, steps)
    sizes = [(mode.width, mode.height) for mode in found]
    assert sizes == [(160, 120), (320, 240), (640, 360), (640, 480), (800, 600), (1280, 720)]
    assert all(mode.fps == (60.0, 5.0) for mode in found)
    odd = Kernel(sizes={"YUYV": [(720, 720, 1, 576, 576, 1)]}, intervals=(1, []))
    assert modes(camera, odd) == (Mode("YUYV", 720, 576, ()),)


@linux
def test_a_driver_whose_list_never_ends(machine: Path) -> None:
    class Endless(Kernel):
        def _at(self, entries: list[Any], index: int) -> Any:
            return entries[index % len(entries)]

    assert 0 < len(v4l2.query_device(str(machine / "video0"), modes=True, ioctl=_few(Endless())).modes) < 1000


def _few(kernel: Kernel) -> v4l2.Ioctl:
    """Only formats without end; an endless list of each list would take long."""

    def ioctl(descriptor: int, number: int, answer: bytearray) -> int:
        if number in (v4l2.ENUM_FRAMESIZES, v4l2.ENUM_FRAMEINTERVALS) and int.from_bytes(answer[:4], "little"):
            raise OSError(errno.EINVAL, "the end")
        return kernel(descriptor, number, answer)

    return ioctl


@linux
def test_what_is_no_device_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "video0").write_text("rubbish")
    with pytest.raises(OSError, match="Inappropriate ioctl"):
        v4l2.query_device(str(tmp_path / "video0"))


CAMERAS = (
    Camera(0, "/dev/video0", "Integrated Camera: Integrated C"),
    Camera(2, "/dev/video2", "HD Pro Webcam C920", stable_path="/dev/v4l/by-id/usb-C920_A"),
    Camera(4, "/dev/video4", "HD Pro Webcam C920", stable_path="/dev/v4l/by-id/usb-C920_B"),
    Camera(6, "/dev/video6", "Integrated"),
)


def test_a_part_of_a_name_is_enough() -> None:
    assert find_camera("camera: int", CAMERAS).index == 0
    assert find_camera(" INTEGRATED ", CAMERAS).index == 6  # the whole name comes before parts of others


def test_an_unclear_name_lists_the_matches() -> None:
    with pytest.raises(SourceError) as caught:
        find_camera("webcam", CAMERAS)
    assert caught.value.problem == "several cameras match 'webcam'"
    assert "2 (HD Pro Webcam C920), 4 (HD Pro Webcam C920)" in caught.value.hint


@pytest.mark.parametrize("text", ["Kinect", "", "   "])
def test_a_name_that_is_not_there_lists_all(text: str) -> None:
    with pytest.raises(SourceError, match="no camera or file") as caught:
        find_camera(text, CAMERAS)
    assert "0 (Integrated Camera: Integrated C)" in caught.value.hint and "6 (Integrated)" in caught.value.hint


def test_a_camera_is_found_again_under_another_number() -> None:
    a, b = CAMERAS[1], CAMERAS[2]
    assert find_again(a, [replace(b, index=2), replace(a, index=5)]) == replace(a, index=5)
    nameless = replace(CAMERAS[0], stable_path="")
    assert find_again(nameless, [replace(nameless, index=3)]) == replace(nameless, index=3)
    assert find_again(nameless, [replace(nameless, index=9), nameless]) == nameless
    assert find_again(nameless, [a, b]) is None and find_again(a, []) is None
    socket = replace(nameless, stable_path="/dev/v4l/by-path/usb-1")
    moved, twin = replace(socket, stable_path="/dev/v4l/by-path/usb-2", index=3), replace(nameless, index=0)
    assert find_again(socket, [twin, replace(socket, index=8)]) == replace(socket, index=8)
    assert find_again(socket, [moved]) == moved


def test_the_twin_is_not_taken_for_the_camera_that_was_pulled() -> None:
    assert find_again(CAMERAS[1], [CAMERAS[2]]) is None


def test_for_people() -> None:
    found = (Mode("MJPG", 1280, 720, (30.0, 29.97)), Mode("MJPG", 640, 480, ()), Mode("YUYV", 640, 480, (7.5,)))
    assert describe(CAMERAS[1], found).splitlines() == [
        "2  HD Pro Webcam C920  /dev/video2",
        "   /dev/v4l/by-id/usb-C920_A",
        "   MJPG  1280×720 at 30/29.97, 640×480",
        "   YUYV  640×480 at 7.5",
    ]
    many = tuple(Mode(name, 640, 480, (60.0, 30.0, 15.0, 1.0)) for name in ("YUYV", "UYVY"))
    assert describe(CAMERAS[3], many).splitlines()[1:] == ["   YUYV, UYVY  640×480 at 60…1"]
    idle = Camera(9, "/dev/video9", "rtstyle", virtual=True, idle=True)
    assert describe(idle, ()) == "9  rtstyle  /dev/video9  virtual, no program is sending to it"


def test_a_machine_without_cameras_is_no_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_discovery, "list_cameras", list)
    monkeypatch.setattr(camera_discovery, "names_are_known", lambda: True)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["devices"]) == 0
    assert capsys.readouterr().out == "No camera is connected. `rtstyle webcam --source pattern` works without one.\n"
    assert main(["devices", "--json"]) == 0
    kinds = ("cameras", "microphones", "midi", "ndi", "spout", "syphon")
    assert json.loads(capsys.readouterr().out) == {kind: [] for kind in kinds}


def test_midi_inputs_are_listed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_discovery, "list_cameras", lambda: [Camera(0, "/dev/video0", "Cam")])
    monkeypatch.setattr(camera_discovery, "names_are_known", lambda: True)
    monkeypatch.setattr("rtstyle.live.midi.list_inputs", lambda: ["Launchpad Mini"])
    assert main(["devices"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "MIDI  Launchpad Mini"


def test_a_camera_without_permission_is_reported(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_discovery, "list_cameras", lambda: [Camera(0, str(machine / "video0"), "Cam")])
    monkeypatch.setattr(camera_discovery, "names_are_known", lambda: True)
    monkeypatch.setattr("rtstyle.commands.devices.os.access", lambda *_: False)  # root may do all
    assert main(["devices"]) == 0
    assert "no permission to use it; add yourself to its group" in capsys.readouterr().out


def test_the_numbers_that_open_where_names_are_not_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_discovery, "names_are_known", lambda: False)
    monkeypatch.setattr(camera_discovery, "probe_cameras", lambda: iter([Camera(1, "", "camera 1")]))
    assert main(["devices"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "1  camera 1\n" and pip_install("cameras") in printed.err


def test_probing_opens_and_gives_back(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    class Device:
        def __init__(self, index: int) -> None:
            self.index = index
            held.append(index)

        def isOpened(self) -> bool:  # noqa: N802
            return self.index in (0, 3)

        def release(self) -> None:
            held.remove(self.index)

    monkeypatch.setattr("rtstyle.sources.opencv_capture.open_device", Device)
    assert [camera.index for camera in camera_discovery.probe_cameras()] == [0, 3]
    assert held == []


def test_listing_this_machine_never_fails() -> None:
    for camera in camera_discovery.list_cameras():
        assert camera.name and isinstance(modes(camera), tuple)


def test_the_library_of_other_systems_answers() -> None:
    """The library lists cameras on Linux, too; this only checks the interface that we call."""
    pytest.importorskip("cv2_enumerate_cameras")
    assert all(camera.name for camera in camera_discovery._named_by_library())


@pytest.mark.parametrize("name", ["OBS Virtual Camera", "OBS-Camera", "Unity Video Capture", "XSplit VCam"])
def test_virtual_cameras_by_name(name: str) -> None:
    assert camera_discovery.VIRTUAL_NAMES.search(name)
    assert not camera_discovery.VIRTUAL_NAMES.search(
        "HD Pro Webcam C920"
    ) and not camera_discovery.VIRTUAL_NAMES.search("Jobson cam")
