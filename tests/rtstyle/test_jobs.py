"""Long work: a clip in segments is the clip in one piece, and an interrupted job goes on where it was."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from filelock import FileLock

from engines.base import RGB
from engines.errors import ConfigError, EngineError, SinkError
from rtstyle.cli import main
from rtstyle.jobs.manifest import MANIFEST, VERSION, Manifest
from rtstyle.jobs.segmented_sink import LOCK
from rtstyle.video import VideoJob, VideoReport, stylize_video
from tests.conftest import ROOT
from tests.rtstyle.clips import Clip, Seen, Still

FRAMES, SEGMENT_S, SEGMENTS = 95, 0.4, 10
"""A clip of 25 frames a second: ten frames in each segment but the last."""


class Failing(Still):
    """Fails at one frame."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
        if self.calls == self._at:
            raise EngineError("the power went out")
        return super().__call__(rgb, strength, colours)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film with sound and B-frames."""
    return Clip(frames=FRAMES, sound="aac", options={"bf": "2", "g": "12"}).write(
        tmp_path_factory.mktemp("clip") / "film.mp4"
    )


def job(clip: Path, output: Path, **settings: Any) -> VideoJob:
    return VideoJob(str(clip), output, **{"segment_s": SEGMENT_S, "preset": "veryfast", **settings})


def run(job: VideoJob, engine: Still | None = None) -> tuple[VideoReport, Still]:
    engine = engine or Still()
    return stylize_video(job, lambda: engine), engine


def interrupt(job: VideoJob, at: int) -> None:
    with pytest.raises(EngineError):
        run(job, Failing(at))


def pictures(path: Path) -> Iterator[tuple[Fraction, RGB]]:
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            assert frame.pts is not None and frame.time_base is not None
            yield frame.pts * frame.time_base, frame.to_ndarray(format="rgb24")


def sound(path: Path) -> list[tuple[int | None, bytes]]:
    with av.open(str(path)) as file:
        return [(packet.pts, bytes(packet)) for packet in file.demux(audio=0) if packet.size]


@pytest.mark.parametrize(
    ("ending", "codec", "preset"),
    [
        (".mp4", "h264", "veryfast"),
        (".mkv", "h264", "medium"),
        (".mov", "hevc", "ultrafast"),
        (".mp4", "av1", "13"),
        (".webm", "vp9", "8"),
    ],
)
def test_segments_are_the_clip_in_one_piece(clip: Path, tmp_path: Path, ending: str, codec: str, preset: str) -> None:
    settings = {"codec": codec, "preset": preset}
    whole, cut = tmp_path / f"whole{ending}", tmp_path / f"cut{ending}"
    run(job(clip, whole, segment_s=0, **settings))
    report, _ = run(job(clip, cut, **settings))
    assert report.frames_in == report.frames_out == FRAMES and not report.warnings[1:]
    first, second = list(pictures(whole)), list(pictures(cut))
    assert [time for time, _ in first] == [time for time, _ in second]
    assert all(np.abs(a.astype(int) - b).mean() < 4 for (_, a), (_, b) in zip(first, second, strict=True))
    assert sound(whole) == sound(cut)
    assert Seen.of(whole).duration == pytest.approx(Seen.of(cut).duration, abs=0.002)
    assert [path.name for path in tmp_path.iterdir()] == [path.name for path in (whole, cut)] or not any(
        "job" in path.name for path in tmp_path.iterdir()
    )
    with av.open(str(cut)) as file:
        times = [packet.dts for packet in file.demux(video=0) if packet.dts is not None]
    assert times == sorted(set(times)), "frames must be decoded in order"


def test_times_that_are_not_even_are_kept(tmp_path: Path) -> None:
    steps = np.random.default_rng(1).integers(100, 3000, 80)
    pts = [int(time) for time in np.cumsum(steps)]
    source = Clip(frames=80, pts=pts, options={"bf": "3"}).write(tmp_path / "in.mkv")
    run(job(source, tmp_path / "whole.mp4", segment_s=0, preset="medium"))
    run(job(source, tmp_path / "cut.mp4", preset="medium"))
    assert Seen.of(tmp_path / "cut.mp4").times == Seen.of(tmp_path / "whole.mp4").times
    assert Seen.of(tmp_path / "cut.mp4").numbers == list(range(80))


@pytest.mark.parametrize("at", [3, 10, 57, FRAMES - 1])
def test_an_interrupted_job_goes_on_and_ends_as_if_nothing_had_been(clip: Path, tmp_path: Path, at: int) -> None:
    run(job(clip, tmp_path / "whole.mp4"))
    here = job(clip, tmp_path / "out.mp4")
    interrupt(here, at)
    assert not here.output.exists()
    kept = len(Manifest.load(here.folder).segments) if here.folder.exists() else 0
    assert kept >= at // 10 - 1
    report, engine = run(replace(here, resume=True))
    assert engine.calls == FRAMES - 10 * kept, "what is kept is not made again"
    assert report.frames_out == FRAMES
    assert here.output.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert not here.folder.exists()


def test_a_part_of_a_clip_goes_on_too(clip: Path, tmp_path: Path) -> None:
    part = {"start": 0.5, "end": 3.1}
    run(job(clip, tmp_path / "whole.mp4", **part))
    interrupt(job(clip, tmp_path / "out.mp4", **part), 30)
    run(job(clip, tmp_path / "out.mp4", resume=True, **part))
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_a_folder_of_the_users_own_keeps_what_is_not_ours(clip: Path, tmp_path: Path) -> None:
    here = job(clip, tmp_path / "out.mp4", job_dir=tmp_path / "work")
    interrupt(here, 57)
    (here.folder / "notes.txt").write_text("mine")
    run(replace(here, resume=True))
    assert [path.name for path in here.folder.iterdir()] == ["notes.txt"]


def test_a_short_clip_needs_no_folder(clip: Path, tmp_path: Path) -> None:
    here = job(clip, tmp_path / "out.mp4", segment_s=20)
    interrupt(here, 50)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_job_is_not_lost_by_mistake(clip: Path, tmp_path: Path) -> None:
    here = job(clip, tmp_path / "out.mp4")
    interrupt(here, 57)
    with pytest.raises(ConfigError, match="--resume") as failure:
        run(replace(here, overwrite=True))
    assert str(here.folder) in str(failure.value)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="is not the folder of a job"):
        run(job(clip, tmp_path / "other.mp4", job_dir=mine))
    assert (mine / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strength": 0.5}, "strength was 1.0, not 0.5"),
        ({"colours": 1.0}, "colours was 0.0, not 1.0"),
        ({"crf": 30}, "crf was not set, not 30"),
        ({"segment_s": 1.0}, "segment_s was 0.4, not 1.0"),
        ({"codec": "hevc", "height": 32}, "height was not set, not 32; codec was h264, not hevc"),
    ],
)
def test_other_settings_are_refused_by_name(clip: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    here = job(clip, tmp_path / "out.mp4")
    interrupt(here, 57)
    with pytest.raises(ConfigError) as failure:
        run(replace(here, resume=True, **change))
    for part in message.split("; "):
        assert part in str(failure.value)
    run(replace(here, resume=True))


def test_another_style_or_clip_is_refused(clip: Path, tmp_path: Path) -> None:
    here = job(clip, tmp_path / "out.mp4")
    with pytest.raises(EngineError):
        stylize_video(here, lambda: Failing(57), made_by={"style": "wave (12ab)"})
    with pytest.raises(ConfigError, match=r"style was wave \(12ab\), not vangogh \(34cd\)"):
        stylize_video(replace(here, resume=True), Still, made_by={"style": "vangogh (34cd)"})
    other = Clip(frames=FRAMES, height=64).write(tmp_path / "film.mp4")
    with pytest.raises(ConfigError, match="another clip"):
        run(replace(here, resume=True, input=str(other)))


def test_a_damaged_segment_is_made_again(clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(job(clip, tmp_path / "whole.mp4"))
    here = job(clip, tmp_path / "out.mp4")
    interrupt(here, 77)
    third = here.folder / Manifest.load(here.folder).segments[2].name
    data = bytearray(third.read_bytes())
    data[len(data) // 2] ^= 1
    third.write_bytes(data)
    _, engine = run(replace(here, resume=True))
    assert engine.calls == FRAMES - 60
    assert f"{third} is damaged" in caplog.text
    assert here.output.read_bytes() == (tmp_path / "whole.mp4").read_bytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"version": 1, "input": 5, "settings": {}, "segments": []}', "is damaged"),
        (json.dumps({"version": VERSION + 1}), "newer rtstyle"),
    ],
)
def test_a_manifest_that_cannot_be_used(clip: Path, tmp_path: Path, text: str, message: str) -> None:
    here = job(clip, tmp_path / "out.mp4")
    interrupt(here, 57)
    (here.folder / MANIFEST).write_text(text)
    with pytest.raises(ConfigError, match=message):
        run(replace(here, resume=True))
    assert len(list(here.folder.glob("segment-*"))) >= 4, "nothing is thrown away"


def test_two_processes_do_not_work_in_one_folder(clip: Path, tmp_path: Path) -> None:
    here = job(clip, tmp_path / "out.mp4")
    interrupt(here, 57)
    with FileLock(here.folder / LOCK), pytest.raises(ConfigError, match="another process is working in"):
        run(replace(here, resume=True))
    run(replace(here, resume=True))


@pytest.mark.skipif(sys.platform == "win32", reason="sets a limit of POSIX")
def test_a_disk_that_is_full_at_the_end_costs_nothing(clip: Path, tmp_path: Path) -> None:
    here = job(clip, tmp_path / "out.mp4", crf=0)
    run(here)
    limit = here.output.stat().st_size // 2
    here.output.unlink()
    script = f"""
        import resource, signal
        from pathlib import Path
        from rtstyle.video import VideoJob, stylize_video
        from tests.rtstyle.clips import Still
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        job = VideoJob({here.input!r}, Path({str(here.output)!r}), segment_s={SEGMENT_S}, preset="veryfast", crf=0)
        stylize_video(job, Still)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "SinkError" in done.stderr and "size limit" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [here.folder.name]
    _, engine = run(replace(here, resume=True))
    assert engine.calls == 0
    assert here.output.stat().st_size > limit


def test_a_job_that_was_killed_as_it_began_begins_again(clip: Path, tmp_path: Path) -> None:
    here = job(clip, tmp_path / "out.mp4")
    here.folder.mkdir()
    (here.folder / LOCK).touch()
    run(here)
    assert here.output.exists() and not here.folder.exists()


def test_a_job_that_was_killed_as_it_ended_ends_again(clip: Path, tmp_path: Path) -> None:
    here = job(clip, tmp_path / "out.mp4")
    interrupt(here, 57)
    here.output.write_bytes(b"published")
    with pytest.raises(ConfigError, match="already exists"):
        run(here)
    run(replace(here, resume=True))
    assert len(Seen.of(here.output).numbers) == FRAMES


def test_a_job_that_was_killed_as_its_folder_went_is_finished(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = job(clip, tmp_path / "out.mp4")
    remove = Path.unlink

    def power_goes_out_at_the_second(path: Path, missing_ok: bool = False) -> None:
        if path.parent == here.folder and here.output.exists() and not (here.folder / MANIFEST).exists():
            raise SystemExit
        remove(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", power_goes_out_at_the_second)
    with pytest.raises(SystemExit):
        run(here)
    monkeypatch.undo()
    assert list(here.folder.glob("segment-*"))
    engine = Still()
    with pytest.raises(ConfigError, match="already exists"):
        run(replace(here, resume=True), engine)
    assert engine.calls == 0
    run(replace(here, overwrite=True))
    assert not here.folder.exists()


@pytest.mark.parametrize(("name", "codec"), [("out.mov", "prores"), ("out.mkv", "ffv1")])
def test_what_is_written_in_one_piece_cannot_be_resumed(clip: Path, tmp_path: Path, name: str, codec: str) -> None:
    with pytest.raises(ConfigError, match="written in one piece"):
        run(job(clip, tmp_path / name, codec=codec, preset=None, resume=True))


def test_a_begun_job_is_not_begun_anew_in_one_piece(clip: Path, tmp_path: Path) -> None:
    here = job(clip, tmp_path / "out.mp4")
    interrupt(here, 57)
    with pytest.raises(ConfigError, match="leave out --segment 0"):
        run(replace(here, resume=True, segment_s=0))


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
def test_rate_and_timecode(tmp_path: Path, ending: str) -> None:
    """The muxer of MP4 needs the rate for a timecode, and Matroska states it."""
    source = Clip(frames=FRAMES, metadata={"timecode": "01:00:00:00"}).write(tmp_path / "in.mov")
    for name, segment_s in (("whole", 0.0), ("cut", SEGMENT_S)):
        run(job(source, tmp_path / f"{name}{ending}", segment_s=segment_s))
    found = []
    for name in ("whole", "cut"):
        with av.open(str(tmp_path / f"{name}{ending}")) as file:
            video = file.streams.video[0]
            tags = [*file.metadata.items(), *(tag for stream in file.streams for tag in stream.metadata.items())]
            found.append((video.average_rate, {value for key, value in tags if key.lower() == "timecode"}))
    assert found[0] == found[1]
    assert found[0] == (25, {"01:00:00:00"})


def test_what_the_output_cannot_hold_shows_before_the_first_frame(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rtstyle.sinks.track_remuxer.TrackRemuxer.add_tracks", full)
    here, engine = job(clip, tmp_path / "out.mp4"), Still()
    with pytest.raises(SinkError, match="the disk is full"):
        run(here, engine)
    assert engine.calls < 10 and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path: Path) -> None:
    source = Clip(frames=250, sound="aac").write(tmp_path / "film.mp4")
    command = [sys.executable, "-m", "rtstyle", "video", str(source), "--segment", "0.4", "--quiet", "--resume"]
    assert main([*command[3:4], str(source), str(tmp_path / "whole.mp4"), "--segment", "0.4", "--quiet"]) == 0
    draw = random.Random(1)
    output = tmp_path / "out.mp4"
    for _ in range(20):
        process = subprocess.Popen([*command[:5], str(output), *command[5:]], cwd=ROOT)
        time.sleep(draw.uniform(0.8, 2.5))
        process.kill()
        process.wait()
        if output.exists():
            assert output.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
            output.unlink()
    subprocess.run([*command[:5], str(output), *command[5:]], cwd=ROOT, check=True, timeout=120)
    assert output.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "out.mp4", "whole.mp4"]


def test_ctrl_c_says_how_to_go_on(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = job(clip, tmp_path / "out.mp4")
    interrupt(here, 57)
    arguments = ["video", str(clip), str(here.output), "--segment", "0.4"]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "add --resume" in error and "to go on" in error and error.count("\n") == 2
