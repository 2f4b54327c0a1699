"""``rtstyle video`` and ``rtstyle image`` with many files: what they print, and how they end."""

from __future__ import annotations

import io
import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len

from rtstyle.commands.batch import BatchDisplay, about
from rtstyle.image import ImageBatch, ImageJob
from rtstyle.jobs.batch_record import RECORD
from rtstyle.media.image_files import read_picture
from tests.rtstyle.clips import Clip, Still
from tests.rtstyle.picture_bytes import corners
from tests.rtstyle.test_cli import Run, start_on_terminal
from tests.rtstyle.test_image import Invert, files, save


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("rtstyle.commands.options.load_engine", lambda *_, **__: Still(negative=True))
    return Run(capfd)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two pictures, one in a folder below, among other files."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    save(folder / "a.png", corners()[..., ::-1])
    save(folder / "sub" / "b.bmp", corners()[..., ::-1])
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_folder_of_pictures(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("image", photos, f"{out}/") == 0
    assert run.err.splitlines() == [
        "1 of 2 · a.png · 40×24",
        "2 of 2 · sub/b.bmp · 40×24",
        "done    2",
        "skipped 0",
        "failed  0",
    ]
    assert files(out) == {"a.png", "sub", "sub/b.bmp"}
    assert np.array_equal(read_picture(out / "sub" / "b.bmp")[0], 255 - corners())
    before = (out / "a.png").stat().st_ino
    assert run("image", photos, out) == 0 and run.err.splitlines()[0] == "2 of 2 pictures are finished already"
    assert (out / "a.png").stat().st_ino == before
    assert run("image", photos, out, "--strength", "0.5") == 1
    assert f"error: {out / 'a.png'} was made with other settings: strength was 1.0, not 0.5" in run.err
    assert run.err.splitlines()[-1].startswith("hint: add --overwrite")
    (photos / "broken.png").write_text("no picture")
    assert run("image", photos, out, "--strength", "0.5") == 1
    hint = run.err.splitlines()[-1]
    assert "tries them again" in hint and "--overwrite" in hint
    (photos / "broken.png").unlink()
    assert run("image", photos, out, "--strength", "0.5", "--overwrite", "--quiet") == 0 and run.err == ""


def test_named_files_that_are_no_pictures_fail(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("image", photos, photos / "notes.txt", out, "--format", "webp", "--quiet") == 1
    assert files(out) == {"a.webp", "sub", "sub/b.webp"}
    assert [line.partition(":")[0] for line in run.err.splitlines()] == ["error", "rtstyle", "hint"]
    assert "notes.txt is not a picture" in run.err and "1 of 3 pictures could not be stylized" in run.err
    assert run("image", photos / "notes.txt", f"{out}/") == 1
    assert run.err.splitlines()[-2].startswith(f"rtstyle: {photos / 'notes.txt'} is not a picture"), (
        "it is the only one"
    )


def test_json_is_a_line_for_each_file(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "c.png").write_text("no picture")
    for expected in ({"a": "done", "c": "failed", "b": "done"}, {"a": "skipped", "b": "skipped", "c": "failed"}):
        assert run("image", photos, tmp_path / "out", "--json", "--quiet") == 1
        lines = [json.loads(line) for line in run.out.splitlines()]
        assert {Path(line["input"]).stem: line["status"] for line in lines} == expected
        assert all("output" in line for line in lines)
        assert [line["problem"].endswith("is not a picture, or is damaged") for line in lines if "problem" in line] == [
            True
        ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["video", "a.mp4", "b.mp4", "--container", "mkv"], "--container is for a folder of clips"),
        (["video", "pattern", "a.mp4", "out/"], "pattern is not a clip for a folder"),
        (["video", "a.mp4", "a.mp4", "b.mp4"], "cannot write several clips into one file b.mp4"),
        (["video", "a.mp4", "a.mp4", "b.gif"], "cannot write several clips into one file b.gif"),
        (["video", "a.mp4", "out/", "--fps", "9"], "--fps cannot be given for a folder of clips"),
        (["image", "a.png", "b.png", "--format", "webp"], "a format is for a folder of pictures"),
    ],
)
def test_what_does_not_fit_together(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Clip(frames=2).write(tmp_path / "a.mp4")
    save(tmp_path / "a.png", corners())
    assert run(*arguments) == 1
    assert run.err.splitlines()[0] == f"rtstyle: {problem}"
    assert sorted(files(tmp_path)) == ["a.mp4", "a.png"]


@pytest.mark.parametrize("command", ["video", "image"])
def test_the_missing_argument_is_named(run: Run, command: str) -> None:
    for arguments, missing in ([], "IN"), (["a.mp4"], "OUT"), (["a.mp4", "--strength", "0.5"], "OUT"):
        assert run(command, *arguments) == 2
        assert run.err.splitlines()[0] == f"rtstyle: Missing argument '{missing}'."


def test_a_video_of_many(run: Run, tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    clip = Clip(frames=3).write(films / "a.avi")
    (films / "b.mov").write_bytes(clip.read_bytes())
    assert run("video", films / "*", tmp_path / "out", "--container", ".MKV") == 0
    assert files(tmp_path / "out") == {"a.mkv", "b.mkv"}
    first, second = run.err.splitlines()[:2]
    assert first.startswith("1 of 2 · a.mkv · 3 frames of 64×48 in ") and second.startswith("2 of 2 · b.mkv")


def test_keys_of_urls_are_not_shown(run: Run, tmp_path: Path) -> None:
    Clip(frames=2).write(tmp_path / "a.mp4")
    out = tmp_path / "out"
    assert run("video", "http://me:secret@127.0.0.1:9/films/b.mp4?key=hidden", tmp_path / "a.mp4", out) == 1
    assert files(out) == {"a.mp4"} and "error: cannot open http://127.0.0.1:9/films/…" in run.err
    assert not any(word in run.err + (out / RECORD).read_text() for word in ("secret", "hidden"))


def test_ctrl_c_says_how_to_go_on(tiny_style: Path, tmp_path: Path, run: Run) -> None:
    films, out = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    Clip(frames=4).write(films / "a.mp4")
    long = Clip(frames=250).write(films / "b.mp4")
    (films / "c.mp4").write_bytes(long.read_bytes())
    program = start_on_terminal("video", str(films), f"{out}/", "--style", str(tiny_style), "--segment", "0.4")
    text = b""
    with program.screen, program.process:
        while not re.search(rb"2 of 3 \S+ b\.mp4 \S+ [1-9]\d %", text):
            text += program.screen.read(4096)
        program.process.send_signal(signal.SIGINT)
        while b"goes on" not in text:
            text += program.screen.read(4096)
    assert program.process.returncode == 130
    assert b"warning: stopped: 1 of 3 clips are done, " in text and b" frames of b.mp4 are kept" in text
    assert run("video", films, out, "--style", tiny_style, "--segment", "0.4") == 0
    assert run.err.splitlines()[:1] == ["1 of 3 clips are finished already"]
    assert files(out) == {"a.mp4", "b.mp4", "c.mp4"}


def test_the_line_fits_a_terminal_of_80_columns(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    names = ("映画" * 40, "x" * 200, "esc\x1b[31m\n", "short")
    for name in names:
        save(photos / f"{name}.png", corners()) if name.isprintable() else (photos / f"{name}.png").touch()
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    now_s = iter(range(0, 10**6, 40))
    monkeypatch.setattr("rtstyle.commands.batch.time.monotonic", lambda: float(next(now_s)))
    with ImageBatch(ImageJob((photos,), tmp_path / "out")) as batch:
        display = BatchDisplay(batch, "pictures", quiet=False, as_json=False)
        for result in batch.run(Invert):
            display.update(0.5)
            if not hasattr(result, "error"):
                display.done(Path(result.output), "", {})
            else:
                display.failed(result.input, Path(result.output), result.error)
    lines = [line for line in screen.getvalue().split("\r\x1b[2K")[1:] if "failed: " not in line]
    assert all(cell_len(line) <= 79 and "\x1b" not in line and "\n" not in line for line in lines)
    assert lines[0] == "1 of 6 · a.png · 0 %"
    assert any("6 of 6 · 映画映画" in line and "… · 50 % · " in line and " left in all" in line for line in lines)


def test_durations_as_people_say_them() -> None:
    assert [about(s) for s in (0, 40, 61, 3600, 5500, 36000)] == [
        "1 s",
        "40 s",
        "1 min",
        "60 min",
        "1 h 32 min",
        "10 h 0 min",
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-", "a.mp4", "out/"], "- is not a clip for a folder"),
        (["pattern", "a.mp4", "out/"], "pattern is not a clip for a folder"),
        (["a.mp4", "b.mp4", "-"], "standard output takes one clip"),
        (["frames/%06d.png", "a.mp4", "out/"], "frames/%06d.png are pictures, not a clip"),
        (["a.mp4", "b.mp4", "frames/%06d.png"], "frames/%06d.png takes the pictures of one clip"),
        (["a.mp4", "b.mp4", "out/", "--preview", "3"], "--preview is for one clip"),
    ],
)
def test_what_stands_for_something_else_is_no_clip_of_a_batch(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        Clip(frames=2).write(tmp_path / name)
    assert run("video", *arguments) in (1, 2)
    assert told in run.err and len(run.err.splitlines()) == 2
    assert files(tmp_path) == {"a.mp4", "b.mp4"}


@pytest.mark.parametrize("names", [("pattern", "b.mp4"), ("a.mp4", "b.gif"), ("a.mp4", "-"), ("-", "b.mp4")])
def test_what_no_cluster_shares_starts_none(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Clip(frames=2).write(tmp_path / "a.mp4")
    assert run("video", *names, "--cluster", "local") == 1
    assert run.err.splitlines()[0] == "rtstyle: a cluster shares video files"
    assert sorted(files(tmp_path)) == ["a.mp4"]
