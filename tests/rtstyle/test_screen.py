"""The screen as a source: real pictures from a virtual X server, whose memory the test writes."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from engines.errors import ShapeError, SourceError
from engines.install_hint import pip_install
from rtstyle.sources.factory import open_source
from rtstyle.sources.screen import ScreenArea, ScreenSource, parse_area

pytestmark = pytest.mark.real_time

pytest.importorskip("mss")


class Screen:
    """A virtual X server of 320×240 pixels.

    Attributes:
        pixels: its memory, (240, 320, 4), blue, green, red and nothing.
    """

    def __init__(self, folder: Path) -> None:
        read_end, write_end = os.pipe()
        arguments = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "320x240x24", "-fbdir", str(folder)]
        self.server = subprocess.Popen(
            [*arguments, "-nolisten", "tcp", "-noreset"], pass_fds=[write_end], stderr=subprocess.DEVNULL
        )
        os.close(write_end)
        with os.fdopen(read_end) as numbers:
            self.display = f":{numbers.readline().strip()}"
        file = folder / "Xvfb_screen0"
        header = struct.unpack(">25I", file.read_bytes()[:100])  # X11/XWDFile.h
        start = header[0] + 12 * header[19]
        self.pixels: npt.NDArray[np.uint8] = np.memmap(file, np.uint8, "r+", start, (240, 320, 4))

    def kill(self) -> None:
        self.server.kill()
        self.server.wait(20)


@pytest.fixture
def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    if shutil.which("Xvfb") is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Xvfb")
    one = Screen(tmp_path)
    monkeypatch.setenv("DISPLAY", one.display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("XDG_SESSION_TYPE", raising=False)
    one.pixels[:120] = (0, 0, 255, 0)
    one.pixels[120:] = (255, 0, 0, 0)
    yield one
    one.kill()


@pytest.mark.parametrize("text", ["screen", "screen:0", "screen:1"])
def test_the_whole_screen_in_its_colours(screen: Screen, text: str) -> None:
    source = ScreenSource(text)
    frame = next(source.frames())
    source.close()
    assert (source.info.width, source.info.height, source.info.fps) == (320, 240, 30)
    assert frame.rgb.shape == (240, 320, 3) and frame.rgb.dtype == np.uint8
    assert (frame.rgb[:120] == (255, 0, 0)).all() and (frame.rgb[120:] == (0, 0, 255)).all()


def test_a_region_and_its_size(screen: Screen) -> None:
    screen.pixels[100:150, 200:300] = (1, 2, 3, 0)
    source = open_source("screen:100x50+200+100", fps=50)
    assert (next(source.frames()).rgb == (3, 2, 1)).all()
    assert (source.info.width, source.info.height, source.info.fps) == (100, 50, 50)
    source.close()
    half = open_source("screen", size=(160, 120))
    assert next(half.frames()).rgb.shape == (120, 160, 3)
    half.close()


def test_pictures_are_new_and_in_time(screen: Screen) -> None:
    source = ScreenSource("screen", fps=50)
    frames = source.frames()
    next(frames)
    screen.pixels[:] = (10, 20, 30, 0)
    later = list(islice(frames, 6))
    source.close()
    assert (later[-1].rgb == (30, 20, 10)).all()
    assert all(a.pts < b.pts and a.captured_s < b.captured_s for a, b in pairwise(later))
    assert later[-1].captured_s - later[0].captured_s >= 0.9 * 5 / 50
    assert next(frames, None) is None


def test_a_display_that_goes_away_and_returns(screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source("screen", fps=50)
    frames = source.frames()
    next(frames)
    screen.kill()
    lost = next(frame for frame in frames if frame.notice)
    assert "screen cannot be captured" in lost.notice or "sends no pictures" in lost.notice
    (tmp_path / "again").mkdir()
    again = Screen(tmp_path / "again")
    try:
        monkeypatch.setenv("DISPLAY", again.display)
        end_s = time.monotonic() + 20.0
        assert any(not frame.notice for frame in frames if time.monotonic() < end_s)
        source.close()
    finally:
        again.kill()


@pytest.mark.parametrize(
    ("text", "kind", "problem"),
    [
        ("screen:2", SourceError, r"no monitor 2 .*1 \(320×240\)"),
        ("screen:100x100+300+0", SourceError, r"not entirely on the screen .*320×240 from \+0\+0"),
        ("screen:100x100-1+0", SourceError, "not entirely on the screen"),
        ("screen:8x8+0+0", ShapeError, "too small"),
    ],
)
def test_areas_outside_the_screen(screen: Screen, text: str, kind: type[Exception], problem: str) -> None:
    with pytest.raises(kind, match=problem):
        open_source(text)


def test_no_display_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("others always have one")
    monkeypatch.setenv("DISPLAY", ":97")
    with pytest.raises(SourceError, match="screen cannot be captured.*is there a display"):
        open_source("screen")
    monkeypatch.delenv("DISPLAY")
    with pytest.raises(SourceError, match="screen cannot be captured"):
        open_source("screen")


def test_black_on_wayland_is_reported(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    screen.pixels[:] = 0
    source = ScreenSource("screen")  # a black screen is a picture, too
    source.close()
    monkeypatch.setenv("XDG_SESSION_TYPE", "wayland")
    with pytest.raises(SourceError, match="Wayland lets no program capture the screen"):
        ScreenSource("screen")


def test_without_mss_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mss", None)
    with pytest.raises(SourceError, match=re.escape(pip_install("screen"))):
        open_source("screen")


def test_areas() -> None:
    assert (
        parse_area("screen") == ScreenArea(1)
        and parse_area("screen:0") == ScreenArea(0)
        and parse_area("screen:3") == ScreenArea(3)
    )
    assert parse_area("screen:640x360+100+50") == ScreenArea(1, (100, 50, 640, 360))
    assert parse_area("screen:640X360-1920+0") == ScreenArea(1, (-1920, 0, 640, 360))


@pytest.mark.parametrize("text", ["screen:", "screen:left", "screen:640x360", "screen:640x360+1", "screen:-1"])
def test_text_that_is_not_an_area(text: str) -> None:
    with pytest.raises(SourceError, match="is not an area of the screen"):
        open_source(text)
