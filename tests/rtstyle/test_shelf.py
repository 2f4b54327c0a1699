"""One's own styles: adding, packing, renaming, removing."""

from __future__ import annotations

import hashlib
import json
import shlex
import stat
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from engines.errors import StyleError
from engines.style_file import FORMAT, GRAPH, MANIFEST, PREVIEW, WEIGHTS, StyleModel, sha256
from rtstyle import shelf, style_library
from rtstyle.style_previews import is_preview, jpeg
from tests.rtstyle.styles_command import run, zipped

GALLERY = style_library.gallery_styles()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "own styles"
    monkeypatch.setenv(shelf.VARIABLE, str(folder))
    return folder


@pytest.fixture
def files(tiny_style: Path) -> dict[str, bytes]:
    return shelf.read_folder(tiny_style)


def test_a_trained_style_gets_a_name(tiny_style: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "added mine" in run(capsys, "add", str(tiny_style), "--name", "mine")
    assert StyleModel.open(style_library.find("mine")).name == "mine"
    assert style_library.open_style("Mine").name == "mine"  # in any case
    entry = style_library.installed()[-1]
    assert entry.name == "mine" and entry.own and not style_library.installed()[0].own
    listed = json.loads(run(capsys, "--json"))["styles"]
    assert listed[-1]["name"] == "mine" and listed[-1]["own"] is True
    assert "mine" in run(capsys)


def test_a_texture_and_a_mix_can_be_kept(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    told = run(capsys, "add", "wave@0.6", code=1)
    assert "wave is a style that comes with rtstyle" in told and "--name NAME gives it another name" in told
    run(capsys, "add", "wave@0.6", "--name", "foam")
    foam = style_library.open_style("foam")
    assert (
        foam.folder == home / "foam"
        and foam.texture == 0.6
        and foam.title == "The Great Wave off Kanagawa (texture 60 %)"
    )
    assert foam.weights_sha256() == style_library.open_style("wave@0.6").weights_sha256()
    run(capsys, "add", "vangogh@1:0.6+scream:0.4", "--name", "night")
    night, mixed = style_library.open_style("night"), style_library.open_style("vangogh@1:0.6+scream:0.4")
    assert night.weights_sha256() == mixed.weights_sha256() and night.ranges == mixed.ranges and night.preview
    assert run(capsys, "add", "wave@2", "--name", "more", code=1).startswith("rtstyle: the texture of wave is 2")


def test_a_style_without_a_good_preview_gets_one(files: dict[str, bytes]) -> None:
    made = []
    for name, given in (("none", {}), ("bad", {PREVIEW: b"<html>"})):
        style = StyleModel.open(shelf.add({**files, **given}, GALLERY, name))
        assert style.preview is not None and is_preview(style.preview)
        made.append(style.preview.read_bytes())
        assert json.loads((style.folder / MANIFEST).read_text())["files"][PREVIEW] == sha256(style.preview)
    assert made[0] == made[1]
    own = jpeg(np.full((32, 64, 3), 9, np.uint8), 1000)
    assert (shelf.add({**files, PREVIEW: own}, GALLERY, "own") / PREVIEW).read_bytes() == own
    assert all(Path(entry.preview).is_file() for entry in style_library.installed())


def test_a_training_that_has_not_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_folder = tmp_path / "my run"
    run_folder.mkdir()
    (run_folder / style_library.RUN_CHECKPOINT).touch()
    said = run(capsys, "add", str(run_folder), code=1)
    assert "is a training that has not finished" in said and "--resume" in said


def test_commands_that_are_shown_can_be_copied(tmp_path: Path) -> None:
    picture, pack = tmp_path / "my wave.jpg", tmp_path / "my wave.rtstyle"
    for path, words in ((picture, ["train", "--style-picture"]), (pack, ["styles", "add"])):
        path.touch()
        shown = _problem(lambda path=path: style_library.find(str(path))).hint.split("`")[1]
        assert shlex.split(shown) == ["rtstyle", *words, str(path)]


def test_a_title_that_is_the_name_follows_it(files: dict[str, bytes], home: Path) -> None:
    untitled = json.dumps({**json.loads(files[MANIFEST]), "title": "tiny"}).encode()
    shelf.add({**files, MANIFEST: untitled}, GALLERY, "sea")
    shelf.add(files, GALLERY, "titled")
    assert (StyleModel.open(home / "sea").title, StyleModel.open(home / "titled").title) == ("sea", "Tiny · for tests")
    shelf.rename("sea", "lake", GALLERY)
    assert StyleModel.open(home / "lake").title == "lake"


def test_a_pack_goes_from_one_machine_to_another(
    tiny_style: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tiny.rtstyle"
    digest = run(capsys, "export", str(tiny_style), str(file)).split()[0]
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    first = file.read_bytes()
    assert "exists already" in run(capsys, "export", str(tiny_style), str(file), code=1)
    run(capsys, "export", str(tiny_style), str(file), "--overwrite")
    assert file.read_bytes() == first  # the same style, the same pack
    assert "is a pack" in str(_problem(lambda: style_library.find(str(file))))
    monkeypatch.setenv(shelf.VARIABLE, str(tmp_path / "another machine"))
    assert "another sha256" in run(capsys, "add", str(file), "--sha256", "0" * 64, code=1)
    run(capsys, "add", str(file), "--sha256", digest.upper())
    assert StyleModel.open(style_library.find("tiny")).weights_sha256() == StyleModel.open(tiny_style).weights_sha256()


def _problem(call: object) -> StyleError:
    with pytest.raises(StyleError) as told:
        call()  # type: ignore[operator]
    return told.value


def test_a_zip_of_the_folder_works_too(files: dict[str, bytes], tmp_path: Path) -> None:
    file = zipped(tmp_path / "tiny.zip", {**files, "notes.txt": b"not read"}, "tiny/")
    assert shelf.unpack(file) == files


def test_rename_and_remove(files: dict[str, bytes], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shelf.add(files, GALLERY)
    assert "tiny is now small" in run(capsys, "rename", "tiny", "small")
    assert StyleModel.open(home / "small").name == "small" and not (home / "tiny").exists()
    assert "you have no style 'tiny'" in run(capsys, "remove", "tiny", code=1)
    assert "comes with rtstyle" in run(capsys, "rename", "small", "wave", code=1)
    assert "not a valid style name" in run(capsys, "rename", "small", "../wave", code=1)
    run(capsys, "remove", "small")
    assert list(home.iterdir()) == []
    assert "you have none" in run(capsys, "remove", "wave", code=1)  # those that come with rtstyle stay


@pytest.mark.parametrize("name", ["wave", "../up", "A b", "", ".hidden", "x" * 65])
def test_names_that_a_style_cannot_have(name: str, files: dict[str, bytes], home: Path) -> None:
    if name:
        with pytest.raises(StyleError):
            shelf.add(files, GALLERY, name)
    assert not home.exists()


def test_a_name_that_exists(files: dict[str, bytes], home: Path) -> None:
    shelf.add(files, GALLERY)
    with pytest.raises(StyleError, match="you have a style 'tiny' already") as told:
        shelf.add(files, GALLERY)
    assert "--name NAME" in told.value.hint and "--overwrite" in told.value.hint
    shelf.add(files, GALLERY, "other")
    with pytest.raises(StyleError, match="you have a style 'tiny' already") as told:
        shelf.rename("other", "tiny", GALLERY)
    assert told.value.hint == "choose another name"
    shelf.remove("other")
    shelf.add(files, GALLERY, replace=True)
    assert [path.name for path in home.iterdir()] == ["tiny"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({WEIGHTS: b"short"}, "truncated or altered"),
        ({GRAPH: b""}, "truncated or altered"),
        ({MANIFEST: b"{"}, "cannot be read"),
        ({MANIFEST: b'{"format": %d}' % (FORMAT + 1)}, "this rtstyle reads up to"),
    ],
)
def test_damaged_styles_are_refused(
    change: dict[str, bytes], problem: str, files: dict[str, bytes], home: Path
) -> None:
    with pytest.raises(StyleError, match=problem) as told:
        shelf.add(files | change, GALLERY, source="tiny.rtstyle")
    assert "tiny.rtstyle" in told.value.problem and tempfile.gettempdir() not in told.value.problem
    assert not home.exists()


def test_weights_of_another_shape_or_without_numbers_are_refused(
    files: dict[str, bytes], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The CPU reads the shape from the graph, GPUs from ``style.json``."""
    manifest = json.loads(files[MANIFEST])
    folder = tmp_path / "given"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    wider = {**manifest, "arch": {**manifest["arch"], "body": 2 * manifest["arch"]["body"]}}
    (folder / MANIFEST).write_text(json.dumps(wider))
    said = run(capsys, "add", str(folder), code=1)
    assert f"{folder / WEIGHTS} has another shape than {folder / MANIFEST} says" in said
    start = 8 + int.from_bytes(files[WEIGHTS][:8], "little")
    weights = files[WEIGHTS][:start] + b"\xff\x7f" * ((len(files[WEIGHTS]) - start) // 2)
    (folder / WEIGHTS).write_bytes(weights)
    manifest["files"][WEIGHTS] = hashlib.sha256(weights).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert f"{folder / WEIGHTS} holds values that are not numbers" in run(capsys, "add", str(folder), code=1)
    assert not home.exists()


def test_a_graph_that_does_not_run_is_refused(files: dict[str, bytes], home: Path) -> None:
    manifest = json.loads(files[MANIFEST])
    manifest["files"][GRAPH] = hashlib.sha256(b"rubbish").hexdigest()
    rubbish = {**files, GRAPH: b"rubbish", MANIFEST: json.dumps(manifest).encode()}
    with pytest.raises(StyleError, match="the style tiny cannot be used"):
        shelf.add(rubbish, GALLERY)
    assert not home.exists()


def test_packs_that_would_do_harm(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = zipped(tmp_path / "outside.rtstyle", {**files, "../../evil.py": b"x", "/etc/evil": b"x"})
    assert shelf.unpack(outside).keys() == files.keys()  # other paths are not even read
    two = zipped(tmp_path / "two.zip", {f"{folder}/{name}": data for folder in "ab" for name, data in files.items()})
    assert "more than one style.json" in _problem(lambda: shelf.unpack(two)).problem
    assert "no style.json" in _problem(lambda: shelf.unpack(zipped(tmp_path / "none.zip", {"x": b""}))).problem
    link = tmp_path / "link.rtstyle"
    with zipfile.ZipFile(link, "w") as archive:
        archive.writestr(MANIFEST, files[MANIFEST])
        info = zipfile.ZipInfo(WEIGHTS)
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert "holds a link" in _problem(lambda: shelf.unpack(link)).problem
    monkeypatch.setattr(shelf, "LIMIT", 1 << 20)
    bomb = tmp_path / "bomb.rtstyle"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, files[MANIFEST])
        archive.writestr(WEIGHTS, bytes(100 << 20))
    assert bomb.stat().st_size < 1 << 20 and "more than 1 MB" in _problem(lambda: shelf.unpack(bomb)).problem


@pytest.mark.parametrize("cut", [0, 10, 1000, -30, -1])
def test_a_cut_pack_is_one_line(cut: int, files: dict[str, bytes], tmp_path: Path) -> None:
    whole = zipped(tmp_path / "whole.rtstyle", files).read_bytes()
    (tmp_path / "cut.rtstyle").write_bytes(whole[:cut])
    assert "cut.rtstyle" in _problem(lambda: shelf.unpack(tmp_path / "cut.rtstyle")).problem


def test_flipped_bytes_never_raise_anything_else(files: dict[str, bytes], tmp_path: Path) -> None:
    whole = zipped(tmp_path / "whole.rtstyle", {name: data[:3000] for name, data in files.items()}).read_bytes()
    for place in range(0, len(whole), 61):
        (tmp_path / "flipped.rtstyle").write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            shelf.unpack(tmp_path / "flipped.rtstyle")
        except StyleError:
            continue


def test_a_full_disk_leaves_nothing(files: dict[str, bytes], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shelf.shutil, "copyfile", full)
    with pytest.raises(StyleError, match="the disk is full"):
        shelf.add(files, GALLERY)
    assert list(home.iterdir()) == []


def test_no_room_for_temporary_files(
    files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert "folder for temporary files" in _problem(lambda: shelf.add(files, GALLERY)).problem
    assert not home.exists()


def test_the_shelf_is_a_file(files: dict[str, bytes], home: Path) -> None:
    home.write_text("")
    assert shelf.own_styles() == {}
    with pytest.raises(StyleError, match="cannot write") as told:
        shelf.add(files, GALLERY)
    assert shelf.VARIABLE in str(told.value.hint)


def test_a_folder_that_is_no_style_is_left_alone(files: dict[str, bytes], home: Path) -> None:
    """The shelf may be a folder of training runs."""
    (home / "tiny").mkdir(parents=True)
    (home / "tiny" / "checkpoint.pt").write_bytes(b"hours")
    for replace in (False, True):
        with pytest.raises(StyleError, match="exists and is not a style"):
            shelf.add(files, GALLERY, replace=replace)
    shelf.add(files, GALLERY, "other")
    with pytest.raises(StyleError, match="exists and is not a style"):
        shelf.rename("other", "tiny", GALLERY)
    assert (home / "tiny" / "checkpoint.pt").read_bytes() == b"hours" and (home / "other").is_dir()


def test_a_damaged_style_keeps_its_name(files: dict[str, bytes], home: Path) -> None:
    shelf.add(files, GALLERY)
    (home / "tiny" / MANIFEST).write_text("{")
    with pytest.raises(StyleError, match="cannot be read"):
        shelf.rename("tiny", "small", GALLERY)
    assert (home / "tiny").is_dir() and not (home / "small").exists()


def test_a_name_of_the_page(files: dict[str, bytes]) -> None:
    with pytest.raises(StyleError, match="the page of rtstyle needs the name training"):
        shelf.add(files, GALLERY, "training")


def test_ranges_of_other_weights_are_noticed(files: dict[str, bytes], home: Path) -> None:
    for ranges in ({"none.conv.weight": [0, 1]}, {"stem.conv.bias": [0, 1]}, {"softening": [-1, 1]}):
        manifest = {**json.loads(files[MANIFEST]), "ranges": ranges}
        with pytest.raises(StyleError, match="cannot be used"):
            shelf.add({**files, MANIFEST: json.dumps(manifest).encode()}, GALLERY)
    assert not home.exists()


def test_a_folder_has_no_sha256(tiny_style: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is no pack" in run(capsys, "add", str(tiny_style), "--sha256", "0" * 64, code=1)


def test_info(capsys: pytest.CaptureFixture[str], tiny_style: Path) -> None:
    shown = run(capsys, "info", "vangogh")
    assert "Vincent van Gogh" in shown and "Apache-2.0" in shown
    facts = json.loads(run(capsys, "info", "vangogh", "--json"))
    assert facts["int8"] is True and facts["steps"] > 0 and len(facts["weights sha256"]) == 64
    assert "unknown" in run(capsys, "info", str(tiny_style))


def test_what_a_killed_add_has_left_goes_with_the_next_one_a_day_later(
    files: dict[str, bytes], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft, notes = home / ".tiny.0123abcd.part", home / ".notes"
    for folder in (draft, notes):
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_text("half")
    shelf.add(files, GALLERY, "first")
    assert draft.is_dir() and list(shelf.own_styles()) == ["first"]
    monkeypatch.setattr(time, "time", lambda: time.time_ns() / 1e9 + 86_401)
    shelf.add(files, GALLERY, "second")
    assert not draft.exists() and notes.is_dir()
