"""`rtstyle train` and `python -m train`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.errors import ConfigError, TrainError
from engines.model_file import StyleModel
from train import checkpoint
from train.__main__ import main
from train.loop import CHECKPOINT

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """The command takes the signals over; give them back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def arguments(photos: Path, painting: Path, narrow_features: Path, tmp_path: Path) -> list[str]:
    """A run of two steps."""
    return [
        "--style-picture", str(painting), "--content", str(photos), "--out", str(tmp_path / "run"), "--features",
        str(narrow_features), "--steps", "2", "--batch", "1", "--crop", "64", "--style-size", "64", "--hold-out", "1",
    ]  # fmt: skip


def run_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m train …`."""
    command = [sys.executable, "-m", "train", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "--style-picture" in text and "--resume" in text and "Example" in text


def test_bad_settings_are_told_together(arguments: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"batch.*crop"):
        main([*arguments, "--batch", "0", "--crop", "13"])


def test_an_interrupted_run_goes_on_with_resume_only(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run" / CHECKPOINT
    save = checkpoint.save

    def save_and_interrupt(target: Path, state: dict[str, Any]) -> None:
        save(target, state)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("train.loop.checkpoint.save", save_and_interrupt)
        assert main([*arguments, "--steps", "1000", "--checkpoint-steps", "2"]) == 130
    assert "--resume" in capsys.readouterr().err
    assert checkpoint.load(path)["step"] == 2
    assert not (tmp_path / "run" / "style").exists()

    with pytest.raises(TrainError, match="another run") as caught:
        main(arguments)
    assert "--resume" in caught.value.hint
    assert checkpoint.load(path)["step"] == 2

    assert main([*arguments, "--steps", "3", "--resume", "--title", "A work"]) == 0
    assert checkpoint.load(path)["step"] == 3
    assert StyleModel.open(tmp_path / "run" / "style").title == "A work"
    assert "rtstyle image" in capsys.readouterr().out


def test_the_module_tells_faults_in_one_line(tmp_path: Path) -> None:
    """Errors and wrong usage alike: no traceback, exit codes 1 and 2."""
    wrong = run_module("--nonsense")
    assert wrong.returncode == 2 and "--nonsense" in wrong.stderr and "Traceback" not in wrong.stderr
    nothing = tmp_path / "nothing"
    failed = run_module("--style-picture", f"{nothing}.jpg", "--content", str(nothing), "--out", str(tmp_path / "run"))
    assert failed.returncode == 1 and "Traceback" not in failed.stderr and failed.stderr.count("\n") <= 2
