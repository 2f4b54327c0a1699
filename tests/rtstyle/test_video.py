from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from engines.base import RGB, Engine
from engines.errors import ConfigError, EngineError, ShapeError, SinkError, SourceError, StylerError
from rtstyle.controls import Controls
from rtstyle.sinks.output_path import part_path
from rtstyle.video import StoppedError, VideoJob, VideoProgress, VideoReport, stylize_video
from tests.rtstyle.clips import Clip, Seen, Still, number_of, numbered, write_sound


def stylize(clip: Path, out: Path, engine: Engine | None = None, **options: Any) -> VideoReport:
    return stylize_video(VideoJob(str(clip), out, **options), lambda: engine or Still())


def test_everything_is_kept(tmp_path: Path) -> None:
    clip = Clip(frames=40, sound="aac", text="mov_text", rotation=90, metadata={"title": "Day", "comment": "x"})
    source = clip.write(tmp_path / "a.mp4")
    engine = Still()
    report = stylize(source, tmp_path / "b.mp4", engine)
    before, after = Seen.of(source), Seen.of(tmp_path / "b.mp4")
    assert after.times == before.times
    assert (after.height, after.width, after.rotation) == (64, 48, 0)
    assert after.packets == before.packets
    assert after.languages == before.languages
    assert (after.metadata["title"], after.metadata["comment"]) == ("Day", "x")
    assert after.duration == pytest.approx(before.duration, abs=0.05)
    assert (report.frames_in, report.frames_out, report.frames_lost) == (40, 40, 0)
    assert (report.width, report.height, report.warnings) == (48, 64, ())
    assert engine.closed == 1
    assert json.loads(json.dumps(report.to_dict()))["output"] == str(tmp_path / "b.mp4")


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov"])
def test_the_picture_is_stylized(tmp_path: Path, ending: str) -> None:
    source = Clip(frames=5).write(tmp_path / "a.mp4")
    stylize(source, tmp_path / f"b.{ending}", Still(negative=True), crf=4)
    seen = Seen.of(tmp_path / f"b.{ending}")
    assert seen.numbers == [255 - i for i in range(5)]


def test_variable_rate_survives(tmp_path: Path) -> None:
    pts = [0, 33, 67, 400, 401, 430, 2000]
    source = Clip(pts=pts, time_base=Fraction(1, 1000)).write(tmp_path / "a.mkv")
    stylize(source, tmp_path / "b.mp4")
    assert Seen.of(tmp_path / "b.mp4").times == pytest.approx([t / 1000 for t in pts])


def test_a_part(tmp_path: Path) -> None:
    source = Clip(frames=100, sound="aac").write(tmp_path / "a.mp4")
    report = stylize(source, tmp_path / "b.mp4", start=1.0, end=2.0, crf=4)
    seen = Seen.of(tmp_path / "b.mp4")
    assert seen.numbers == list(range(25, 50))
    assert seen.times[0] == 0
    assert seen.duration == pytest.approx(1.0, abs=0.05)
    assert report.frames_out == 25


@pytest.mark.parametrize(("start", "end"), [(None, 0.5), (0.0, 0.5), (3.5, None)])
def test_a_part_with_one_end(tmp_path: Path, start: float | None, end: float | None) -> None:
    source = Clip(frames=100, sound="aac").write(tmp_path / "a.mp4")
    stylize(source, tmp_path / "b.mp4", start=start, end=end)
    assert Seen.of(tmp_path / "b.mp4").duration == pytest.approx(0.5, abs=0.06)


def test_transport_stream_begins_at_zero(tmp_path: Path) -> None:
    clip = Clip(frames=50, sound="aac", file_options={"output_ts_offset": "1000"})
    source = clip.write(tmp_path / "a.ts")
    stylize(source, tmp_path / "b.mp4")
    before, after = Seen.of(source), Seen.of(tmp_path / "b.mp4")
    assert before.times[0] >= 1000
    assert after.times[0] < 0.1
    assert np.diff(after.times) == pytest.approx(np.diff(before.times))


def test_height_and_no_audio(tmp_path: Path) -> None:
    source = Clip(frames=5, sound="aac").write(tmp_path / "a.mp4")
    report = stylize(source, tmp_path / "b.mp4", height=24, audio=False)
    seen = Seen.of(tmp_path / "b.mp4")
    assert (seen.height, seen.width) == (24, 32) == (report.height, report.width)
    assert set(seen.packets) == {"video"}


def test_cut_clip_gives_what_decodes_and_a_warning(tmp_path: Path) -> None:
    clip = Clip(frames=100, sound="aac", file_options={"movflags": "faststart"}, options={"g": "10"})
    source = clip.write(tmp_path / "a.mp4")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    report = stylize(source, tmp_path / "b.mp4")
    assert 10 < report.frames_out < 90
    assert report.frames_lost + report.frames_out == pytest.approx(100, abs=1)
    assert sum("lost" in w for w in report.warnings) == 1
    assert len(Seen.of(tmp_path / "b.mp4").times) == report.frames_out


def test_progress(tmp_path: Path) -> None:
    told: list[VideoProgress] = []
    job = VideoJob(str(Clip(frames=20).write(tmp_path / "a.mp4")), tmp_path / "b.mp4")
    stylize_video(job, Still, on_progress=told.append)
    assert [(p.frames, p.total) for p in told] == [(i + 1, 20) for i in range(20)]


def test_frames_from_elsewhere(tmp_path: Path) -> None:
    from rtstyle.sources.file import FileSource

    source = FileSource(str(Clip(frames=6).write(tmp_path / "a.mp4")))
    stylize_video(VideoJob("pattern", tmp_path / "b.mp4", crf=4), Still, source=source)
    assert Seen.of(tmp_path / "b.mp4").numbers == list(range(6))


class TestRefusals:
    """One clear line, and nothing is written."""

    @pytest.fixture
    def clip(self, tmp_path: Path) -> Path:
        return Clip(frames=3).write(tmp_path / "a.mp4")

    def refused(self, error: type[StylerError], words: str, source: Path, out: Path, **options: Any) -> None:
        before = sorted(out.parent.iterdir()) if out.parent.is_dir() else None
        with pytest.raises(error, match=words) as caught:
            stylize(source, out, **options)
        assert "\n" not in str(caught.value)
        assert before is None or sorted(out.parent.iterdir()) == before

    def test_input(self, tmp_path: Path) -> None:
        (tmp_path / "empty.mp4").touch()
        (tmp_path / "text.mp4").write_text("not a film\n" * 50)
        self.refused(SourceError, "no such file", tmp_path / "none.mp4", tmp_path / "b.mp4")
        self.refused(SourceError, "folder", tmp_path, tmp_path / "b.mp4")
        self.refused(SourceError, "empty", tmp_path / "empty.mp4", tmp_path / "b.mp4")
        self.refused(SourceError, "not a video", tmp_path / "text.mp4", tmp_path / "b.mp4")

    @pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
    def test_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.mp4")
        self.refused(SourceError, "is not a file", tmp_path / "pipe.mp4", tmp_path / "b.mp4")

    def test_output(self, clip: Path, tmp_path: Path) -> None:
        (tmp_path / "there.mp4").write_text("precious")
        (tmp_path / "link.mp4").symlink_to(clip)
        (tmp_path / "folder.mp4").mkdir()
        self.refused(ConfigError, "no such folder", clip, tmp_path / "no" / "b.mp4")
        self.refused(ConfigError, "is a folder", clip, tmp_path / "folder.mp4")
        self.refused(ConfigError, "already exists", clip, tmp_path / "there.mp4")
        self.refused(ConfigError, "same file", clip, clip, overwrite=True)
        self.refused(ConfigError, "same file", clip, tmp_path / "link.mp4", overwrite=True)
        assert (tmp_path / "there.mp4").read_text() == "precious"

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
    def test_folder_that_cannot_be_written(self, clip: Path, tmp_path: Path) -> None:
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o500)
        self.refused(ConfigError, "cannot write to the folder", clip, folder / "b.mp4")

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"strength": 2.0}, "strength"),
            ({"strength": float("nan")}, "strength"),
            ({"height": 8}, "height"),
            ({"codec": "theora"}, "codec"),
            ({"codec": "h264", "crf": 99}, "crf"),
            ({"preset": "warp"}, "preset"),
            ({"start": -1.0}, "start"),
            ({"start": 2.0, "end": 1.0}, "start"),
            ({"end": float("inf")}, "end"),
        ],
    )
    def test_settings(self, clip: Path, tmp_path: Path, options: dict[str, Any], words: str) -> None:
        self.refused(ConfigError, words, clip, tmp_path / "b.mp4", **options)

    def test_all_faults_are_named_together(self, clip: Path, tmp_path: Path) -> None:
        self.refused(ConfigError, "strength.*height.*unknown kind", clip, tmp_path / "b.xyz", strength=2.0, height=1)

    @pytest.mark.parametrize("size", [(1, 1), (15, 15), (14, 64)])
    def test_tiny_frames(self, tmp_path: Path, size: tuple[int, int]) -> None:
        clip = Clip(frames=2, height=size[0], width=size[1], codec="ffv1", pixel_format="yuv444p")
        self.refused(ShapeError, "too small", clip.write(tmp_path / "a.mkv"), tmp_path / "b.mp4")

    def test_cover_picture_is_no_video(self, tmp_path: Path) -> None:
        path = tmp_path / "song.m4a"
        with av.open(str(path), "w", format="mp4") as out:
            sound = out.add_stream("aac", rate=48000)
            cover = out.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
            picture = av.VideoFrame.from_ndarray(numbered(1)).reformat(format="yuvj420p")
            picture.pts, picture.time_base = 0, Fraction(1)
            for packet in [*cover.encode(picture), *cover.encode(None)]:
                packet.stream = cover
                out.mux(packet)
            write_sound(out, sound, 0.2)
        self.refused(SourceError, "no video", path, tmp_path / "b.mp4")

    def test_start_after_the_end(self, clip: Path, tmp_path: Path) -> None:
        self.refused(SourceError, "after 99 s", clip, tmp_path / "b.mp4", start=99.0)

    def test_engine_that_does_not_load(self, clip: Path, tmp_path: Path) -> None:
        def fail() -> Engine:
            raise EngineError("no such engine")

        with pytest.raises(EngineError):
            stylize_video(VideoJob(str(clip), tmp_path / "b.mp4"), fail)
        assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]

    def test_engine_that_breaks(self, clip: Path, tmp_path: Path) -> None:
        class Broken(Still):
            def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
                if number_of(rgb) == 2:
                    raise EngineError("device lost")
                return rgb

        engine = Broken()
        self.refused(EngineError, "device lost", clip, tmp_path / "b.mp4", engine=engine)
        assert engine.closed == 1


def test_stop(tmp_path: Path) -> None:
    controls = Controls()
    clip = Clip(frames=100).write(tmp_path / "a.mp4")
    with pytest.raises(StoppedError):
        stylize_video(
            VideoJob(str(clip), tmp_path / "b.mp4"),
            Still,
            on_progress=lambda progress: controls.request_stop(),
            controls=controls,
        )
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_keyboard_interrupt(tmp_path: Path) -> None:
    def interrupt(progress: VideoProgress) -> None:
        if progress.frames == 10:
            raise KeyboardInterrupt

    clip = Clip(frames=100).write(tmp_path / "a.mp4")
    with pytest.raises(KeyboardInterrupt):
        stylize_video(VideoJob(str(clip), tmp_path / "b.mp4"), Still, on_progress=interrupt)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_from_outside_while_the_engine_hangs(tmp_path: Path) -> None:
    """The main thread waits for a frame that never comes; Ctrl-C must end that wait and clean up."""
    clip = Clip(frames=30).write(tmp_path / "a.mp4")
    script = f"""
        import sys, threading
        from pathlib import Path
        import rtstyle.pipeline as pipeline
        from rtstyle.video import VideoJob, stylize_video
        from tests.rtstyle.clips import Still
        pipeline.JOIN_S = 0.1
        class Hanging(Still):
            def __call__(self, rgb, strength=1.0, colours=0.0):
                if self.calls == 5:
                    print("hanging", flush=True)
                    threading.Event().wait()
                return super().__call__(rgb, strength, colours)
        try:
            stylize_video(VideoJob({str(clip)!r}, Path({str(tmp_path / "b.mp4")!r})), Hanging)
        except KeyboardInterrupt:
            sys.exit(130)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "hanging\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    process.stdout.close()
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file size are POSIX")
def test_disk_full(tmp_path: Path) -> None:
    clip = Clip(frames=60, height=480, width=640, sound="aac").write(tmp_path / "a.mp4")
    script = f"""
        import resource
        from pathlib import Path
        from engines.errors import SinkError
        from rtstyle.video import VideoJob, stylize_video
        from tests.rtstyle.clips import Still
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))
        try:
            stylize_video(VideoJob({str(clip)!r}, Path({str(tmp_path / "b.mp4")!r}), crf=0), Still)
        except SinkError as error:
            print("refused:", error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=True
    )
    assert "size limit" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_sink_error_closes_the_engine(tmp_path: Path) -> None:
    engine = Still()
    part_path(tmp_path / "b.mp4").mkdir()
    with pytest.raises(SinkError):
        stylize(Clip(frames=3).write(tmp_path / "a.mp4"), tmp_path / "b.mp4", engine)
    assert engine.closed == 1


def test_a_subtitle_in_an_old_encoding_does_not_cost_the_clip(tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    Clip(frames=25, text="srt").write(source)
    data = source.read_bytes()
    assert data.count(b"line 1") == 1
    source.write_bytes(data.replace(b"line 1", b"f\xfcnf! "))  # Latin-1, and no UTF-8
    report = stylize(source, tmp_path / "b.mp4")
    assert report.frames_out == 25
    assert any("subtitles lost: 1" in warning for warning in report.warnings)
