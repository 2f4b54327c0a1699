"""A history loses nothing that was added, whatever happens to the process."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from engines.errors import TrainError
from train.report.history import HISTORY, Entry, History, read_history


def entry(step: int) -> Entry:
    """One with every field, its numbers depending on the step."""
    losses = {"style": 1 / step, "total": 10 / step}
    return Entry(
        step, 0.5 * step, 1e-3, losses, {"style": 1.0}, {"ewarp": 0.1 / step}, discriminator=0.4, penalty=0.02,
        accuracy=0.75, diversity=0.9, data_wait=0.01,
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A history of steps 10, 20, 30."""
    history = History.open(tmp_path / HISTORY, 0)
    for step in (10, 20, 30):
        history.add(entry(step))
    return history.path


def test_what_is_added_comes_back(path: Path) -> None:
    again = History.open(path, 30)
    assert [x.step for x in again.entries] == [10, 20, 30]
    kept = again.entries[1]
    assert kept == Entry(**(vars(entry(20)) | {"at": kept.at}))
    assert read_history(path) == list(again.entries)


def test_it_is_one_json_object_a_line(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [10, 20, 30]


def test_only_what_was_measured_is_written(tmp_path: Path) -> None:
    history = History(tmp_path / HISTORY)
    history.add(Entry(1, 0.5, 1e-3, {"style": 1.0}))
    assert json.loads(history.path.read_text()).keys() == {"step", "seconds", "learning_rate", "losses", "at"}
    (back,) = read_history(history.path)
    assert back.accuracy is None and back.diversity is None and back.data_wait is None and back.shares == {}
    assert back.discriminator is None and back.penalty is None and back.steadiness == {}


def test_what_is_not_finite_is_null_and_comes_back_as_nan(tmp_path: Path) -> None:
    history = History(tmp_path / HISTORY)
    history.add(Entry(1, 0.5, 1e-3, {"style": math.nan, "noise": math.inf, "content": 1.0}, accuracy=math.nan))
    assert "NaN" not in history.path.read_text() and "Infinity" not in history.path.read_text()
    (back,) = read_history(history.path)
    assert math.isnan(back.losses["style"]) and math.isnan(back.losses["noise"]) and back.losses["content"] == 1.0
    assert back.accuracy is not None and math.isnan(back.accuracy)


def test_cut_wherever_it_is_it_goes_on_as_if_the_cut_line_had_never_been(path: Path) -> None:
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    lengths = {*range(0, len(whole), 23), *(end + offset for end in ends for offset in (-2, -1, 0, 1))}
    for length in sorted(length for length in lengths if length <= len(whole)):
        path.write_bytes(whole[:length])
        history = History.open(path, 30)
        assert len(history.entries) == sum(end <= length for end in ends)
        history.add(entry(99))
        assert [x.step for x in read_history(path)] == [*(x.step for x in history.entries[:-1]), 99]


@pytest.mark.parametrize(("step", "kept"), [(0, []), (9, []), (10, [10]), (25, [10, 20]), (30, [10, 20, 30])])
def test_a_resumed_run_writes_its_steps_once(path: Path, step: int, kept: list[int]) -> None:
    history = History.open(path, step)
    assert [x.step for x in history.entries] == kept
    history.add(entry(step + 5))
    assert [x.step for x in read_history(path)] == [*kept, step + 5]


@pytest.mark.parametrize(
    "rubbish",
    [b"\n", b"\xff\xfe\n", b"[1]\n", b"7\n", b"{}\n", b'{"step": 5}\n', b"null\n", b'{"step": "x", "losses": 3}\n',
     b'{"step": 5, "seconds": 1, "learning_rate": 1, "losses": [], "at": ""}\n', b"\0" * 50 + b"\n"],
)  # fmt: skip
def test_a_damaged_line_costs_no_other(path: Path, rubbish: bytes) -> None:
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + rubbish + second + third)
    assert [x.step for x in History.open(path, 20).entries] == [10, 20]
    assert [x.step for x in read_history(path)] == [10, 20]


def test_reading_changes_nothing(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])
    before = path.read_bytes()
    assert len(read_history(path)) == 2
    assert path.read_bytes() == before


def test_an_unwritable_history_is_an_error(tmp_path: Path) -> None:
    history = History.open(tmp_path / "gone" / HISTORY, 0)
    with pytest.raises(TrainError, match=HISTORY) as caught:
        history.add(entry(1))
    assert caught.value.hint and not history.entries
    (tmp_path / HISTORY).mkdir()
    with pytest.raises(TrainError, match=HISTORY):
        History.open(tmp_path / HISTORY, 0)
    with pytest.raises(TrainError, match=HISTORY):
        read_history(tmp_path / HISTORY)
