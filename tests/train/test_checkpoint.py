"""A checkpoint is whole or not there, and reading one runs no code."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from engines.errors import TrainError
from train import checkpoint


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"weights": {"a": torch.arange(5)}, "step": 7})
    state = checkpoint.load(path)
    assert state["step"] == 7 and torch.equal(state["weights"]["a"], torch.arange(5))
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


def test_a_crash_while_writing_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"step": 1})

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, {"step": 2})
    assert checkpoint.load(path)["step"] == 1
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


def test_a_missing_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="nothing to resume") as caught:
        checkpoint.load(tmp_path / "checkpoint.pt")
    assert "--resume" in caught.value.hint


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_truncated_one_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"weights": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(TrainError, match="damaged"):
        checkpoint.load(path)


def test_flipped_bits_are_told_or_harmless(tmp_path: Path) -> None:
    path, rng = tmp_path / "checkpoint.pt", random.Random(0)
    checkpoint.save(path, {"weights": {"a": torch.arange(50.0)}, "step": 7})
    whole = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with contextlib.suppress(TrainError):
            assert isinstance(checkpoint.load(path), dict)


@pytest.mark.parametrize("data", [b"not a checkpoint at all", b"\x00" * 5000, pickle.dumps([1, 2], protocol=2)])
def test_rubbish_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(data)
    with pytest.raises(TrainError, match="checkpoint"):
        checkpoint.load(path)


@pytest.mark.parametrize("state", [[1, 2], {"step": 3}, {"format": checkpoint.FORMAT + 1}])
def test_another_kind_of_state_is_refused(tmp_path: Path, state: object) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save(state, path)
    with pytest.raises(TrainError, match="checkpoint"):
        checkpoint.load(path)


class _Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("plain", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, plain: bool) -> None:
    path, sprung = tmp_path / "checkpoint.pt", tmp_path / "sprung"
    if plain:
        path.write_bytes(pickle.dumps(_Trap(sprung), protocol=2))
    else:
        torch.save({"format": checkpoint.FORMAT, "trap": _Trap(sprung)}, path)
    with pytest.raises(TrainError, match="damaged"):
        checkpoint.load(path)
    assert not sprung.exists()


FULL_DISK = """
import resource, sys, torch
from pathlib import Path
from engines.errors import TrainError
from train import checkpoint
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    checkpoint.save(Path(sys.argv[1]), {"weights": torch.zeros(1_000_000)})
except TrainError as error:
    sys.exit(f"told: {error}")
"""


def test_a_full_disk_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"step": 1})
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("told: cannot save")
    assert checkpoint.load(path)["step"] == 1
    assert os.listdir(tmp_path) == ["checkpoint.pt"]
