"""Numbered pictures as input and output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engines.errors import ConfigError, SourceError
from rtstyle.jobs.manifest import Manifest
from rtstyle.media.picture_sequence import PictureSequence
from rtstyle.media.transparency import continue_colours
from rtstyle.sources.sequence import SequenceSource
from rtstyle.video import StoppedError, VideoJob, VideoReport, stylize_video
from tests.rtstyle.clips import Clip, Seen, Still, number_of, numbered


def write(folder: Path, numbers: Any, name: str = "{:04}.png", **size: int) -> str:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        Image.fromarray(numbered(number, **size)).save(folder / name.format(number))
    return str(folder / "%04d.png")


def stylize(source: object, out: object, engine: Still | None = None, **options: Any) -> VideoReport:
    return stylize_video(VideoJob(str(source), Path(str(out)), **options), lambda: engine or Still())


def numbers_in(folder: Path) -> dict[str, int]:
    return {path.name: number_of(np.asarray(Image.open(path).convert("RGB"))) for path in sorted(folder.iterdir())}


class TestPattern:
    @pytest.mark.parametrize(
        ("text", "number", "name"),
        [
            ("a/%06d.png", 7, "a/000007.png"),
            ("%d.jpg", 12, "12.jpg"),
            ("a%%b_%03d_x.tif", 5, "a%b_005_x.tif"),
            ("%4d.png", 5, "0005.png"),
            ("%03d.png", 1234, "1234.png"),
        ],
    )
    def test_names(self, text: str, number: int, name: str) -> None:
        pictures = PictureSequence.parse(text)
        assert pictures is not None
        assert str(pictures.path(number)) == name

    @pytest.mark.parametrize("text", ["a.png", "%03d/a.png", "%02d_%02d.png", "100%.png", "http://x/%03d.png", "-"])
    def test_other_names(self, text: str) -> None:
        assert PictureSequence.parse(text) is None

    def test_an_existing_file_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "100%d.mp4").touch()
        assert PictureSequence.parse(str(tmp_path / "100%d.mp4")) is None

    def test_only_files_of_the_pattern(self, tmp_path: Path) -> None:
        for name in ("0001.png", "0010.png", "12345.png", "1.png", "00001.png", "0002.jpg", "x0003.png", ".0004.png"):
            (tmp_path / name).touch()
        pictures = PictureSequence.parse(str(tmp_path / "%04d.png"))
        assert pictures is not None
        assert pictures.numbers() == [1, 10, 12345]


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp"])
def test_a_clip_becomes_pictures_and_the_pictures_a_clip(tmp_path: Path, suffix: str) -> None:
    source = Clip(frames=12, sound="aac").write(tmp_path / "a.mp4")
    report = stylize(source, tmp_path / f"new/folder/%03d.{suffix}")
    assert report.frames_out == 12
    assert numbers_in(tmp_path / "new/folder") == {f"{i + 1:03}.{suffix}": i for i in range(12)}
    stylize(tmp_path / f"new/folder/%03d.{suffix}", tmp_path / "b.mp4", fps=24, crf=4)
    seen = Seen.of(tmp_path / "b.mp4")
    assert seen.numbers == list(range(12))
    assert seen.times == pytest.approx([i / 24 for i in range(12)])
    assert seen.duration == pytest.approx(0.5, abs=0.01)


def test_numbers_gaps_and_broken_pictures_keep_their_places(tmp_path: Path) -> None:
    pattern = write(tmp_path / "in", [7, 8, 9, 12, 13, 14, 15])
    broken = tmp_path / "in/0013.png"
    broken.write_bytes(broken.read_bytes()[:100])
    (tmp_path / "in/0016.png").mkdir()
    os.mkfifo(tmp_path / "in/0017.png")
    (tmp_path / "in/0018.png").symlink_to("nowhere")
    report = stylize(pattern, tmp_path / "b.mkv", fps=10, crf=4)
    seen = Seen.of(tmp_path / "b.mkv")
    assert seen.numbers == [7, 8, 9, 12, 14, 15]
    assert seen.times == pytest.approx([0, 0.1, 0.2, 0.5, 0.7, 0.8])
    assert report.frames_lost == 4
    assert report.warnings == (
        "pictures missing: 2, first 0010.png; the one before a gap stays longer",
        "pictures that cannot be read: 4 (0013.png, 0016.png, 0017.png and 1 more); the one before stays longer",
    )
    stylize(pattern, tmp_path / "out/%04d.png", fps=10)
    assert numbers_in(tmp_path / "out") == {f"{n:04}.png": n for n in (7, 8, 9, 12, 14, 15)}


def test_the_rate_is_said_if_it_was_assumed(tmp_path: Path) -> None:
    report = stylize(write(tmp_path / "in", range(5)), tmp_path / "b.mp4")
    assert report.warnings == ("pictures have no rate; they are shown at 25 a second (--fps, in Python: fps)",)
    assert Seen.of(tmp_path / "b.mp4").times[1] == pytest.approx(0.04)


def test_a_part_of_pictures(tmp_path: Path) -> None:
    pattern = write(tmp_path / "in", range(1, 41))
    stylize(pattern, tmp_path / "b.mp4", fps=10, start=1.0, end=2.0, crf=4)
    seen = Seen.of(tmp_path / "b.mp4")
    assert (seen.numbers, seen.times[0]) == (list(range(11, 21)), 0)
    with pytest.raises(SourceError, match=r"last picture is at 3\.9 s"):
        stylize(pattern, tmp_path / "c.mp4", fps=10, start=5.0)


def test_other_sizes_are_fitted(tmp_path: Path) -> None:
    pattern = write(tmp_path / "in", [1, 2])
    write(tmp_path / "in", [3], height=96, width=64)
    report = stylize(pattern, tmp_path / "out/%d.png", fps=25)
    assert report.warnings == ("pictures of another shape: 1; fitted into 64×48 with bars",)
    fitted = np.asarray(Image.open(tmp_path / "out/3.png"))
    assert fitted.shape == (48, 64, 3)
    assert fitted[:, :15].max() == 0
    assert fitted[40, 20].max() > 100
    assert stylize(pattern, tmp_path / "small/%d.png", fps=25, height=24).height == 24


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 48 * 64).reshape(48, 64).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "1.png")
    frame = next(SequenceSource(PictureSequence(tmp_path, "", 1, ".png")).frames())
    assert np.abs(frame.rgb[..., 0].astype(float) - values / 257).max() <= 1


class TestTransparency:
    def pattern(self, folder: Path) -> str:
        """A disc of one colour with a soft edge, over hidden green."""
        folder.mkdir()
        y, x = np.mgrid[:48, :64]
        alpha = np.clip((16 - np.hypot(y - 24, x - 32)) * 40 + 128, 0, 255).astype(np.uint8)
        rgb = np.where(alpha[..., None] > 0, (200, 40, 90), (0, 255, 0)).astype(np.uint8)
        Image.fromarray(np.dstack([rgb, alpha])).save(folder / "1.png")
        return str(folder / "%d.png")

    @pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
    def test_is_copied_and_the_colour_continues_behind_it(self, tmp_path: Path, suffix: str) -> None:
        source = self.pattern(tmp_path / "in")
        report = stylize(source, tmp_path / f"out/%d.{suffix}", fps=25)
        before = np.asarray(Image.open(tmp_path / "in/1.png"))
        after = np.asarray(Image.open(tmp_path / f"out/1.{suffix}")).astype(int)
        assert report.warnings == ()
        assert np.array_equal(after[..., 3], before[..., 3])
        visible = after[..., 3] > 0
        assert np.abs(after[visible][:, :3] - (200, 40, 90)).max() <= (12 if suffix == "webp" else 1)

    def test_is_shown_on_black_where_the_output_has_none(self, tmp_path: Path) -> None:
        report = stylize(self.pattern(tmp_path / "in"), tmp_path / "out/%d.jpg", fps=25)
        assert report.warnings == ("transparent parts are shown on black",)
        after = np.asarray(Image.open(tmp_path / "out/1.jpg"))
        assert after[0, 0].max() < 8

    @pytest.mark.parametrize("shape", [(48, 64), (47, 3), (1, 1), (2, 2), (33, 65)])
    def test_the_fill_is_the_colour_of_what_is_visible(self, shape: tuple[int, int]) -> None:
        alpha = np.zeros(shape, np.uint8)
        alpha[shape[0] // 2, shape[1] // 2] = 255
        hidden = np.full((*shape, 3), 255, np.uint8)
        hidden[alpha > 0] = (10, 100, 50)
        filled = continue_colours(hidden, alpha)
        assert np.abs(filled.astype(int) - (10, 100, 50)).max() <= 1
        assert continue_colours(hidden, np.zeros(shape, np.uint8)).max() == 0


class TestRefusals:
    @pytest.mark.parametrize(
        ("source", "out", "options", "words"),
        [
            ("in/%04d.png", "in/%04d.png", {}, "the same pictures"),
            ("in/%04d.png", "out/%04d.exr", {}, "OpenEXR cannot be written"),
            ("in/%04d.png", "out/%04d", {}, "the kind '' cannot be written"),
            ("in/%04d.png", "out/%04d.png", {"crf": 20, "codec": "h264"}, "pictures take no codec and no crf"),
            ("a.mp4", "in/%04d.png", {}, "already exists"),
            ("a.mp4", "b.mp4", {"fps": 24}, "has its own rate"),
            ("a.mp4", "b.png", {}, "the name of one picture"),
            ("a.mp4", "a.mp4/%04d.png", {}, "cannot write to"),
        ],
    )
    def test_settings(self, tmp_path: Path, source: str, out: str, options: dict[str, Any], words: str) -> None:
        write(tmp_path / "in", [1, 2])
        Clip(frames=3).write(tmp_path / "a.mp4")
        with pytest.raises(ConfigError, match=words):
            stylize(tmp_path / source, tmp_path / out, **options)
        assert not (tmp_path / "out").exists()

    def test_a_number_that_is_a_date(self, tmp_path: Path) -> None:
        pattern = write(tmp_path / "in", [1, 2, 20231129123456])
        with pytest.raises(SourceError, match=r"jump from 0002\.png to 20231129123456\.png"):
            stylize(pattern, tmp_path / "b.mp4", fps=10)
        assert stylize(pattern, tmp_path / "b.mp4", fps=10, end=1.0).frames_out == 2

    def test_input(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="no picture is named like"):
            stylize(tmp_path / "none/%04d.png", tmp_path / "b.mp4")
        (tmp_path / "0001.png").write_text("no picture")
        with pytest.raises(SourceError, match="is not a picture"):
            stylize(tmp_path / "%04d.png", tmp_path / "new/%04d.png")
        assert not (tmp_path / "new").exists()


class StopsAfter(Still):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def __call__(self, rgb: Any, strength: float = 1.0, colours: float = 0.0) -> Any:
        if self.calls == self.count:
            raise StoppedError("enough")
        return super().__call__(rgb, strength)


class TestResume:
    @pytest.mark.parametrize("kind", ["clip", "pictures"])
    def test_only_what_is_missing_is_made(self, tmp_path: Path, kind: str) -> None:
        if kind == "clip":
            source, numbers = str(Clip(frames=20).write(tmp_path / "a.mp4")), dict.fromkeys(range(1, 21))
        else:
            source, numbers = write(tmp_path / "in", [*range(5, 12), *range(14, 27)]), None
        out = tmp_path / "out/%04d.png"
        with pytest.raises(StoppedError):
            stylize(source, out, StopsAfter(8))
        job = VideoJob(source, out)
        done = [path for path in (tmp_path / "out").iterdir() if path.is_file()]
        assert 1 <= len(done) <= 8
        before = {path: path.stat().st_mtime_ns for path in done}
        with pytest.raises(ConfigError, match="interrupted job"):
            stylize(source, out)
        with pytest.raises(ConfigError, match="scale was 1.0, not 2.0"):
            stylize(source, out, resume=True, scale=2.0)
        (job.folder / ".job.json.0123abcd.part").touch()  # of a process that was killed
        engine = Still()
        report = stylize(source, out, engine, resume=True)
        assert engine.calls == 20 - len(done)
        assert report.frames_out == 20
        assert before == {path: path.stat().st_mtime_ns for path in done}
        assert not job.folder.exists()
        seen = numbers_in(tmp_path / "out")
        assert len(seen) == 20
        if numbers is None:
            assert seen == {f"{n:04}.png": n for n in (*range(5, 12), *range(14, 27))}
        else:
            assert seen == {f"{n:04}.png": n - 1 for n in numbers}

    def test_what_was_there_before_is_not_taken_for_done(self, tmp_path: Path) -> None:
        source = Clip(frames=10).write(tmp_path / "a.mp4")
        write(tmp_path / "out", range(200, 215))
        with pytest.raises(StoppedError):
            stylize(source, tmp_path / "out/%04d.png", StopsAfter(3), overwrite=True)
        with pytest.raises(ConfigError, match="already exists"):
            stylize(source, tmp_path / "out/%04d.png", resume=True)

    def test_older_pictures_behind_the_end_are_named(self, tmp_path: Path) -> None:
        source = Clip(frames=10).write(tmp_path / "a.mp4")
        write(tmp_path / "out", range(8, 15))
        report = stylize(source, tmp_path / "out/%04d.png", overwrite=True)
        assert report.warnings == ("older pictures after the last: 4, from 0011.png; remove them",)


def test_ctrl_c_leaves_whole_pictures_and_says_how_to_go_on(tmp_path: Path) -> None:
    Clip(frames=250, height=96, width=128).write(tmp_path / "a.mp4")
    command = [sys.executable, "-m", "rtstyle", "video", "a.mp4", "out/%04d.png", "--threads", "1", "-q"]
    job = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ})
    until_s = time.monotonic() + 60
    while not (tmp_path / "out/0003.png").exists() and time.monotonic() < until_s and job.poll() is None:
        time.sleep(0.01)
    job.send_signal(signal.SIGINT)
    _, text = job.communicate(timeout=30)
    assert job.returncode == 130
    assert text.strip() == "warning: the pictures in out are complete; the same command with --resume goes on"
    names = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_file())
    assert names == [f"{i + 1:04}.png" for i in range(len(names))]
    for name in names:
        Image.open(tmp_path / "out" / name).load()
    manifest = Manifest.load(VideoJob("a.mp4", tmp_path / "out/%04d.png").folder)
    assert json.loads(json.dumps(manifest.settings))["codec"] == ".png"


def test_the_time_unit_is_that_of_the_rate(tmp_path: Path) -> None:
    write(tmp_path, [3, 4])
    source = SequenceSource(PictureSequence(tmp_path, "", 4, ".png"), fps=Fraction(24000, 1001))
    first, second = source.frames()
    assert (first.pts, second.pts, second.time_base) == (0, 1, Fraction(1001, 24000))
