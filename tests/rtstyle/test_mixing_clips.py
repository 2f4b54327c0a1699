"""Clips in a mix, and clips that follow a playlist."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from engines.base import RGB, PendingFrame
from engines.errors import EngineError
from engines.openvino.engine import CpuEngine
from rtstyle.cli import main
from rtstyle.jobs.manifest import MANIFEST
from tests.rtstyle.clips import Clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds."""
    return Clip(frames=75).write(tmp_path_factory.mktemp("clip") / "clip.mp4")


def video(clip: Path, output: Path, *options: str) -> int:
    return main(
        [
            "video",
            str(clip),
            str(output),
            "--engine",
            "cpu:fp32",
            "--crf",
            "1",
            "--preset",
            "ultrafast",
            "--quiet",
            *options,
        ]
    )


def frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


def off(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


def test_a_playlist_follows_the_time_of_the_clip(clip: Path, tmp_path: Path) -> None:
    turns = ("--playlist", "wave,vangogh", "--every", "1", "--glide", "0.4")
    one, other = tmp_path / "one.mp4", tmp_path / "other.mp4"
    assert video(clip, one, *turns, "--segment", "0") == 0
    assert video(clip, other, *turns, "--segment", "0.5") == 0
    painted = frames(one)
    assert all(off(a, b) < 1 for a, b in zip(painted, frames(other), strict=True)), "in segments as in one piece"
    for style, at in (("wave", (0, 24, 70)), ("vangogh", (36, 49))):
        assert video(clip, tmp_path / f"{style}.mp4", "--style", style) == 0
        alone = frames(tmp_path / f"{style}.mp4")
        assert all(off(painted[number], alone[number]) < 1 for number in at), style
        assert off(painted[30], alone[30]) > 3, "on the way"


def test_a_mix_goes_on_only_with_the_same_mix(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, submit = 0, CpuEngine.submit

    def fail_later(engine: CpuEngine, rgb: RGB, *settings: float) -> PendingFrame:
        nonlocal calls
        calls += 1
        if calls > 40:
            raise EngineError("the power went out")
        return submit(engine, rgb, *settings)

    output, segments = tmp_path / "mix.mp4", ("--segment", "0.5")
    monkeypatch.setattr(CpuEngine, "submit", fail_later)
    assert video(clip, output, "--style", "wave:0.25+vangogh:0.75", *segments) == 1
    monkeypatch.undo()
    (manifest,) = tmp_path.glob(f"*/{MANIFEST}")
    assert json.loads(manifest.read_text())["settings"]["style"].startswith("vangogh (")
    capsys.readouterr()
    assert video(clip, output, "--style", "vangogh:0.5+wave:0.5", "--resume", *segments) == 1
    assert "75 %" in capsys.readouterr().err
    assert video(clip, output, "--style", "vangogh:3+wave:1", "--resume", *segments) == 0
    assert video(clip, tmp_path / "whole.mp4", "--style", "vangogh:0.75+wave:0.25") == 0
    assert all(off(a, b) < 1 for a, b in zip(frames(output), frames(tmp_path / "whole.mp4"), strict=True))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--style", "vangogh+wavy"), "there is no style 'wavy'"),
        (("--style", "vangogh:0+wave:0"), "the weights of the mix sum to 0"),
        (("--playlist", "wave"), "a playlist takes two styles or more"),
        (("--playlist", "wave,wavy"), "there is no style 'wavy'"),
        (("--playlist", "wave,vangogh", "--glide", "9"), "a glide of 9 s is longer than a turn of 8 s"),
        (("--playlist", "wave,vangogh", "--cluster", "local"), "a playlist needs one process"),
        (("--playlist", "wave,vangogh", "--engine", "torch"), "the engine torch cannot follow a playlist"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], told: str
) -> None:
    assert video(clip, tmp_path / "out.mp4", *options) != 0
    assert told in capsys.readouterr().err and not list(tmp_path.iterdir())
