"""Help, names, environment variables and messages of the command line."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engines.base import MIN_SIDE
from engines.errors import ConfigError
from engines.install_hint import pip_install
from rtstyle.commands import logs
from rtstyle.commands.values import LEAST_HEIGHT
from tests.rtstyle.test_cli import COMMANDS, PATTERN, ROOT, Run


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    return Run(capfd)


def rtstyle(
    *arguments: str, call: Sequence[str] = ("-m", "rtstyle"), cwd: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, *call, *arguments]
    environment = {**os.environ, **environment}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), ["engine"], ["engine", "build"], ["train"]])
def test_help_is_for_people(run: Run, command: list[str]) -> None:
    assert run(*command, "-h") == 0
    text = run.out
    for word in ("<", "{", "\\b", "\b", "list[", "......"):
        assert word not in text, text
    assert run("help", *command) == 0 and run.out == text


@pytest.mark.parametrize(
    "command", [["webcam"], ["video"], ["train"], ["engine"], ["engine", "build"], ["engine", "list"]]
)
def test_the_word_help_is_understood_everywhere(run: Run, command: list[str]) -> None:
    assert run(*command, "--help") == 0
    text = run.out
    assert run(*command, "help") == 0 and run.out == text
    assert run("help", "help") == 0 and "Commands:" in run.out


@pytest.mark.parametrize("command", ["webcam", "video", "image", "web", "bench", "evaluate", "explain", "styles"])
def test_examples_keep_their_lines(run: Run, command: str) -> None:
    assert run(command, "--help") == 0
    lines = run.out.splitlines()
    first = lines.index("  Examples:") + 1
    assert lines[first].startswith(f"      rtstyle {command}")


def test_aliases_and_near_names(run: Run) -> None:
    assert run("picture", "--help") == 0 and "rtstyle image photo.jpg" in run.out
    assert run("vdeo") == 2 and "video" in run.err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--height", "720p"], "--height must be a whole number of at least 24, not '720p'; did you mean 720?"),
        (["--strength", "80%"], "--strength must be a number from 0 to 1, not '80%'; did you mean 0.8?"),
        (["--strength", "strong"], "--strength must be a number from 0 to 1, not 'strong'"),
        (["--height", "8px"], "--height must be a whole number of at least 24, not '8px'"),
        (["--crf", "20.5"], "--crf must be a whole number of at least 0, not '20.5'"),
        (["--threads", "0"], "--threads must be a whole number of at least 1, not '0'"),
    ],
)
def test_wrong_numbers_are_answered_plainly(run: Run, arguments: list[str], line: str) -> None:
    assert run("video", "a.mp4", "b.mp4", *arguments) == 2
    assert run.err.splitlines() == [f"rtstyle: {line}", "hint: see `rtstyle video --help`"]


@pytest.mark.parametrize(
    ("option", "told"), [("--steps", "must be a whole number"), ("--learning-rate", "must be a number")]
)
def test_wrong_numbers_for_training_too(run: Run, option: str, told: str) -> None:
    assert run("train", option, "many") == 2
    assert run.err.splitlines() == [f"rtstyle: {option} {told}", "hint: see `rtstyle train --help`"]


def test_environment_variables_set_options(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    jobs: list[tuple[Any, Any]] = []

    def note(job: Any, load: object, controls: Any, **_: object) -> None:
        jobs.append((job, controls))
        raise ConfigError("noted")

    monkeypatch.setattr("rtstyle.live.webcam.run_webcam", note)
    for name, value in {"STYLE": "Wave", "STRENGTH": "0.5", "SCALE": "2", "SOURCE": "pattern"}.items():
        monkeypatch.setenv(f"RTSTYLE_{name}", value)
    (tmp_path / "a.toml").write_text('style = "monet"\nfps = 9\n')
    run("webcam", "--config", tmp_path / "a.toml")
    run("webcam", "--strength", "0.25", "--source", "3")
    (first, controls), (second, other) = jobs
    assert (first.source, first.fps, controls.style, controls.strength, controls.scale) == (
        "pattern",
        9,
        "wave",
        0.5,
        2,
    )
    assert (second.source, other.strength) == ("3", 0.25)
    monkeypatch.setenv("RTSTYLE_STRENGTH", "80%")
    assert run("webcam") == 2 and "--strength must be" in run.err
    monkeypatch.setenv("RTSTYLE_STRENGTH", "")
    monkeypatch.setenv("RTSTYLE_ENGINE", "abacus")
    assert run("bench", "--seconds", "0") == 1 and "abacus" in run.err


def test_the_shell_completes_styles() -> None:
    asked = {"_RTSTYLE_COMPLETE": "complete_bash", "COMP_WORDS": "rtstyle image --style van", "COMP_CWORD": "3"}
    assert rtstyle(cwd=ROOT, **asked).stdout.split() == ["vangogh"]


@pytest.mark.parametrize("name", ["engines.py", "train.py", "engines/__init__.py", "train/__init__.py"])
@pytest.mark.parametrize("call", [["-m", "rtstyle"], ["-c", "from rtstyle.cli import main; raise SystemExit(main())"]])
def test_a_file_that_hides_a_package_is_named(tmp_path: Path, name: str, call: list[str]) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("raise SystemExit('imported')\n")
    done = rtstyle("styles", call=call, cwd=tmp_path, PYTHONPATH=str(ROOT))
    hidden = path if path.parent == tmp_path else path.parent
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines() == [
        f"rtstyle: {hidden} hides the package of rtstyle that has this name",
        "hint: rename it, or run rtstyle in another folder",
    ]


def test_the_page_without_its_extra_names_the_pip_line() -> None:
    code = "import sys; sys.modules['aiohttp'] = None; from rtstyle.cli import main; sys.exit(main(['web']))"
    done = rtstyle(call=["-c", code], cwd=ROOT)
    assert done.returncode == 1 and done.stderr.splitlines() == [
        "rtstyle: the page needs aiohttp, which is not installed",
        f"hint: {pip_install('web')}",
    ]


def test_an_empty_folder_hides_nothing(tmp_path: Path) -> None:
    for name in ("engines", "train"):
        (tmp_path / name).mkdir()
    done = rtstyle("styles", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 0 and "vangogh" in done.stdout


def test_messages_are_lines_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logs.configure()
    for _ in range(2):  # several engines may wait for one build
        logging.getLogger("engines.trt").info("building for %d×%d", 64, 48)
    logging.getLogger("rtstyle.sinks").warning("lost")
    logging.getLogger("rtstyle.sinks").debug("never")
    logging.getLogger("another").warning("never")
    told = capsys.readouterr()
    assert told.out == "" and told.err == "building for 64×48\nwarning: lost\n"
    logs.configure(quiet=True)
    logging.getLogger("train").info("never")
    logging.getLogger("train").warning("slow")
    assert capsys.readouterr().err == "warning: slow\n"


def test_quiet_leaves_warnings(run: Run, tiny_style: Path) -> None:
    arguments = ("webcam", "--style", tiny_style, *PATTERN, "--frames", "2")
    assert run(*arguments, "--quiet", "--control", "127.0.0.1:0") == 0 and run.err == ""
    assert run(*arguments, "--control", "127.0.0.1:0") == 0 and "control at http://127.0.0.1:" in run.err


def test_a_message_does_not_tear_a_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from rtstyle.progress import ProgressDisplay

    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    logs.configure()
    with ProgressDisplay("clip.mp4", 10, stream=screen) as bar:
        bar.update(1, 5.0)
        logging.getLogger("rtstyle").warning("lost a frame")
        bar.update(2, 5.0)
    lines = [line.rpartition("\x1b[2K")[2].strip() for line in screen.getvalue().splitlines()]
    assert "warning: lost a frame" in lines


def test_the_least_height_is_that_of_the_engines() -> None:
    assert LEAST_HEIGHT == MIN_SIDE
