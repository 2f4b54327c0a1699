"""Films that come from another program and go to another program."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from threading import Thread
from typing import Any

import av
import numpy as np
import pytest

from engines.errors import ConfigError, SinkError, SourceError
from rtstyle.video import VideoJob, VideoReport, stylize_video
from tests.rtstyle.clips import Clip, Seen, Still, number_of, numbered

RUN = [sys.executable, "-m", "rtstyle", "video", "--threads", "1"]


def stylize(source: object, out: object, **options: Any) -> VideoReport:
    return stylize_video(VideoJob(str(source), Path(str(out)), **options), Still)


def as_format(path: Path, form: str) -> bytes:
    """The packets of a file in another container, or its pictures as y4m."""
    out = io.BytesIO()
    with av.open(str(path)) as file, av.open(out, "w", format=form) as copy:
        if form == "yuv4mpegpipe":
            video = copy.add_stream("rawvideo", rate=25)
            stream = file.streams.video[0]
            video.width, video.height, video.pix_fmt = stream.width, stream.height, stream.pix_fmt
            for frame in file.decode(video=0):
                copy.mux(video.encode(frame))
        else:
            streams = [copy.add_stream_from_template(stream) for stream in file.streams]
            for packet in file.demux():
                if packet.size:
                    packet.stream = streams[packet.stream.index]
                    copy.mux(packet)
    return out.getvalue()


@pytest.fixture
def send(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], None]]:
    """Give standard input its content."""
    threads: list[Thread] = []
    inputs: list[Any] = []

    def begin(data: bytes) -> None:
        reader, writer = os.pipe()

        def feed() -> None:
            with os.fdopen(writer, "wb") as pipe:
                try:
                    pipe.write(data)
                except BrokenPipeError:
                    pipe.detach()

        threads.append(Thread(target=feed, daemon=True))
        threads[-1].start()
        inputs.append(os.fdopen(reader))
        monkeypatch.setattr("sys.stdin", inputs[-1])

    yield begin
    for one in inputs:
        one.close()
    for thread in threads:
        thread.join(10)


def sent_by(folder: Path, *job: object, **options: Any) -> tuple[VideoReport, bytes]:
    """Run a job that writes to standard output, and return what it sent."""
    with (
        (folder / "stdout").open("w") as output,
        (folder / "stderr").open("w") as errors,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("sys.stdout", output)
        patch.setattr("sys.stderr", errors)
        report = stylize(*job, "-", **options)
    return report, (folder / "stdout").read_bytes()


@pytest.mark.parametrize("form", ["yuv4mpegpipe", "matroska", "mpegts"])
def test_a_film_from_a_pipe(tmp_path: Path, send: Callable[[bytes], None], form: str) -> None:
    source = Clip(frames=20, sound="aac").write(tmp_path / "a.mp4")
    send(as_format(source, form))
    report = stylize("-", tmp_path / "b.mp4", crf=4)
    seen = Seen.of(tmp_path / "b.mp4")
    assert seen.numbers == list(range(20))
    assert np.diff(seen.times) == pytest.approx(0.04, abs=1e-3)
    assert report.frames_lost == 0
    assert report.warnings == (() if form == "yuv4mpegpipe" else ("the sound in the pipe is left out",))


def test_a_part_of_a_pipe(tmp_path: Path, send: Callable[[bytes], None]) -> None:
    send(as_format(Clip(frames=50).write(tmp_path / "a.mp4"), "yuv4mpegpipe"))
    stylize("-", tmp_path / "b.mp4", crf=4, start=1.0, end=1.4)
    assert Seen.of(tmp_path / "b.mp4").numbers == list(range(25, 35))


def test_raw_video_both_ways(tmp_path: Path, send: Callable[[bytes], None]) -> None:
    data = b"".join(numbered(i).tobytes() for i in range(8))
    send(data + data[:1000])  # the last frame is cut off
    report, sent = sent_by(tmp_path, "-", pipe_format="rawvideo", size=(64, 48), fps=10)
    assert hash(sent) == hash(data)  # a difference of bytes would fill the screen
    assert report.frames_out == 8


@pytest.mark.parametrize(("height", "width", "form"), [(48, 64, "yuv420p"), (47, 63, "yuv444p")])
def test_y4m_says_what_it_is(tmp_path: Path, height: int, width: int, form: str) -> None:
    clip = Clip(frames=10, height=height, width=width, pixel_format="yuv444p", pixel_aspect=Fraction(4, 3), sound="aac")
    report, data = sent_by(tmp_path, clip.write(tmp_path / "a.mp4"))
    assert data.startswith(f"YUV4MPEG2 W{width} H{height} F25:1 Ip A4:3 ".encode())
    with av.open(io.BytesIO(data)) as film:
        pictures = list(film.decode(video=0))
    assert [number_of(picture.to_ndarray(format="rgb24")) for picture in pictures] == list(range(10))
    assert (pictures[0].format.name, pictures[0].color_range) == (form, 1)
    assert report.warnings == ("the sound is left out: standard output cannot hold it",)


@pytest.mark.parametrize(("height", "full"), [(48, False), (48, True), (720, False)])
def test_colours_survive_a_chain(tmp_path: Path, send: Callable[[bytes], None], height: int, full: bool) -> None:
    matrix = 1 if height >= 720 else 5
    clip = Clip(frames=1, height=height, width=height * 4 // 3, full=full, matrix=matrix, codec="ffv1")
    send(as_format(clip.write(tmp_path / "a.mkv"), "yuv4mpegpipe"))
    send(sent_by(tmp_path, "-")[1])
    from rtstyle.sources.pipe import PipeSource

    frame = next(PipeSource().frames())
    away = np.abs(frame.rgb.astype(int) - numbered(0, height, height * 4 // 3))
    assert np.median(away) <= 2
    assert away[height // 4, 4].max() <= 2


def test_frames_with_other_times_are_reported(tmp_path: Path) -> None:
    clip = Clip(pts=[0, 40, 80, 400, 440], time_base=Fraction(1, 1000))
    report, sent = sent_by(tmp_path, clip.write(tmp_path / "a.mkv"))
    assert sent.count(b"FRAME\n") == 5
    assert any("at other times than in the clip" in warning for warning in report.warnings)


class TestRefusals:
    @pytest.mark.parametrize(
        ("source", "out", "options", "words"),
        [
            ("-", "b.mp4", {"resume": True}, "cannot be resumed"),
            ("-", "b.mp4", {"pipe_format": "rawvideo"}, "does not say what it is"),
            ("-", "b.mp4", {"pipe_format": "yuv"}, "unknown pipe format 'yuv'"),
            ("-", "b.mp4", {"fps": 24}, "has its own rate"),
            ("a.mp4", "b.mp4", {"size": (64, 48)}, "has its own size"),
            ("a.mp4", "b.mp4", {"pipe_format": "y4m"}, "there is no pipe"),
            ("a.mp4", "-", {"crf": 3}, "a pipe takes no crf"),
        ],
    )
    def test_settings(self, tmp_path: Path, source: str, out: str, options: dict[str, Any], words: str) -> None:
        Clip(frames=3).write(tmp_path / "a.mp4")
        named = [one if one == "-" else tmp_path / one for one in (source, out)]
        with pytest.raises(ConfigError, match=words):
            stylize(*named, **options)

    def test_input(self, tmp_path: Path, send: Callable[[bytes], None]) -> None:
        large = Clip(
            frames=20, codec="mjpeg", pixel_format="yuvj420p", height=240, width=320
        )  # more than FFmpeg keeps of a pipe
        for data, words in (
            (b"", "standard input is empty"),
            (b"hello" * 100, "not a film that can be read from a pipe"),
            (large.write(tmp_path / "a.mp4").read_bytes(), "this MP4 cannot be read from a pipe"),
            (b"YUV4MPEG2 W64 H48 F25:1 C999\nFRAME\n" + bytes(9999), "not a film that can be read"),
        ):
            send(data)
            with pytest.raises(SourceError, match=words):
                stylize("-", tmp_path / "b.mp4")
        assert not (tmp_path / "b.mp4").exists()

    def test_what_is_no_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for other in (None, io.StringIO()):
            monkeypatch.setattr("sys.stdin", other)
            with pytest.raises(SourceError, match="standard input cannot be read"):
                stylize("-", tmp_path / "b.mp4")
            source = Clip(frames=3).write(tmp_path / "a.mp4")
            with monkeypatch.context() as patch:
                patch.setattr("sys.stdout", other)
                with pytest.raises(SinkError, match="standard output cannot be written to"):
                    stylize(source, "-")

    def test_terminals(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pty = pytest.importorskip("pty")
        control, terminal = pty.openpty()
        with os.fdopen(terminal, "r+b", buffering=0) as both, os.fdopen(control, "rb", buffering=0):
            monkeypatch.setattr("sys.stdin", both)
            monkeypatch.setattr("sys.stdout", both)
            with pytest.raises(SourceError, match="no program sends a film"):
                stylize("-", tmp_path / "b.mp4")
            with pytest.raises(SinkError, match="no program reads"):
                stylize(Clip(frames=3).write(tmp_path / "a.mp4"), "-")


def test_a_reader_that_leaves_ends_the_run_in_silence(tmp_path: Path) -> None:
    Clip(frames=200, height=96, width=128).write(tmp_path / "a.mp4")
    command = [*RUN, "a.mp4", "-", "-q"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as job:
        assert job.stdout is not None
        assert job.stderr is not None
        assert job.stdout.readline().startswith(b"YUV4MPEG2")
        job.stdout.close()
        assert job.stderr.read() == b""
        assert job.wait(60) == 1


def test_ctrl_c_ends_a_run_that_waits_for_input(tmp_path: Path) -> None:
    data = as_format(Clip(frames=3).write(tmp_path / "a.mp4"), "yuv4mpegpipe")
    command = [*RUN, "-", "b.mp4", "-q"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as job:
        assert job.stdin is not None
        assert job.stderr is not None
        job.stdin.write(data)
        job.stdin.flush()
        until_s = time.monotonic() + 60
        while not list(tmp_path.glob(".b*")) and time.monotonic() < until_s and job.poll() is None:
            time.sleep(0.01)
        time.sleep(0.3)
        job.send_signal(signal.SIGINT)
        start_s = time.monotonic()
        assert job.wait(60) == 130
        assert time.monotonic() - start_s < 5
        assert b"nothing was written" in job.stderr.read()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4"]
