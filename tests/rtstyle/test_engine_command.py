"""``rtstyle engine`` as a person or a script meets it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from engines.cuda import driver
from engines.install_hint import pip_install
from engines.trt.plan_cache import PlanCache
from tests.conftest import ROOT
from tests.engines.plans import KEY, OTHER
from tests.engines.test_build_process import is_gone, until
from tests.engines.test_plan_cache import held
from tests.rtstyle.test_cli import Run
from tests.rtstyle.test_imports import loaded_by

STANDIN = "tests.engines.standin"


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    return Run(capfd)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlanCache:
    """The cache that the command line uses."""
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "engines"))
    return PlanCache()


@pytest.fixture
def builder(cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A GPU that is not there, and a builder that needs none."""
    monkeypatch.setattr("rtstyle.commands.engine._check_gpu", lambda: None)
    monkeypatch.setattr("engines.trt.build_worker.BUILDERS", (f"{STANDIN}:BUILDER",))
    return monkeypatch


def test_an_empty_list(run: Run, cache: PlanCache) -> None:
    assert run("engine", "list") == 0 and "rtstyle engine build" in run.out
    assert run("engine", "list", "--json") == 0
    assert run.json == {"folder": str(cache.folder), "engines": []}
    assert run("engine", "clear") == 0 and run.out == "Removed 0 engines and 0 faults: 0.0 MB.\n"
    assert not cache.folder.exists()


def test_the_list(run: Run, cache: PlanCache) -> None:
    cache.put(KEY, bytes(2_500_000), seconds=61.4, extra={"style": "wave", "gain": 1.531})
    cache.put(replace(KEY, height=16), b"", seconds=1, extra={})
    os.utime(cache.folder / f"{KEY.digest}.json", (time.time() + 60,) * 2)
    assert run("engine", "list") == 0
    head, first, second = run.out.splitlines()
    heads = ["STYLE", "SIZE", "GPU", "TENSORRT", "TORCH", "DRIVER", "MB", "BUILT IN", "× CUDA", "USED"]
    assert re.split(r"  +", head.strip()) == heads
    assert first.split()[:2] == ["wave", "640×360"] and second.split()[:2] == ["1" * 12, "640×16"]
    assert "A card  10.14     2.13.0  580.1   2.5  61 s      1.53 " in first
    cache.mark_failed(OTHER, "no kernel for this", extra={"style": "scream"})
    assert run("engine", "list") == 0
    assert run.out.splitlines()[0].endswith("FAULT")
    assert [line.endswith("no kernel for this") for line in run.out.splitlines()[1:]].count(True) == 1
    assert run("engine", "list", "--json") == 0
    told = {engine["style"]: engine for engine in run.json["engines"]}
    assert set(told) == {"wave", "scream", "1" * 12}
    assert told["wave"]["bytes"] > 2_500_000 and told["wave"]["seconds"] == 61.4 and told["wave"]["fault"] == ""
    assert told["wave"]["gain"] == 1.531 and told["scream"]["gain"] is None
    assert told["wave"]["key"]["gpu"] == "A card" and told["scream"]["fault"] == "no kernel for this"
    assert told["wave"]["used"].endswith("+00:00")


def test_clearing_says_what_went(run: Run, cache: PlanCache) -> None:
    cache.put(KEY, b"plan", seconds=1, extra={})
    cache.put(OTHER, bytes(2_500_000), seconds=1, extra={})
    cache.mark_failed(replace(KEY, gpu="another"), "no")
    holder = held(cache)  # KEY is being built again
    assert run("engine", "clear") == 0
    holder.communicate("go on\n")
    assert run.out == "Removed 1 engine and 1 fault: 2.5 MB.\n"
    assert [entry.key for entry in cache.entries()] == [KEY]


def test_building(run: Run, builder: pytest.MonkeyPatch, cache: PlanCache, tiny_style: Path) -> None:
    assert run("engine", "build", tiny_style, "--size", "640x360", "--size", "64x48", "--size", "640x360") == 0
    lines = run.err.splitlines()
    assert run.out == "" and all(line.startswith("tiny ") for line in lines)
    assert [line.split()[1] for line in lines if "built in" in line] == ["640×360:", "64×48:"]
    assert {(entry.key.width, entry.key.height) for entry in cache.entries()} == {(640, 360), (64, 48)}
    assert run("engine", "build", tiny_style, "--size", "64x48") == 0
    assert run.err.splitlines()[-1] == "tiny 64×48: already built"


def test_a_build_that_fails(run: Run, builder: pytest.MonkeyPatch, tiny_style: Path) -> None:
    builder.setattr("engines.trt.build_worker.BUILDERS", (f"{STANDIN}:FAIL",))
    assert run("engine", "build", tiny_style, "--size", "640x360") == 1
    assert run.err.splitlines()[-2:] == ["rtstyle: no kernel for this", "hint: another card"]
    assert run("engine", "build", tiny_style, "--size", "640x360") == 1
    assert run.err.splitlines()[-1] == "hint: to retry, run `rtstyle engine clear`"
    builder.setattr("engines.trt.build_worker.BUILDERS", (f"{STANDIN}:BUILDER",))
    assert run("engine", "build", tiny_style, "--size", "640x360", "--size", "64x48") == 1
    assert "rtstyle: 1 of 2 engines could not be built" in run.err
    assert "warning: tiny 640×360: an earlier build failed: no kernel for this" in run.err
    assert run("engine", "clear") == 0 and run("engine", "build", tiny_style, "--size", "640x360") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["build", "wave"], 2, "--size"),
        (["build", "--size", "640x360"], 2, "STYLE"),
        (["build", "wave", "--size", "huge"], 2, "must be a size"),
        (["build", "wave", "--size", "8x8"], 1, "too small"),
        (["build", "nowhere", "--size", "640x360"], 1, "no style 'nowhere'"),
        (["paint"], 2, "No such command"),
        ([], 2, "Missing command"),
    ],
)
def test_wrong_usage(run: Run, builder: pytest.MonkeyPatch, arguments: list[str], code: int, problem: str) -> None:
    assert run("engine", *arguments) == code
    assert problem in run.err.splitlines()[0] and len(run.err.splitlines()) <= 2 and run.out == ""


def test_a_machine_without_a_gpu(run: Run, cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "device_count", lambda: 0)
    assert run("engine", "build", "wave", "--size", "640x360", "--size", "64x48") == 1
    problem, hint = run.err.splitlines()
    assert "needs an NVIDIA GPU" in problem and hint.startswith("hint: ")
    monkeypatch.setattr(driver, "device_count", lambda: 1)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run("engine", "build", "wave", "--size", "640x360") == 1
    assert run.err.splitlines()[1] == f"hint: {pip_install('tensorrt')}"


@pytest.mark.parametrize("command", ["list", "clear", "build"])
def test_a_folder_that_cannot_be_trusted(
    run: Run, builder: pytest.MonkeyPatch, cache: PlanCache, tiny_style: Path, command: str
) -> None:
    cache.folder.mkdir()
    cache.folder.chmod(0o777)
    assert run("engine", command, *([tiny_style, "--size", "64x48"] if command == "build" else [])) == 1
    problem, hint = run.err.splitlines()[-2:]
    assert "other users may write to" in problem and "RTSTYLE_CACHE" in hint


SCRIPT = """
    import sys
    import engines.trt.build_worker, rtstyle.commands.engine
    from rtstyle.cli import main

    engines.trt.build_worker.BUILDERS = ("tests.engines.standin:WIDE",)
    rtstyle.commands.engine._check_gpu = lambda: None
    sys.exit(main(["engine", "build", sys.argv[1], "--size", "64x48", "--size", "1280x720"]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interruption_keeps_what_is_finished(cache: PlanCache, tiny_style: Path, number: signal.Signals) -> None:
    call = [sys.executable, "-c", textwrap.dedent(SCRIPT), tiny_style]
    with subprocess.Popen(call, cwd=ROOT, stderr=subprocess.PIPE, text=True, process_group=0) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "started" in line)
        child, grandchild = (int(word) for word in line.split()[-2:])
        os.killpg(process.pid, number)  # as a terminal does
        rest = process.stderr.read()
    assert process.returncode == (128 + number if number != signal.SIGKILL else -number)
    assert "Traceback" not in rest
    until(lambda: is_gone(child) and is_gone(grandchild))
    assert [(entry.key.width, entry.fault) for entry in cache.entries()] == [(64, "")]


def test_listing_is_light(cache: PlanCache, tmp_path: Path) -> None:
    heavy = {"torch", "cv2", "av", "openvino", "pygame", "filelock", "platformdirs", "numpy"}
    for arguments in (["--help"], ["engine", "--help"], ["engine", "build", "--help"]):
        assert loaded_by(f"from rtstyle.cli import main\nassert main({arguments!r}) == 0") & heavy == set()
    cache.put(KEY, b"plan", seconds=1, extra={})
    for command in ("list", "clear"):
        loaded = loaded_by(f"from rtstyle.cli import main\nassert main(['engine', {command!r}]) == 0")
        assert loaded & (heavy - {"filelock", "numpy", "platformdirs"}) == set()


def test_a_style_in_a_folder_with_a_strange_name(
    run: Run, builder: pytest.MonkeyPatch, tiny_style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_style, tmp_path / "--style; echo")
    monkeypatch.chdir(tmp_path)
    assert run("engine", "build", "--size", "64x48", "--", "--style; echo") == 0 and "built in" in run.err
