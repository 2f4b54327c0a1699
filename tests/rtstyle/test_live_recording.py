"""Recordings of what is live: they are there from the first frame, and a killed process leaves them readable."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from engines.errors import SinkError
from rtstyle.sinks.file import FileSink
from tests.rtstyle.clips import Seen, frames

ROOT = Path(__file__).resolve().parents[2]

RECORDER = """
import itertools, sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from rtstyle.sinks.file import FileSink
from tests.rtstyle.clips import frames
sink = FileSink(Path(sys.argv[1]), fps=Fraction(25), live=True)
for frame in frames(10**6):
    sink.write(frame)
    if frame.index == 200:
        print("there", flush=True)
        sys.stdin.readline()
"""


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "webm"])
def test_it_is_readable_after_kill_9(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    program = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert program.stdout is not None and program.stdin is not None
    assert program.stdout.readline().strip() == b"there"
    program.kill()
    program.wait(timeout=20)
    program.stdin.close()
    program.stdout.close()
    seen = Seen.of(path)
    assert seen.numbers == list(range(len(seen.numbers)))
    assert len(seen.numbers) >= 200 - 2.5 * 25, "what is in the encoder and in the last fragment is lost, no more"
    assert seen.times == pytest.approx([i / 25 for i in range(len(seen.times))], abs=0.002)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_it_is_whole_when_it_was_finished(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    sink = FileSink(path, fps=Fraction(25), live=True)
    for frame in frames(130):
        sink.write(frame)
    sink.close(completed=True)
    seen = Seen.of(path)
    assert seen.numbers == list(range(130)) and seen.duration == pytest.approx(5.2, abs=0.05)
    with av.open(str(path)) as file:
        keys = [float(packet.pts * packet.time_base) for packet in file.demux(video=0) if packet.is_keyframe]
    assert keys[0] == 0 and max(late - early for early, late in pairwise([*keys, 5.2])) <= 2.01
    if ending == "mp4":
        assert "moof" not in boxes(path) and "moov" in boxes(path), "an ordinary file at the end"


def boxes(path: Path) -> list[str]:
    """The outermost parts of an MP4."""
    data, place, found = path.read_bytes(), 0, list[str]()
    while place < len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        found.append(kind.decode())
        place += struct.unpack(">Q", data[place + 8 : place + 16])[0] if size == 1 else size
    return found


def test_it_is_kept_whatever_happens(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    sink = FileSink(path, fps=Fraction(25), live=True)
    for frame in frames(30):
        sink.write(frame)
    assert [one.name for one in tmp_path.iterdir()] == ["a.mp4"]
    sink.close(completed=False)
    sink.close(completed=True)
    assert Seen.of(path).numbers == list(range(30))


@pytest.mark.parametrize("completed", [True, False])
def test_without_a_frame_there_is_no_file_and_an_old_one_stays(tmp_path: Path, completed: bool) -> None:
    for path, before in ((tmp_path / "new.mp4", None), (tmp_path / "old.mp4", "precious")):
        if before is not None:
            path.write_text(before)
        sink = FileSink(path, live=True, overwrite=True)
        if completed:
            with pytest.raises(SinkError, match="no frame"):
                sink.close(completed=True)
        else:
            sink.close(completed=False)
        assert (path.read_text() if path.exists() else None) == before


def test_an_old_one_is_refused_or_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("old")
    with pytest.raises(SinkError, match="already exists"):
        FileSink(path, live=True)
    sink = FileSink(path, live=True, overwrite=True)
    for frame in frames(3):
        sink.write(frame)
    sink.close(completed=True)
    assert Seen.of(path).numbers == [0, 1, 2]


def test_a_folder_that_is_missing_is_told_before_the_first_frame(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="cannot write"):
        FileSink(tmp_path / "no" / "a.mp4", live=True)


FULL = """
import resource, sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
import numpy as np
from engines.errors import SinkError
from rtstyle.sinks.file import FileSink
from tests.rtstyle.clips import frames
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
random = np.random.default_rng(0)
sink = FileSink(Path(sys.argv[1]), fps=Fraction(25), live=True)
try:
    for frame in frames(400):
        sink.write(replace(frame, rgb=random.integers(0, 255, (96, 128, 3), np.uint8)))
except SinkError as error:
    print(frame.index, error)
    sink.close(completed=False)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file size are POSIX")
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_what_a_full_disk_left_is_readable(tmp_path: Path, ending: str) -> None:
    """A limit on the size of files fails as a full disk does, in its own process."""
    path = tmp_path / f"a.{ending}"
    call = [sys.executable, "-c", FULL, str(path)]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    last, _, told = done.stdout.partition(" ")
    assert "size limit" in told
    count = 0
    with av.open(str(path)) as file, contextlib.suppress(av.FFmpegError):  # the last one may be cut
        for _ in file.decode(video=0):
            count += 1
    assert count >= int(last) - 2.5 * 25 and count > 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    path.symlink_to("/dev/full")
    sink = FileSink(path, fps=Fraction(25), live=True, overwrite=True)
    with pytest.raises(SinkError, match="disk is full"):  # noqa: PT012  # it may fail at any of them
        for frame in frames(100):
            sink.write(frame)
    sink.close(completed=False)
