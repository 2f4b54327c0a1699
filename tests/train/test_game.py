"""Training with a discriminator, with real clips, and with averaged weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from engines.errors import TrainError
from engines.generator import Generator
from tests.train.pictures import texture, write_picture
from tests.train.test_clips import panning, write_clip
from train import checkpoint
from train.config import TrainConfig
from train.history import HISTORY, read_history
from train.loop import CHECKPOINT, Progress, train
from train.painter import painting_files

Make = Callable[..., TrainConfig]


@pytest.fixture
def works(tmp_path: Path) -> Path:
    """A folder of works, one of them damaged."""
    folder = tmp_path / "works"
    folder.mkdir()
    for number in range(4):
        write_picture(folder / f"work_{number}.png", texture(80, 90, 50 + number, detail=30))
    (folder / "work_9.png").write_bytes(b"damaged")
    return folder


@pytest.fixture
def game(config: Make, works: Path) -> Make:
    """Settings with a small discriminator that plays from the third step on."""

    def make(**sections: dict[str, Any]) -> TrainConfig:
        mine: dict[str, dict[str, Any]] = {
            "data": {"style_pictures": works},
            "discriminator": {"width": 4, "layers": 2, "warmup": 2},
            "losses": {"adversarial": 1.0, "feature_matching": 1.0},
        }
        return config(**{name: mine.get(name, {}) | sections.get(name, {}) for name in mine | sections})

    return make


def weights_of(state: Mapping[str, Any]) -> list[torch.Tensor]:
    """All tensors of a checkpoint, in a fixed order."""
    if isinstance(state, torch.Tensor):
        return [state]
    values = state.values() if isinstance(state, Mapping) else state if isinstance(state, list | tuple) else ()
    return [tensor for value in values for tensor in weights_of(value)]


def saved(settings: TrainConfig) -> list[torch.Tensor]:
    return weights_of(checkpoint.load(settings.run.out / CHECKPOINT))


def stopping_after(steps: int) -> dict[str, Any]:
    seen: list[int] = []
    return {"on_progress": lambda progress: seen.append(progress.step), "stop": lambda: len(seen) >= steps}


@pytest.mark.parametrize("loss", ["lsgan", "bce", "hinge", "wgan-gp"])
def test_both_sides_are_trained_and_resumed_bit_for_bit(game: Make, tmp_path: Path, loss: str) -> None:
    def settings(name: str) -> TrainConfig:
        return game(run={"out": tmp_path / name}, discriminator={"loss": loss}, generator={"ema": 0.9})

    train(settings("whole"))
    train(settings("parts"), **stopping_after(4))
    train(settings("parts"), resume=True)
    whole, parts = saved(settings("whole")), saved(settings("parts"))
    assert len(whole) == len(parts) > 50
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_the_game_begins_after_its_warm_up(game: Make) -> None:
    steps: list[Progress] = []
    settings = game(run={"report_steps": 1})
    train(settings, on_progress=steps.append)
    playing = [{"adversarial", "feature_matching"} <= progress.losses.keys() for progress in steps]
    assert playing == [False, False, True, True, True, True]
    entries = read_history(settings.run.out / HISTORY)
    assert entries[1].accuracy is None
    assert entries[-1].accuracy is not None and 0 <= entries[-1].accuracy <= 1
    assert entries[-1].shares.keys() >= {"content", "style", "adversarial", "feature_matching"}
    assert sum(entries[-1].shares.values()) == pytest.approx(1.0)


def test_the_generator_does_not_train_its_judge(game: Make) -> None:
    """With a discriminator that learns nothing, only its spectral norms' vectors may move."""
    settings = game(discriminator={"learning_rate": 1e-12})
    train(settings, **stopping_after(2))
    before = checkpoint.load(settings.run.out / CHECKPOINT)["critic"]["discriminator"]
    train(settings, resume=True)
    after = checkpoint.load(settings.run.out / CHECKPOINT)["critic"]["discriminator"]
    learnt = [name for name in before if name.endswith(("original", "bias"))]
    assert learnt
    assert all(torch.allclose(before[name], after[name], atol=1e-9) for name in learnt)


def test_a_whole_folder_stands_for_the_painting(game: Make, works: Path) -> None:
    (works / "work_9.png").unlink()
    settings = game(data={"style_picture": None})
    assert len(painting_files(settings.data)) == 4
    assert train(settings).step == 6


def test_the_average_lags_behind_and_becomes_the_style(config: Make) -> None:
    painter = train(config(generator={"ema": 0.9}, schedule={"steps": 8, "learning_rate": 1e-2}))
    assert painter.result is painter.average
    assert isinstance(painter.average, Generator)
    live, mean = painter.generator.head.conv.weight, painter.average.head.conv.weight
    assert not torch.equal(live, mean)
    plain = train(config(run={"out": painter.config.run.out / "plain"}))
    assert plain.result is plain.generator


@pytest.mark.parametrize("source", ["clips", "both", "none"])
def test_motion_comes_from_where_it_is_told(
    config: Make, tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTSTYLE_FEATURES", str(tmp_path / "cache" / "features"))
    clips = tmp_path / "clips"
    clips.mkdir()
    write_clip(clips / "a.mp4", panning(4, 3, -2))
    steps: list[Progress] = []
    settings = config(
        data={"clips": clips} if source != "none" else {}, motion={"source": source}, schedule={"steps": 2}
    )
    train(settings, on_progress=steps.append)
    for progress in steps:
        assert ("temporal" in progress.losses) == (source != "none")
        assert all(math.isfinite(value) for value in progress.losses.values())
    assert (tmp_path / "cache" / "pairs").exists() == (source != "none")


def test_a_batch_of_one_has_every_term(config: Make) -> None:
    steps: list[Progress] = []
    train(config(data={"batch": 1}, schedule={"steps": 4}), on_progress=steps.append)
    assert {"temporal", "noise", "canvas"} <= steps[-1].losses.keys()
    assert all(math.isfinite(value) for value in steps[-1].losses.values())


def test_a_loss_that_explodes_stops_the_run_and_names_the_term(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    real = __import__("train.painter", fromlist=["range_loss"]).range_loss
    calls: list[int] = []

    def grows(raw: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return real(raw) + (1e5 if len(calls) > 3 else 0.0)

    monkeypatch.setattr("train.painter.range_loss", grows)
    with pytest.raises(TrainError, match=r"exploded at step \d+: .*mostly range"):
        train(config(schedule={"steps": 20}))


def test_a_run_that_fails_says_so_in_its_report(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(schedule={"steps": 20})
    monkeypatch.setattr("train.painter.content_loss", lambda *_: torch.tensor(float("nan"), requires_grad=True))
    with pytest.raises(TrainError, match="content is nan"):
        train(settings)
    assert "content is nan" in (settings.run.out / "report.html").read_text(encoding="utf-8")
