"""What the inputs of a command line mean: every file once, each under its own name, and every mistake by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

import pytest

from engines.errors import ConfigError, SinkError, SourceError
from rtstyle.jobs.batch import VideoBatch
from rtstyle.jobs.batch_inputs import find_inputs
from rtstyle.jobs.folder_batch import is_batch
from rtstyle.media.picture_sequence import PictureSequence
from rtstyle.video_job import VideoJob

SETTINGS = VideoJob("", Path())


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def below(*names: str | Path, output: Path | None = None) -> list[str]:
    inputs, unreadable = find_inputs([str(name) for name in names], (".mp4", ".mov"), output or Path("none"), "clips")
    assert not unreadable
    return [one.below.as_posix() for one in inputs]


def outputs(folder: Path, *names: str | Path, container: str | None = None) -> list[str]:
    with VideoBatch([str(name) for name in names], folder, SETTINGS, container=container) as batch:
        return [task.output.relative_to(folder).as_posix() for task in batch.tasks]


def test_a_folder_of_frames_is_told_the_pattern(tmp_path: Path) -> None:
    for number in range(9, 12):
        (tmp_path / f"shot 50%_{number:04}.png").touch()
    (tmp_path / "0.txt").touch()
    with pytest.raises(SourceError, match="no clips") as refusal:
        find_inputs([str(tmp_path)], (".mp4",), Path("none"), "clips")
    pattern = str(refusal.value).partition("give ")[2].rstrip(")")
    pictures = PictureSequence.parse(pattern)
    assert pictures is not None and pictures.numbers() == [9, 10, 11]


@pytest.mark.parametrize("name", ["50%done.mp4", "a%d.MKV", "x%06d.webm"])
def test_a_clip_may_have_a_percent_sign(tmp_path: Path, name: str) -> None:
    assert PictureSequence.parse(str(tmp_path / name)) is None
    with VideoBatch([str(tree(tmp_path / "in", name))], tmp_path / "out", SETTINGS) as batch:
        assert [task.output.name for task in batch.tasks] == [name]


def test_animated_pictures_in_a_folder_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tree(tmp_path / "in", "a.gif", "b/c.WEBP", "d.mp4", "e.txt")
    with pytest.raises(SourceError, match="no clips"):
        VideoBatch([str(tree(tmp_path / "gifs", "a.gif"))], tmp_path / "out", SETTINGS)
    caplog.clear()
    with VideoBatch([str(tmp_path / "in")], tmp_path / "out", SETTINGS) as batch:
        assert [Path(task.input).name for task in batch.tasks] == ["d.mp4"]
    assert "2 files with .gif, .webp; name those" in caplog.text


def test_a_folder_stands_for_the_clips_below_it(tmp_path: Path) -> None:
    films = tree(tmp_path / "films", "b.mp4", "a.MOV", "c/d/e.mp4", "notes.txt", ".hidden.mp4", ".trash/x.mp4")
    tree(films, "film.mp4.rtstyle-job/segment-000000.mp4", "c/._e.mp4")
    assert below(films) == ["a.MOV", "b.mp4", "c/d/e.mp4"]
    assert below(films / "notes.txt", films / "c") == ["notes.txt", "d/e.mp4"], "a named file may have any suffix"


def test_links_lead_nowhere_twice(tmp_path: Path) -> None:
    films = tree(tmp_path / "films", "a.mp4", "z/b.mp4")
    tree(tmp_path / "elsewhere", "c.mp4")
    (films / "loop").symlink_to(films)
    (films / "z" / "up").symlink_to("..")
    (films / "again").symlink_to("z")  # the folder itself keeps its name, although the link comes first
    (films / "other").symlink_to(tmp_path / "elsewhere")
    (films / "self").symlink_to("self")
    (films / "gone.mp4").symlink_to(tmp_path / "gone.mp4")  # is meant to be a clip, so it must be reported
    os.mkfifo(films / "pipe.mp4")
    assert below(films) == ["a.mp4", "gone.mp4", "other/c.mp4", "z/b.mp4"]


def test_the_output_folder_is_no_input(tmp_path: Path) -> None:
    films = tree(tmp_path / "films", "a.mp4", "painted/a.mp4", "painted/sub/b.mp4")
    assert below(films, output=films / "painted") == ["a.mp4"]
    assert below(films, output=films / "other") == ["a.mp4", "painted/a.mp4", "painted/sub/b.mp4"]
    with pytest.raises(SinkError, match="input and output"):
        VideoBatch([str(films)], films / "painted" / "..", SETTINGS)


def test_patterns_that_no_shell_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a.mp4", "b.mp4", "c/d.mp4", "e[1].mp4", "e1.mp4", "f.mov")
    monkeypatch.chdir(tmp_path)
    assert below("?.mp4") == ["a.mp4", "b.mp4"]
    assert below(tmp_path / "*.mov") == ["f.mov"]
    assert below("**/*.mp4") == ["a.mp4", "b.mp4", "d.mp4", "e1.mp4", "e[1].mp4"]
    assert below("e[1].mp4") == ["e[1].mp4"], "a file of that very name comes first"
    assert below("[bc]") == ["d.mp4"]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    tree(tmp_path, "a.mp4")
    (tmp_path / "empty").mkdir()
    cases: list[tuple[list[Path], str]] = [
        ([tmp_path / "a.mp4", tmp_path / "x.mp4"], r"^no such file: .*x\.mp4"),
        ([tmp_path / "x.mp4", tmp_path / "y.mp4"], r"^no such files: .*x\.mp4, .*y\.mp4"),
        ([tmp_path / "*.mkv"], r"^nothing matches .*\*\.mkv"),
        ([tmp_path / "empty"], r"^no clips in .*empty \(their names end in \.mp4, \.mov\)"),
        ([tmp_path / ("x" * 300)], "no such file"),
    ]
    for names, problem in cases:
        with pytest.raises(SourceError, match=problem):
            below(*names)


def test_an_empty_folder_beside_others_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    films = tree(tmp_path / "films", "a.mp4")
    (tmp_path / "empty").mkdir()
    assert below(films, tmp_path / "empty") == ["a.mp4"]
    assert [record.getMessage() for record in caplog.records] == [f"no clips in {tmp_path / 'empty'}"]


def as_nobody(work: Callable[[], None]) -> None:
    """Do something as a user whom permissions concern, unlike root."""
    if os.geteuid() != 0:
        work()
        return
    os.seteuid(65534)
    try:
        work()
    finally:
        os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs the permissions of POSIX")
def test_a_folder_that_cannot_be_read_does_not_hide_the_others() -> None:
    with TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = tree(Path(name), "a.mp4", "closed/b.mp4", "open/c.mp4")
        folder.chmod(0o755)
        (folder / "closed").chmod(0)

        def look() -> None:
            inputs, unreadable = find_inputs([name], (".mp4",), Path("none"), "clips")
            assert [one.below.as_posix() for one in inputs] == ["a.mp4", "open/c.mp4"]
            ((closed, error),) = [(one.name, one.error) for one in unreadable]
            assert closed == str(folder / "closed") and "permission denied" in error.problem

        try:
            as_nobody(look)
        finally:
            (folder / "closed").chmod(0o700)


def test_names_of_the_outputs(tmp_path: Path) -> None:
    films = tree(tmp_path / "films", "a.mp4", "b.AVI", "c/a.WebM", "talk.2024")
    names = (films, films / "talk.2024")
    assert outputs(tmp_path / "out", *names) == ["a.mp4", "b.mp4", "c/a.WebM", "talk.2024.mp4"]
    assert outputs(tmp_path / "other", *names, container="mkv") == ["a.mkv", "b.mkv", "c/a.mkv", "talk.2024.mkv"]
    assert (tmp_path / "out" / "c").is_dir()
    assert outputs(tmp_path / "third", films, films / "a.mp4", films / "a.mp4")[0] == "a.mp4", "named thrice, done once"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/films/a%20b.mp4?key=1", "a b.mp4"),
        ("rtsp://host:1/live", "live"),
        ("https://host/a%2F..%2Fb.mp4", "b.mp4"),
        ("https://host/", None),
        ("https://host/..", None),
    ],
)
def test_urls_have_a_name(url: str, name: str | None) -> None:
    if name is None:
        with pytest.raises(SourceError, match="no file name"):
            find_inputs([url], (), Path("none"), "clips")
    else:
        (found,), _ = find_inputs([url], (), Path("none"), "clips")
        assert found.below == PurePath(name)


def test_outputs_that_would_be_lost_are_found_before_the_first_frame(tmp_path: Path) -> None:
    films = tree(tmp_path / "films", "a.mp4", "b/a.mp4", "c.avi", "c.mp4", "d.webm")
    out = tmp_path / "out"
    cases: list[tuple[list[Path], Path, VideoJob, type[Exception], str]] = [
        ([films / "a.mp4", films / "b"], out, SETTINGS, SinkError, r"films/a\.mp4 and .*b/a\.mp4 would both become"),
        ([films], out, SETTINGS, SinkError, r"c\.avi and .*c\.mp4 would both become"),
        ([films / "a.mp4", films / "c.mp4"], films, SETTINGS, SinkError, r"a\.mp4 would replace an input"),
        ([films / "a.mp4"] * 2, tmp_path / "out.mp4", SETTINGS, SinkError, "into one file"),
        ([films / "a.mp4"], films / "c.mp4", SETTINGS, SinkError, "is a file"),
        ([films / "a.mp4"], out / "sub", SETTINGS, SinkError, "no such folder"),
        ([films / "d.webm"], out, VideoJob("", Path(), codec="hevc"), ConfigError, "cannot hold hevc"),
        ([films / "a.mp4"], out, VideoJob("", Path(), strength=2), ConfigError, "strength"),
        ([films / "a.mp4"], out, VideoJob("", Path(), job_dir=tmp_path / "job"), ConfigError, "one clip"),
        ([films / "a.mp4"], tmp_path / ("x" * 300), SETTINGS, SinkError, "shorter name"),
    ]
    for inputs, folder, settings, kind, problem in cases:
        with pytest.raises(kind, match=problem):
            VideoBatch([str(name) for name in inputs], folder, settings)
    assert not out.exists() and not list(films.glob(".*"))


def test_when_the_output_is_a_folder(tmp_path: Path) -> None:
    tree(tmp_path, "a.mp4", "films/b.mp4")
    a, films = str(tmp_path / "a.mp4"), str(tmp_path / "films")
    new = str(tmp_path / "new")
    assert is_batch([a], new + "/") and is_batch([a], films) and is_batch([a, a], new) and is_batch([films], new)
    assert is_batch([str(tmp_path / "*.mp4")], new)
    assert not is_batch([a], new) and not is_batch([str(tmp_path / "*.mkv")], new)
    assert not is_batch(["https://host/a.mp4?b"], new) and not is_batch(["x" * 300], "y" * 300)


def test_thousands_of_clips_are_planned_in_seconds(tmp_path: Path) -> None:
    films = tree(tmp_path / "films", *(f"{n % 50}/{n}.mp4" for n in range(5000)))
    assert len(outputs(tmp_path / "out", films)) == 5000
