"""Hints help whoever reads them: on the command line, in Python, and where the operating system refuses something."""

from __future__ import annotations

import ast
import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import rtstyle
from engines.errors import StylerError
from rtstyle.cli import main
from tests.rtstyle.clips import Clip

ROOT = Path(__file__).resolve().parents[2]
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")

COMMAND_LINE_ONLY = (
    "rtstyle/cli.py", "rtstyle/commands/", "rtstyle/compare.py", "rtstyle/doctor.py", "rtstyle/live/", "rtstyle/web/",
    "rtstyle/jobs/cluster", "rtstyle/playlist",
    "rtstyle/shelf.py", "rtstyle/style_download.py",
    "rtstyle/sound/follower.py", "rtstyle/sinks/window.py", "rtstyle/sinks/factory.py",
    "rtstyle/sources/camera_discovery.py", "rtstyle/sources/factory.py",
)  # fmt: skip
"""Nothing in ``import rtstyle`` leads there."""

A_COMMAND = re.compile(r"rtstyle |pip|uvx? |--(child|builder|cache|style|size)$|--(upgrade|index-url)\b", re.MULTILINE)
"""Whole lines for a shell, the arguments of a process of ours, and pip's options."""


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Return the texts of a module that are no documentation, each with all of the statement that it is part of."""
    for statement in ast.walk(tree):
        if not isinstance(statement, ast.stmt) or hasattr(statement, "body"):  # its parts come one by one
            continue
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        words = [
            one.value for one in ast.walk(statement) if isinstance(one, ast.Constant) and isinstance(one.value, str)
        ]
        yield statement.lineno, "\n".join(words)


def test_hints_that_name_options_name_the_settings_in_python_too() -> None:
    found = []
    for path in sorted([*ROOT.glob("engines/**/*.py"), *ROOT.glob("rtstyle/**/*.py")]):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(COMMAND_LINE_ONLY):
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, text in _texts(ast.parse("\n".join(lines))):
            around = "\n".join(lines[number - 1 : number + 3])  # a hint may be put together in several statements
            if FLAG.search(text) and not A_COMMAND.search(text) and "in Python" not in around:
                found.append(f"{name}:{number}: {text}")
    assert not found, "\n".join(found)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return Clip(frames=3).write(tmp_path / "in.mp4")


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({}, "overwrite=True"),
        ({"feather": 4.0, "overwrite": True}, "only, mask"),
        ({"fps": 10.0, "overwrite": True}, "fps"),
        ({"size": (64, 48), "overwrite": True}, "size, height"),
        ({"pipe_format": "y4m", "overwrite": True}, "pipe_format"),
        ({"codec": "prores", "resume": True}, "resume"),
    ],
)
def test_a_call_in_python_is_told_the_python_way(
    clip: Path, tiny_style: Path, settings: dict[str, Any], setting: str
) -> None:
    out = clip.with_name("out.mov")
    out.write_bytes(b"here already")
    with pytest.raises(StylerError) as told:
        rtstyle.stylize_video(clip, out, tiny_style, **settings)
    assert f"(in Python: {setting})" in told.value.hint or f"(in Python: {setting})" in told.value.problem


REFUSALS: dict[str, Callable[[Path, Path], list[object]]] = {
    "video": lambda source, target: ["video", source, target / "out.mp4"],
    "sequence": lambda source, target: ["video", source, target / "%06d.png"],
    "image": lambda source, target: ["image", source.with_suffix(".png"), target / "out.png"],
    "webcam": lambda source, target: ["webcam", "--source", "pattern", "--frames", "2", "--sink", target / "out.mp4"],
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_what_the_system_refuses_has_a_hint(
    clip: Path,
    tiny_style: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    number: int,
) -> None:
    """Only the system's own call is replaced: no disk here can be made read-only or full."""
    assert cv2.imwrite(str(clip.with_suffix(".png")), np.zeros((48, 64, 3), np.uint8))
    target = clip.with_name("disk")
    target.mkdir()
    opened, opened_number = Path.open, os.open

    def refuse(path: Path, mode: str = "r", *arguments: Any, **settings: Any) -> Any:
        if target in path.parents and mode[0] in "wxa":
            raise OSError(number, "Raw text of the system", str(path))
        return opened(path, mode, *arguments, **settings)

    def refuse_number(path: Any, *arguments: Any, **settings: Any) -> int:
        if str(target) in str(path):
            raise OSError(number, "Raw text of the system", str(path))
        return opened_number(path, *arguments, **settings)

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(os, "open", refuse_number)
    assert main([str(word) for word in (*REFUSALS[name](clip, target), "--style", tiny_style, "--quiet")]) == 1
    problem, hint = capfd.readouterr().err.splitlines()
    assert ("read-only" if number == errno.EROFS else "disk is full") in problem
    assert hint.startswith("hint: ") and "Raw text" not in problem + hint and "disk" in hint


@pytest.mark.parametrize(
    ("variable", "value", "line", "problem", "hint"),
    [
        ("STRENGTH", "2", "image a.png b.png", "--strength must be", "RTSTYLE_STRENGTH"),
        ("SCALE", "large", "video a.mp4 b.mp4", "--scale must be", "RTSTYLE_SCALE"),
        ("STYLE", "cubism", "webcam --source pattern --sink null", "no style 'cubism'", "RTSTYLE_STYLE"),
        ("STYLE", "wave:x+vangogh:1", "webcam --source pattern", "the weight of wave", "RTSTYLE_STYLE"),
        ("ENGINE", "abacus", "webcam --source pattern --sink null", "abacus", "RTSTYLE_ENGINE"),
        ("SOURCE", "nowhere.mp4", "webcam --sink null", "no such file: nowhere.mp4", "RTSTYLE_SOURCE"),
        ("CONTROL", "soon", "webcam --source pattern --sink null", "'soon' is not an address", "RTSTYLE_CONTROL"),
        ("TOKEN", "short", "web", "this token cannot be used", "RTSTYLE_TOKEN"),
    ],
)
def test_a_wrong_value_from_the_environment_names_its_variable(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    variable: str, value: str, line: str, problem: str, hint: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"RTSTYLE_{variable}", value)
    assert main(line.split()) in (1, 2)
    told, advice = capfd.readouterr().err.splitlines()
    assert problem in told and "short" not in told + advice
    assert f"the environment variable {hint}" in advice


def test_a_wrong_value_from_the_command_line_names_no_variable(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTSTYLE_STYLE", "wave")
    for line in ("image a.png b.png --style cubism", "image a.png b.png --strength 2", "image nowhere.png b.png"):
        assert main(line.split()) in (1, 2)
        assert "RTSTYLE" not in capfd.readouterr().err
