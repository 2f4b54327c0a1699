"""One run on two processes: the same numbers as on one, files written once, one end for both."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp

from engines.cuda import driver
from engines.cuda.torch_build import TorchBuild
from engines.errors import ConfigError, TrainError
from engines.model.generator import Arch, Generator, fold
from tests.train.pictures import texture, write_picture
from tests.train.test_clips import panning, write_clip
from train import checkpoint
from train.checkpoint import CHECKPOINT
from train.config.schema import TrainConfig
from train.data.augment import augment
from train.data.pictures import Pictures, picture_files
from train.distributed import SINGLE_PROCESS, ProcessGroup, SharedBatchNorm2d, share_statistics
from train.loop import train
from train.report import REPORT
from train.report.history import HISTORY, read_history
from train.run_log import TENSORBOARD_DIR

Make = Callable[..., TrainConfig]
ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4
"""Of losses, relative: the sums are taken in another order."""

COARSE, PART_OF_A_STEP = 1e-2, 2e-4
"""Of weights, tensor by tensor, relative, and for each value, a tenth of one of Adam's steps: Adam makes small
gradients as large as great ones, rounding and all. And of losses from the third step on; under Muon, which does so to
the small directions of a gradient, and with a discriminator, which has taken two such steps, from the second on."""

NOISE_DRIVEN = ("conv.bias", "second.norm.bias", "running_mean")
"""A bias that a normalisation follows changes nothing but the running mean: its gradient is rounding alone, and Adam
makes steps of full length of that; likewise one of a adversary of which only differences count. With frozen statistics
it would show, so these runs never freeze them."""


@pytest.fixture
def works(tmp_path: Path) -> Path:
    """A folder of an artist's works, one of them damaged."""
    folder = tmp_path / "works"
    folder.mkdir()
    for number in range(4):
        write_picture(folder / f"work_{number}.png", texture(80 + number, 90, 50 + number, detail=30))
    (folder / "work_9.png").write_bytes(b"damaged")
    return folder


@pytest.fixture
def cases(config: Make, works: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Settings of short runs that have every term between them, in a folder for each number of processes."""
    monkeypatch.setenv("RTSTYLE_FEATURES", str(tmp_path / "cache" / "features"))
    clips = tmp_path / "clips"
    clips.mkdir()
    write_clip(clips / "a.mp4", panning(4, 3, -2))
    kinds: dict[str, dict[str, dict[str, Any]]] = {
        "plain": {"generator": {"ema": 0.9, "freeze_at": 1.0}, "losses": {"variation": 1.0}},
        "muon": {"schedule": {"optimizer": "muon", "learning_rate": 5e-4}, "generator": {"freeze_at": 1.0}},
        "game": {
            "losses": {"adversarial": 1.0, "feature_matching": 1.0}, "generator": {"freeze_at": 1.0},
            "data": {"style_pictures": works}, "discriminator": {"steps": 2},
        },
        "clips": {
            "losses": {"adversarial": 1.0}, "data": {"style_pictures": works, "clips": clips},
            "motion": {"source": "both"}, "discriminator": {"loss": "wgan-gp"}, "generator": {"norm": False},
        },
    }  # fmt: skip

    def make(folder: str) -> dict[str, TrainConfig]:
        return {
            name: config(
                data={"batch": 4} | kind.get("data", {}),
                schedule={"steps": 3, "warmup": 0, "precision": "fp32", "optimizer": "adam", "learning_rate": 2e-3}
                | kind.get("schedule", {}),
                run={"out": tmp_path / folder / name, "report_steps": 1, "sheet_steps": 3},
                discriminator={"width": 4, "layers": 2, "warmup": 1} | kind.get("discriminator", {}),
                **{section: values for section, values in kind.items() if section in ("generator", "losses", "motion")},
            )
            for name, kind in kinds.items()
        }

    return make


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def work(rank: int, port: int, kept: Path, settings: Mapping[str, TrainConfig]) -> None:
    """What each of two processes does."""
    torch.set_num_threads(1)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= address | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    group, seen = ProcessGroup.from_environment(), []
    with group.joined():
        x = torch.arange(2 * 4 * 6 * 5.0).view(2, 4, 6, 5).sin()[[rank]] + 50
        torch.save(normalised(x, SharedBatchNorm2d(4)), kept / f"norm-{rank}")
        for name, one in settings.items():
            trainer = train(one, on_progress=seen.append, group=group)
            torch.save(trainer.generator.state_dict(), kept / f"{name}-{rank}")
    assert len(seen) == (0 if rank else 3 * len(settings)), "only the first one talks"


def normalised(x: torch.Tensor, norm: torch.nn.BatchNorm2d) -> dict[str, torch.Tensor]:
    """Output and gradients of a layer, and what it remembers."""
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, -2.0, 0.5, 3.0]))
    x = x.clone().requires_grad_()
    y = norm(x)
    (y * (x.detach() * 7).cos()).sum().backward()
    assert x.grad is not None and norm.weight.grad is not None
    return {"y": y.detach(), "x": x.grad, "slope": norm.weight.grad, **norm.state_dict()}


def near(a: torch.Tensor, b: torch.Tensor, tolerance: float, slack: float = 1e-7) -> bool:
    return float((a.float() - b.float()).norm()) <= tolerance * float(b.float().norm()) + slack


def test_two_processes_compute_what_one_does(cases: Callable[[str], Any], tmp_path: Path) -> None:
    one, two = cases("one"), cases("two")
    mp.spawn(work, (free_port(), tmp_path, two), nprocs=2)
    same_statistics(tmp_path)
    for name in one:
        train(one[name])
        histories = [read_history(settings[name].run.out / HISTORY) for settings in (one, two)]
        assert [len(entries) for entries in histories] == [3, 3]
        for alone, shared in zip(*histories, strict=True):
            tolerance = TOLERANCE if alone.step <= (2 if name == "plain" else 1) else COARSE
            assert shared.losses == pytest.approx(alone.losses, rel=tolerance, abs=1e-7), name
            assert shared.shares == pytest.approx(alone.shares, rel=tolerance, abs=1e-6), name
            figures = [(entry.accuracy or 0.0, entry.diversity or 0.0) for entry in (alone, shared)]
            assert figures[1] == pytest.approx(figures[0], rel=1e-3), name
        same_weights(one[name], two[name])
        first, second = (torch.load(tmp_path / f"{name}-{rank}") for rank in range(2))
        assert all(torch.equal(first[key], second[key]) for key in first), "both hold the same bits"
        left = {entry.name for entry in two[name].run.out.iterdir()} - {TENSORBOARD_DIR}
        assert left == {CHECKPOINT, HISTORY, REPORT, "sheet-000003.jpg"}


def same_statistics(kept: Path) -> None:
    """Of the layer that two processes have normalised with, and torch's own over the whole batch."""
    x = torch.arange(2 * 4 * 6 * 5.0).view(2, 4, 6, 5).sin() + 50
    whole = normalised(x, torch.nn.BatchNorm2d(4))
    parts = [torch.load(kept / f"norm-{rank}") for rank in range(2)]
    for key in ("y", "x"):
        assert torch.allclose(torch.cat([part[key] for part in parts]), whole[key], atol=1e-4), key
    assert torch.allclose(parts[0]["slope"] + parts[1]["slope"], whole["slope"], rtol=1e-4)
    for key in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.allclose(parts[0][key], whole[key], rtol=1e-5), key


def same_weights(one: TrainConfig, two: TrainConfig) -> None:
    a, b = (checkpoint.load(settings.run.out / CHECKPOINT) for settings in (one, two))
    kinds = [(a["generator"], b["generator"])]
    if a["average"]:
        kinds.append((a["average"], b["average"]))
    if a["critic"]:
        kinds.append((a["critic"]["discriminator"], b["critic"]["discriminator"]))
    for alone, shared in kinds:
        for key, value in alone.items():
            if not key.endswith(NOISE_DRIVEN):
                slack = PART_OF_A_STEP * value.numel() ** 0.5
                assert near(shared[key], value, COARSE, slack), key


def test_statistics_are_shared_in_place_of_torchs_own() -> None:
    generator = Generator(Arch(4, 4, 1, 4), norm=True)
    before = fold(generator).state_dict()
    names = list(generator.state_dict())
    share_statistics(generator)
    kinds = {type(module) for module in generator.modules() if isinstance(module, torch.nn.BatchNorm2d)}
    assert kinds == {SharedBatchNorm2d}
    assert list(generator.state_dict()) == names
    assert all(torch.equal(value, before[key]) for key, value in fold(generator).state_dict().items())


def test_the_world_is_what_torchrun_tells() -> None:
    assert ProcessGroup.from_environment({}) is SINGLE_PROCESS
    assert ProcessGroup.from_environment({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}) is SINGLE_PROCESS
    assert ProcessGroup.from_environment({"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}) == ProcessGroup(3, 4, 1)
    for broken in ({}, {"RANK": "x", "LOCAL_RANK": "0"}, {"RANK": "4", "LOCAL_RANK": "0"}):
        with pytest.raises(ConfigError):
            ProcessGroup.from_environment({"WORLD_SIZE": "4"} | broken)


def test_says_why_a_card_in_the_machine_does_not_train(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(driver, "device_count", lambda: 0)
    monkeypatch.setattr(driver, "why_unavailable", lambda: "")
    SINGLE_PROCESS.say_if_gpu_is_unused()
    assert caplog.messages == []
    monkeypatch.setattr(driver, "why_unavailable", lambda: "its driver does not start: CUDA error 999")
    SINGLE_PROCESS.say_if_gpu_is_unused()
    assert "its driver does not start" in caplog.messages[0]
    monkeypatch.setattr(driver, "device_count", lambda: 1)
    monkeypatch.setattr(driver, "why_unavailable", lambda: "")
    monkeypatch.setattr(driver, "torch_build", lambda: TorchBuild("2.13.0+cpu", None))
    SINGLE_PROCESS.say_if_gpu_is_unused()
    assert "torch 2.13.0+cpu is a CPU build" in caplog.messages[1] and "pip install" in caplog.messages[1]
    ProcessGroup(rank=1, size=2, local_rank=1).say_if_gpu_is_unused()
    assert len(caplog.messages) == 2


def test_shares_are_equal_and_even() -> None:
    parts = [list(ProcessGroup(rank, 3, rank).places(12)) for rank in range(3)]
    assert parts == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert list(SINGLE_PROCESS.places(5)) == [0, 1, 2, 3, 4]
    for batch in (1, 2, 6, 13):
        with pytest.raises(ConfigError, match="multiple of 4 .*|multiple of 8 .*"):
            ProcessGroup(0, 4, 0).places(batch)


def test_the_parts_of_a_batch_are_the_whole(works: Path) -> None:
    """Also where a picture is damaged, and when the sizes are known already."""
    whole = Pictures(picture_files(works), 8, 64, 3)
    parts = [
        Pictures(picture_files(works), 8, 64, 3, places=ProcessGroup(rank, 4, rank).places(8)) for rank in range(4)
    ]
    for step in (0, 1, 2, 0):
        assert torch.equal(torch.cat([part(step) for part in parts]), whole(step))


def test_a_change_is_that_of_the_place_in_the_whole_batch() -> None:
    x = torch.rand(6, 3, 16, 16)
    whole = augment(x, torch.Generator().manual_seed(1))
    for rank in range(3):
        rng = torch.Generator().manual_seed(1)
        own = ProcessGroup(rank, 3, rank).apply_random(
            lambda part, rng=rng: augment(part, rng), x[2 * rank : 2 * rank + 2]
        )
        assert torch.equal(own, whole[2 * rank : 2 * rank + 2])
    rng = torch.Generator().manual_seed(2)
    numbers, next_one = torch.rand(6, generator=rng), torch.rand(1, generator=rng)
    rng = torch.Generator().manual_seed(2)
    with ProcessGroup(1, 3, 1).own_draws(rng, 2):
        assert torch.equal(torch.rand(2, generator=rng), numbers[2:4])
    assert torch.equal(torch.rand(1, generator=rng), next_one)


def lose(rank: int, port: int, kept: Path, settings: TrainConfig) -> None:
    """The second process fails in its second step; what the first one says is written down."""
    torch.set_num_threads(1)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= address | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    group, asked = ProcessGroup.from_environment(), []

    def stop() -> bool:
        asked.append(1)
        if rank and len(asked) == 2:
            os._exit(0)  # as a power cut would
        return False

    try:
        with group.joined():
            train(settings, stop=stop, group=group)
    except TrainError as error:
        (kept / "told").write_text(json.dumps([error.problem, len(asked)]))
    os._exit(0)


def test_a_lost_process_ends_the_others(config: Make, tmp_path: Path) -> None:
    settings = config(data={"batch": 4}, schedule={"steps": 1000})
    mp.spawn(lose, (free_port(), tmp_path, settings), nprocs=2)
    assert json.loads((tmp_path / "told").read_text()) == ["process 1 of 2 lost the connection to another one", 2]
    assert "lost the connection to another one" in (settings.run.out / REPORT).read_text(encoding="utf-8")


def test_a_stopped_run_saves_once_and_goes_on(
    photos: Path, painting: Path, narrow_features: Path, tmp_path: Path
) -> None:
    """SIGTERM to torchrun; it tells both processes, and neither waits for the other."""
    out = tmp_path / "run"
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        str(free_port()),
    ]
    arguments = [
        "-m", "train", "--style-picture", str(painting), "--content", str(photos), "--out", str(out), "--recipe",
        "fast", "--features", str(narrow_features), "--minutes", "10", "--batch", "4", "--crop", "64", "--style-size",
        "64", "--hold-out", "1", "--set", "generator.body=4", "--set", "generator.stem=4", "--set", "generator.head=4",
    ]  # fmt: skip
    said = []
    with subprocess.Popen([*torchrun, *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if "step 25 " in line:
                process.send_signal(signal.SIGTERM)
    assert process.returncode != 0
    stops = [line for line in said if line.startswith("stopped at step")]
    assert len(stops) == 1, "".join(said)
    step = int(stops[0].split()[3].rstrip(";"))
    assert checkpoint.load(out / CHECKPOINT)["step"] == step >= 25
    assert not list(out.glob(".*")), "no half-written files"
