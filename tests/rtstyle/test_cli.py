"""The command line as a person or a script meets it: exit codes, one line for an error, one object for JSON."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import pytest

import rtstyle
from engines.cuda import driver
from engines.install_hint import pip_install
from rtstyle.cli import main

ROOT = Path(__file__).resolve().parents[2]

PATTERN = ("--source", "pattern", "--sink", "null", "--size", "64x48")


class Run:
    """Runs ``main`` in this process and keeps what it printed."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self.out = self.err = ""

    def __call__(self, *arguments: str | Path) -> int:
        code = main([str(argument) for argument in arguments])
        self.out, self.err = self._capfd.readouterr()
        return code

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output, after those of each second while something live ran."""
        *running, last = [json.loads(line) for line in self.out.splitlines()]
        assert isinstance(last, dict) and all(one["running"] for one in running)
        return last


COMMANDS = ("video", "image", "webcam", "web", "devices", "styles", "doctor", "bench", "evaluate", "explain")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    return Run(capfd)


def test_help_and_version(run: Run) -> None:
    assert run("--help") == 0
    assert all(name in run.out for name in (*COMMANDS, "train"))
    assert run() == 0 and "Usage" in run.out
    assert run("--version") == 0 and run.out == f"rtstyle {rtstyle.__version__}\n"
    for command in COMMANDS:
        assert run(command, "--help") == 0 and "Options:" in run.out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["paint"], "No such command 'paint'"),
        (["video"], "Missing argument"),
        (["video", "a.mp4", "b.mp4", "--bogus"], "No such option"),
        (["video", "a.mp4", "b.mp4", "--strength", "2"], "--strength"),
        (["video", "a.mp4", "b.mp4", "--scale", "2.5"], "--scale"),
        (["image", "a.png", "b.png", "--scale", "0.4"], "--scale"),
        (["webcam", "--scale", "large"], "--scale"),
        (["webcam", "--scale", "nan"], "--scale"),
        (["video", "a.mp4", "b.mp4", "--start", "soon"], "must be a time"),
        (["webcam", "--size", "640"], "must be a size"),
        (["webcam", "--fps", "-1"], "must be a number from 0.01 to 1000"),
        (["webcam", "--fps", "nan"], "must be a number from 0.01 to 1000"),
        (["webcam", "--frames", "0"], "--frames"),
        (["bench", "--size", "axb"], "must be a size"),
    ],
)
def test_wrong_usage_is_two_lines_and_exit_2(run: Run, arguments: list[str], problem: str) -> None:
    assert run(*arguments) == 2
    first, hint = run.err.splitlines()
    assert first.startswith("rtstyle: ") and problem in first
    assert hint.startswith("hint: ") and "--help" in hint
    assert run.out == ""


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["webcam", "--style", "no-such-style", *PATTERN], "no style 'no-such-style'"),
        (["webcam", "--source", "95", "--sink", "null"], "camera 95"),
        (["webcam", "--source", "pattern", "--sink", "null", "--size", "8x8"], "too small"),
        (["webcam", "--source", "none.mp4", "--sink", "null"], "none.mp4"),
        (["webcam", "--source", "pattern", "--sink", "x.exe"], "'.exe'"),
        (["image", "none.jpg", "out.jpg"], "no such file: none.jpg"),
        (["image", "pyproject.toml", "out.jpg", "--style", "nowhere"], "nowhere"),
        (["video", "none.mp4", "out.mp4"], "none.mp4"),
        (["video", "pattern", "no/folder/out.mp4"], "no/folder"),
        (["video", "pattern", "out.exe"], "'.exe'"),
        (["bench", "--style", "nowhere"], "nowhere"),
    ],
)
def test_an_error_is_one_line_and_exit_1(run: Run, arguments: list[str], problem: str) -> None:
    assert run(*arguments) == 1
    lines = run.err.splitlines()
    assert lines[0].startswith("rtstyle: ") and problem in lines[0]
    assert len(lines) <= 2 and all(line.startswith("hint: ") for line in lines[1:])
    assert "Traceback" not in run.err and run.out == ""


def test_engine_that_does_not_exist(run: Run, tiny_style: Path) -> None:
    assert run("webcam", "--style", tiny_style, "--engine", "abacus", *PATTERN) == 1
    assert "abacus" in run.err and "cpu" in run.err


@pytest.mark.parametrize("command", [["doctor"], ["bench"], ["engine", "build", "vangogh", "--size", "64x48"]])
def test_a_card_that_is_not_there(run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setattr("engines.cuda.driver._DRIVERS", {})
    driver.driver.cache_clear()
    assert run(*command, "--device", "3") == 1
    assert run.err.splitlines()[0].startswith("rtstyle: there is no NVIDIA GPU 3")
    assert run.err.splitlines()[1] == "hint: `rtstyle doctor` lists the GPUs with their numbers"
    assert run(*command, "--device", "first") == 2
    driver.driver.cache_clear()


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from engines.errors import StyleError

    monkeypatch.setenv("RTSTYLE_DEBUG", "1")
    with pytest.raises(StyleError):
        main(["webcam", "--style", "nowhere", *PATTERN])


def test_a_fault_of_ours_is_one_line_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object) -> None:
        raise ZeroDivisionError("no\nway")

    monkeypatch.setattr("rtstyle.style_library.installed", break_down)
    assert run("styles") == 1
    assert run.err.splitlines()[0] == "rtstyle: ZeroDivisionError: no way"


def test_styles_doctor_bench(run: Run, tiny_style: Path) -> None:
    assert run("styles") == 0
    assert run("styles", "--json") == 0 and "styles" in run.json
    assert run("doctor", "--style", tiny_style) == 0 and "processor" in run.out
    assert run("doctor", "--style", tiny_style, "--json") == 0
    found = {finding["topic"]: finding for finding in run.json["findings"]}
    assert found["engine cpu"]["good"] and "cpu" in found["engine auto"]["found"]
    assert run("doctor", "--style", "nowhere") == 0 and "nowhere" in run.out
    assert run("bench", "--style", tiny_style, "--size", "64x48", "--seconds", "0", "--json") == 0
    (timing,) = run.json["timings"]
    assert (timing["width"], timing["height"]) == (64, 48) and timing["median_ms"] > 0
    assert run("bench", "--style", tiny_style, "--size", "64x48", "--seconds", "0") == 0 and "64×48" in run.out


def test_image(run: Run, tiny_style: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), np.full((48, 60, 3), 100, np.uint8))
    arguments = ("image", tmp_path / "in.png", tmp_path / "out.png", "--style", tiny_style)
    assert run(*arguments, "--json") == 0
    assert run.json["width"] == 60
    assert run(*arguments) == 1 and "--overwrite" in run.err
    assert run(*arguments, "--overwrite") == 0 and "out.png" in run.err and run.out == ""
    assert run(*arguments, "--overwrite", "--strength", "0", "--quiet") == 0 and run.err == ""
    assert (cv2.imread(str(tmp_path / "out.png")) == 100).all()
    assert run(*arguments, "--overwrite", "--scale", "2") == 0 and "60×48" in run.err
    assert run(*arguments, "--overwrite", "--scale", "0.5", "--strength", "0", "--quiet") == 0
    assert (cv2.imread(str(tmp_path / "out.png")) == 100).all()


def test_webcam(run: Run, tiny_style: Path, tmp_path: Path) -> None:
    assert run("webcam", "--style", tiny_style, *PATTERN, "--fps", "100", "--frames", "10", "--json") == 0
    assert run.json["frames_out"] == 10 and run.json["age_p95_ms"] > 0
    assert run("webcam", "--style", tiny_style, *PATTERN, "--fps", "100", "--frames", "3", "--quiet") == 0
    assert run.err == run.out == ""
    assert run("webcam", "--style", tiny_style, *PATTERN, "--fps", "100", "--frames", "3") == 0
    assert "age p50" in run.err and "dropped" in run.err and "fps" in run.err
    assert run("webcam", "--style", tiny_style, *PATTERN, "--frames", "2", "--scale", "2", "--json") == 0
    assert (run.json["width"], run.json["height"]) == (64, 48)


def test_video_of_the_pattern(run: Run, tiny_style: Path, tmp_path: Path) -> None:
    arguments = ("video", "pattern", tmp_path / "out.mp4", "--style", tiny_style, "--height", "48", "--end", "0.5")
    assert run(*arguments, "--json") == 0
    assert (run.json["frames_out"], run.json["width"], run.json["height"]) == (15, 86, 48)
    assert run(*arguments) == 1 and "exists" in run.err
    assert run(*arguments, "--overwrite") == 0 and "15 frames" in run.err
    assert run(*arguments, "--overwrite", "--quiet") == 0 and run.err == run.out == ""


def test_train_without_torch_prints_the_pip_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("rtstyle.commands.extras.importlib.import_module", absent)
    assert run("train", "--style-picture", "x.jpg") == 1
    assert f"hint: {pip_install('train')}" in run.err


def test_output_that_nobody_reads_is_no_error() -> None:
    program = subprocess.Popen([sys.executable, "-m", "rtstyle", "styles", "--json"], cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)  # fmt: skip
    assert program.stdout is not None and program.stderr is not None
    program.stdout.close()
    assert program.stderr.read() == b""
    program.stderr.close()
    program.wait(timeout=30)


@pytest.fixture
def endless(tiny_style: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A recording that goes on until it is stopped; it has begun to report."""
    program = subprocess.Popen(
        [sys.executable, "-m", "rtstyle", "webcam", "--style", str(tiny_style), "--source", "pattern",
         "--size", "64x48", "--fps", "50", "--sink", str(tmp_path / "out.mp4"), "--json"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stderr is not None
    program.stderr.readline()
    yield program
    program.kill()
    program.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_recording_and_keeps_it(
    endless: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    import av

    endless.send_signal(number)
    out, err = endless.communicate(timeout=30)
    assert endless.returncode == 128 + number
    assert "Traceback" not in err
    frames = json.loads(out.splitlines()[-1])["frames_out"]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == frames
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_video_and_leaves_nothing(tiny_style: Path, tmp_path: Path, number: signal.Signals) -> None:
    program = start_on_terminal("video", "pattern", f"{tmp_path}/out.mp4", "--style", f"{tiny_style}", "--end", "9999")
    wait_for(program.screen, b"fps")
    program.process.send_signal(number)
    assert program.process.wait(timeout=30) == 128 + number
    assert list(tmp_path.iterdir()) == []
    program.screen.close()


def test_a_terminal_that_closes_leaves_nothing(tiny_style: Path, tmp_path: Path) -> None:
    program = start_on_terminal("video", "pattern", f"{tmp_path}/out.mp4", "--style", f"{tiny_style}", "--end", "9999")
    wait_for(program.screen, b"fps")
    program.screen.close()  # the other end of its standard error is gone now, as when a window is closed
    program.process.send_signal(signal.SIGHUP)
    assert program.process.wait(timeout=30) != 0
    assert list(tmp_path.iterdir()) == []


class Terminal:
    """A process whose standard error is a terminal."""

    def __init__(self, process: subprocess.Popen[bytes], screen: IO[bytes]) -> None:
        self.process = process
        self.screen = screen


def start_on_terminal(*arguments: str) -> Terminal:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "rtstyle", *arguments], cwd=ROOT, stderr=theirs, stdout=theirs)
    os.close(theirs)
    return Terminal(process, os.fdopen(ours, "rb", buffering=0))


def wait_for(screen: IO[bytes], text: bytes) -> None:
    seen = b""
    while text not in seen:
        chunk = screen.read(4096)
        assert chunk, seen
        seen += chunk


def test_a_camera_that_gives_something_else_says_so(
    run: Run, tiny_style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rtstyle.sources.pattern import PatternSource

    monkeypatch.setattr("rtstyle.live.webcam.open_source", lambda *_, **__: PatternSource(64, 48, 100))
    arguments = ("webcam", "--style", tiny_style, "--sink", "null", "--frames", "2", "--quiet")
    assert run(*arguments, "--size", "128x96", "--fps", "50") == 0
    assert run.err.splitlines() == [
        "warning: pattern gives 64×48, not 128×96",
        "warning: pattern gives 100 fps, not 50",
    ]
    assert run(*arguments, "--size", "64x48", "--fps", "90") == 0 and run.err == ""


def test_a_loss_and_its_end_are_told_once(run: Run, tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rtstyle.backoff import Backoff
    from rtstyle.sources.reconnecting import ReconnectingSource
    from tests.rtstyle.test_reconnecting import Scripted, broken, connections

    connect = connections(Scripted(0, 3, broken), Scripted(9, 30))
    source = ReconnectingSource(connect, backoff=Backoff(2.0, 2.0))
    monkeypatch.setattr("rtstyle.live.webcam.open_source", lambda *_, **__: source)
    assert run("webcam", "--style", tiny_style, "--sink", "null", "--quiet") == 0
    assert run.err.splitlines() == [
        "warning: camera 0 stopped sending pictures; waiting for it",
        "warning: scripted is back",
    ]


def test_options_of_the_source_reach_it(run: Run, tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rtstyle.sources.pattern import PatternSource

    asked: list[dict[str, Any]] = []

    def opened(text: str, **options: Any) -> PatternSource:
        asked.append({"text": text, **options})
        return PatternSource(64, 48, 100)

    monkeypatch.setattr("rtstyle.live.webcam.open_source", opened)
    arguments = ("webcam", "--style", tiny_style, "--sink", "null", "--frames", "1", "--source", "a camera")
    assert run(*arguments, "--no-reconnect", "--loop", "--size", "64x48", "--fps", "100") == 0
    assert run(*arguments) == 0
    assert asked == [
        {"text": "a camera", "size": (64, 48), "fps": 100.0, "loop": True, "reconnect": False},
        {"text": "a camera", "size": None, "fps": None, "loop": False, "reconnect": True},
    ]
