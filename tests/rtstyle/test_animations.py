"""GIF, APNG and WebP as input and output."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from engines.errors import ConfigError, SinkError, SourceError
from rtstyle.clip_length import clip_length
from rtstyle.controls import Controls
from rtstyle.image import ImageJob, stylize_images
from rtstyle.video import VideoJob, VideoReport, stylize_video
from rtstyle.video_ends import open_clip
from tests.rtstyle.clips import Clip, Seen, Still, number_of

ROOT = Path(__file__).resolve().parents[2]

KINDS = ("gif", "webp", "apng")
TIMES_MS = (50, 30, 20, 100, 700, 40, 1000)


def stylize(source: object, out: object, engine: Still | None = None, **options: Any) -> VideoReport:
    return stylize_video(VideoJob(str(source), Path(str(out)), **options), lambda: engine or Still())


def drawn(number: int) -> Image.Image:
    """A square that moves over transparent ground."""
    picture = Image.new("RGBA", (64, 48))
    left, top = number * 7, number * 4
    ImageDraw.Draw(picture).rectangle((left, top, left + 15, top + 15), (200, 30 * number, 90, 255))
    return picture


def animation(path: Path, **options: Any) -> Path:
    pictures = [drawn(number) for number in range(len(TIMES_MS))]
    options = {"lossless": True} if path.suffix == ".webp" else {"disposal": 2, **options}
    form = "PNG" if path.suffix == ".apng" else None
    pictures[0].save(path, form, save_all=True, append_images=pictures[1:], duration=TIMES_MS, loop=0, **options)
    return path


def read(path: Path) -> tuple[list[npt.NDArray[np.uint8]], list[int], int]:
    """Return the pictures as RGBA, for how many ms each is shown, and how often they loop."""
    pictures, times = [], []
    with Image.open(path) as file:
        moving: Any = file
        for number in range(moving.n_frames):
            file.seek(number)
            file.load()
            times.append(round(file.info["duration"]))
            pictures.append(np.asarray(file.convert("RGBA")))
        return pictures, times, file.info["loop"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_becomes_an_animation_that_loops(tmp_path: Path, kind: str) -> None:
    source = Clip(frames=25, fps=30, sound="aac").write(tmp_path / "a.mp4")
    report = stylize(source, tmp_path / f"b.{kind}")
    pictures, times, loops = read(tmp_path / f"b.{kind}")
    assert [number_of(picture[..., :3]) for picture in pictures] == list(range(25))
    assert loops == 0
    unit_ms = 10 if kind == "gif" else 1
    assert np.abs(np.cumsum(times) - np.arange(1, 26) * 1000 / 30).max() <= unit_ms
    assert report.warnings == (f"the sound is left out: b.{kind} cannot hold it",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", f"b.{kind}"]
    assert np.abs(pictures[0][40, 8, :3].astype(int) - (200, 30, 30)).max() <= 12
    assert pictures[0][..., 3].min() == 255


@pytest.mark.parametrize("kind", KINDS)
def test_the_length_of_an_animation(tmp_path: Path, kind: str) -> None:
    source = animation(tmp_path / f"a.{kind}")
    for end, frames in ((None, len(TIMES_MS)), (0.1, 3)):
        job = VideoJob(str(source), tmp_path / "b.mp4", end=end)
        clip = open_clip(job)
        length = clip_length(job, clip.info)
        clip.close()
        assert length is not None and length.frames == frames


@pytest.mark.parametrize("kind", KINDS)
def test_times_and_the_length_of_the_last_picture_survive(tmp_path: Path, kind: str) -> None:
    pts = [0, 40, 80, 400, 440]
    source = Clip(pts=pts, time_base=Fraction(1, 1000), fps=5).write(tmp_path / "a.mkv")
    stylize(source, tmp_path / f"b.{kind}")
    assert read(tmp_path / f"b.{kind}")[1] == [40, 40, 320, 40, 200]


@pytest.mark.parametrize("into", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_animation_becomes_another(tmp_path: Path, kind: str, into: str) -> None:
    stylize(animation(tmp_path / f"a.{kind}"), tmp_path / f"b.{into}")
    pictures, times, _ = read(tmp_path / f"b.{into}")
    assert tuple(times) == TIMES_MS
    for number, picture in enumerate(pictures):
        before = np.asarray(drawn(number))
        assert np.array_equal(picture[..., 3], before[..., 3])
        visible = before[..., 3] > 0
        assert np.abs(picture[visible][:, :3].astype(int) - before[visible][:, :3]).max() <= 40


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(("a.gif", {"disposal": disposal}) for disposal in (0, 1, 2, 3)),
        *(("a.apng", {"disposal": disposal, "blend": blend}) for disposal in (0, 1, 2) for blend in (0, 1)),
        ("a.webp", {}),
    ],
)
def test_every_picture_of_an_animation_is_complete(tmp_path: Path, name: str, options: dict[str, int]) -> None:
    source = animation(tmp_path / name, **options)
    report = stylize(source, tmp_path / "out/%d.png")
    assert report.frames_out == len(TIMES_MS)
    expected = read(source)[0]
    if options == {"disposal": 2, "blend": 1}:  # which Pillow writes rightly and reads wrongly
        expected = [np.asarray(drawn(number)) for number in range(len(TIMES_MS))]
    for number, before in enumerate(expected):
        after = np.asarray(Image.open(tmp_path / f"out/{number + 1}.png"))
        visible = before[..., 3] > 0
        assert np.array_equal(after[..., 3], before[..., 3])
        assert np.abs(after[visible].astype(int) - before[visible]).max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_animation_becomes_a_clip_on_black(tmp_path: Path, kind: str) -> None:
    report = stylize(animation(tmp_path / f"a.{kind}"), tmp_path / "b.mkv", start=0.08, crf=4)
    seen = Seen.of(tmp_path / "b.mkv")
    assert seen.times == pytest.approx([0, 0.02, 0.12, 0.82, 0.86])
    assert seen.duration == pytest.approx(1.86, abs=0.01)
    assert seen.last.to_ndarray(format="rgb24")[2, 2].max() < 8
    assert report.warnings == ("transparent parts are shown on black",)


def test_frames_that_a_gif_would_show_slowly_are_left_out(tmp_path: Path) -> None:
    source = Clip(frames=40, fps=100).write(tmp_path / "a.mp4")
    report = stylize(source, tmp_path / "b.gif")
    pictures, times, _ = read(tmp_path / "b.gif")
    assert (len(pictures), set(times)) == (20, {20})
    assert report.warnings == ("frames left out: 20; pictures of less than 20 ms play slowly",)


def test_one_frame(tmp_path: Path) -> None:
    for kind in KINDS:
        stylize(Clip(frames=1).write(tmp_path / "a.mp4"), tmp_path / f"b.{kind}")
        with Image.open(tmp_path / f"b.{kind}") as picture:
            assert number_of(np.asarray(picture.convert("RGB"))) == 0


def test_resized_and_odd(tmp_path: Path) -> None:
    source = Clip(frames=3, height=49, width=63, pixel_format="yuv444p").write(tmp_path / "a.mp4")
    for kind in KINDS:
        stylize(source, tmp_path / f"b.{kind}")
        assert read(tmp_path / f"b.{kind}")[0][0].shape == (49, 63, 4)
        report = stylize(animation(tmp_path / f"c.{kind}"), tmp_path / f"d.{kind}", height=24)
        assert (report.width, report.height) == (32, 24)
        assert read(tmp_path / f"d.{kind}")[0][0].shape == (24, 32, 4)


def test_the_image_command_says_that_there_is_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [animation(tmp_path / f"a.{kind}") for kind in KINDS]
    drawn(0).save(tmp_path / "still.png")
    drawn(0).save(tmp_path / "pages.tiff", save_all=True, append_images=[drawn(1)])
    inputs = (*names, tmp_path / "still.png", tmp_path / "pages.tiff")
    (tmp_path / "out").mkdir()
    for source in inputs:
        list(stylize_images(ImageJob((source,), tmp_path / f"out/{source.name}.png"), Still))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == len(KINDS)
    assert all("`rtstyle video` stylizes all" in line for line in said)


class TestRefusals:
    def test_settings(self, tmp_path: Path) -> None:
        source = Clip(frames=3).write(tmp_path / "a.mp4")
        (tmp_path / "b.gif").touch()
        for out, options, words in (
            ("c.gif", {"crf": 3}, "pictures take no crf"),
            ("c.gif", {"resume": True}, "written in one piece"),
            ("b.gif", {}, "already exists"),
            ("none/b.gif", {}, "no such folder"),
        ):
            with pytest.raises((ConfigError, SinkError), match=words):
                stylize(source, tmp_path / out, **options)

    @pytest.mark.parametrize("kind", KINDS)
    def test_nothing_is_left_of_a_run_that_ends_early(self, tmp_path: Path, kind: str) -> None:
        source = Clip(frames=30).write(tmp_path / "a.mp4")
        controls = Controls(1.0)
        job = VideoJob(str(source), tmp_path / f"b.{kind}")
        with pytest.raises(Exception, match="stopped"):
            stylize_video(job, Still, controls=controls, on_progress=lambda _: controls.request_stop())
        assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]

    def test_a_damaged_webp(self, tmp_path: Path) -> None:
        data = animation(tmp_path / "a.webp").read_bytes()
        (tmp_path / "a.webp").write_bytes(data[:60])
        with pytest.raises(SourceError, match="is damaged"):
            stylize(tmp_path / "a.webp", tmp_path / "b.mp4")
        (tmp_path / "a.webp").write_bytes(data[: len(data) * 2 // 3])
        try:
            report = stylize(tmp_path / "a.webp", tmp_path / "b.mp4")
        except SourceError as error:
            assert "is damaged" in error.problem  # noqa: PT017
        else:
            assert report.frames_lost > 0


def test_the_memory_of_a_gif_does_not_grow_with_its_length(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    program = """
import resource, sys
from pathlib import Path
from rtstyle.sources.pattern import PatternSource
from rtstyle.video import VideoJob, stylize_video
from tests.rtstyle.clips import Still
for frames in (10, 90):
    job = VideoJob("pattern", Path(sys.argv[1]), overwrite=True)
    stylize_video(job, Still, source=PatternSource(320, 240, frames=frames, live=False))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "a.gif")]
    text = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    short, long = (int(line) for line in text.split())
    assert long - short < 10_000  # kB; 80 pictures have 24 MB
