"""The run behind an explanation: its discriminator, and whether it trained the style."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines.errors import TrainError
from tests.train.pictures import texture, write_picture
from tests.train.trained import SHAPE, recorded, run_folder
from train.config.schema import DiscriminatorConfig
from train.data.pictures import to_tensor
from train.explain.discriminator_maps import PatchClassifier, read_discriminator
from train.explain.html_report import page
from train.explain.inputs import ExplainJob
from train.explain.run import analyze
from train.losses.discriminator import Discriminator


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RTSTYLE_FEATURES", str(tmp_path / "no-cache"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return write_picture(tmp_path / "photo.png", texture(72, 96, 3))


def test_the_run_s_discriminator_is_read_back(tmp_path: Path) -> None:
    classifier = read_discriminator(run_folder(tmp_path / "run"))
    torch.manual_seed(1)
    same = Discriminator(**SHAPE).eval()
    picture = texture(40, 48, 0)
    assert classifier is not None and classifier.threshold == 0.5
    with torch.no_grad():
        torch.testing.assert_close(classifier.scores(picture), [j.scores for j in same(to_tensor(picture))])
    found = classifier(picture)
    assert found.margins.shape == (10, 12) and 0 <= found.share <= 1
    assert classifier(picture, [-1e6, -1e6]).share == 1.0 and classifier(picture, [1e6, 1e6]).share == 0.0
    assert (classifier(picture, [-1e6, -1e6]).margins > 0).all()
    assert classifier.accepts(picture) and not classifier.accepts(texture(15, 99, 0))


def test_scores_without_a_zero_are_compared_with_the_middle() -> None:
    classifier = PatchClassifier(Discriminator(**SHAPE).eval(), None)
    real, fake = texture(40, 48, 0), texture(40, 48, 1)
    means = [[float(s.mean()) for s in classifier.scores(rgb)] for rgb in (real, fake)]
    assert classifier.thresholds(real, fake) == pytest.approx(np.mean(means, axis=0).tolist())
    assert float(classifier(real).margins.mean()) == pytest.approx(0.0, abs=1e-3)
    assert PatchClassifier(classifier.discriminator, 0.5).thresholds(real, fake) == [0.5, 0.5]


def test_a_run_without_a_discriminator_has_none(tmp_path: Path) -> None:
    assert read_discriminator(run_folder(tmp_path / "run", critic=None)) is None


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"settings": None}, "no settings"),
        ({"settings": {}}, "does not match its settings"),
        ({"settings": {"discriminator": SHAPE | {"width": 5}}}, "does not match its settings"),
        ({"settings": {"discriminator": SHAPE | {"colour": 5}}}, "does not match its settings"),
        ({"critic": {}}, "does not match its settings"),
        ({"critic": "x"}, "does not match its settings"),
        ({"format": 99}, "another version"),
    ],
)
def test_a_strange_checkpoint_is_one_clear_error(tmp_path: Path, state: dict[str, Any], problem: str) -> None:
    with pytest.raises(TrainError, match=problem) as caught:
        read_discriminator(run_folder(tmp_path / "run", **state))
    assert "--run" in caught.value.hint


def test_a_run_without_a_discriminator_and_a_small_picture_say_so(
    tiny_style: Path, photo: Path, tmp_path: Path
) -> None:
    none = analyze(ExplainJob(str(tiny_style), photo, run=run_folder(tmp_path / "none", critic=None)))
    assert "losses.adversarial" in none.missing["discriminator"]
    deep = {"scales": 3, "width": 2, "layers": 4}
    state = {"settings": {"discriminator": deep}, "critic": {"discriminator": Discriminator(**deep).state_dict()}}
    small = analyze(ExplainJob(str(tiny_style), photo, run=run_folder(tmp_path / "deep", **state)))
    assert "128 pixels" in small.missing["discriminator"]


WAVE, NIGHT = ({"data": {"style_picture": letter * 64, "content": "c"}} for letter in "ab")


@pytest.mark.parametrize(
    ("record", "state", "problem"),
    [
        (WAVE, NIGHT, "another painting"),
        ({"style_picture_sha256": "a" * 64, "settings": {}}, NIGHT, "another painting"),
        ({"settings": {"data": {"style_picture": "wave.jpg"}}}, {"settings": {"data": {"style_picture": "night.jpg"}}},
         r"trained on wave\.jpg, the run on another painting \(night\.jpg\)"),
        (WAVE | {"settings": {"losses": {"style": 10.0, "new": 1}}}, WAVE | {"settings": {"losses": {"style": 20.0}}},
         r"losses\.style is 10\.0 for the style and 20\.0 for the run"),
        (WAVE | {"settings": {"generator": {"init": "x", "stem": 8}}}, {"settings": {"generator": {"init": None}}},
         r"generator\.init"),
    ],
)  # fmt: skip
def test_a_run_that_did_not_train_the_style_is_refused(
    tiny_style: Path, photo: Path, tmp_path: Path, record: dict[str, Any], state: dict[str, Any], problem: str
) -> None:
    style = recorded(tiny_style, tmp_path / "style", record)
    with pytest.raises(TrainError, match=f"did not train this style: .*{problem}") as caught:
        analyze(ExplainJob(style, photo, run=run_folder(tmp_path / "run", **state)))
    assert "--run" in caught.value.hint


def test_nothing_speaks_against_the_run_that_trained_the_style(tmp_path: Path) -> None:
    settings = {"losses": {"style": 10.0}, "discriminator": vars(DiscriminatorConfig(**SHAPE))}
    run = run_folder(tmp_path / "run", **WAVE, settings=settings)
    for record in (WAVE | {"settings": settings}, {"style_picture_sha256": "a" * 64}, {}):
        assert read_discriminator(run, record) is not None


def test_a_style_of_another_painting_has_no_style_errors(
    tiny_style: Path, photo: Path, painting: Path, narrow_features: Path, tmp_path: Path
) -> None:
    wave = recorded(tiny_style, tmp_path / "wave", WAVE)
    night = recorded(tiny_style, tmp_path / "night", NIGHT | {"settings": {"data": {"style_picture": "night.jpg"}}})
    again = recorded(tiny_style, tmp_path / "again", WAVE)
    found = analyze(ExplainJob(wave, photo, painting=painting, features=narrow_features, against=(night, again)))
    other, same = found.comparisons
    assert other.other_painting and not same.other_painting
    styles, rest = found.rows[:4], found.rows[4:]
    assert all(row[3] == "–" and row[4] == row[2] for row in styles) and all("–" not in row for row in rest)
    text = page(found)
    assert (
        f"trained on another painting, {other.other_painting}" in text
        and text.count("no recorded setting differs") == 1
    )
