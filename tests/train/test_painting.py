"""The picture that a style is learned from: what is not one painting, or shows nothing, is told first."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from rtstyle.cli import main
from rtstyle.media.image_files import write_picture
from tests.rtstyle.paintings import painting
from train.data.painting import read_painting


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.png").write_bytes(painting())
    return folder


def refused(capsys: pytest.CaptureFixture[str], out: Path, *arguments: str) -> str:
    """What training says, which has not even looked for its networks."""
    features = ["--features", str(out / "none")]
    assert main(["train", *arguments, "--steps", "1", "--out", str(out), *features]) in (1, 2)
    said = capsys.readouterr().err
    assert not out.exists() and "loading" not in said and "Traceback" not in said
    return said


def test_an_album_is_not_a_painting(album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    said = refused(capsys, out, "--style-picture", str(album))
    assert f"takes one painting, and {album} is a folder" in said and f"--style-pictures {album}" in said
    with zipfile.ZipFile(tmp_path / "album.zip", "w") as archive:
        archive.write(album / "a.png", "a.png")
    said = refused(capsys, out, "--style-picture", str(tmp_path / "album.zip"))
    assert "is an archive" in said and "unpack it" in said
    first, second = str(album / "a.png"), str(album / "b.png")
    for arguments in (
        (first, second),
        (first, "--style-picture", second),
    ):  # *.png, to the shell
        said = refused(capsys, out, "--style-picture", *arguments)
        assert "takes one painting, got 2" in said and "--style-pictures DIR" in said
    assert "--style-picture FILE" in refused(capsys, out, first)
    said = refused(capsys, out, "--style-pictures", first)
    assert "is a file" in said and f"--style-picture {first} learns from one painting" in said
    said = refused(capsys, out, "--style-picture", first, "--content", str(tmp_path / "album.zip"))
    assert "unpack it first; --content takes a folder" in said


def test_a_picture_with_an_archive_behind_it_is_a_picture(album: Path) -> None:
    with zipfile.ZipFile(album / "a.png", "a") as archive:
        archive.writestr("note.txt", "some programs do this")
    assert read_painting(album / "a.png").shape == (240, 320, 3)


@pytest.mark.parametrize(
    ("picture", "problem"),
    [
        (np.full((300, 400, 3), (200, 90, 20), np.uint8), "has one colour only"),
        (np.tile(np.arange(256, dtype=np.uint8)[:, None], (8, 40, 3)).reshape(40, 2048, 3), "is too narrow, 2048×40"),
        (np.zeros((20, 30, 3), np.uint8), "is 30×20: too small"),
    ],
)
def test_a_picture_that_shows_nothing_to_learn(
    picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    problem: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_picture(tmp_path / "picture.png", picture)
    assert problem in refused(capsys, tmp_path / "run", "--style-picture", str(tmp_path / "picture.png"))
    (tmp_path / "picture.png").write_bytes(b"no picture")
    assert "is not a picture" in refused(capsys, tmp_path / "run", "--style-picture", str(tmp_path / "picture.png"))
