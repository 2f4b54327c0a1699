"""Pictures of every kind go in upright and complete, and come out under the right name or not at all."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.base import RGB, EngineInfo
from engines.errors import ShapeError, SinkError, SourceError, StylerError
from rtstyle.image import ImageJob, fitted_size, stylize_images
from rtstyle.media.image_files import read_picture, write_picture


class Invert:
    """An engine whose answer is known."""

    info = EngineInfo("invert", "numpy", "here", "uint8", "none")
    closed = False

    def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
        return 255 - rgb

    def close(self) -> None:
        self.closed = True


def corners(height: int = 24, width: int = 40) -> RGB:
    """Red, green, blue and white quarters: any turn or swap of channels shows."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[: height // 2, : width // 2] = (255, 0, 0)
    rgb[: height // 2, width // 2 :] = (0, 255, 0)
    rgb[height // 2 :, : width // 2] = (0, 0, 255)
    rgb[height // 2 :, width // 2 :] = 255
    return rgb


def save(path: Path, picture: Any, *settings: int) -> Path:
    assert cv2.imwrite(str(path), picture, list(settings))
    return path


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF block (TIFF 6.0, tag 0x0112) that says how the camera was held."""
    tiff = b"MM\x00*\x00\x00\x00\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def paint(job: ImageJob) -> list[Any]:
    return list(stylize_images(job, Invert))


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
    paint(ImageJob((source,), tmp_path / name))
    _, alpha = read_picture(tmp_path / name)
    assert (alpha is not None) is kept


def test_many_pictures_go_into_a_folder(tmp_path: Path) -> None:
    sources = tuple(save(tmp_path / f"{n}.png", corners()) for n in range(3))
    reports = paint(ImageJob(sources, tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png", "2.png"]
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
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


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
        ((tmp_path,), tmp_path / "o.png", SourceError, "is a folder"),
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
        ((good, other), tmp_path / "o", SinkError, "same output file"),
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
    with pytest.raises(SinkError, match="No space left"):
        write_picture(tmp_path / "out.png", corners())
    assert files(tmp_path) == set()


def test_the_engine_is_closed_also_after_an_error(tmp_path: Path) -> None:
    engine = Invert()
    text = tmp_path / "text.png"
    text.write_text("no picture")
    with pytest.raises(SourceError):
        list(stylize_images(ImageJob((text,), tmp_path / "o.png"), lambda: engine))
    assert engine.closed
