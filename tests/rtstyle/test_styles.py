"""Names of the gallery, folders of one's own, and what is neither."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engines.errors import StyleError
from rtstyle.style_library import find, installed, name_of


@pytest.fixture
def gallery(tmp_path: Path, tiny_style: Path) -> Path:
    for name in ("vangogh", "monet"):
        shutil.copytree(tiny_style, tmp_path / "gallery" / name)
    (tmp_path / "gallery" / "notes").mkdir()
    return tmp_path / "gallery"


def test_a_name_is_found_in_the_gallery(gallery: Path) -> None:
    assert find("monet", gallery) == gallery / "monet"


def test_a_name_may_be_in_capitals_and_a_folder_comes_first(
    gallery: Path, tiny_style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("MONET", gallery) == gallery / "monet" and name_of("VanGogh", gallery) == "vangogh"
    assert name_of("Monet ", gallery) == "Monet " and name_of("", gallery) == ""
    shutil.copytree(tiny_style, "Monet")
    assert find("Monet", gallery) == Path("Monet") and find("monet", gallery) == gallery / "monet"


def test_a_folder_is_found_by_its_path(gallery: Path, tiny_style: Path) -> None:
    assert find(str(tiny_style), gallery) == tiny_style


def test_the_style_of_a_run_is_found_by_the_run(gallery: Path, tiny_style: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_style, tmp_path / "run" / "style")
    assert find(str(tmp_path / "run"), gallery) == tmp_path / "run" / "style"


def test_near_names_are_suggested(gallery: Path) -> None:
    with pytest.raises(StyleError) as caught:
        find("van-gogh", gallery)
    assert caught.value.hint == "did you mean vangogh?"
    with pytest.raises(StyleError) as caught:
        find("zzz", gallery)
    assert caught.value.hint == "styles: monet, vangogh"


def test_what_is_no_style_is_refused(gallery: Path, tmp_path: Path) -> None:
    with pytest.raises(StyleError, match=r"has no style\.json"):
        find(str(tmp_path), gallery)
    weights = tmp_path / "model.pth"
    weights.write_bytes(b"\x80\x02")
    with pytest.raises(StyleError, match="is a file") as caught:
        find(str(weights), gallery)
    assert "safetensors" in caught.value.hint
    with pytest.raises(StyleError, match="is empty"):
        find("", gallery / "notes")


def test_the_list_names_what_is_damaged(gallery: Path) -> None:
    (gallery / "monet" / "weights.safetensors").write_bytes(b"short")
    (gallery / "vangogh" / "preview.jpg").write_bytes(b"not listed, not checked")
    monet, vangogh = installed(gallery)
    assert monet.name == "monet" and "weights.safetensors" in monet.fault
    assert vangogh.fault == "" and vangogh.licence == "CC0-1.0"


def test_the_gallery_of_rtstyle_is_whole() -> None:
    assert [entry.fault for entry in installed() if entry.fault] == []


def test_a_painting_is_not_a_style_but_can_become_one(tmp_path: Path) -> None:
    painting = tmp_path / "wave.jpg"
    painting.touch()
    with pytest.raises(StyleError, match="rtstyle train --style-picture"):
        find(str(painting))
    with pytest.raises(StyleError, match="no such folder"):
        find(str(tmp_path / "runs" / "min" / "style"))
