"""Many clips: each is stylized once, whatever happens to the others, to the process, or between two runs."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import rtstyle
from engines.base import RGB
from engines.errors import ConfigError, EngineError, SinkError, StylerError
from rtstyle.cli import main
from rtstyle.jobs.batch import VideoBatch, VideoFailure, stylize_videos
from rtstyle.jobs.batch_record import RECORD, BatchRecord
from rtstyle.jobs.manifest import Manifest
from rtstyle.video import VideoJob, VideoReport
from tests.conftest import ROOT
from tests.rtstyle.clips import Clip, Seen, Still

SETTINGS = VideoJob("", Path(), preset="ultrafast")


class Failing(Still):
    """Raises an error at one frame."""

    def __init__(self, at: int, error: BaseException) -> None:
        super().__init__()
        self._at, self._error = at, error

    def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
        if self.calls == self._at:
            self.calls += 1
            raise self._error
        return super().__call__(rgb, strength)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Four clips of five frames; the second is none."""
    folder = tmp_path / "films"
    (folder / "sub").mkdir(parents=True)
    clip = Clip(frames=5).write(folder / "a.mp4").read_bytes()
    for name in ("c.mp4", "sub/d.mp4"):
        (folder / name).write_bytes(clip)
    (folder / "b.mp4").write_bytes(b"rubbish")
    return folder


def run(
    films: Path, engine: Still | None = None, settings: VideoJob = SETTINGS, **more: Any
) -> list[VideoReport | VideoFailure]:
    with VideoBatch([str(films)], films.with_name("out"), settings, **more) as batch:
        return list(batch.run(lambda: engine or Still()))


def names(results: list[VideoReport | VideoFailure]) -> list[str]:
    """What was done, and with a ``-`` what failed."""
    return [f"{'-' * isinstance(one, VideoFailure)}{Path(one.input).name}" for one in results]


def failures(results: list[VideoReport | VideoFailure]) -> list[str]:
    return [str(one.error) for one in results if isinstance(one, VideoFailure)]


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Which files there are, so that one that was made twice differs."""
    found = {path: path.stat() for path in folder.rglob("*.mp4")}
    return {path.relative_to(folder).as_posix(): (of.st_ino, of.st_mtime_ns) for path, of in found.items()}


def rubbish(folder: Path) -> list[str]:
    """Hidden and unfinished files."""
    return [path.name for path in folder.rglob("*") if path.name.startswith(".") and "rtstyle-batch" not in path.name]


def test_one_engine_serves_all_and_a_bad_clip_stops_none(films: Path) -> None:
    engine, loaded = Still(), list[int]()

    def load() -> Still:
        loaded.append(1)
        return engine

    inputs = sorted(films.rglob("*.mp4"))
    jobs = [replace(SETTINGS, input=str(path), output=films / f"out-{path.name}") for path in inputs]
    seen: list[tuple[str, int]] = []
    results = list(stylize_videos(jobs, load, on_progress=lambda job, now: seen.append((job.input, now.frames))))
    assert names(results) == ["a.mp4", "-b.mp4", "c.mp4", "d.mp4"]
    assert [result.input for result in results] == [str(path) for path in inputs]
    assert (len(loaded), engine.calls, engine.closed) == (1, 15, 1)
    assert seen == [(job.input, number) for job in (jobs[0], *jobs[2:]) for number in range(1, 6)]
    assert Seen.of(jobs[3].output).numbers == list(range(5))


def test_what_is_written_in_one_piece_is_written_too(films: Path) -> None:
    results = run(films, settings=replace(SETTINGS, codec="ffv1", preset=None, crf=None), container="mkv")
    assert names(results) == ["a.mp4", "-b.mp4", "c.mp4", "d.mp4"]


def test_what_is_finished_is_skipped(films: Path) -> None:
    out = films.with_name("out")
    assert names(run(films)) == ["a.mp4", "-b.mp4", "c.mp4", "d.mp4"]
    first = stamps(out)
    assert set(first) == {"a.mp4", "c.mp4", "sub/d.mp4"}
    (out / "c.mp4").unlink()  # whoever wants a clip again removes its output
    os.utime(films / "a.mp4", (1, 1))  # a new date alone is no new clip
    other = replace(SETTINGS, segment_s=3)
    assert names(run(films, settings=other)) == ["-b.mp4", "c.mp4"]
    second = stamps(out)
    assert {name: second[name] for name in ("a.mp4", "sub/d.mp4")} == {
        name: first[name] for name in ("a.mp4", "sub/d.mp4")
    }
    (films / "b.mp4").write_bytes((films / "a.mp4").read_bytes())
    assert names(run(films, settings=replace(SETTINGS, overwrite=True))) == ["b.mp4"], "skipped with --overwrite, too"


def test_nothing_left_loads_no_engine(films: Path) -> None:
    (films / "b.mp4").unlink()
    run(films)
    with VideoBatch([str(films)], films.with_name("out"), SETTINGS) as batch:
        assert [task.output.name for task in batch.finished] == ["a.mp4", "c.mp4", "d.mp4"]
        assert list(batch.run(lambda: pytest.fail("not needed"))) == []


def test_what_would_be_replaced_is_named(films: Path) -> None:
    out = films.with_name("out")
    out.mkdir()
    (out / "a.mp4").write_bytes(b"somebody's")
    assert names(run(films)) == ["-a.mp4", "-b.mp4", "c.mp4", "d.mp4"]
    assert (out / "a.mp4").read_bytes() == b"somebody's"
    Clip(frames=6).write(films / "c.mp4")
    (out / "sub" / "d.mp4").write_bytes(b"shorter")
    told = failures(run(films))
    assert f"{out}/a.mp4 already exists (add --overwrite (in Python: overwrite=True) to replace it)" in told
    assert any(f"{out}/c.mp4 was made of another input than {films}/c.mp4 is now" in line for line in told)
    assert any(f"{out}/sub/d.mp4 is not as it was written: it has 7 bytes" in line for line in told)
    before = stamps(out)
    told = failures(run(films, settings=replace(SETTINGS, strength=0.5), made_by={"style": "wave (1)"}))
    assert len(told) == 4 and stamps(out) == before
    over = replace(SETTINGS, overwrite=True)
    assert names(run(films, settings=over)) == ["a.mp4", "-b.mp4", "c.mp4", "d.mp4"]
    assert names(run(films)) == ["-b.mp4"], "what was replaced is finished now"


def test_other_settings_are_named(films: Path) -> None:
    (films / "b.mp4").unlink()
    run(films, made_by={"style": "wave (1)", "engine": "cpu"})
    assert names(run(films, made_by={"style": "wave (1)", "engine": "cuda"})) == [], "no visible difference"
    changed = replace(SETTINGS, strength=0.5, height=32)
    told = failures(run(films, settings=changed, made_by={"style": "monet (2)", "engine": "cpu"}))
    words = ("strength was 1.0, not 0.5", "height was not set, not 32", "style was wave (1), not monet (2)")
    assert len(told) == 3 and all(word in line for line in told for word in words)


@pytest.mark.parametrize(
    "error", [EngineError("out of order"), OSError(errno.ENOSPC, "full"), OSError(errno.EDQUOT, "full")]
)
def test_what_every_clip_would_meet_ends_the_run(films: Path, error: Exception) -> None:
    engine = Failing(7, error)
    with pytest.raises(type(error)):
        run(films, engine)
    assert engine.closed == 1 and set(stamps(films.with_name("out"))) == {"a.mp4"}
    assert names(run(films)) == ["-b.mp4", "c.mp4", "d.mp4"] and not rubbish(films.with_name("out"))


@pytest.mark.parametrize("error", [ValueError("odd"), MemoryError(), OSError(errno.EFBIG, "large")])
def test_what_may_be_the_fault_of_one_clip_does_not(films: Path, error: Exception) -> None:
    results = run(films, Failing(7, error))
    assert names(results) == ["a.mp4", "-b.mp4", "-c.mp4", "d.mp4"]
    assert "c.mp4" in failures(results)[1]


def test_a_full_disk_ends_the_run(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("rtstyle.sinks.output_path.OutputPath.publish", full)
        with pytest.raises(SinkError, match="the disk is full"):
            run(films)
    assert not stamps(films.with_name("out")) and not rubbish(films.with_name("out"))
    assert names(run(films)) == ["a.mp4", "-b.mp4", "c.mp4", "d.mp4"]


def test_a_long_clip_goes_on_where_it_was(films: Path) -> None:
    settings = replace(SETTINGS, segment_s=0.4)
    Clip(frames=35).write(films / "c.mp4")
    with pytest.raises(EngineError):
        run(films, Failing(5 + 27, EngineError("out of order")), settings)
    job_folder = films.with_name("out") / "c.mp4.rtstyle-job"
    assert len(Manifest.load(job_folder).segments) == 2
    engine = Still()
    assert names(run(films, engine, settings)) == ["-b.mp4", "c.mp4", "d.mp4"]
    assert engine.calls == 15 + 5 and not job_folder.exists()
    assert Seen.of(films.with_name("out") / "c.mp4").numbers == list(range(35))


def record_lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / RECORD).read_bytes().splitlines()]


def test_killed_between_an_output_and_its_record(films: Path) -> None:
    """The last line is lost, as after a kill when the output had just got its name; and nothing is made twice."""
    out = films.with_name("out")
    (films / "b.mp4").unlink()
    run(films)
    first = stamps(out)
    lines = (out / RECORD).read_bytes().splitlines(keepends=True)
    assert b'"size"' in lines[-1] and b'"before"' in lines[-2]
    (out / RECORD).write_bytes(b"".join(lines[:-1]))
    leftover = out / "sub" / "d.mp4.rtstyle-job"  # it is removed after the output has got its name
    leftover.mkdir()
    (leftover / "segment-000000.mp4").touch()
    assert names(run(films)) == [] and stamps(out) == first and not leftover.exists()
    assert [line["output"] for line in record_lines(out)[1:]] == ["a.mp4", "c.mp4", "sub/d.mp4"]


def test_killed_before_an_old_output_was_replaced(films: Path) -> None:
    out = films.with_name("out")
    (films / "b.mp4").unlink()
    run(films)
    over = replace(SETTINGS, strength=0.5, overwrite=True)
    run(films, settings=over)
    lines = (out / RECORD).read_bytes().splitlines(keepends=True)
    begun = json.loads(lines[-2])
    found = (out / "sub" / "d.mp4").stat()
    begun["before"] = [found.st_size, found.st_mtime_ns, found.st_ino]  # it has not been replaced yet
    (out / RECORD).write_bytes(b"".join([*lines[:-2], json.dumps(begun).encode()]))
    (out / "sub" / ".d.rtstyle-part-123.mp4").touch()
    (out / "sub" / ".d.mp4.0123abcd.part").touch()
    (out / "sub" / ".other.rtstyle-part-123.mp4").touch()
    assert names(run(films, settings=over)) == ["d.mp4"]
    assert rubbish(out) == [".other.rtstyle-part-123.mp4"], "it belongs to somebody else"


def test_a_clip_that_kills_the_process_comes_last(films: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = films.with_name("out")
    (films / "b.mp4").unlink()
    run(films)
    lines = record_lines(out)
    (out / "a.mp4").unlink()
    (out / "c.mp4").unlink()
    begun = {**lines[1], "before": None}  # as if the last run had died at its first clip
    (out / RECORD).write_text("".join(json.dumps(line) + "\n" for line in (lines[0], *lines[3:], begun)))
    with caplog.at_level("INFO"):
        assert names(run(films)) == ["c.mp4", "a.mp4"]
    assert f"{out / 'a.mp4'} comes last" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt(), EngineError("out of order")])
def test_a_clip_that_was_interrupted_comes_first_again(films: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        run(films, Failing(2, error))
    assert names(run(films)) == ["a.mp4", "-b.mp4", "c.mp4", "d.mp4"]


def test_interrupted_between_an_output_and_its_record(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr("rtstyle.jobs.batch.VideoBatch.finish", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(films)
    made = stamps(films.with_name("out"))
    assert set(made) == {"a.mp4"} and names(run(films)) == ["-b.mp4", "c.mp4", "d.mp4"]
    assert stamps(films.with_name("out")).items() > made.items()


@pytest.mark.parametrize("tail", [b'{"output": "c.mp4", "si', b"\0\0\0\n", b"[]\n", b'{"output": 3}\n{}\n'])
def test_a_damaged_record_is_no_catastrophe(films: Path, tail: bytes) -> None:
    run(films)
    with (films.with_name("out") / RECORD).open("ab") as file:
        file.write(tail)
    assert names(run(films)) == ["-b.mp4"] and names(run(films)) == ["-b.mp4"]


def test_a_record_of_a_newer_version_is_refused(films: Path) -> None:
    out = films.with_name("out")
    out.mkdir()
    (out / RECORD).write_text('{"rtstyle-batch": 2}\n')
    with pytest.raises(ConfigError, match="newer version"):
        run(films)
    assert (out / RECORD).read_text() == '{"rtstyle-batch": 2}\n'


def test_two_processes_do_not_write_into_one_folder(films: Path) -> None:
    record = BatchRecord(films.with_name("out"))
    with pytest.raises(ConfigError, match="another process is writing"):
        run(films)
    record.close()
    record.close()
    assert len(run(films)) == 4


def test_the_python_function(films: Path, tiny_style: Path) -> None:
    out = films.with_name("out")
    results = list(rtstyle.stylize_videos([films], out, tiny_style, container="mkv", threads=1, strength=0.5))
    assert names(results) == ["a.mp4", "-b.mp4", "c.mp4", "d.mp4"]
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.mkv")} == {"a.mkv", "c.mkv", "sub/d.mkv"}
    again = list(rtstyle.stylize_videos(films, out, tiny_style, container="mkv", threads=1, strength=0.5))
    assert names(again) == ["-b.mp4"]
    with pytest.raises(StylerError, match="no such file"):
        rtstyle.stylize_videos(films / "none.mp4", out)


def make_many(folder: Path, count: int, broken: tuple[int, ...]) -> None:
    folder.mkdir()
    clip = Clip(frames=5).write(folder / "0.mp4").read_bytes()
    for number in range(count):
        path = folder / str(number % 3) / f"{number:03}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"rubbish" if number in broken else clip)
    (folder / "0.mp4").unlink()


def lines_until_killed(command: list[str], count: int) -> Iterator[dict[str, Any]]:
    """Start a process, read so many of its lines, and kill it."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line, _ in zip(process.stdout, range(count), strict=False):
            yield json.loads(line)
        process.kill()


@pytest.mark.parametrize(
    ("count", "broken", "kills"),
    [(12, (1, 5, 9), (4,)), pytest.param(200, (17, 101, 163), (40, 30, 1, 60), marks=pytest.mark.slow)],
)
def test_killed_in_the_middle(
    tmp_path: Path,
    tiny_style: Path,
    capsys: pytest.CaptureFixture[str],
    count: int,
    broken: tuple[int, ...],
    kills: tuple[int, ...],
) -> None:
    """The same command again does what is left, names what is broken, and makes nothing twice."""
    films, out = tmp_path / "films", tmp_path / "out"
    make_many(films, count, broken)
    arguments = ["video", str(films), str(out), "--style", str(tiny_style), "--threads", "1", "--json"]
    made: dict[str, tuple[int, int]] = {}
    for told in kills:
        done = list(lines_until_killed([sys.executable, "-m", "rtstyle", *arguments], told))
        found = stamps(out)
        assert found.items() >= made.items(), "an output was made twice"
        assert {Path(line["output"]).name for line in done if line["status"] == "done"} <= {
            Path(name).name for name in found
        }
        made = found
    assert made
    assert main(arguments) == 1
    caught = capsys.readouterr()
    lines = [json.loads(line) for line in caught.out.splitlines()]
    statuses = [line["status"] for line in lines]
    assert len(lines) == count and statuses.count("failed") == len(broken)
    assert {Path(line["input"]).stem for line in lines if line["status"] == "failed"} == {f"{n:03}" for n in broken}
    assert statuses.count("skipped") == len(made)
    found = stamps(out)
    assert len(found) == count - len(broken) and found.items() >= made.items(), "an output was made twice"
    assert not rubbish(out) and f"{len(broken)} of {count} clips could not be stylized" in caught.err
    assert all(Seen.of(out / name).numbers for name in found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "points"), [("image", 15), ("video", 15), ("segments", 50)])
def test_killed_at_every_file_operation(tmp_path: Path, kind: str, points: int) -> None:
    command = [sys.executable, "-m", "tests.rtstyle.kill_points", kind, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= points
