"""`rtstyle explain`: parts that add up, correspondences with a known answer, and the page from end to end."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines.errors import ConfigError, SinkError, SourceError, StyleError, StylerError, TrainError
from engines.style_file import StyleModel
from rtstyle.cli import main
from tests.train.pages import walk
from tests.train.pictures import made, texture, write_picture, written
from tests.train.trained import run_folder
from train.config.schema import StyleLayers
from train.explain import comparisons, inputs, layer_maps, overlays, patch_match
from train.explain.html_report import STRENGTHS, Explanation, page
from train.explain.inputs import ExplainJob
from train.explain.run import analyze, explain
from train.html import check_page
from train.losses import vgg_features
from train.losses.perceptual import content_loss, gram, style_distances
from train.losses.vgg_features import DISTILLED, WIDE, load_features


@pytest.fixture(autouse=True)
def _no_cache_and_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*args: object, **kwargs: object) -> Path:
        raise AssertionError("an explanation must not download anything")

    monkeypatch.setenv("RTSTYLE_FEATURES", str(tmp_path / "no-cache"))
    monkeypatch.setattr(vgg_features, "fetch", refuse)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return write_picture(tmp_path / "photo.png", texture(72, 96, 3))


def test_the_parts_of_the_style_add_up_to_its_fall() -> None:
    rng = torch.Generator().manual_seed(0)
    x, y, s = (torch.rand(1, 7, 9, 11, generator=rng) * k for k in (1.0, 1.4, 2.0))
    parts = layer_maps.style_contributions(x, y, gram(s))
    before, after = (float(style_distances([f], [gram(s)])[0]) for f in (x, y))
    assert parts.shape == (9, 11)
    assert float(parts.mean()) == pytest.approx(before - after, rel=1e-4)


def test_a_place_that_was_not_changed_has_no_part() -> None:
    x = torch.rand(1, 5, 8, 8, generator=torch.Generator().manual_seed(0))
    y = x.clone()
    y[..., 2, 3] *= 2
    changed = layer_maps.style_contributions(x, y, gram(2 * x)) != 0
    assert changed.nonzero().tolist() == [[2, 3]]
    assert (layer_maps.change_contributions(x, y) != 0).nonzero().tolist() == [[2, 3]]


def test_becoming_the_painting_is_warm_and_leaving_it_is_cold() -> None:
    x, s = (torch.rand(1, 5, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    towards, away = layer_maps.style_contributions(x, 2 * s, gram(2 * s)), layer_maps.style_contributions(s, x, gram(s))
    assert towards.mean() > 0 > away.mean()


def test_the_parts_of_the_content_add_up_to_its_loss() -> None:
    x, y = (torch.rand(1, 5, 6, 7, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert float(layer_maps.change_contributions(x, y).mean()) == pytest.approx(float(content_loss(y, x)), rel=1e-5)


def test_layer_maps_with_and_without_the_painting(narrow_features: Path) -> None:
    networks = load_features(narrow_features)
    painting = texture(64, 80, 3, detail=30)
    x, y = texture(48, 64, 1), np.ascontiguousarray(painting[:48, :64])
    targets = layer_maps.painting_grams(networks, painting)
    whole = layer_maps.layer_maps(networks, x, y, targets)
    assert [(m.layer, m.kind) for m in whole] == [
        ("relu1_1", "style"), ("relu2_1", "style"), ("relu3_1", "style"), ("relu4_1", "style"), ("relu4_1", "content"),
    ]  # fmt: skip
    assert [m.values.shape for m in whole] == [(48, 64), (24, 32), (12, 16), (6, 8), (6, 8)]
    for each in whole[:-1]:
        assert each.values.mean() == pytest.approx(each.before - each.after, rel=1e-3, abs=1e-5)
    shares = layer_maps.shares(whole)
    assert sum(shares) == pytest.approx(1.0) and shares[-1] == 0
    reduced = layer_maps.layer_maps(networks, x, y, ())
    assert [m.kind for m in reduced] == ["change", "change", "change", "content"]
    assert layer_maps.shares(reduced) == [0, 0, 0, 0]


def test_a_piece_of_the_painting_is_found_where_it_was_cut(narrow_features: Path) -> None:
    painting = texture(160, 200, 5, detail=50)
    top, left = 40, 60  # whole places, so that the features are the same
    piece = np.ascontiguousarray(painting[top : top + 96, left : left + 128])
    found = patch_match.matches(load_features(narrow_features).style_network, texture(96, 128, 9), piece, painting)
    assert len(found) == patch_match.ROWS * patch_match.COLUMNS
    inside = [m for m in found if 0 < m.region.top < 96 - m.region.side and 0 < m.region.left < 128 - m.region.side]
    assert inside
    for each in inside:
        assert each.similarity > 0.99 > each.photo_similarity
        assert (each.found.top - each.region.top, each.found.left - each.region.left) == (top, left)
        np.testing.assert_array_equal(each.found.cut(painting), each.region.cut(piece))


def test_neither_regions_nor_what_they_resemble_lie_over_each_other(narrow_features: Path) -> None:
    network = load_features(narrow_features).style_network
    photo, painting = texture(240, 320, 1), texture(200, 260, 3)
    stylized = np.tile(texture(20, 20, 2), (12, 16, 1))  # changed alike, and like the same place, everywhere
    found = patch_match.matches(network, photo, stylized, painting)
    for squares in ([m.region for m in found], [m.found for m in found]):
        assert len(squares) == 6
        for a, b in combinations(squares, 2):
            assert max(abs(a.top - b.top), abs(a.left - b.left)) >= a.side
    for a, b in combinations([m.region for m in found], 2):  # there is room for a whole box between them
        assert max(abs(a.top - b.top), abs(a.left - b.left)) >= 2 * a.side


def test_a_number_stands_beside_what_it_names() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    for top in (0, 100, 160):
        square = patch_match.Square(top, 40, 32)
        inside = patch_match.Square(top + 4, 44, 24)
        assert (inside.cut(overlays.draw_frames(grey, [square])) == 128).all()


@pytest.mark.parametrize("size", [(16, 16), (16, 90), (40, 18)])
def test_small_pictures_have_regions_too(narrow_features: Path, size: tuple[int, int]) -> None:
    network = load_features(narrow_features).style_network
    for each in patch_match.matches(network, texture(*size, 1), texture(*size, 2), texture(64, 70, 3)):
        assert each.region.cut(texture(*size, 2)).shape[:2] == (each.region.side,) * 2
        assert -1.001 <= each.similarity <= 1.001 and each.found.surroundings(texture(64, 70, 3)).side <= 64


def test_equal_flat_pictures_are_no_division_by_zero(narrow_features: Path) -> None:
    grey = np.full((32, 40, 3), 128, np.uint8)
    networks = load_features(narrow_features)
    for each in patch_match.matches(networks.style_network, grey, grey, grey):
        assert np.isfinite(each.similarity)
    for layer in layer_maps.layer_maps(networks, grey, grey, layer_maps.painting_grams(networks, grey)):
        assert overlays.heat_map(grey, layer.values).shape == grey.shape


def test_heat_is_warm_above_zero_and_cold_below() -> None:
    places = np.zeros((8, 8), np.float32)
    places[:, :3], places[:, 5:] = 1, -1
    red, _, blue = np.moveaxis(overlays.heat_map(np.full((80, 80, 3), 99, np.uint8), places).astype(int), -1, 0)
    assert (red - blue)[:, 5].min() > 50 and (blue - red)[:, -5].min() > 50
    assert abs(red - blue)[:, 40].max() < 60


def test_everything_at_once(
    tiny_style: Path, photo: Path, painting: Path, narrow_features: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "report.html"
    options = ["--painting", painting, "--features", narrow_features, "--run", run_folder(tmp_path / "run")]
    code = main([str(x) for x in ["explain", tiny_style, photo, *options, "--against", tiny_style, "--out", out]])
    _, err = capfd.readouterr()
    assert code == 0, err
    assert "left out" not in err and str(out) in err
    text = out.read_text()
    parsed = walk(text)
    assert all(source.startswith("data:") for source in parsed.sources)
    # before and after; strip; four style layers and the content; two with frames, a pair each; discriminator; styles
    assert len(parsed.sources) == 2 + len(STRENGTHS) + 5 + 2 + patch_match.ROWS * patch_match.COLUMNS + 3 + 2
    assert text.count("<h2>") == 5 and 'class="note"' not in text
    assert "style error, relu3_1" in text and "structure kept" in text
    assert 'id="slider" hidden' in text


def test_with_nothing_but_the_style(tiny_style: Path, photo: Path, tmp_path: Path) -> None:
    explanation = explain(ExplainJob(str(tiny_style), photo), tmp_path / "report.html")
    assert set(explanation.missing) == {"maps", "matches", "discriminator", "comparisons"}
    assert len(set(explanation.left_out)) == 4 and all(line.startswith("“") for line in explanation.left_out)
    text = (tmp_path / "report.html").read_text()
    assert text.count('class="note"') == 4
    for flag in ("--features", "--painting", "--run", "--against", "--fine-tune"):
        assert flag in text
    assert len(walk(text).sources) == 2 + len(STRENGTHS)


def test_without_the_painting_the_maps_are_reduced(tiny_style: Path, photo: Path, narrow_features: Path) -> None:
    found = analyze(ExplainJob(str(tiny_style), photo, features=narrow_features))
    assert [m.kind for m in found.maps] == ["change", "change", "change", "content"]
    assert "--painting" in found.missing["maps"] and "--features" not in found.missing["matches"]
    walk(page(found))


def test_networks_that_training_has_downloaded_are_found(
    tiny_style: Path, photo: Path, narrow_features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTSTYLE_FEATURES", str(narrow_features))
    assert analyze(ExplainJob(str(tiny_style), photo)).maps


def test_the_strip_runs_from_the_photograph_to_the_painting(tiny_style: Path, photo: Path) -> None:
    found = analyze(ExplainJob(str(tiny_style), photo))
    np.testing.assert_array_equal(found.strip[0], found.photo)
    steps = [float(np.abs(rgb.astype(int) - found.photo).mean()) for rgb in found.strip]
    assert steps == sorted(steps) and steps[-1] > 1
    assert steps[2] == pytest.approx(steps[-1] / 2, abs=0.6)


def test_large_pictures_are_shrunk_and_small_ones_are_not(tmp_path: Path) -> None:
    large = write_picture(tmp_path / "large.png", texture(500, 400, 0))
    assert inputs.read_photo(large).shape == (480, 384, 3)
    small = write_picture(tmp_path / "small.png", texture(24, 28, 0))
    assert inputs.read_photo(small).shape == (24, 28, 3)


def test_differences_are_those_of_both_records(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    style = StyleModel.open(tiny_style)
    assert comparisons.differences(style, style) == []
    records = iter([{"losses": {"style": 10, "old": 1}}, {"losses": {"style": 20, "new": 2}, "motion": {"gap": 1}}])
    monkeypatch.setattr(comparisons, "recorded_settings", lambda _: next(records))
    assert comparisons.differences(style, style) == ["losses.style 10 → 20"]


def test_two_styles_of_one_title_have_a_column_each(tiny_style: Path, photo: Path) -> None:
    found = analyze(ExplainJob(str(tiny_style), photo, against=(str(tiny_style), str(tiny_style))))
    assert len(found.comparisons) == 2 and len(found.head) == 5
    assert [len(row) for row in found.rows] == [5]


def test_a_fine_tuning_differs_in_the_weight_of_one_layer_alone(
    tiny_style: Path,
    painting: Path,
    photos: Path,
    narrow_features: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record: dict[str, Any] = {"style_layers": {"relu2_1": 3.0}}
    record |= {"losses": {"style": 12.0, "content": 3.0, "adversarial": 1.0, "odd": 4}, "data": {"style_size": 96}}
    monkeypatch.setattr(comparisons, "recorded_settings", lambda _: record)
    job = ExplainJob(
        str(tiny_style),
        photos,
        painting=painting,
        features=narrow_features,
        content=photos,
        fine_tune=2.0,
        layer="relu2_1",
    )
    less, more = (
        comparisons.fine_tune_config(job, StyleModel.open(tiny_style), k, tmp_path / "run") for k in comparisons.FACTORS
    )
    assert (less.style_layers.relu2_1, more.style_layers.relu2_1) == (0.75, 12.0)
    assert replace(less, style_layers=more.style_layers) == more and less.style_layers.relu3_1 == StyleLayers().relu3_1
    assert (less.losses.style, less.losses.content, less.losses.adversarial) == (12.0, 3.0, 0)
    assert less.data.style_size == 96 and less.schedule.minutes == 2.0 and less.generator.init == tiny_style


def test_fine_tuning_from_end_to_end(
    tiny_style: Path, photo: Path, painting: Path, photos: Path, narrow_features: Path, tmp_path: Path
) -> None:
    job = ExplainJob(
        str(tiny_style), photo, painting=painting, features=narrow_features, content=photos, fine_tune=0.001
    )  # fmt: skip
    found = analyze(job)
    assert [r.name for r in found.comparisons] == ["relu3_1 × 0.25", "relu3_1 × 4"]
    assert not np.array_equal(found.comparisons[0].stylized, found.stylized)
    assert len(found.rows) == 6 and len(found.rows[0]) == len(found.head) == 5
    assert "relu3_1" in found.notes["comparisons"]


Broken = Callable[[Path], dict[str, Any]]


@pytest.mark.parametrize(
    ("broken", "error", "problem"),
    [
        (lambda tmp: {"style": "no-such-style"}, StyleError, "no-such-style"),
        (lambda tmp: {"against": ("vangog",)}, StyleError, "vangog"),
        (lambda tmp: {"picture": tmp / "none.png"}, SourceError, "cannot read"),
        (lambda tmp: {"picture": written(tmp / "a.png")}, SourceError, "not a picture"),
        (lambda tmp: {"picture": write_picture(tmp / "a.png", texture(1, 1, 0))}, StylerError, "too small"),
        (lambda tmp: {"picture": write_picture(tmp / "a.png", texture(30, 400, 0))}, TrainError, "too elongated"),
        (lambda tmp: {"painting": tmp / "none.png"}, TrainError, "cannot read"),
        (lambda tmp: {"painting": written(tmp / "a.png")}, TrainError, "not a picture"),
        (lambda tmp: {"features": tmp / "none"}, TrainError, "no such folder"),
        (lambda tmp: {"features": made(tmp / "empty")}, TrainError, f"has neither {WIDE} and {DISTILLED} nor"),
        (lambda tmp: {"features": written(made(tmp / "half") / WIDE).parent}, TrainError, f"lacks {DISTILLED}"),
        (lambda tmp: {"features": written(tmp / "file.jpg")}, TrainError, r"file\.jpg is a file"),
        (lambda tmp: {"run": tmp / "none"}, TrainError, "no checkpoint.pt"),
        (lambda tmp: {"run": written(made(tmp / "cut") / "checkpoint.pt").parent}, TrainError, "damaged"),
        (lambda tmp: {"fine_tune": 1.0}, TrainError, "needs --painting FILE and --content DIR and --features DIR"),
    ],
)
def test_bad_input_is_one_clear_error(
    tiny_style: Path, photo: Path, tmp_path: Path, broken: Broken, error: type[StylerError], problem: str
) -> None:
    with pytest.raises(error, match=problem) as caught:
        analyze(ExplainJob(**{"style": str(tiny_style), "picture": photo, **broken(tmp_path)}))
    assert caught.value.hint or "cannot read" in caught.value.problem


def test_no_minutes_are_refused(
    tiny_style: Path, photo: Path, photos: Path, painting: Path, narrow_features: Path
) -> None:
    with pytest.raises(ConfigError, match="schedule.minutes"):
        analyze(ExplainJob(str(tiny_style), photo, painting, narrow_features, fine_tune=-1.0, content=photos))


def test_a_page_that_cannot_be_written_fails_before_the_work(
    tiny_style: Path, photo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for target in (tmp_path / "none" / "page.html", tmp_path):
        assert main(["explain", str(tiny_style), str(photo), "--out", str(target)]) == 1
        _, err = capfd.readouterr()
        assert len(err.splitlines()) == 2 and "--html" not in err
    with pytest.raises(SinkError, match="no such folder"):
        check_page(photo / "page.html", "--out")


def test_what_is_no_page_is_never_replaced(
    tiny_style: Path, photo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = photo.read_bytes()
    assert main(["explain", str(tiny_style), str(photo), "--out", str(photo)]) == 1
    _, err = capfd.readouterr()
    assert f"{photo} already exists" in err and "--out" in err and len(err.splitlines()) == 2
    assert photo.read_bytes() == before
    for name, data in (("a.html", before), ("notes.txt", b"my notes")):  # a picture may have any name
        with pytest.raises(SinkError, match="is not a page"):
            check_page(written(tmp_path / name, data), "--out")
    with pytest.raises(SinkError, match="is not a page"):
        check_page(tiny_style / "style.json", "--out")
    with pytest.raises(SinkError, match="is not a page"):
        check_page(Path(os.devnull), "--out")
    for number, data in enumerate(
        (b"<!doctype html>\n<html>", b"\xef\xbb\xbf <!DOCTYPE HTML>", b"<html lang='en'>", b"")
    ):
        check_page(written(tmp_path / f"page{number}", data), "--out")


def test_hostile_names_are_text_on_the_page() -> None:
    rgb, evil = texture(24, 32, 0), "<script>alert(1)</script>"
    text = page(
        Explanation(
            evil, evil, evil, rgb, [rgb] * len(STRENGTHS), comparisons=[comparisons.Comparison(evil, rgb, [evil])],
            head=["figure", evil], rows=[(evil, "1")], missing={"maps": evil}, notes={"comparisons": evil},
        )
    )  # fmt: skip
    assert "<script>alert" not in text and text.count("&lt;script&gt;alert") >= 8
