"""Names of results: long ones, too long ones, and symbolic links."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from engines.errors import ConfigError, SinkError
from rtstyle.media.image_files import read_picture, write_picture
from rtstyle.sinks.factory import check_sinks
from rtstyle.sinks.file import FileSink
from tests.rtstyle.clips import Clip, Seen, frames, numbered
from tests.rtstyle.tracks import stylize

posix = pytest.mark.skipif(sys.platform == "win32", reason="names and links of POSIX")


def named(length: int, ending: str, letter: str) -> str:
    """A name of so many bytes, or one less if the letter does not fit."""
    return (letter * 300).encode()[: length - len(ending)].decode(errors="ignore") + ending


@posix
@pytest.mark.parametrize("letter", ["x", "é", "画"])
@pytest.mark.parametrize("length", [200, 240, 250, 255])
def test_any_name_that_the_system_allows(tmp_path: Path, length: int, letter: str) -> None:
    video, picture = tmp_path / named(length, ".mkv", letter), tmp_path / named(length, ".png", letter)
    sink = FileSink(video)
    for frame in frames(2):
        sink.write(frame)
    assert len(list(tmp_path.iterdir())) == 1, "the unfinished file is beside the result"
    sink.close(completed=True)
    write_picture(picture, numbered(1))
    assert set(tmp_path.iterdir()) == {video, picture}


@posix
def test_a_name_that_is_too_long_is_refused_before_the_work(tmp_path: Path) -> None:
    clip = Clip(frames=2).write(tmp_path / "a.mp4")
    name = named(256, ".mp4", "x")
    with pytest.raises(ConfigError, match="cannot write") as caught:
        stylize(clip, tmp_path / name)
    assert "too long" in caught.value.problem
    with pytest.raises(SinkError, match="cannot write") as refused:
        check_sinks([str(tmp_path / name)], source="0", overwrite=False)
    assert "too long" in refused.value.problem
    with pytest.raises(SinkError):
        FileSink(tmp_path / name)


@posix
class TestLinks:
    """The file that a link points to is replaced; the link stays."""

    @pytest.fixture
    def link(self, tmp_path: Path) -> Path:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "here").mkdir()
        return tmp_path / "here"

    @pytest.mark.parametrize("there", [True, False])
    def test_video(self, tmp_path: Path, link: Path, there: bool) -> None:
        clip, target = Clip(frames=2).write(tmp_path / "a.mp4"), tmp_path / "elsewhere" / "b.mp4"
        (link / "b.mp4").symlink_to(target)
        if there:
            target.write_text("old")
        stylize(clip, link / "b.mp4")
        assert (link / "b.mp4").is_symlink()
        assert Seen.of(target).numbers == [0, 1]
        assert (os.listdir(link), os.listdir(target.parent)) == (["b.mp4"], ["b.mp4"])

    def test_picture(self, tmp_path: Path, link: Path) -> None:
        target = tmp_path / "elsewhere" / "b.png"
        target.write_text("old")
        (link / "b.png").symlink_to(target)
        write_picture(link / "b.png", numbered(5))
        assert (link / "b.png").is_symlink()
        assert not target.is_symlink()
        assert np.array_equal(read_picture(target)[0], numbered(5))

    def test_what_is_not_a_file_stays(self, tmp_path: Path, link: Path) -> None:
        """A link to a device or a pipe is replaced, and not what it points to."""
        pipe = tmp_path / "elsewhere" / "pipe"
        os.mkfifo(pipe)
        (link / "b.png").symlink_to(pipe)
        write_picture(link / "b.png", numbered(5))
        assert pipe.is_fifo()
        assert not (link / "b.png").is_symlink()
