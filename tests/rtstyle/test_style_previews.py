"""Previews fit, whatever they show, and one picture shows all styles."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from rtstyle.cli import main
from rtstyle.media.contact_sheet import BAND, GAP
from rtstyle.media.image_files import read_picture
from rtstyle.style_library import installed
from rtstyle.style_previews import CELL, COLUMNS, LONGEST, PHOTOGRAPH, SMALLEST, is_preview, jpeg, make_preview


def noise(height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """What compresses worst."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def decoded(data: bytes) -> tuple[int, int]:
    """Height and width of a JPEG."""
    rgb = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert rgb is not None
    return rgb.shape[0], rgb.shape[1]


def test_what_fits_keeps_its_size() -> None:
    flat = np.full((320, 640, 3), 90, np.uint8)
    assert decoded(jpeg(flat, 60_000)) == (320, 640)


@pytest.mark.parametrize("limit", [60_000, 5_000])
def test_what_does_not_fit_is_shrunk(limit: int) -> None:
    data = jpeg(noise(320, 640), limit)
    height, width = decoded(data)
    assert len(data) <= limit
    assert height < 320 and width / height == pytest.approx(2, rel=0.05)


def test_what_can_never_fit_is_as_small_as_it_can_be() -> None:
    assert 1 <= min(decoded(jpeg(noise(64, 64), 10))) < SMALLEST


def test_a_preview_is_the_photograph_beside_its_stylized_version() -> None:
    preview = cv2.imdecode(np.frombuffer(make_preview(lambda rgb: 255 - rgb), np.uint8), cv2.IMREAD_COLOR)
    assert preview is not None and preview.shape == (320, 640, 3)
    left, right = preview[:, :320].astype(int), preview[:, 320:].astype(int)
    assert np.abs(left + right - 255).mean() < 12
    assert np.abs(left[..., ::-1] - read_picture(PHOTOGRAPH)[0]).mean() < 8


def test_what_is_taken_as_a_preview(tmp_path: Path) -> None:
    file = tmp_path / "preview.jpg"
    whole = jpeg(np.full((320, 640, 3), 90, np.uint8), 60_000)
    for data, good in ((whole, True), (whole[:-300], False), (b"<html>", False), (b"", False)):
        file.write_bytes(data)
        assert is_preview(file) is good
    file.write_bytes(jpeg(np.zeros((64, LONGEST + 1, 3), np.uint8), 60_000))
    assert not is_preview(file)


def test_one_picture_shows_all_styles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "styles.png"
    assert main(["styles", "--sheet", str(file)]) == 0
    assert str(file) in capsys.readouterr().out
    sheet, _ = read_picture(file)
    rows = -(-(1 + len(installed())) // COLUMNS)
    assert sheet.shape[0] == rows * (BAND + CELL + GAP) + GAP
    first = sheet[BAND : BAND + CELL, GAP : GAP + CELL].astype(int)
    photograph = cv2.resize(read_picture(PHOTOGRAPH)[0], (CELL, CELL), interpolation=cv2.INTER_AREA)
    assert np.array_equal(first, photograph)
    second = sheet[BAND : BAND + CELL, 2 * GAP + CELL :][:, :CELL].astype(int)
    assert np.abs(first - second).mean() > 10, "it is stylized"
    assert main(["styles", "--sheet", str(file)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["styles", "--sheet", str(file), "--overwrite"]) == 0
