"""Cameras and virtual cameras with real drivers; `make test-v4l2` runs this inside a machine that has them.

Everything is emulated there, at a fraction of the speed, so no time is asserted but the two seconds in which a camera
that is gone must be noticed.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from threading import Timer

import numpy as np
import pytest

from engines.base import RGB
from engines.errors import SinkError, SourceError
from rtstyle.frame import Frame
from rtstyle.sinks.virtual_camera import VirtualCameraSink
from rtstyle.sources.base import Source
from rtstyle.sources.camera_discovery import list_cameras
from rtstyle.sources.factory import open_source
from rtstyle.sources.reconnecting import STALL_S

pytestmark = [pytest.mark.v4l2, pytest.mark.real_time]

DRIVER = Path("/sys/bus/platform/drivers/vivid")
LOOPBACK = "/dev/video10"
NOTICED_S = 2.0


@pytest.fixture(scope="module", autouse=True)
def _drivers() -> None:
    """vivid as one camera, v4l2loopback as the place for ours."""
    modules = Path(os.environ["RTSTYLE_V4L2_MODULES"])
    subprocess.run(["insmod", modules / "vivid.ko", "node_types=0x1", "n_devs=1"], check=True)
    options = ["exclusive_caps=1", "card_label=rtstyle", "video_nr=10"]
    subprocess.run(["insmod", modules / "v4l2loopback.ko", *options], check=True)


@pytest.fixture
def camera() -> Iterator[Source]:
    """vivid, by a part of its name."""
    source = open_source("VIVID", size=(320, 180), fps=30)
    yield source
    source.close()


def _rtstyle(*args: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "rtstyle", *args]
    return subprocess.run(call, capture_output=True, text=True, check=False, timeout=300)


def test_cameras_are_listed_with_what_they_give() -> None:
    done = _rtstyle("devices", "--json")
    assert done.returncode == 0, done.stderr
    told = {one["path"]: one for one in json.loads(done.stdout)["cameras"]}
    vivid, ours = told["/dev/video0"], told[LOOPBACK]
    assert vivid["name"].startswith("vivid") and vivid["driver"] == "vivid" and vivid["virtual"]
    assert ours["name"] == "rtstyle" and ours["virtual"] and ours["idle"]
    assert {name: value for name, value in vivid["modes"][1].items() if name != "fps"} == {
        "format": "YUYV",
        "width": 640,
        "height": 360,
    }


@pytest.mark.parametrize("text", ["0", "/dev/video0", "vivid-000"])
def test_a_camera_opens_by_number_path_and_name(text: str) -> None:
    source = open_source(text, size=(320, 180))
    frames = list(itertools.islice(source.frames(), 5))
    source.close()
    assert (source.info.width, source.info.height, source.info.live) == (320, 180, True)
    assert all(frame.rgb.shape == (180, 320, 3) and not frame.notice for frame in frames)
    assert frames[0].rgb.std() > 30  # colour bars
    assert [frame.index for frame in frames] == list(range(5))


def test_a_camera_that_is_taken_or_not_there_is_told() -> None:
    with pytest.raises(SourceError, match="video9"):
        open_source("/dev/video9", reconnect=False)
    with pytest.raises(SourceError, match="vivid"):
        open_source("no such camera", reconnect=False)  # and told which there are
    with pytest.raises(SourceError):
        open_source(LOOPBACK, reconnect=False)  # nobody feeds it


def test_an_unplugged_camera_is_noticed_and_comes_back(camera: Source) -> None:
    frames = camera.frames()
    before = list(itertools.islice(frames, 5))
    unplugged_s = time.monotonic()
    (DRIVER / "unbind").write_text("vivid.0")
    lost = next(frame for frame in frames if frame.notice)
    assert lost.captured_s - unplugged_s < NOTICED_S
    assert np.array_equal(lost.rgb, next(frames).rgb)
    assert lost.rgb.shape == before[0].rgb.shape
    Timer(STALL_S, lambda: (DRIVER / "bind").write_text("vivid.0")).start()
    back = next(frame for frame in frames if not frame.notice)
    assert back.index > lost.index
    assert not np.array_equal(back.rgb, lost.rgb)


def test_without_reconnecting_an_unplugged_camera_ends_with_an_error() -> None:
    source = open_source("0", size=(320, 180), reconnect=False)
    frames = source.frames()
    next(frames)
    (DRIVER / "unbind").write_text("vivid.0")
    try:
        with pytest.raises(SourceError, match="unplugged"):
            list(frames)
    finally:
        (DRIVER / "bind").write_text("vivid.0")
        source.close()
    while not any(one.path == "/dev/video0" for one in list_cameras()):
        pass


READER = """
import sys, cv2, numpy as np
camera = cv2.VideoCapture(sys.argv[1], cv2.CAP_V4L2)
pictures = []
while len(pictures) < int(sys.argv[2]):
    good, picture = camera.read()
    if good:
        pictures.append(picture[..., ::-1])
np.save(sys.argv[3], np.array(pictures))
"""
"""Another program that opens the virtual camera."""


def _scene(height: int = 180, width: int = 320) -> RGB:
    """Colours in patches of 20 pixels, which chroma of half the size does not mix."""
    patches = np.random.default_rng(1).integers(30, 220, (height // 20, width // 20, 3), np.uint8)
    return np.ascontiguousarray(np.kron(patches, np.ones((20, 20, 1), np.uint8)))


@pytest.mark.parametrize("device", [None, LOOPBACK, "rtstyle"])
def test_another_program_sees_what_is_sent_to_the_virtual_camera(device: str | None, tmp_path: Path) -> None:
    scene, seen = _scene(), tmp_path / "seen.npy"
    sink = VirtualCameraSink(device, (320, 180), Fraction(10))
    try:
        reader = subprocess.Popen([sys.executable, "-c", READER, LOOPBACK, "4", seen])
        while reader.poll() is None:
            assert sink.write(Frame(scene, 0, 0, Fraction(1, 10), time.monotonic()))
            time.sleep(0.2)  # a virtual camera that gets nothing for two seconds shows that it is paused
        assert reader.returncode == 0
    finally:
        sink.close(completed=True)
    last = np.load(seen)[-1]
    assert last.shape == scene.shape
    middle = np.abs(last.astype(int) - scene)[5::10, 5::10]
    assert np.median(middle) <= 4


def test_a_virtual_camera_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(SinkError, match="rtstyle"):
        VirtualCameraSink("no such card", (320, 180), Fraction(10))
    with pytest.raises(SinkError):
        VirtualCameraSink("/dev/video0", (320, 180), Fraction(10))  # a camera, into which nothing can be written


def test_from_the_camera_through_the_engine_to_the_virtual_camera() -> None:
    # auto would time fp32 and int8 first, which takes minutes where every instruction is emulated
    engine = ["--engine", "cpu:fp32", "--style", "wave", "--frames", "5", "--json"]
    sinks = ["--sink", "virtual:rtstyle", "--sink", "null"]
    done = _rtstyle("webcam", "--source", "vivid", "--size", "320x180", *engine, *sinks)
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["width"], last["height"], last["frames_out"], last["style"]) == (320, 180, 5, "wave")
