"""Options that mean something only together with another one: alone, each is an error and not silently ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtstyle.cli import main
from rtstyle.commands.option_rules import NEEDS
from tests.rtstyle.test_cli import Run

VIDEO = ["video", "in.mp4", "out.mp4"]
IMAGE = ["image", "in.png", "out.png"]
WEBCAM = ["webcam", "--source", "pattern", "--sink", "null"]
WEB = ["web"]

ALONE = [
    (VIDEO, "--every 8", "--every does nothing without --playlist", "--playlist"),
    (VIDEO, "--glide 2", "--glide does nothing without --playlist", "--playlist"),
    (VIDEO, "--every 8 --glide 2", "--every and --glide do nothing", "--playlist"),
    (VIDEO, "--inside 1", "--inside does nothing without a mask", "--only person"),
    (VIDEO, "--outside 0.2", "--outside does nothing without a mask", "--mask"),
    (VIDEO, "--feather 0", "--feather does nothing without a mask", "--mask"),
    (VIDEO, "--workers 2", "--workers does nothing without --cluster", "--cluster"),
    (VIDEO, "--send-limit 10", "--send-limit does nothing without --cluster", "--cluster"),
    (VIDEO, "--segment 0 --job-dir job", "without segments there is no job folder", "--job-dir"),
    (["video", "in.mp4", "out.gif"], "--job-dir job", "an animated picture is written in one piece", "--job-dir"),
    (["video", "in.mp4", "out.gif"], "--encoder nvenc", "pictures take no encoder", "leave it out"),
    (["video", "in.mp4", "out.gif"], "--crf 20 --preset fast", "pictures take no crf and no preset", "leave it out"),
    (["video", "%06d.png", "out.mp4"], "--video-stream 2", "numbered pictures have no video streams", "leave out"),
    (VIDEO, "--fps 30", "in.mp4 has its own rate", "for pictures"),
    (VIDEO, "--size 64x48", "in.mp4 has its own size", "raw video"),
    (VIDEO, "--pipe-format y4m", "there is no pipe", "input or output"),
    (IMAGE, "--format png", "a format is for a folder of pictures", "name of the output"),
    (VIDEO, "--container mkv", "--container is for a folder", "name of the output"),
    (IMAGE, "--feather 3", "--feather does nothing without a mask", "--only person"),
    (IMAGE, "--inside 0.5 --outside 0.5", "--inside and --outside do nothing", "--only person"),
    (WEBCAM, "--every 8", "--every does nothing without --playlist", "--playlist"),
    (WEBCAM, "--glide 2", "--glide does nothing without --playlist", "--playlist"),
    (WEBCAM, "--feather 3", "--feather does nothing without a mask", "--only person"),
    (WEBCAM, "--inside 1 --outside 0.2", "--inside and --outside do nothing without a mask", "--mask"),
    (WEBCAM, "--bitrate 4M", "--bitrate does nothing without a recording or a stream", "--sink"),
    (WEBCAM, "--encoder auto", "--encoder does nothing without a recording or a stream", "--sink"),
    (WEBCAM, "--microphone default", "--microphone does nothing without a recording", "--sink"),
    (WEBCAM, "--control-token 12345678", "--control-token does nothing without --control", "--control"),
    (["webcam", "--source", "x.mp4"], "--fps 30", "--fps does nothing without a camera", "their own frame rate"),
    (WEBCAM, "--midi-map x.toml", "--midi-map and --midi-learn need a controller", "--midi"),
    (WEBCAM, "--osc-feedback 9000", "--osc-feedback goes with --osc", "--osc"),
    (WEBCAM, "--loop", "pattern is not a clip", "clips only"),
    (WEB, "--every 8", "--every does nothing without --playlist", "--playlist"),
    (WEB, "--size 640x360", "--size does nothing without a source of this machine", "--source"),
    (WEB, "--fps 30", "--fps does nothing without a source of this machine", "--source"),
    (WEB, "--loop", "--loop does nothing without a source of this machine", "--source"),
    (WEB, "--no-reconnect", "--no-reconnect does nothing without a source of this machine", "--source"),
    ([*WEB, "--source", "x.mp4"], "--fps 30", "--fps does nothing without a camera", "their own frame rate"),
    (WEB, "--files-limit 2", "--files-limit does nothing without --files", "--files"),
    (WEB, "--key key.pem", "a TLS certificate and its key belong together", "--cert"),
    (
        WEB,
        "--modulate strength=sine:4s",
        "--osc, --midi, --modulate and --microphone belong to",
        "--source",
    ),
]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    for name in ("in.mp4", "in.png"):
        Path(name).write_bytes(b"nothing that could be read")
    return Run(capfd)


@pytest.mark.parametrize(("command", "line", "problem", "hint"), ALONE)
def test_an_option_that_would_do_nothing_is_an_error(
    run: Run, command: list[str], line: str, problem: str, hint: str
) -> None:
    assert run(*command, *line.split()) == 1
    told, advice = run.err.splitlines()
    assert told.startswith(f"rtstyle: {problem}") and advice.startswith("hint: ") and hint in advice


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (VIDEO, "--every 8 --glide 2 --playlist vangogh,wave"),
        (VIDEO, "--feather 3 --only person"),
        (VIDEO, "--inside 0.5 --mask nowhere.png"),
        (IMAGE, "--outside 0.5 --only background"),
        (WEBCAM, "--every 8 --control nonsense"),
        (WEBCAM, "--glide 2 --playlist vangogh"),
        (["webcam", "--source", "nowhere.mp4"], "--glide 2 --feather 3 --microphone default"),
        (WEBCAM, "--bitrate 4M --encoder software --sink nowhere/clip.mkv"),
        (WEB, "--feather 3 --glide 2 --inside 0.5 --host nowhere.invalid"),
    ],
)
def test_together_with_what_they_need_they_go_on(run: Run, command: list[str], line: str) -> None:
    assert run(*command, *line.split()) != 0, "nothing here can run to its end"
    assert "nothing without" not in run.err


def test_a_file_may_hold_settings_that_another_run_needs(run: Run) -> None:
    Path("studio.toml").write_text("every = 4\nfeather = 2\nglide = 1\n")
    assert run(*WEBCAM, "--config", "studio.toml", "--frames", "2", "--quiet") == 0, run.err


def test_every_option_that_needs_another_one_is_tried() -> None:
    tried = " ".join(f"{command[0]}:{word}" for command, line, *_ in ALONE for word in line.split())
    for command, needs in NEEDS.items():
        for name in {name for need in needs for name in need.options}:
            option = {"bits": "bitrate", "reconnect": "no-reconnect"}.get(name, name.replace("_", "-"))
            assert f"{command}:--{option}" in tried


def test_help_says_where_a_playlist_begins_and_what_no_glide_is(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {}
    for command in ("video", "webcam", "web"):
        assert main([command, "--help"]) == 0
        shown[command] = " ".join(capsys.readouterr().out.split())
    assert all("The first is shown first, or --style if it is given" in text for text in shown.values())
    assert "next style's. [default: 0, a cut]" in shown["video"]
    assert "next style's. [default: a short fade]" in shown["webcam"] and "short fade" in shown["web"]
