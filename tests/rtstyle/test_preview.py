"""A look before hours of work: the stills are the right ones, and time and size are close to what a run takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from engines.base import RGB
from engines.errors import ConfigError, EngineError, SinkError
from rtstyle.cli import main
from rtstyle.media.contact_sheet import BAND, GAP, LONGEST_SIDE, Still, contact_sheet
from rtstyle.preview import Preview, describe, preview
from rtstyle.video import VideoJob, stylize_video
from tests.rtstyle.clips import Clip, number_of
from tests.rtstyle.clips import Still as StillEngine


def look(clip: Path, output: Path, stills: int = 3, engine: Any = None, **settings: Any) -> Preview:
    job = VideoJob(str(clip), output, **settings)
    return preview(job, lambda: engine or StillEngine(negative=True), stills, pattern=None)


def numbers_on(sheet: Path, stills: int, height: int = 48, width: int = 64) -> list[tuple[int, int]]:
    """Return the frame numbers on a sheet of one row: of the input, and of its negative turned back."""
    picture = cv2.cvtColor(cv2.imread(str(sheet)), cv2.COLOR_BGR2RGB)
    found = []
    for column in range(stills):
        left = GAP + column * (width + GAP)
        above = picture[BAND : BAND + height, left : left + width]
        below = picture[BAND + height + GAP : BAND + 2 * height + GAP, left : left + width]
        found.append((number_of(above), number_of(255 - below)))
    return found


def test_stills_lie_in_the_middle_of_equal_parts_with_the_painting_below(tmp_path: Path) -> None:
    clip = Clip(frames=90).write(tmp_path / "a.mp4")
    (tmp_path / "b.preview.jpg").write_text("an older one")
    found = look(clip, tmp_path / "b.mp4")
    assert found.sheet == tmp_path / "b.preview.jpg"
    assert numbers_on(found.sheet, 3) == [(15, 15), (45, 45), (75, 75)]
    assert found.times_s == pytest.approx((0.6, 1.8, 3.0))
    assert (found.frames, found.height, found.width) == (90, 48, 64)
    assert found.seconds == pytest.approx(90 / found.fps)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.preview.jpg"], "nothing else is written"


def test_a_part(tmp_path: Path) -> None:
    clip = Clip(frames=90).write(tmp_path / "a.mp4")
    found = look(clip, tmp_path / "b.mp4", 2, start=1.0, end=2.0)
    assert numbers_on(found.sheet, 2) == [(31, 31), (43, 43)] and found.frames == 25


def test_uneven_times_are_counted(tmp_path: Path) -> None:
    """A nominal rate says nothing about how many frames there are."""
    pts = [0, 40, 80, 120, 1000, 2000, 3000, 4000, 5000, 9000]
    clip = Clip(pts=pts, time_base=Clip.time_base / Clip.time_base / 1000).write(tmp_path / "a.mkv")
    assert look(clip, tmp_path / "b.mp4").frames == 10


def test_one_frame(tmp_path: Path) -> None:
    found = look(Clip(frames=1).write(tmp_path / "a.mp4"), tmp_path / "b.mp4", 5)
    assert numbers_on(found.sheet, 1) == [(0, 0)] and found.frames == 1
    assert "the whole clip: 1 frame, about 1 s at " in describe(found)


def test_a_stream_without_a_length_is_counted(tmp_path: Path) -> None:
    Clip(frames=60).write(tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as source, av.open(str(tmp_path / "a.h264"), "w", format="h264") as raw:
        target = raw.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = target
                raw.mux(packet)
    found = look(tmp_path / "a.h264", tmp_path / "b.mp4", 2)
    assert found.frames == 60 and numbers_on(found.sheet, 2) == [(15, 15), (45, 45)]


@pytest.mark.parametrize(
    ("ending", "settings"),
    [(".mp4", {}), (".mp4", {"codec": "hevc", "audio": False}), (".webm", {}), (".mkv", {"start": 2.0, "end": 9.0})],
)
def test_the_size_is_close_to_that_of_the_whole(tmp_path: Path, ending: str, settings: dict[str, Any]) -> None:
    clip = Clip(frames=250, sound="aac", height=96, width=128).write(tmp_path / "a.mp4")
    found = look(clip, tmp_path / f"b{ending}", **settings)
    job = VideoJob(str(clip), tmp_path / f"b{ending}", segment_s=0, **settings)
    report = stylize_video(job, lambda: StillEngine(negative=True))
    assert found.frames == report.frames_out
    assert found.bytes == pytest.approx(job.output.stat().st_size, rel=0.3)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["video", "pattern", str(tmp_path / "b.mp4"), "--height", "64", "--end", "2", "--threads", "1"]
    assert main([*arguments, "--preview", "2"]) == 0
    told = capsys.readouterr().err
    assert f"{tmp_path / 'b.preview.jpg'}: 2 stills" in told and "the whole clip: 60 frames, about " in told
    assert main([*arguments, "--preview", "1", "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["frames"] == 60 and found["times_s"] == [1.0] and found["bytes"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["b.preview.jpg"]


def test_what_would_fail_later_fails_now(tmp_path: Path) -> None:
    clip = Clip(frames=9).write(tmp_path / "a.mp4")
    with pytest.raises(ConfigError, match="crf 99"):
        look(clip, tmp_path / "b.mp4", crf=99)
    (tmp_path / "b.preview.jpg").mkdir()
    with pytest.raises(SinkError, match="cannot write"):
        look(clip, tmp_path / "b.mp4")


def test_an_engine_that_fails_leaves_nothing(tmp_path: Path) -> None:
    class Broken(StillEngine):
        def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
            if self.calls == 5:
                raise EngineError("broken")
            return super().__call__(rgb, strength)

    engine = Broken()
    with pytest.raises(EngineError):
        look(Clip(frames=30).write(tmp_path / "a.mp4"), tmp_path / "b.mp4", engine=engine)
    assert engine.closed == 1 and [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_large_stills_are_reduced_and_many_fill_rows() -> None:
    picture = np.full((1080, 1920, 3), 90, np.uint8)
    sheet = contact_sheet([Still("0:00.0", (picture, picture))] * 5)
    height = round(LONGEST_SIDE * 1080 / 1920)
    assert sheet.shape == (2 * (BAND + 2 * (height + GAP)) + GAP, 3 * (LONGEST_SIDE + GAP) + GAP, 3)


def test_sentences() -> None:
    found = Preview(Path("a"), (), 640, 360, 7412, 13.7, 7412 / 13.7, 84_400_000, 11_000)
    assert describe(found) == "the whole clip: 7 412 frames, about 9 min at 13.7 fps, about 84 MB"
    endless = Preview(Path("a"), (), 640, 360, None, 13.7, None, None, 11_000)
    assert describe(endless).endswith("how long it is: 13.7 fps, about 11 MB for every 1 000 frames")
