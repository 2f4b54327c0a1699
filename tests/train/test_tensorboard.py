"""What TensorBoard reads back is what was added; without it training goes on."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.train.pictures import texture, write_picture
from train.report.history import Entry
from train.report.tensorboard import TensorBoardWriter

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="TensorBoard is not installed"
)


def entry(step: int, style: float = 0.5) -> Entry:
    return Entry(
        step, 1.0 * step, 1e-3 / step, {"style": style, "total": 5.0}, {"style": 0.25}, {"ewarp": 0.01},
        discriminator=0.4, penalty=0.1, accuracy=0.75,
    )  # fmt: skip


def curves(folder: Path) -> Any:
    """Everything in a folder of event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def board(folder: Path, step: int) -> TensorBoardWriter:
    return TensorBoardWriter.open(folder, step)


@needs_tensorboard
def test_events_read_back(tmp_path: Path) -> None:
    sheet = write_picture(tmp_path / "sheet-000020.jpg", texture(40, 60, 0))
    writing = board(tmp_path / "events", 0)
    writing.add(entry(10))
    writing.add(entry(20, style=0.25))
    writing.add_sheet(20, sheet)
    writing.close()
    events = curves(tmp_path / "events")
    assert set(events.Tags()["scalars"]) == {
        "loss/style", "loss/total", "share/style", "steadiness/ewarp", "run/learning_rate",
        "discriminator/loss", "discriminator/penalty", "discriminator/accuracy",
    }  # fmt: skip
    assert [(x.step, x.value) for x in events.Scalars("loss/style")] == [(10, 0.5), (20, 0.25)]
    assert [x.value for x in events.Scalars("run/learning_rate")] == pytest.approx([1e-4, 5e-5])
    (shown,) = events.Images("sheet")
    assert (shown.step, shown.width, shown.height) == (20, 60, 40)


@needs_tensorboard
def test_steps_that_are_done_again_are_there_once(tmp_path: Path) -> None:
    killed = board(tmp_path, 0)
    for step in (10, 20, 30):
        killed.add(entry(step, style=1.0))
    killed.flush()  # and never closed
    resumed = board(tmp_path, 20)
    for step in (30, 40):
        resumed.add(entry(step, style=2.0))
    resumed.close()
    killed.close()
    assert [(x.step, x.value) for x in curves(tmp_path).Scalars("loss/style")] == [(10, 1), (20, 1), (30, 2), (40, 2)]


@needs_tensorboard
def test_what_is_flushed_survives_a_kill(tmp_path: Path) -> None:
    writing = board(tmp_path, 0)
    writing.add(entry(10))
    writing.flush()
    assert [x.step for x in curves(tmp_path).Scalars("loss/style")] == [10]
    writing.close()


@needs_tensorboard
def test_a_damaged_sheet_costs_a_warning_and_no_curve(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "sheet.jpg").write_bytes(b"cut")
    writing = board(tmp_path / "events", 0)
    writing.add_sheet(10, tmp_path / "sheet.jpg")
    writing.add(entry(10))
    writing.close()
    assert len(caplog.messages) == 1 and "sheet.jpg" in caplog.messages[0]
    assert [x.step for x in curves(tmp_path / "events").Scalars("loss/style")] == [10]


def test_without_the_package_there_is_one_warning_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    nothing = TensorBoardWriter.open(tmp_path / "events", 0)
    nothing.add(entry(10))
    nothing.add_sheet(10, tmp_path / "none.jpg")
    nothing.flush()
    nothing.close()
    assert len(caplog.messages) == 1 and "pip install" in caplog.messages[0] and "\n" not in caplog.messages[0]
    assert not (tmp_path / "events").exists()


@needs_tensorboard
def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "events").write_text("a file")
    nothing = TensorBoardWriter.open(tmp_path / "events", 0)
    nothing.add(entry(10))
    assert len(caplog.messages) == 1


class Full:
    """A writer whose disk is full."""

    def add_scalar(self, *_: object) -> None:
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writing = TensorBoardWriter(Full())  # type: ignore[arg-type]
    for step in (10, 20, 30):
        writing.add(entry(step))
    writing.add_sheet(30, tmp_path / "none.jpg")
    writing.close()
    assert len(caplog.messages) == 1 and "No space left" in caplog.messages[0]
