"""Training with a discriminator, with real clips, and with averaged weights."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from engines.errors import TrainError
from engines.model.generator import Generator
from tests.train.messages import logged
from tests.train.pictures import texture, write_picture
from tests.train.test_clips import panning, write_clip
from train import checkpoint
from train.adversary import Adversary
from train.checkpoint import CHECKPOINT
from train.config.schema import TrainConfig
from train.data.pictures import Pictures
from train.loop import Progress, train
from train.report.history import HISTORY, read_history
from train.trainer import painting_files

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
    assert entries[1].discriminator is None and entries[-1].penalty is None
    assert entries[-1].discriminator is not None and entries[-1].discriminator > 0
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
    trainer = train(config(generator={"ema": 0.9}, schedule={"steps": 8, "learning_rate": 1e-2}))
    assert trainer.result is trainer.average
    assert isinstance(trainer.average, Generator)
    live, mean = trainer.generator.head.conv.weight, trainer.average.head.conv.weight
    assert not torch.equal(live, mean)
    plain = train(config(run={"out": trainer.config.run.out / "plain"}))
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
    assert {"temporal", "noise", "tone"} <= steps[-1].losses.keys()
    assert all(math.isfinite(value) for value in steps[-1].losses.values())


def test_a_loss_that_explodes_stops_the_run_and_names_the_term(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    real = __import__("train.trainer", fromlist=["range_loss"]).range_loss
    calls: list[int] = []

    def grows(raw: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return real(raw) + (1e5 if len(calls) > 3 else 0.0)

    monkeypatch.setattr("train.trainer.range_loss", grows)
    with pytest.raises(TrainError, match=r"exploded at step \d+: .*mostly range"):
        train(config(schedule={"steps": 20}))


def test_a_run_that_fails_says_so_in_its_report(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(schedule={"steps": 20})
    monkeypatch.setattr("train.trainer.content_loss", lambda *_: torch.tensor(float("nan"), requires_grad=True))
    with pytest.raises(TrainError, match="content is nan"):
        train(settings)
    assert "content is nan" in (settings.run.out / "report.html").read_text(encoding="utf-8")


def test_the_penalty_is_logged_beside_the_loss_that_holds_it(game: Make) -> None:
    settings = game(discriminator={"loss": "wgan-gp"}, run={"report_steps": 4}, schedule={"steps": 4})
    train(settings)
    (entry,) = read_history(settings.run.out / HISTORY)
    assert entry.penalty is not None and entry.discriminator is not None
    assert 0 < entry.penalty < 2 and entry.discriminator == pytest.approx(10 * entry.penalty, rel=0.5)


@pytest.mark.parametrize("loss", ["lsgan", "wgan-gp"])
def test_a_discriminator_that_breaks_stops_the_run_by_name(
    game: Make, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    settings = game(discriminator={"loss": loss}, run={"checkpoint_steps": 3})
    real = Adversary._next_works
    monkeypatch.setattr(
        Adversary, "_next_works", lambda adversary, number: real(adversary, number) * (math.nan if number > 3 else 1.0)
    )
    with pytest.raises(TrainError, match="discriminator is nan at step 4") as caught:
        train(settings)
    assert "discriminator.learning_rate" in caught.value.hint and "--resume" in caught.value.hint
    kept = checkpoint.load(settings.run.out / CHECKPOINT)
    assert kept["step"] == 3
    assert all(value.isfinite().all() for value in kept["critic"]["discriminator"].values())


def test_the_discriminator_learns_without_a_look_at_the_device(game: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that the host asks for in the middle of a step makes it wait for all that is under way."""
    real = Adversary.train_step

    def looked(*_: object) -> None:
        raise AssertionError("the host has asked for a number")

    def unseen(*arguments: Any) -> Any:
        with monkeypatch.context() as patch:
            for name in ("__float__", "__bool__", "__int__"):
                patch.setattr(torch.Tensor, name, looked)
            return real(*arguments)

    monkeypatch.setattr(Adversary, "train_step", unseen)
    for loss in ("lsgan", "wgan-gp"):
        settings = game(discriminator={"loss": loss}, run={"report_steps": 2})
        train(settings)
        assert read_history(settings.run.out / HISTORY)[-1].diversity is not None


class Clock:
    """Time passes only while works are read."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


def test_waiting_for_works_is_waiting_for_data(game: Make, works: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, real = Clock(), Pictures.__call__
    for module in ("loop", "adversary", "run_log"):
        monkeypatch.setattr(f"train.{module}.time", clock)

    def slow(pictures: Pictures, step: int) -> torch.Tensor:
        clock.now_s += 5.0 * (pictures.files[0].parent == works)
        return real(pictures, step)

    monkeypatch.setattr(Pictures, "__call__", slow)
    settings = game(data={"workers": 0}, discriminator={"steps": 2}, run={"report_steps": 2})
    train(settings)
    assert [entry.data_wait for entry in read_history(settings.run.out / HISTORY)] == [0.0, 1.0, 1.0]


def test_every_new_problem_of_the_game_is_a_warning(
    game: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its figures are others in every entry, and are no news."""
    said = [
        "it has won (98.5%)",
        "it has won (98.51%)",
        "all alike (0.02)",
        None,
        "all alike (0.02)",
        "all alike (0.01)",
    ]
    coming = iter([*said, None])
    monkeypatch.setattr("train.adversary.CollapseMonitor.problem", lambda _: next(coming))
    (settings := game(run={"report_steps": 1})).data.style_pictures.joinpath("work_9.png").unlink()
    train(settings)
    assert logged(caplog) == [said[0], said[2], said[4]]


def test_a_discriminator_that_is_dropped_is_reported(game: Make, caplog: pytest.LogCaptureFixture) -> None:
    train(game(schedule={"steps": 3}))
    train(game(losses={"adversarial": 0.0, "feature_matching": 0.0}), resume=True)
    assert logged(caplog)[-1] == "the discriminator in the checkpoint is dropped: losses.adversarial is now 0"


def killed_after_step(settings: TrainConfig, last: int) -> None:
    """Train in a process of its own, to whose end nobody can do anything."""
    torch.set_num_threads(1)

    def kill(progress: Progress) -> None:
        if progress.step == last:
            os.kill(os.getpid(), signal.SIGKILL)

    train(settings, on_progress=kill)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
def test_a_killed_run_goes_on_as_if_nothing_had_happened(game: Make, tmp_path: Path) -> None:
    def settings(name: str) -> TrainConfig:
        run = {"out": tmp_path / name, "checkpoint_steps": 10, "report_steps": 5}
        return game(run=run, generator={"norm": True, "ema": 0.9}, schedule={"steps": 20})

    train(settings("whole"))
    process = multiprocessing.get_context("spawn").Process(target=killed_after_step, args=(settings("parts"), 13))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert checkpoint.load(settings("parts").run.out / CHECKPOINT)["step"] == 10, "three steps are lost"
    train(settings("parts"), resume=True)
    whole, parts = saved(settings("whole")), saved(settings("parts"))
    assert len(whole) == len(parts) > 50
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))
    first, second = (read_history(settings(name).run.out / HISTORY) for name in ("whole", "parts"))
    told = [[(x.step, x.losses, x.discriminator, x.accuracy) for x in run] for run in (first, second)]
    assert told[0] == told[1] and len(first) == 4
