"""Decoding in hardware: what cannot work here falls back with a line, and what chips return has the same colours."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from av import VideoFrame

from engines.errors import ConfigError, SourceError
from rtstyle.cli import main
from rtstyle.media import hardware_decoding
from rtstyle.media.colour import ColourTags, RgbReader, YuvWriter
from rtstyle.media.hardware_decoding import DEVICES, HWACCELS, device_fault
from rtstyle.sources.file import FileSource
from rtstyle.video import VideoJob, stylize_video
from tests.rtstyle.clips import Clip, Still, number_of, numbered

WORKING = [device for device in DEVICES if not device_fault(device)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Clip(frames=12).write(tmp_path_factory.mktemp("clip") / "a.mp4")


@pytest.mark.parametrize("wanted", HWACCELS)
def test_every_choice_gives_the_same_frames(wanted: str, clip: Path, caplog: pytest.LogCaptureFixture) -> None:
    hardware_decoding._say_once.cache_clear()
    for _ in range(2):
        source = FileSource(str(clip), hwaccel=wanted)
        assert [number_of(frame.rgb) for frame in source.frames()] == list(range(12))
        source.close()
    falls_back = wanted != "none" and not (WORKING if wanted == "auto" else wanted in WORKING)
    assert len(caplog.messages) == falls_back, "once in a process"
    assert all("the processor decodes" in line and "\n" not in line for line in caplog.messages)


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_that_is_missing_is_not_noisy(device: str, capfd: pytest.CaptureFixture[str]) -> None:
    device_fault.cache_clear()
    assert "\n" not in device_fault(device)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("pixel_format", "depth"), [("nv12", 8), ("p010le", 10)])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_what_chips_return_has_the_same_colours(pixel_format: str, depth: int, matrix: int) -> None:
    planar = "yuv420p" if depth == 8 else "yuv420p10le"
    frame = YuvWriter(ColourTags(matrix), planar, 48, 64)(numbered(5))
    semi_planar: VideoFrame = frame.reformat(format=pixel_format)
    for one in (frame, semi_planar):
        one.colorspace, one.color_range = matrix, 1
    expected, found = RgbReader()(frame, 48, 64), RgbReader()(semi_planar, 48, 64)
    assert np.abs(expected.astype(int) - found).max() <= 1
    assert ColourTags.of(frame) == ColourTags.of(semi_planar)


def test_command(clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arguments = ["video", str(clip), str(tmp_path / "b.mp4"), "--threads", "1"]
    with caplog.at_level(logging.INFO):
        assert main([*arguments, "--hwaccel", "auto"]) == 0
        assert main([*arguments, "--hwaccel", "gpu", "--overwrite"]) == 1


def test_errors_stay_what_they_are(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown hardware decoding 'gpu'.*none, auto, cuda"):
        stylize_video(VideoJob(str(clip), tmp_path / "b.mp4", hwaccel="gpu"), Still)
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(SourceError, match="cannot open"):
        FileSource(str(tmp_path / "broken.mp4"), hwaccel="auto")
