"""`rtstyle train` and `python -m train`."""

from __future__ import annotations

import importlib.util
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


SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Nothing is ignored, as it would be under nohup or in the background of a script."""
    kept = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
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
    assert "--style-picture" in text and "--resume" in text and "runs/wave" in text


def test_bad_settings_are_told_together(arguments: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"batch.*crop"):
        main([*arguments, "--batch", "0", "--crop", "13"])


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupted_run_goes_on_with_resume_only(
    arguments: list[str],
    number: signal.Signals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "run" / CHECKPOINT
    save, handler = checkpoint.save, signal.getsignal(number)

    def save_and_interrupt(target: Path, state: dict[str, Any]) -> None:
        save(target, state)
        patch.undo()  # a second signal would not wait for the checkpoint
        os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr("train.loop.checkpoint.save", save_and_interrupt)
        assert main([*arguments, "--steps", "1000", "--checkpoint-steps", "2"]) == 130
    assert signal.getsignal(number) is handler
    assert "--resume" in capsys.readouterr().err
    step = checkpoint.load(path)["step"]
    assert 2 <= step < 1000
    assert not (tmp_path / "run" / "style").exists()

    with pytest.raises(TrainError, match="another run") as caught:
        main(arguments)
    assert "--resume" in caught.value.hint
    assert checkpoint.load(path)["step"] == step

    assert main([*arguments, "--steps", str(step + 1), "--resume", "--title", "A work"]) == 0
    assert checkpoint.load(path)["step"] == step + 1
    assert StyleModel.open(tmp_path / "run" / "style").title == "A work"
    assert "rtstyle image" in capsys.readouterr().out


def test_the_module_tells_faults_in_one_line(tmp_path: Path) -> None:
    """Errors and wrong usage alike: no traceback, exit codes 1 and 2."""
    wrong = run_module("--nonsense")
    assert wrong.returncode == 2 and "--nonsense" in wrong.stderr and "Traceback" not in wrong.stderr
    nothing = tmp_path / "nothing"
    failed = run_module("--style-picture", f"{nothing}.jpg", "--content", str(nothing), "--out", str(tmp_path / "run"))
    assert failed.returncode == 1 and "Traceback" not in failed.stderr and failed.stderr.count("\n") <= 2


def test_what_would_fail_at_the_end_fails_at_once(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(TrainError, match="cannot be written"):
        main([*arguments, "--out", str(tmp_path / "file" / "run")])
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find_spec(name))
    with pytest.raises(TrainError, match="onnxscript must be installed"):
        main(arguments)
    assert not (tmp_path / "run").exists()
