"""The style shown while it is trained: unfinished styles in the run folder, and a window on them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.style_file import StyleModel
from train import live_preview as module
from train.config.schema import TrainConfig
from train.live_preview import EVERY_S, SNAPSHOT, live_preview, with_preview
from train.loop import train

WINDOW = """
import sys, time
from pathlib import Path
Path(sys.argv[0]).with_suffix(".seen").write_text(" ".join(sys.argv[1:]))
time.sleep(60 if "long" in sys.argv else 0)
sys.exit(3 if "broken" in sys.argv else 0)
"""


def test_unfinished_styles_can_be_used(config: Callable[..., TrainConfig]) -> None:
    settings = config(run={"snapshot_seconds": 0.001})
    train(settings)
    style = StyleModel.open(settings.run.out / SNAPSHOT)
    assert 1 <= style.training["steps_done"] <= 6 and style.name == "painting"


def test_none_unless_asked_for(config: Callable[..., TrainConfig]) -> None:
    settings = config()
    train(settings)
    assert not (settings.run.out / SNAPSHOT).exists()


def test_the_preview_leaves_a_core_to_the_window(config: Callable[..., TrainConfig]) -> None:
    settings = with_preview(config())
    assert settings.run.snapshot_seconds == EVERY_S and settings.run.threads >= 1
    kept = with_preview(config(run={"snapshot_seconds": 2.0, "threads": 3}))
    assert kept.run.snapshot_seconds == 2.0 and kept.run.threads == 3


@pytest.fixture
def window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of `rtstyle webcam`; return where it writes its arguments."""
    program = tmp_path / "window.py"
    program.write_text(WINDOW)
    real = module.subprocess.Popen

    def started(command: list[str], **apart: Any) -> object:
        assert command[:5] == [sys.executable, "-P", "-m", "rtstyle", "webcam"]
        return real([sys.executable, str(program), *command[5:]], **apart)

    monkeypatch.setattr(module.subprocess, "Popen", started)
    monkeypatch.setattr(module, "POLL_S", 0.05)
    return program.with_suffix(".seen")


def snapshot(settings: TrainConfig, style: Path) -> None:
    """What a training does: a style in the run folder."""
    target = settings.run.out / SNAPSHOT
    target.mkdir(parents=True)
    (target / "style.json").write_bytes((style / "style.json").read_bytes())


def until(path: Path) -> str:
    end_s = time.monotonic() + 30
    while not path.exists() or not path.read_text():
        assert time.monotonic() < end_s, "no window"
        time.sleep(0.05)
    return path.read_text()


def test_a_window_opens_with_the_first_style_and_closes_at_the_end(
    config: Callable[..., TrainConfig], window: Path, tiny_style: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = config()
    with live_preview(settings, "long"):
        snapshot(settings, tiny_style)
        arguments = until(window)
    assert f"--source long --style {settings.run.out / SNAPSHOT}" in arguments and "--loop" not in arguments
    assert not caplog.records  # closing it is no fault


def test_a_window_that_cannot_open_is_told(
    config: Callable[..., TrainConfig], window: Path, tiny_style: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = config()
    with live_preview(settings, "broken"):
        snapshot(settings, tiny_style)
        until(window)
        end_s = time.monotonic() + 30
        while not caplog.records and time.monotonic() < end_s:
            time.sleep(0.05)
    assert "preview window could not be shown" in caplog.text


def test_a_clip_is_repeated(config: Callable[..., TrainConfig], window: Path, tiny_style: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"")
    settings = config()
    with live_preview(settings, str(clip)):
        snapshot(settings, tiny_style)
        assert "--loop" in until(window)


def test_no_window_without_a_source_or_a_style(config: Callable[..., TrainConfig], window: Path) -> None:
    settings = config()
    with live_preview(settings, None), live_preview(replace(settings), "pattern"):
        pass
    assert not window.exists()
