"""Pictures: which ones, how they are read, and that a step sees the same ones again."""

from __future__ import annotations

import hashlib
import random
import struct
import zlib
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from engines.errors import TrainError
from tests.train.messages import logged
from tests.train.pictures import texture, write_picture
from train.data import pictures as pictures_module
from train.data.pictures import (
    Pictures,
    fingerprint,
    free_memory,
    memory_budget,
    picture_files,
    prefetch,
    random_crop,
    read_picture,
    split,
    to_picture,
    to_tensor,
    unscaled_crop,
    with_short_side,
)


def test_split_depends_on_names_only() -> None:
    files = [Path(f"a/{number:03}.jpg") for number in range(40)]
    shuffled = [Path("elsewhere") / path.name for path in random.Random(0).sample(files, len(files))]
    rest, held = split(files, 7)
    assert len(held) == 7 and set(rest) | set(held) == set(files) and not set(rest) & set(held)
    assert {p.name for p in split(shuffled, 7)[1]} == {p.name for p in held}


def test_a_new_picture_displaces_at_most_one_held_out_picture() -> None:
    files = [Path(f"{number:03}.jpg") for number in range(40)]
    assert len(set(split(files, 7)[1]) - set(split([*files, Path("new.jpg")], 7)[1])) <= 1


def test_stills_of_clips_are_never_held_out() -> None:
    files = [Path(f"frame_{number}.jpg") for number in range(9)] + [Path("one.jpg"), Path("two.jpg")]
    assert split(files, 5)[1] == [Path("one.jpg"), Path("two.jpg")]


def test_a_fingerprint_is_of_names_and_contents(tmp_path: Path) -> None:
    files = [tmp_path / "here" / name for name in ("a.png", "b.png")]
    (tmp_path / "here").mkdir()
    for number, file in enumerate(files):
        file.write_bytes(bytes([number]))
    one = fingerprint(files)
    (tmp_path / "here").rename(tmp_path / "there")
    moved = [tmp_path / "there" / file.name for file in files]
    assert fingerprint(moved) == fingerprint(moved[::-1]) == one
    assert fingerprint(moved[:1]) == hashlib.sha256(b"\0").hexdigest()
    moved[0].write_bytes(b"changed")
    assert fingerprint(moved) != one
    moved[0].unlink()
    assert fingerprint(moved) != one, "one that is gone is another set, and no error"


def test_something_must_be_left_to_train_on() -> None:
    with pytest.raises(TrainError, match="held out") as caught:
        split([Path("a.jpg"), Path("b.jpg")], 2)
    assert "--hold-out" in caught.value.hint


def test_picture_files_skips_what_is_no_picture(photos: Path) -> None:
    (photos / "notes.txt").write_text("no picture")
    (photos / ".hidden.jpg").write_bytes(b"")
    (photos / "deeper").mkdir()
    write_picture(photos / "deeper" / "UPPER.JPG", texture(20, 20, 0))
    assert picture_files(photos)[0].name == "UPPER.JPG"
    assert len(picture_files(photos)) == 7


def test_no_folder_and_no_pictures_are_told(tmp_path: Path) -> None:
    for options in ((), ("--style-pictures",)):
        with pytest.raises(TrainError, match="no such folder") as caught:
            picture_files(tmp_path / "nowhere", *options)
        assert caught.value.hint.startswith(f"{options[0] if options else '--content'} takes")
    with pytest.raises(TrainError, match="no pictures"):
        picture_files(tmp_path)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_batch_is_a_function_of_seed_and_step(photos: Path, workers: int) -> None:
    files = picture_files(photos)
    straight = list(islice(prefetch(Pictures(files, 2, 64, seed=3), 0, workers), 5))
    resumed = list(islice(prefetch(Pictures(files, 2, 64, seed=3, in_memory=True), 3, workers), 2))
    assert torch.equal(straight[3], resumed[0]) and torch.equal(straight[4], resumed[1])
    assert not torch.equal(straight[0], straight[1])
    assert not torch.equal(straight[0], Pictures(files, 2, 64, seed=4)(0))
    assert straight[0].shape == (2, 3, 64, 64)
    assert float(straight[0].min()) >= 0 and float(straight[0].max()) <= 1


def test_a_damaged_picture_is_skipped_with_a_warning(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    (photos / "damaged.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no JPEG")
    (photos / "empty.jpg").write_bytes(b"")
    files = picture_files(photos)
    pictures, again = Pictures(files, 4, 64, seed=1), Pictures(files, 4, 64, seed=1)
    batches, told = [pictures(step) for step in range(12)], logged(caplog)
    assert {p.name for p in pictures.skipped} == {"damaged.jpg", "empty.jpg"}
    assert len(told) == 2 and all(sum(name in line for line in told) == 1 for name in ("damaged.jpg", "empty.jpg"))
    assert torch.equal(batches[11], again(11)), "what was skipped before must not change a later batch"


def test_only_damaged_pictures_are_an_error(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"no picture")
    with pytest.raises(TrainError, match="none of the pictures in --content"):
        Pictures(picture_files(tmp_path), 2, 64, seed=1)(0)
    with pytest.raises(TrainError, match="none of the pictures in --style-pictures"):
        Pictures(picture_files(tmp_path), 2, 64, seed=1, option="--style-pictures")(0)


@pytest.mark.parametrize("kind", ["grey", "alpha", "16 bit", "grey 16 bit"])
def test_every_kind_of_png_becomes_rgb(tmp_path: Path, kind: str) -> None:
    rgb = texture(40, 50, 1)
    bgr = rgb[..., ::-1]
    written = {
        "grey": bgr[..., 0],
        "alpha": np.dstack([bgr, np.full((40, 50), 128, np.uint8)]),
        "16 bit": bgr.astype(np.uint16) * 257,
        "grey 16 bit": bgr[..., 0].astype(np.uint16) * 257,
    }[kind]
    path = tmp_path / "picture.png"
    assert cv2.imwrite(str(path), written)
    expected = np.repeat(rgb[..., 2:], 3, axis=2) if "grey" in kind else rgb
    if kind == "alpha":  # on white
        expected = np.rint(rgb * (128 / 255) + 127)
    assert np.array_equal(read_picture(path), expected)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    rgb = texture(40, 50, 1)
    for name, tolerance in (("print.jpg", 3.0), ("print.tif", 0.5)):
        Image.fromarray(rgb).convert("CMYK").save(tmp_path / name, quality=95)
        assert np.abs(read_picture(tmp_path / name).astype(int) - rgb).mean() < tolerance, name


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_of_moving_pictures_the_first_counts(tmp_path: Path, name: str) -> None:
    frames = [Image.fromarray(texture(40, 50, number)) for number in range(3)]
    options: dict[str, Any] = {"lossless": True} if name.endswith("webp") else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    (file,) = picture_files(tmp_path)
    distances = [np.abs(read_picture(file).astype(int) - np.asarray(frame)).mean() for frame in frames]
    assert distances[0] < 15 < min(distances[1:])  # a GIF has 256 colours


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    rgb = np.zeros((32, 64, 3), np.uint8)
    rgb[:, :32] = 255  # the left half is white
    jpeg = cv2.imencode(".jpg", rgb)[1].tobytes()
    turn_right = 6  # EXIF 0x0112: row 0 is the right side, so white comes to the top
    tiff = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, turn_right, 0) + b"\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    path = tmp_path / "turned.jpg"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    upright = read_picture(path)
    assert upright.shape == (64, 32, 3)
    assert upright[:28].mean() > 250 and upright[36:].mean() < 5


def test_one_pixel_is_enough_for_a_crop() -> None:
    dot = np.full((1, 1, 3), 77, np.uint8)
    crop = random_crop(dot, 64, np.random.default_rng(0))
    assert crop.shape == (64, 64, 3) and (crop == 77).all()
    line = random_crop(texture(1, 300, 0), 64, np.random.default_rng(0))
    assert line.shape == (64, 64, 3)


@pytest.mark.parametrize("side", [60_000, 200_000], ids=["over OpenCV's limit", "over the format's"])
def test_a_picture_bomb_is_refused(tmp_path: Path, side: int) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)))
    with pytest.raises(TrainError, match="bomb"):
        read_picture(path)


def test_a_folder_named_like_a_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(TrainError, match="cannot read"):
        read_picture(tmp_path / "folder.jpg")


def test_tensor_and_back_changes_nothing() -> None:
    rgb = texture(33, 41, 5)
    assert np.array_equal(to_picture(to_tensor(rgb)), rgb)


@pytest.mark.parametrize(("size", "pixels"), [((100, 50), 30), ((50, 100), 80), ((1, 9), 3)])
def test_with_short_side(size: tuple[int, int], pixels: int) -> None:
    resized = with_short_side(texture(*size, 0), pixels)
    assert min(resized.shape[:2]) == pixels
    assert resized.shape[0] / resized.shape[1] == pytest.approx(size[0] / size[1], rel=0.05)


def test_large_photographs_are_seen_whole(tmp_path: Path) -> None:
    """A gradient over 2000 pixels: a crop at the photograph's own scale would hardly show it."""
    gradient = np.broadcast_to(np.linspace(0, 255, 2000, dtype=np.uint8)[None, :, None], (1500, 2000, 3))
    cv2.imwrite(str(tmp_path / "large.png"), gradient)
    batch = Pictures([tmp_path / "large.png"], batch=1, crop=64, seed=1)(0)
    assert float(batch.max() - batch.min()) > 0.3


@pytest.mark.parametrize("fits", [0, 1, 3])
def test_memory_is_filled_up_to_its_budget(photos: Path, monkeypatch: pytest.MonkeyPatch, fits: int) -> None:
    """What does not fit is decoded again, and the batches are the same."""
    files = picture_files(photos)
    monkeypatch.setattr(pictures_module, "memory_budget", lambda: fits * 96 * 120 * 3 + 5)
    pictures, none = Pictures(files, 4, 64, seed=1, in_memory=True), Pictures(files, 4, 64, seed=1)
    assert all(torch.equal(pictures(step), none(step)) for step in range(8))
    assert len(pictures.kept) == fits and pictures.room == 5
    assert not none.kept


def test_the_processes_of_a_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures_module, "free_memory", lambda: 800)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert memory_budget() == 800 * pictures_module.MEMORY_SHARE
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert memory_budget() == 200 * pictures_module.MEMORY_SHARE


@pytest.mark.parametrize(
    ("told", "allowed", "free"),
    [
        ("MemTotal: 9 kB\nMemAvailable:    5 kB\n", None, 5120),
        ("MemAvailable: 5 kB\n", "max\n", 5120),
        ("MemAvailable: 5 kB\n", "1000\n", 1000),
        ("MemTotal: 9 kB\n", None, pictures_module.UNKNOWN_MEMORY),
        (None, None, pictures_module.UNKNOWN_MEMORY),
    ],
)
def test_free_memory_is_what_the_system_tells(tmp_path: Path, told: str | None, allowed: str | None, free: int) -> None:
    for name, text in (("meminfo", told), ("memory.max", allowed)):
        if text is not None:
            (tmp_path / name).write_text(text)
    assert free_memory(tmp_path / "meminfo", tmp_path / "memory.max") == free
    assert free_memory() > 0


class TestUnscaled:
    """Works whose strokes keep their size."""

    def test_crops_are_parts_of_the_picture_at_the_short_side(self, tmp_path: Path) -> None:
        """A chequerboard of 8 pixels, at half its size: all edges are 4 pixels apart."""
        board = np.kron(np.indices((32, 40)).sum(0) % 2, np.ones((8, 8))).astype(np.uint8)[..., None] * 255
        path = write_picture(tmp_path / "board.png", np.repeat(board, 3, axis=2))
        batch = Pictures([path], 8, 64, seed=1, short_side=128)(0)
        for row in batch[:, 0, 30] > 0.5:
            edges = torch.nonzero(row[1:] != row[:-1])[:, 0]
            assert (edges[1:] - edges[:-1] == 4).all() and len(edges) >= 15

    def test_small_ones_are_not_enlarged(self, tmp_path: Path) -> None:
        """Every row of two is black and white by turns; enlarged, it would be grey in between."""
        stripes = np.broadcast_to(np.array([0, 255], np.uint8).repeat(3).reshape(1, 2, 3), (40, 2, 3))
        path = write_picture(tmp_path / "small.png", stripes)
        batch = Pictures([path], 4, 64, seed=1, short_side=512)(0)
        assert batch.shape == (4, 3, 64, 64)
        assert set(batch.flatten().tolist()) == {0.0, 1.0}

    def test_parts_of_a_batch_are_those_of_the_whole(self, photos: Path) -> None:
        files = picture_files(photos)
        whole, part = (Pictures(files, 4, 128, 3, short_side=80, places=places) for places in (None, range(2, 4)))
        assert torch.equal(whole(5)[2:], part(5))

    def test_a_dot_is_enough(self) -> None:
        dot = np.full((1, 1, 3), 77, np.uint8)
        assert (unscaled_crop(dot, 64, np.random.default_rng(0)) == 77).all()
