"""The model card and the metadata of a style: they name the painting and the licence, and the reader needs neither."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open

from engines.export import HEADER_BLOCK
from engines.style_card import CARD, PAINTING_RIGHTS, model_card
from engines.style_file import WEIGHTS, StyleMeta, StyleModel
from rtstyle.style_library import find, installed

META = StyleMeta("mine", "Mine", "A. Painter", "Sea | Sky", "CC0-1.0", {})


def front_matter(card: str) -> dict[str, object]:
    _, head, _ = card.split("---\n", 2)
    return dict(yaml.safe_load(head))


def header(style: Path) -> dict[str, str]:
    with safe_open(style / WEIGHTS, "np") as file:
        return dict(file.metadata())


def test_a_written_style_names_its_painting_and_licence(tiny_style: Path) -> None:
    card = (tiny_style / CARD).read_text("utf-8")
    head = front_matter(card)
    assert head["license"] == "cc0-1.0" and head["pipeline_tag"] == "image-to-image"
    assert head["library_name"] == "rtstyle"
    assert "*noise* by nobody" in card and "CC0-1.0" in card and "Not measured yet" in card
    said = header(tiny_style)
    assert (said["name"], said["work"], said["painter"], said["licence"]) == ("tiny", "noise", "nobody", "CC0-1.0")
    assert said["format_version"] == "1" and said["created_by"].startswith("rtstyle")


def test_the_tensors_start_where_no_metadata_moves_them(tiny_style: Path) -> None:
    """Graphs hold offsets into the weights, and engines share a graph only if its bytes are equal."""
    length = int.from_bytes((tiny_style / WEIGHTS).read_bytes()[:8], "little")
    assert (8 + length) % HEADER_BLOCK == 0


def test_a_missing_or_edited_card_does_not_matter(tiny_style: Path, tmp_path: Path) -> None:
    style = Path(shutil.copytree(tiny_style, tmp_path / "tiny"))
    before = StyleModel.open(style)
    (style / CARD).write_text("my own words", "utf-8")
    assert StyleModel.open(style) == before
    (style / CARD).unlink()
    assert StyleModel.open(style) == before


def test_the_training_is_told() -> None:
    settings = {
        "data": {"batch": 4, "crop": 192},
        "generator": {"init": "runs/first"},
        "losses": {"content": 2.5, "variation": 0.0, "noise": 20000},
    }
    record = {"settings": settings, "steps_done": 760, "content_pictures": 484, PAINTING_RIGHTS: "public domain"}
    distilled = {"teacher": "0" * 64, "init": "wave", "init_sha256": "ab" * 32, "steps": 2000}
    record |= {"distilled": {**distilled, "trained_on": {"steps": 400, "learning_rate": 0.0007, "share": 0.6}}}
    card = model_card(replace(META, training=record), {"ssim": 0.4719, "unknown": 1.0}, preview=True)
    for row in (
        "| losses | content 2.5, noise 20000 |",
        "| steps | 760 |",
        "| photographs | 484 |",
        "| started from | first |",
        "wave abababab, 2000 steps; then trained for 400 more; 0.6 of those weights and 0.4 of the ones before |",
        "| batch | 4 of 192×192 |",
        "| rights in the painting | public domain |",
        "| ssim | 0.472 |",
        r"| painting | Sea \| Sky |",
    ):
        assert row in card
    assert "unknown" not in card and "(preview.jpg)" in card


@pytest.mark.parametrize("record", [{}, {"settings": 3}, {"settings": {"data": [], "losses": {"x": "y"}}}])
def test_any_record_gives_a_card(record: dict[str, object]) -> None:
    card = model_card(replace(META, work="", painter="", training=record), preview=False)
    assert "not recorded" in card and "preview.jpg" not in card


def test_a_painting_without_a_title_is_named_by_its_file() -> None:
    record = {"settings": {"data": {"style_picture": "sea.jpg"}}}
    assert "*sea.jpg*" in model_card(replace(META, work="", training=record), preview=False)


@pytest.mark.parametrize(
    ("licence", "expected"),
    [("Apache-2.0", ("apache-2.0", None)), ("unspecified", ("unknown", None)), ('My: "own"', ("other", 'My: "own"'))],
)
def test_the_hub_knows_the_licence(licence: str, expected: tuple[str, str | None]) -> None:
    head = front_matter(model_card(replace(META, licence=licence), preview=False))
    assert (head["license"], head.get("license_name")) == expected


@pytest.mark.parametrize("name", [entry.name for entry in installed()])
def test_each_shipped_style_has_a_card_with_figures(name: str) -> None:
    style = StyleModel.open(find(name))
    card = (style.folder / CARD).read_text("utf-8")
    assert front_matter(card)["license"] == "apache-2.0" and "| ssim |" in card
    assert f"*{style.work}* by {style.painter}" in card and "| rights in the painting | public domain |" in card
    said = header(style.folder)
    assert (said["name"], said["work"], said["licence"]) == (name, style.work, "Apache-2.0")
