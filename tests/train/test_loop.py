"""The training loop: it learns, it goes on exactly where it stopped, and it says which loss broke."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest
import torch

from engines.errors import TrainError
from tests.train.messages import logged
from tests.train.pictures import texture, write_picture
from train import checkpoint
from train.checkpoint import CHECKPOINT
from train.config.schema import LossWeights, TrainConfig
from train.data.batches import Batch, Draws
from train.data.pictures import Pictures, fill, picture_files, read_picture
from train.export import record
from train.loop import Progress, _Guard, learning_rate, train
from train.losses.vgg_features import load_features
from train.report import REPORT
from train.report.contact_sheet import CELL, COLUMNS, save_sheet
from train.report.history import HISTORY, read_history
from train.run_log import TENSORBOARD_DIR
from train.trainer import StepOutput, Trainer

Make = Callable[..., TrainConfig]


def stopping_after(steps: int) -> tuple[Callable[[Progress], None], Callable[[], bool]]:
    """Listener and stop function that end a run after so many steps."""
    seen: list[int] = []
    return lambda progress: seen.append(progress.step), lambda: len(seen) >= steps


def equal(first: Trainer, second: Trainer) -> bool:
    """All weights, statistics and moments are the same bits."""
    a, b = first.state(), second.state()
    pairs = [(a["generator"][name], b["generator"][name]) for name in a["generator"]]
    for part, optimizer in a["optimizer"].items():
        for key, moments in optimizer["state"].items():
            pairs += [(value, b["optimizer"][part]["state"][key][name]) for name, value in moments.items()]
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


def test_other_pictures_than_before_are_reported(config: Make, photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = config(schedule={"steps": 1})
    train(settings)
    saved = checkpoint.load(settings.run.out / CHECKPOINT)
    assert saved["data"].keys() == {"content", "style_picture"} and saved["versions"]["torch"] == torch.__version__
    train(config(schedule={"steps": 1}), resume=True)
    assert logged(caplog) == []
    write_picture(photos / "one_more.png", texture(70, 80, 99))
    train(config(schedule={"steps": 1}), resume=True)
    assert logged(caplog) == ["the files differ from those at the start of the run: content"]


def test_other_settings_than_before_are_reported_and_kept(config: Make, caplog: pytest.LogCaptureFixture) -> None:
    train(config(schedule={"steps": 2}))
    train(config(schedule={"steps": 3}, losses={"style": 7.0}), resume=True)
    assert logged(caplog) == ["losses.style was 5.0 and is 7.0 from step 2 on"]  # a longer run is no fault
    trainer = train(config(schedule={"steps": 4}, losses={"style": 7.0}), resume=True)
    assert [(change["setting"], change["from_step"]) for change in trainer.changes] == [
        ("losses.style", 2),
        ("schedule.steps", 2),
        ("schedule.steps", 3),
    ]
    assert record(trainer)["changes"] == trainer.changes


def test_the_data_is_summarised_before_the_first_step(config: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "train")
    news: list[str] = []
    settings = config(schedule={"steps": 1})
    train(settings, on_progress=lambda _: news.extend([*logged(caplog, logging.INFO), "step"]))
    assert news == [
        "learning from 5 photographs (1 held out), 1 painting",
        "loading the feature networks",
        f"watch the training in {settings.run.out / REPORT}",
        "step",
    ]


def test_few_photographs_to_learn_from_or_to_hold_out_are_reported(
    config: Make, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(config(schedule={"steps": 1}, data={"hold_out": 5}))
    assert logged(caplog) == ["5 of 6 photographs are held out, which leaves 1 to learn from: lower --hold-out"]
    for number in range(9):
        write_picture(photos / f"frame_{number}.png", texture(70, 80, number))
    train(config(schedule={"steps": 1}, data={"hold_out": 8}, run={"out": photos / "../more"}))
    assert logged(caplog) == ["only 6 of 8 photographs can be held out: stills of clips (frame_…) never are"]


@pytest.mark.parametrize("minutes", [None, 1e-4])
def test_the_last_step_of_a_short_run_is_written_down(config: Make, minutes: float | None) -> None:
    settings = config(schedule={"steps": 3, "minutes": minutes})
    last = train(settings).step
    assert [entry.step for entry in read_history(settings.run.out / HISTORY)] == [last]
    assert (settings.run.out / f"sheet-{last:06d}.jpg").exists()
    text = (settings.run.out / REPORT).read_text(encoding="utf-8")
    assert f"<dd>{last}</dd>" in text and "on their way" not in text


def test_a_small_painting_is_reported(config: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(config(schedule={"steps": 1}))
    assert logged(caplog) == []
    write_picture(tmp_path / "small.png", texture(40, 50, 1))
    train(
        config(schedule={"steps": 1}, data={"style_picture": tmp_path / "small.png"}, run={"out": tmp_path / "small"}),
    )
    advice = "which show hardly any strokes; 64 or more on the short side are better"
    assert logged(caplog) == [f"{tmp_path / 'small.png'} has only 50×40 pixels, {advice}"]


def test_a_painting_without_room_for_a_stroke_is_refused(config: Make, tmp_path: Path) -> None:
    tiny = write_picture(tmp_path / "tiny.png", texture(31, 90, 1))
    with pytest.raises(TrainError, match=r"tiny\.png is 90×31: too small to show brush strokes"):
        train(config(data={"style_picture": tiny}))


def losses_of_first_batch(trainer: Trainer) -> dict[str, float]:
    """The same pictures, motion and noise for every trainer."""
    data = trainer.config.data
    pictures = Pictures(picture_files(data.content)[:6], data.batch, data.crop, trainer.config.run.seed)
    with torch.no_grad():
        batch = Batch(pictures(0), Draws.of_step(trainer.config, 0, pictures.places))
        return {name: float(value) for name, value in trainer.losses(batch).terms.items()}


def weighted(losses: dict[str, float]) -> float:
    """What training makes small."""
    return sum(getattr(LossWeights(), name) * value for name, value in losses.items())


def test_the_loss_goes_down(config: Make) -> None:
    settings = config(schedule={"steps": 60, "learning_rate": 4e-3})
    before = losses_of_first_batch(Trainer(settings, load_features(settings.data.features)))
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
    before = losses_of_first_batch(Trainer(settings, load_features(settings.data.features)))
    assert losses_of_first_batch(train(settings))["style"] < 0.9 * before["style"]


def test_the_first_painting_is_nearly_the_photograph(config: Make) -> None:
    first: list[Progress] = []
    train(config(schedule={"steps": 1}), on_progress=first.append)
    assert first[0].losses["content"] < 0.3
    assert first[0].losses["range"] < 0.01


def test_a_run_leaves_checkpoint_and_sheets(config: Make) -> None:
    settings = config(schedule={"steps": 4}, run={"checkpoint_steps": 2, "sheet_steps": 2, "report_steps": 2})
    train(settings)
    left = set(os.listdir(settings.run.out)) - {TENSORBOARD_DIR}
    assert left == {CHECKPOINT, HISTORY, REPORT, "sheet-000002.jpg", "sheet-000004.jpg"}
    sheet = read_picture(settings.run.out / "sheet-000004.jpg")
    assert sheet.shape == (2 * CELL[1], COLUMNS * CELL[0], 3)


@pytest.mark.parametrize("size", [(500, 700), (700, 300), (96, 120), (1, 1), (1, 900)])
def test_any_picture_fits_on_a_sheet(size: tuple[int, int]) -> None:
    assert fill(texture(*size, 0), *CELL).shape == (CELL[1], CELL[0], 3)


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
    real = getattr(__import__("train.trainer", fromlist=[term]), term)
    calls: list[int] = []

    def breaks(*args: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return real(*args) * (float("nan") if len(calls) > 3 else 1.0)

    monkeypatch.setattr(f"train.trainer.{term}", breaks)
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
    trainer = train(config(schedule={"steps": 1}))
    pictures = Pictures(picture_files(trainer.config.data.content), 1, 64, 1)
    with pytest.raises(TrainError, match="cannot write"):
        save_sheet(tmp_path / "nowhere" / "sheet.jpg", trainer.stylize_picture, pictures)


def test_a_logged_loss_is_the_mean_since_the_last_one(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a term that is not there in every step."""
    real, seen = Trainer.losses, []

    def every_third(trainer: Trainer, batch: Batch) -> StepOutput:
        output = real(trainer, batch)
        without = {name: value for name, value in output.terms.items() if name != "noise"}
        return output if trainer.step % 3 == 0 else replace(output, terms=without)

    monkeypatch.setattr(Trainer, "losses", every_third)
    settings = config(run={"report_steps": 4}, schedule={"steps": 10})
    train(settings, on_progress=lambda progress: seen.append(progress.losses))
    entries = read_history(settings.run.out / HISTORY)
    assert [entry.step for entry in entries] == [4, 8, 10]
    for entry, steps in zip(entries, (seen[:4], seen[4:8], seen[8:]), strict=True):
        for name, value in entry.losses.items():
            values = [step[name] for step in steps if name in step]
            assert value == pytest.approx(fmean(values)), name
            assert value != values[-1] or len(values) == 1, name


def test_steadiness_is_measured_at_every_sheet_and_kept(config: Make) -> None:
    def settings(steps: int) -> TrainConfig:
        return config(run={"sheet_steps": 2, "report_steps": 3}, schedule={"steps": steps})

    train(settings(6))
    train(settings(9), resume=True)
    entries = read_history(settings(9).run.out / HISTORY)
    assert [entry.step for entry in entries] == [3, 6, 9]
    for entry in entries:
        assert entry.steadiness.keys() == {"ewarp", "e_stab", "ewarp_unpainted", "e_stab_unpainted"}
        assert all(0 < value < 1 for value in entry.steadiness.values())
    assert "<h2>Temporal consistency" in (settings(9).run.out / REPORT).read_text(encoding="utf-8")


def numbers(adversarial: float, style: float = 1.0) -> dict[str, float]:
    return {"style": style, "adversarial": adversarial, "total": style + adversarial, "gradient": 1.0}


def test_the_generators_part_of_the_game_may_have_any_value(config: Make) -> None:
    guard = _Guard(config())
    for step, value in enumerate([0.0, 0.01, -5.0, -300.0, 4000.0]):
        guard.check(numbers(value), step)
    with pytest.raises(TrainError, match="adversarial is nan at step 9"):
        guard.check(numbers(float("nan")), 9)
    with pytest.raises(TrainError, match="exploded at step 9: .*mostly style"):
        guard.check(numbers(0.0, style=1e4), 9)


def test_a_resumed_run_remembers_how_low_the_losses_were(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    train(config(schedule={"steps": 2}))
    real = __import__("train.trainer", fromlist=["range_loss"]).range_loss
    monkeypatch.setattr("train.trainer.range_loss", lambda raw: real(raw) + 1e5)
    with pytest.raises(TrainError, match=r"exploded at step 2: .*mostly range"):
        train(config(schedule={"steps": 4}), resume=True)
    other = config(schedule={"steps": 4}, losses={"range": 20.0})
    assert train(other, resume=True).step == 4, "what was low with other weights says nothing"


def failing_at_the_end(*arguments: object) -> None:
    """A report for which there is no room any more when the run ends."""
    if getattr(arguments[-1], "state") != "running":  # noqa: B009
        raise TrainError("cannot write report.html: No space left on device")


def test_a_report_without_room_hides_no_error_and_ends_no_run(
    config: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("train.run_log.write_report", failing_at_the_end)
    assert train(config(schedule={"steps": 1})).step == 1
    monkeypatch.setattr("train.trainer.content_loss", lambda *_: torch.tensor(float("nan"), requires_grad=True))
    with pytest.raises(TrainError, match="content is nan"):
        train(config(schedule={"steps": 2}), resume=True)
    assert sum("No space left" in text for text in logged(caplog)) == 2


def test_a_second_ctrl_c_is_a_stop_and_no_failure(config: Make) -> None:
    settings = config()

    def interrupted(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(settings, on_progress=interrupted)
    text = (settings.run.out / REPORT).read_text(encoding="utf-8")
    assert "<b>Stopped</b>" in text and "Failed" not in text and "KeyboardInterrupt" not in text


def test_curves_reach_the_disk_with_every_checkpoint(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run does not draw again what came before."""
    order: list[str] = []
    monkeypatch.setattr("train.loop.checkpoint.save", lambda *_: order.append("saved"))
    monkeypatch.setattr("train.run_log.TensorBoardWriter.open", lambda *_: order_keeper)
    order_keeper = Order(order)
    train(config(schedule={"steps": 4}, run={"checkpoint_steps": 2, "report_steps": 2}))
    assert order == ["curves", "saved", "flushed", "curves", "saved", "flushed", "saved", "closed"]


class Order:
    """A board that notes what is asked of it."""

    def __init__(self, order: list[str]):
        self.order = order

    def add(self, _: object) -> None:
        self.order.append("curves")

    def add_sheet(self, *_: object) -> None:
        """That of the last step."""

    def flush(self) -> None:
        self.order.append("flushed")

    def close(self) -> None:
        self.order.append("closed")
