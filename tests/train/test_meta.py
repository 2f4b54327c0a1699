"""Meta-training: each painting in its turn, and a start that moves towards what each one found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engines.errors import TrainError
from engines.style_file import StyleModel
from tests.train.pictures import texture, write_picture
from train import meta
from train.config.schema import TrainConfig
from train.loop import train
from train.losses.perceptual import gram_distances
from train.losses.vgg_features import load_features
from train.meta import INNER_STEPS, OUTER_RATE, MetaTrainer
from train.optimizer import Optimizer


@pytest.fixture
def paintings(tmp_path: Path) -> Path:
    folder = tmp_path / "paintings"
    folder.mkdir()
    for number in range(3):
        write_picture(folder / f"painting_{number}.png", texture(80, 100, 90 + number, detail=10 * (number + 1)))
    return folder


@pytest.fixture
def settings(config: Callable[..., TrainConfig], paintings: Path) -> TrainConfig:
    return config(
        data={"style_picture": None, "style_pictures": paintings},
        generator={"ema": 0.9},
        schedule={"steps": 2 * INNER_STEPS, "warmup": 0},
    )


def state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_every_painting_has_its_turn(settings: TrainConfig) -> None:
    trainer = MetaTrainer(settings, load_features(settings.data.features))
    assert len(trainer.targets) == len(trainer.paintings) == 3
    turns = []
    for turn in range(6):
        trainer.step = turn * INNER_STEPS + INNER_STEPS - 1
        turns.append(next(number for number, one in enumerate(trainer.targets) if one is trainer.target()))
    assert sorted(turns[:3]) == sorted(turns[3:]) == [0, 1, 2]


def test_the_start_moves_towards_what_a_painting_found(settings: TrainConfig) -> None:
    """Nichol et al. 2018, algorithm 1."""
    trainer = MetaTrainer(settings, load_features(settings.data.features))
    assert trainer.average is not None
    start = state(trainer.average)
    with torch.no_grad():
        for weight in trainer.generator.parameters():
            weight.add_(1.0)
            weight.grad = torch.zeros_like(weight)
    trainer.step = INNER_STEPS - 1
    trainer.optimizer.set_learning_rate(0.0)
    trainer.update()
    for name, weight in trainer.average.named_parameters():
        torch.testing.assert_close(weight, start[name] + OUTER_RATE, msg=name)
    for name, value in trainer.generator.state_dict().items():
        assert torch.equal(value, trainer.average.state_dict()[name]), "the next painting begins from the start"


def test_between_the_turns_the_start_rests(settings: TrainConfig) -> None:
    trainer = MetaTrainer(settings, load_features(settings.data.features))
    assert trainer.average is not None
    start = state(trainer.average)
    for weight in trainer.generator.parameters():
        weight.grad = torch.ones_like(weight)
    trainer.update()
    assert all(torch.equal(value, start[name]) for name, value in trainer.average.state_dict().items())
    assert any(not torch.equal(value, start[name]) for name, value in trainer.generator.state_dict().items())


def test_far_paintings_do_not_outweigh_near_ones(settings: TrainConfig) -> None:
    trainer = MetaTrainer(settings, load_features(settings.data.features))
    grams = [1000 * gram for gram in trainer.painting.grams]
    far = float(sum(gram_distances(grams, trainer.painting.grams)))
    assert far > 1e5 and float(trainer._style(grams)) < 20


def test_a_run_ends_with_a_style_and_resumes(
    settings: TrainConfig, paintings: Path, narrow_features: Path, tmp_path: Path
) -> None:
    out = tmp_path / "base"
    arguments = [
        str(paintings), "--content", str(settings.data.content), "--features", str(narrow_features), "--out", str(out),
        "--set", "data.crop=64", "--set", "data.batch=2", "--set", "data.style_size=64", "--set", "data.hold_out=1",
        "--set", "generator.stem=4", "--set", "generator.body=4", "--set", "generator.blocks=1", "--set",
        "generator.head=4",
    ]  # fmt: skip
    meta.app([*arguments, "--steps", str(INNER_STEPS)], standalone_mode=False)
    first = StyleModel.open(out / "style")
    assert first.name == "base" and first.ranges and first.training["steps_done"] == INNER_STEPS
    meta.app([*arguments, "--steps", str(2 * INNER_STEPS), "--resume"], standalone_mode=False)
    assert StyleModel.open(out / "style").training["steps_done"] == 2 * INNER_STEPS


def test_a_run_in_two_parts_is_that_in_one(settings: TrainConfig) -> None:
    whole = train(settings, kind=MetaTrainer)
    parted = copy.deepcopy(settings)
    object.__setattr__(parted.run, "out", settings.run.out.with_name("parted"))
    steps = iter(range(100))
    train(parted, kind=MetaTrainer, stop=lambda: next(steps) >= INNER_STEPS + 3)
    rest = train(parted, kind=MetaTrainer, resume=True)
    assert rest.step == whole.step == 2 * INNER_STEPS
    for name, value in whole.result.state_dict().items():
        assert torch.equal(value, rest.result.state_dict()[name]), name


def test_without_paintings(settings: TrainConfig, paintings: Path) -> None:
    for file in paintings.iterdir():
        file.unlink()
    with pytest.raises(TrainError, match="no pictures in"):
        MetaTrainer(settings, load_features(settings.data.features))


def test_momentum_is_forgotten_but_not_the_size_of_the_gradients() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
    optimizer = Optimizer(network, 0.01, "muon")
    network(torch.rand(2, 3, 9, 9)).square().sum().backward()
    optimizer.step()
    optimizer.forget_momentum()
    stored = [
        value for part in optimizer.state_dict().values() for one in part["state"].values() for value in one.items()
    ]
    assert all(not value.any() for name, value in stored if name in ("exp_avg", "momentum_buffer"))
    assert any(value.any() for name, value in stored if name == "exp_avg_sq")
