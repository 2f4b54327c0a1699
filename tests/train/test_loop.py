"""The training loop: it learns, it goes on exactly where it stopped, and it says which loss broke."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from engines.errors import TrainError
from tests.train.pictures import texture, write_picture
from train import checkpoint
from train.config import LossWeights, TrainConfig
from train.data import Pictures, picture_files, read_picture
from train.features import load_features
from train.history import HISTORY
from train.journal import BOARD
from train.loop import CHECKPOINT, Progress, learning_rate, train
from train.painter import Painter
from train.report import REPORT
from train.sheet import CELL, COLUMNS, cell, save_sheet

Make = Callable[..., TrainConfig]


def stopping_after(steps: int) -> tuple[Callable[[Progress], None], Callable[[], bool]]:
    """Listener and stop function that end a run after so many steps."""
    seen: list[int] = []
    return lambda progress: seen.append(progress.step), lambda: len(seen) >= steps


def equal(first: Painter, second: Painter) -> bool:
    """All weights, statistics and moments of Adam are the same bits."""
    a, b = first.state(), second.state()
    pairs = [(a["generator"][name], b["generator"][name]) for name in a["generator"]]
    for key, moments in a["optimizer"]["state"].items():
        pairs += [(value, b["optimizer"]["state"][key][name]) for name, value in moments.items()]
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("norm", [False, True])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(config: Make, tmp_path: Path, norm: bool) -> None:
    whole = train(config(run={"out": tmp_path / "whole"}, generator={"norm": norm}))
    listener, stop = stopping_after(3)
    half = train(config(run={"out": tmp_path / "parts"}, generator={"norm": norm}), on_progress=listener, stop=stop)
    assert half.step == 3 and not equal(half, whole)
    resumed = train(config(run={"out": tmp_path / "parts"}, generator={"norm": norm}), resume=True)
    assert resumed.step == whole.step == 6
    assert equal(resumed, whole)


def test_other_pictures_than_before_are_told(config: Make, photos: Path) -> None:
    settings, told = config(schedule={"steps": 1}), []
    train(settings)
    saved = checkpoint.load(settings.run.out / CHECKPOINT)
    assert saved["data"].keys() == {"content", "style_picture"} and saved["versions"]["torch"] == torch.__version__
    train(config(schedule={"steps": 2}), resume=True, on_warning=told.append)
    assert told == []
    write_picture(photos / "one_more.png", texture(70, 80, 99))
    train(config(schedule={"steps": 3}), resume=True, on_warning=told.append)
    assert told == ["other files than when the run began: content"]


def test_a_small_painting_is_told(config: Make, tmp_path: Path) -> None:
    told: list[str] = []
    train(config(schedule={"steps": 1}), on_warning=told.append)
    assert told == []
    write_picture(tmp_path / "small.png", texture(20, 30, 1))
    train(
        config(schedule={"steps": 1}, data={"style_picture": tmp_path / "small.png"}, run={"out": tmp_path / "small"}),
        on_warning=told.append,
    )
    assert told == [f"{tmp_path / 'small.png'} is 30×20: smaller than a crop of 64 pixels"]


def losses_of_first_batch(painter: Painter) -> dict[str, float]:
    """The same pictures, motion and noise for every painter."""
    data = painter.config.data
    pictures = Pictures(picture_files(data.content)[:6], data.batch, data.crop, painter.config.run.seed)
    with torch.no_grad():
        return {name: float(value) for name, value in painter.losses(pictures(0), 0).terms.items()}


def weighted(losses: dict[str, float]) -> float:
    """What training makes small."""
    return sum(getattr(LossWeights(), name) * value for name, value in losses.items())


def test_the_loss_goes_down(config: Make) -> None:
    settings = config(schedule={"steps": 30, "learning_rate": 2e-3})
    before = losses_of_first_batch(Painter(settings, load_features(settings.data.features)))
    after = losses_of_first_batch(train(settings))
    assert weighted(after) < 0.8 * weighted(before)
    assert after["style"] < before["style"]


def test_real_features_pull_towards_a_real_painting(config: Make, data_dir: Path) -> None:
    settings = config(
        data={
            "style_picture": data_dir / "styles" / "vangogh__starry_night_hi.jpg",
            "features": data_dir / "features", "style_size": 128, "batch": 1,
        },
        schedule={"steps": 8, "learning_rate": 5e-3},
    )  # fmt: skip
    before = losses_of_first_batch(Painter(settings, load_features(settings.data.features)))
    assert losses_of_first_batch(train(settings))["style"] < 0.9 * before["style"]


def test_the_first_painting_is_nearly_the_photograph(config: Make) -> None:
    first: list[Progress] = []
    train(config(schedule={"steps": 1}), on_progress=first.append)
    assert first[0].losses["content"] < 0.3
    assert first[0].losses["range"] < 0.01


def test_a_run_leaves_checkpoint_and_sheets(config: Make) -> None:
    settings = config(schedule={"steps": 4}, run={"checkpoint_steps": 2, "sheet_steps": 2, "report_steps": 2})
    train(settings)
    left = set(os.listdir(settings.run.out)) - {BOARD}
    assert left == {CHECKPOINT, HISTORY, REPORT, "sheet-000002.jpg", "sheet-000004.jpg"}
    sheet = read_picture(settings.run.out / "sheet-000004.jpg")
    assert sheet.shape == (2 * CELL[1], COLUMNS * CELL[0], 3)


@pytest.mark.parametrize("size", [(500, 700), (700, 300), (96, 120), (1, 1), (1, 900)])
def test_any_picture_fits_on_a_sheet(size: tuple[int, int]) -> None:
    assert cell(texture(*size, 0)).shape == (CELL[1], CELL[0], 3)


def test_a_damaged_photograph_does_not_spoil_the_sheet(config: Make, photos: Path) -> None:
    for path in list(picture_files(photos))[:2]:
        path.write_bytes(b"damaged")
    write_picture(photos / "photo_2.png", texture(3, 5, 0))
    settings = config(schedule={"steps": 1}, run={"sheet_steps": 1})
    train(settings)
    assert (settings.run.out / "sheet-000001.jpg").exists()


@pytest.mark.parametrize("term", ["content_loss", "noise_loss", "temporal_loss"])
def test_a_loss_that_is_not_finite_stops_the_run_by_name(
    config: Make, monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    settings = config(schedule={"steps": 6}, run={"checkpoint_steps": 2})
    real = getattr(__import__("train.painter", fromlist=[term]), term)
    calls: list[int] = []

    def breaks(*args: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return real(*args) * (float("nan") if len(calls) > 3 else 1.0)

    monkeypatch.setattr(f"train.painter.{term}", breaks)
    with pytest.raises(TrainError, match=rf"{term.removesuffix('_loss')} is nan at step 3") as caught:
        train(settings)
    assert "--resume" in caught.value.hint
    assert checkpoint.load(settings.run.out / CHECKPOINT)["step"] == 2, "the last good checkpoint stays"


def test_another_shape_is_not_resumed(config: Make) -> None:
    train(config(schedule={"steps": 1}, generator={"norm": False}))
    with pytest.raises(TrainError, match="another shape"):
        train(config(generator={"norm": True}), resume=True)


def test_a_checkpoint_without_its_parts_is_told(config: Make) -> None:
    settings = config()
    settings.run.out.mkdir()
    checkpoint.save(settings.run.out / CHECKPOINT, {"step": 3})
    with pytest.raises(TrainError, match="checkpoint"):
        train(settings, resume=True)


def test_resuming_nothing_is_told(config: Make) -> None:
    with pytest.raises(TrainError, match="nothing to resume"):
        train(config(), resume=True)


def test_resuming_a_finished_run_changes_nothing(config: Make) -> None:
    done = train(config(schedule={"steps": 2}))
    assert equal(train(config(schedule={"steps": 2}), resume=True), done)


def test_the_result_does_not_depend_on_what_was_drawn_before(config: Make, tmp_path: Path) -> None:
    first = train(config(schedule={"steps": 2}, run={"out": tmp_path / "a"}))
    torch.rand(1000)
    assert equal(train(config(schedule={"steps": 2}, run={"out": tmp_path / "b"})), first)


def test_the_learning_rate_rises_then_falls_to_a_hundredth(config: Make) -> None:
    settings = config(schedule={"warmup": 10, "learning_rate": 1e-2, "steps": 1000})
    rates = [learning_rate(settings, step, step / 1000) for step in range(1001)]
    assert rates[0] < rates[5] < rates[10]
    assert rates[10] == pytest.approx(1e-2, rel=1e-3)
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert rates[1000] == pytest.approx(1e-4)


def test_unusable_inputs_are_told(config: Make, tmp_path: Path) -> None:
    for data in ({"content": tmp_path / "nowhere"}, {"style_picture": tmp_path / "nothing.jpg"}, {"hold_out": 6}):
        with pytest.raises(TrainError):
            train(config(data=data))


def test_a_sheet_that_cannot_be_written_is_told(config: Make, tmp_path: Path) -> None:
    painter = train(config(schedule={"steps": 1}))
    pictures = Pictures(picture_files(painter.config.data.content), 1, 64, 1)
    with pytest.raises(TrainError, match="cannot write"):
        save_sheet(tmp_path / "nowhere" / "sheet.jpg", painter.generator, pictures)
