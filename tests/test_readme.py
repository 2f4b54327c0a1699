"""The README tells the truth: its commands, options, targets and links exist, and the quick ones are run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")),
]


def commands(program: str) -> list[str]:
    """Lines of the fenced blocks that call ``program``, without their comments."""
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS)
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(f"{program} ")]


def rtstyle(*args: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    call = [sys.executable, "-m", "rtstyle", *args]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(cwd), "SDL_VIDEODRIVER": "dummy"}
    return subprocess.run(
        call,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@cache
def help_of(*command: str) -> str:
    """What ``rtstyle COMMAND --help`` prints."""
    done = rtstyle(*command, "--help") if command != ("--help",) else rtstyle("--help")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("line", commands("rtstyle"))
def test_commands_and_options_exist(line: str) -> None:
    _, command, *args = shlex.split(line)
    text = help_of(command, args[0]) if command == "engine" else help_of(command)
    for option in (arg for arg in args if arg.startswith("--")):
        assert re.search(rf"{option}\b", text), f"{command} has no {option}"


def test_every_command_is_told() -> None:
    told = {shlex.split(line)[1] for line in commands("rtstyle")}
    assert told >= {"video", "image", "webcam", "devices", "styles", "doctor", "engine", "bench", "train"}


def test_the_readme_is_short() -> None:
    assert len(README.split()) <= 900


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in DOCUMENTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"(?:^|`)make ([a-z0-9-]+)", text, re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{name}: no target {target}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / name).read_text(encoding="utf-8")):
        assert ((ROOT / name).parent / link).exists(), link


def test_the_program_in_the_readme_runs(tiny_style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.full((40, 60, 3), 90, np.uint8))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(program.replace('"vangogh"', repr(tiny_style.as_posix())), names)
    painting = names["painting"]
    assert isinstance(painting, np.ndarray)
    assert painting.shape == (40, 60, 3)


def test_a_clip_a_picture_and_a_live_scene_are_painted(tiny_style: Path, tmp_path: Path) -> None:
    """The README's commands on something small."""
    style = ["--style", str(tiny_style)]
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.full((40, 60, 3), 90, np.uint8))
    for args in (
        ["video", "pattern", "painting.mp4", "--height", "64", "--end", "0.2", *style],
        ["image", "photo.jpg", "painting.png", *style],
        ["webcam", "--source", "pattern", "--sink", "null", "--frames", "3", "--size", "64x48", "--json", *style],
    ):
        done = rtstyle(*args, cwd=tmp_path)
        assert done.returncode == 0, f"{args}: {done.stderr}"
    assert {path.name for path in tmp_path.iterdir()} >= {"painting.mp4", "painting.png"}
