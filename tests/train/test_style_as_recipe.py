"""A trained style as a recipe: it is trained again, or another painting is learned by its settings."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from engines.style_file import StyleModel
from train.__main__ import _is_trained_again, main
from train.config.schema import DataConfig


def test_a_style_is_trained_again_from_its_record(
    arguments: list[str], painting: Path, photos: Path, narrow_features: Path, tmp_path: Path
) -> None:
    told = ["--title", "The Wave", "--artist", "Hokusai", "--licence", "CC0-1.0", "--name", "wave"]
    assert main([*arguments, *told, "--set", "losses.style=7"]) == 0
    first = StyleModel.open(tmp_path / "run" / "style")
    again = ["--recipe", str(first.folder), "--style-picture", str(painting.parent), "--content", str(photos)]
    assert main([*again, "--features", str(narrow_features), "--out", str(tmp_path / "again")]) == 0
    second = StyleModel.open(tmp_path / "again" / "style")
    assert second.weights.read_bytes() == first.weights.read_bytes(), "the same bits"
    texts = ("name", "title", "painter", "licence")
    assert [getattr(second, text) for text in texts] == ["wave", "The Wave", "Hokusai", "CC0-1.0"]


def test_a_style_as_recipe_of_another_painting_gives_it_neither_name_nor_title(
    arguments: list[str], painting: Path, photos: Path, narrow_features: Path, tmp_path: Path
) -> None:
    told = ["--title", "The Wave", "--artist", "Hokusai", "--licence", "CC0-1.0", "--name", "wave"]
    assert main([*arguments, *told]) == 0
    other = painting.with_name("lilies.png")
    shutil.copy(painting, other)
    again = ["--recipe", str(tmp_path / "run" / "style"), "--style-picture", str(other), "--content", str(photos)]
    again += ["--features", str(narrow_features), "--out", str(tmp_path / "again")]
    assert main(again) == 0
    found = StyleModel.open(tmp_path / "again" / "style")
    texts = ("name", "title", "painter", "work", "licence")
    assert [getattr(found, text) for text in texts] == ["lilies", "lilies", "", "", "unspecified"]


def test_a_style_made_from_the_start_is_trained_again(
    painting: Path, narrow_features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["--features", str(narrow_features)]
    first = ["--steps", "1", "--batch", "1", "--crop", "64"]
    assert main(["--style-picture", str(painting), *small, *first]) == 0
    again = ["--recipe", "runs/painting/style", "--style-picture", str(painting), "--out", "runs/again"]
    assert main([*again, *small]) == 0
    before, after = (StyleModel.open(tmp_path / "runs" / name / "style") for name in ("painting", "again"))
    assert after.weights_sha256() == before.weights_sha256()


@pytest.mark.parametrize(
    ("recorded", "picture", "works", "again"),
    [
        ({"style_picture": "a.png", "style_pictures": None}, "x/a.png", None, True),
        ({"style_picture": "a.png", "style_pictures": None}, "x/a.png", "works", True),
        ({"style_picture": "a.png", "style_pictures": "works"}, "x/b.png", "works", False),
        ({"style_picture": None, "style_pictures": "monet"}, None, "x/monet", True),
        ({"style_picture": None, "style_pictures": "monet"}, None, "x/degas", False),
        ({"style_picture": "a.png", "style_pictures": None}, None, "works", False),
    ],
)
def test_a_painting_or_a_folder_of_works_is_known_by_its_name(
    tiny_style: Path, recorded: dict[str, str | None], picture: str | None, works: str | None, again: bool
) -> None:
    known = replace(StyleModel.open(tiny_style), training={"settings": {"data": recorded}})
    paths = {key: Path(path) if path else None for key, path in (("style_picture", picture), ("style_pictures", works))}
    assert _is_trained_again(known, DataConfig(content=Path("photographs"), **paths)) is again
