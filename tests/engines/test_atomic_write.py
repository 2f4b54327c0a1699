"""A file or a folder is complete or absent, and nothing is left beside it."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from engines.atomic_write import atomic_folder, atomic_write, remove_abandoned_folders, remove_folder


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    for text in (b"old", b"new"):
        with atomic_write(path) as file:
            file.write(text)
            assert not path.exists() or path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["page.html"]


def test_what_is_raised_inside_passes_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part may not even go: that must not hide why it was left."""

    def denied(*_: object, **__: object) -> None:
        raise PermissionError

    path = tmp_path / "page.html"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as file:
        file.write(b"%d" % (1 // 0))
    assert os.listdir(tmp_path) == ["page.html"] and path.read_bytes() == b"old"
    monkeypatch.setattr(Path, "unlink", denied)
    with pytest.raises(ZeroDivisionError), atomic_write(path) as file:
        file.write(b"%d" % (1 // 0))


def test_only_abandoned_parts_of_the_same_file_are_removed(tmp_path: Path) -> None:
    """Names may hold characters that mean something in patterns."""
    names = {
        "mine, old": ".a[1]*.pt.00000000.part",
        "mine, new": ".a[1]*.pt.00000001.part",
        "another's": ".a1x.pt.00000000.part",
    }
    for name in names.values():
        (tmp_path / name).write_bytes(b"half")
    for owner in ("mine, old", "another's"):
        os.utime(tmp_path / names[owner], (0, 0))
    with atomic_write(tmp_path / "a[1]*.pt") as file:
        file.write(b"whole")
    assert set(os.listdir(tmp_path)) == {"a[1]*.pt", names["mine, new"], names["another's"]}


@pytest.mark.parametrize("durable", [True, False])
def test_it_is_flushed_to_the_disk_where_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    with atomic_write(tmp_path / "a.pt", durable=durable) as file:
        file.write(b"whole")
    assert len(flushed) == (2 if durable else 0), "the file, and after the rename its name"


def test_no_folder_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "nowhere" / "a.pt"):
        pass


@pytest.mark.skipif(os.name != "posix", reason="modes")
@pytest.mark.parametrize("private", [True, False])
def test_a_private_file_is_for_its_user_only(tmp_path: Path, private: bool) -> None:
    before = os.umask(0)
    try:
        with atomic_write(tmp_path / "a.plan", private=private) as file:
            file.write(b"whole")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.plan").stat().st_mode) == (0o600 if private else 0o666)


def test_a_folder_appears_complete_and_replaces_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "style"
    for text in ("old", "new"):
        with atomic_folder(folder) as draft:
            (draft / "style.json").write_text(text)
            assert not folder.exists() or (folder / "style.json").read_text() == "old"
    with pytest.raises(ZeroDivisionError), atomic_folder(folder) as draft:
        (draft / "style.json").write_text(f"{1 // 0}")
    assert (folder / "style.json").read_text() == "new"
    assert os.listdir(folder.parent) == ["style"]


def test_folders_of_a_killed_writer_are_removed_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old folder of a replacement that was cut between its two steps comes back."""
    left = [".style.0123abcd.part", ".style.89abcdef.old", ".other.01234567.part", ".lost.01234567.old"]
    kept = [".style.notes.part", ".cache", "style.0123abcd.part"]
    for name in [*left, *kept, "style"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "style.json").write_text(name)
    with atomic_folder(tmp_path / "style"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {*left, *kept, "style"}, "they may have writers"
    monkeypatch.setattr(time, "time", lambda: time.time_ns() / 1e9 + 86_401)
    with atomic_folder(tmp_path / "style"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {*left[2:], *kept, "style"}
    remove_abandoned_folders(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "style", "lost"}
    assert (tmp_path / "lost" / "style.json").read_text() == ".lost.01234567.old"
    remove_folder(tmp_path / "lost")
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "style"}
