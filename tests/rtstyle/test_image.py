"""Pictures of every kind go in upright and complete, and come out under the right name or not at all."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.base import RGB, EngineInfo
from engines.errors import EngineError, ShapeError, SinkError, SourceError, StylerError
from rtstyle.cli import main
from rtstyle.image import ImageFailure, ImageJob, ImageReport, fitted_size, stylize_images
from rtstyle.media.image_files import read_picture, write_picture
from tests.rtstyle.clips import Still
from tests.rtstyle.picture_bytes import corners


class Invert:
    """An engine whose answer is known."""

    info = EngineInfo("invert", "numpy", "here", "uint8", "none")
    closed = False

    def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
        return 255 - rgb

    def close(self) -> None:
        self.closed = True


def save(path: Path, picture: Any, *settings: int) -> Path:
    assert cv2.imwrite(str(path), picture, list(settings))
    return path


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF block (TIFF 6.0, tag 0x0112) that says how the camera was held."""
    tiff = b"MM\x00*\x00\x00\x00\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def paint(job: ImageJob) -> list[ImageReport]:
    reports = []
    for result in stylize_images(job, Invert):
        if isinstance(result, ImageFailure):
            raise result.error
        reports.append(result)
    return reports


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "A.PNG"])
def test_lossless_formats_give_exactly_what_the_engine_gave(tmp_path: Path, name: str) -> None:
    source = save(tmp_path / "in.png", corners()[..., ::-1])
    (report,) = paint(ImageJob((source,), tmp_path / name))
    rgb, alpha = read_picture(tmp_path / name)
    assert np.array_equal(rgb, 255 - corners()) and alpha is None
    assert (report.width, report.height, report.reduced) == (40, 24, False)
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.webp"])
def test_lossy_formats_give_nearly_that(tmp_path: Path, name: str) -> None:
    source = save(tmp_path / "in.png", np.full((32, 32, 3), 90, np.uint8))
    paint(ImageJob((source,), tmp_path / name))
    assert np.abs(read_picture(tmp_path / name)[0].astype(int) - 165).max() <= 3


def test_exif_orientation_is_respected(tmp_path: Path) -> None:
    _, data = cv2.imencode(".jpg", corners()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
    path = tmp_path / "phone.jpg"
    path.write_bytes(with_orientation(data.tobytes(), 6))  # the camera was held a quarter turn
    rgb, _ = read_picture(path)
    assert rgb.shape == (40, 24, 3)
    assert np.abs(rgb[2, 2].astype(int) - (0, 0, 255)).max() < 12


def test_grey_sixteen_bit_and_palette(tmp_path: Path) -> None:
    grey, _ = read_picture(save(tmp_path / "grey.png", np.full((20, 20), 77, np.uint8)))
    assert grey.shape == (20, 20, 3) and (grey == 77).all()
    deep, _ = read_picture(save(tmp_path / "deep.png", np.full((20, 20, 3), 77 * 257, np.uint16)))
    assert (deep == 77).all()
    deep_grey, _ = read_picture(save(tmp_path / "deep_grey.png", np.full((20, 20), 65535, np.uint16)))
    assert (deep_grey == 255).all()


@pytest.mark.parametrize(("name", "kept"), [("out.png", True), ("out.jpg", False)])
def test_transparency_is_kept_where_it_can_be(tmp_path: Path, name: str, kept: bool) -> None:
    picture = np.dstack([corners()[..., ::-1], np.zeros((24, 40), np.uint8)])
    picture[:, 20:, 3] = 255
    source = save(tmp_path / "in.png", picture)
    rgb, alpha = read_picture(source)
    assert alpha is not None and np.array_equal(alpha, picture[..., 3])
    assert (rgb[:, :20] == 255).all() and np.array_equal(rgb[:, 20:], corners()[:, 20:])
    (report,) = paint(ImageJob((source,), tmp_path / name))
    _, alpha = read_picture(tmp_path / name)
    assert (alpha is not None) is kept and report.flattened is not kept


def test_many_pictures_go_into_a_folder(tmp_path: Path) -> None:
    sources = tuple(save(tmp_path / f"{n}.png", corners()) for n in range(3))
    reports = paint(ImageJob(sources, tmp_path / "out"))
    assert files(tmp_path / "out") == {"0.png", "1.png", "2.png"}
    assert len(reports) == 3


def test_height_and_limit() -> None:
    assert fitted_size(640, 360, None) == (640, 360)
    assert fitted_size(640, 360, 720) == (1280, 720)
    assert fitted_size(4000, 3000, None) == (3072, 2304)
    assert fitted_size(3000, 4000, None) == (2304, 3072)
    assert fitted_size(12000, 1000, None) == (4096, 341)


def test_a_large_photo_is_reduced_and_says_so(tmp_path: Path) -> None:
    source = save(tmp_path / "large.png", np.zeros((16 * 300, 16), np.uint8))
    with pytest.raises(ShapeError, match=r"large\.png"):  # 13 pixels are left of the 16
        paint(ImageJob((source,), tmp_path / "out.png"))
    source = save(tmp_path / "large2.png", np.zeros((4800, 32), np.uint8))
    (report,) = paint(ImageJob((source,), tmp_path / "out.png"))
    assert report.reduced and report.height == 4096


def files(folder: Path) -> set[str]:
    """Everything below a folder but the record of what is finished there."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return {name for name in found if ".rtstyle-batch." not in name}


def test_bad_jobs_leave_nothing_behind(tmp_path: Path) -> None:
    good = save(tmp_path / "good.png", corners())
    text = tmp_path / "text.png"
    text.write_text("this is no picture")
    empty = tmp_path / "empty.png"
    empty.touch()
    cut = tmp_path / "cut.png"
    cut.write_bytes(good.read_bytes()[:40])
    small = save(tmp_path / "small.png", np.zeros((15, 15, 3), np.uint8))
    (tmp_path / "sub").mkdir()
    other = save(tmp_path / "sub" / "good.png", corners())
    before = files(tmp_path)
    cases: list[tuple[tuple[Path, ...], Path, type[StylerError], str]] = [
        ((tmp_path / "none.png",), tmp_path / "o.png", SourceError, "no such file"),
        ((tmp_path,), tmp_path / "o.png", SinkError, "one file"),
        ((text,), tmp_path / "o.png", SourceError, "not a picture"),
        ((empty,), tmp_path / "o.png", SourceError, "empty"),
        ((cut,), tmp_path / "o.png", SourceError, "not a picture"),
        ((small,), tmp_path / "o.png", ShapeError, "small.png"),
        ((good,), good, SinkError, "input itself"),
        ((good,), tmp_path / "text.png", SinkError, "exists"),
        ((good,), tmp_path / "o.gif", SinkError, "unknown picture format"),
        ((good,), tmp_path / "o", SinkError, "unknown picture format"),
        ((good,), tmp_path / "no" / "o.png", SinkError, "no such folder"),
        ((good, small), tmp_path / "o.png", SinkError, "one file"),
        ((good, small), tmp_path / "text.png", SinkError, "is a file"),
        ((good, other), tmp_path / "o", SinkError, r"good\.png and .*good\.png would both become .*good\.png"),
        ((good, small), tmp_path / "no" / "o", SinkError, "no such folder"),
    ]
    for inputs, output, kind, problem in cases:
        with pytest.raises(kind, match=problem):
            paint(ImageJob(inputs, output))
    with pytest.raises(ShapeError, match="strength"):
        paint(ImageJob((good,), tmp_path / "o.png", strength=2.0))
    assert files(tmp_path) == before


def test_overwrite_replaces(tmp_path: Path) -> None:
    source = save(tmp_path / "in.png", corners()[..., ::-1])
    target = save(tmp_path / "out.png", corners())
    paint(ImageJob((source,), target, overwrite=True))
    assert np.array_equal(read_picture(target)[0], 255 - corners())


def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BufferedRandom):
        def write(self, data: Any) -> int:
            super().write(data[:3])
            raise OSError(28, "No space left on device")

    def full(path: Path, mode: str, opener: object) -> Full:
        return Full(io.FileIO(path, mode))

    monkeypatch.setattr("engines.atomic_write.open", full, raising=False)
    with pytest.raises(SinkError, match="the disk is full"):
        write_picture(tmp_path / "out.png", corners())
    assert files(tmp_path) == set()


def test_the_engine_is_closed_also_after_an_error(tmp_path: Path) -> None:
    class Broken(Invert):
        def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
            raise EngineError("out of order")

    source = save(tmp_path / "in.png", corners())
    engine = Broken()
    with pytest.raises(EngineError):
        list(stylize_images(ImageJob((source,), tmp_path / "o.png"), lambda: engine))
    assert engine.closed and files(tmp_path) == {"in.png"}


def mixed(folder: Path) -> list[Path]:
    """Two good pictures, between them a text, an empty file and one that is too small."""
    text, empty = folder / "text.jpg", folder / "empty.png"
    text.write_text("no picture")
    empty.touch()
    small = save(folder / "small.png", np.zeros((8, 8, 3), np.uint8))
    return [save(folder / "a.png", corners()), text, empty, small, save(folder / "b.png", corners())]


def test_a_bad_picture_does_not_stop_the_others(tmp_path: Path) -> None:
    sources = mixed(tmp_path)
    results = list(stylize_images(ImageJob(tuple(sources), tmp_path / "out"), Invert))
    assert [isinstance(result, ImageFailure) for result in results] == [False, True, True, True, False]
    assert [result.input for result in results] == [str(source) for source in sources]
    assert files(tmp_path / "out") == {"a.png", "b.png"}


def test_the_command_lists_failures_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rtstyle.commands.options.load_engine", lambda style, engine: Invert())
    sources = [str(source) for source in mixed(tmp_path)]
    assert main(["image", *sources, str(tmp_path / "out")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" · ")[0] for line in lines[:5]] == [f"{number} of 5" for number in range(1, 6)]
    assert [line.split() for line in lines[5:8]] == [["done", "2"], ["skipped", "0"], ["failed", "3"]]
    assert [line.partition(":")[0] for line in lines[8:]] == ["error", "error", "error", "rtstyle", "hint"]
    assert all(name in line for name, line in zip(("text.jpg", "empty.png", "small.png"), lines[8:11], strict=True))
    assert lines[-2] == "rtstyle: 3 of 5 pictures could not be stylized"
    assert main(["image", *sources, str(tmp_path / "out"), "--json"]) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(Path(one["input"]).name, one["status"]) for one in told] == [
        ("a.png", "skipped"),
        ("b.png", "skipped"),
        ("text.jpg", "failed"),
        ("empty.png", "failed"),
        ("small.png", "failed"),
    ]
    assert all(one["problem"] for one in told[2:])


def test_the_command_explains_a_single_failure_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rtstyle.commands.options.load_engine", lambda style, engine: Invert())
    text = mixed(tmp_path)[1]
    assert main(["image", str(text), str(tmp_path / "out.png")]) == 1
    problem, hint = capsys.readouterr().err.splitlines()
    assert problem.startswith(f"rtstyle: {text} is not a picture") and hint.startswith("hint: ")


def test_soft_edges_have_no_white_fringe(tmp_path: Path) -> None:
    y, x = np.mgrid[-32:32, -32:32]
    alpha = np.clip(28 - np.hypot(x, y), 0, 8) / 8
    picture = np.dstack([np.full((64, 64, 3), (20, 90, 160)), 255 * alpha]).round().astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    list(stylize_images(ImageJob((tmp_path / "a.png",), tmp_path / "b.png"), Still))
    result = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(result[..., 3], picture[..., 3])
    on_black, wanted = (one[..., :3] * alpha[..., None] for one in (result, picture))
    assert np.abs(on_black - wanted).max() <= 2


def test_the_command_says_that_transparent_parts_are_white(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rtstyle.commands.options.load_engine", lambda style, engine: Invert())
    source = save(tmp_path / "in.png", np.dstack([corners(), corners()[..., 0]]))
    assert main(["image", str(source), str(tmp_path / "out.jpg")]) == 0
    assert "transparent parts, which are white" in capsys.readouterr().err


@pytest.mark.parametrize("length", [200, 239, 240, 250, 255, 256, 300])
def test_names_that_cannot_be_written_are_found_before_painting(tmp_path: Path, length: int) -> None:
    source = save(tmp_path / "in.png", corners())
    error = attempt(ImageJob((source,), tmp_path / ("x" * (length - 4) + ".png")))
    assert error is None or (length >= 240 and "too long" in error.problem)
    assert error is not None or length <= 255


@pytest.mark.parametrize("length", [200, 240, 255])
def test_names_in_a_new_folder_are_checked_too(tmp_path: Path, length: int) -> None:
    source = save(tmp_path / "in.png", corners())
    long = source.with_name("x" * (length - 4) + ".png")
    long.write_bytes(source.read_bytes())
    error = attempt(ImageJob((source, long), tmp_path / "out"))
    assert error is None or (length >= 240 and "too long" in error.problem)


def attempt(job: ImageJob) -> SinkError | None:
    """Stylize; if the job is refused, check that nothing was loaded or written."""
    before = files(job.output.parent)
    loaded: list[Invert] = []

    def load() -> Invert:
        loaded.append(Invert())
        return loaded[-1]

    try:
        results = list(stylize_images(job, load))
    except SinkError as error:
        assert not loaded and files(job.output.parent) == before
        return error
    assert all(isinstance(result, ImageReport) and Path(result.output).is_file() for result in results)
    return None


def test_a_protected_folder_is_found_before_painting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("rtstyle.image.atomic_write", refuse)
    error = attempt(ImageJob((save(tmp_path / "in.png", corners()),), tmp_path / "out.png"))
    assert error is not None and error.problem == f"cannot write {tmp_path / 'out.png'}: permission denied"
