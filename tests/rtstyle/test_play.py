"""``--osc``, ``--midi`` and ``--modulate`` on the command line and beside the page."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pythonosc.udp_client import SimpleUDPClient

from engines.errors import ConfigError
from engines.install_hint import pip_install
from rtstyle.cli import main
from rtstyle.commands.play import Instruments, Play
from rtstyle.controls import Controls
from rtstyle.live.actions import Actions
from rtstyle.live.midi_map import parse_control
from rtstyle.live.session import LiveSession
from rtstyle.modulation import parse_modulation
from rtstyle.sources.pattern import PatternSource
from rtstyle.web.rooms import Rooms, WebSettings
from tests.rtstyle.browsers import Tint, in_loop

pytestmark = pytest.mark.real_time

ROOT = Path(__file__).resolve().parents[2]


def test_a_run_that_osc_steers_and_an_oscillator_moves(tiny_style: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "rtstyle", "webcam", "--style", str(tiny_style), "--source", "pattern", "--fps", "50",
         "--size", "64x48", "--sink", "null", "--json", "--osc", "0", "--modulate", "strength=sine:1s:0.2..0.8"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stdout is not None and program.stderr is not None
    line = ""
    while "OSC at " not in line:
        line = program.stderr.readline()
        assert line
    port = int(line.rpartition(":")[2])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"hello", ("127.0.0.1", port))
    client = SimpleUDPClient("127.0.0.1", port)
    client.send_message("/rtstyle/style", "wave")
    client.send_message("/rtstyle/colours", 0.25)
    stats = json.loads(program.stdout.readline())
    while stats["wanted"] != "wave" or stats["colours"] != 0.25:
        stats = json.loads(program.stdout.readline())
    assert stats["modulation"] == {"strength": "sine 1s 0.2..0.8"} and 0.2 <= stats["strength"] <= 0.8
    client.send_message("/rtstyle/stop", [])
    client._sock.close()
    _, errors = program.communicate(timeout=30)
    assert program.returncode == 0 and "1 malformed packets were ignored" in errors


def test_every_address_is_documented() -> None:
    text = (ROOT / "docs" / "instrument.md").read_text(encoding="utf-8")
    with LiveSession(PatternSource(64, 48, 30), Controls()) as live:
        missing = [name for name in Actions(live).names[1] if f"`/rtstyle/{name}`" not in text]
    assert not missing
    (map_file,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    for line in tomllib.loads(map_file).values():
        for event in line if isinstance(line, list) else [line]:
            parse_control(event)
    for modulation in re.findall(r"--modulate (?:\"(.*?)\"|([a-z]\S+))", text):
        parse_modulation("".join(modulation))


def test_a_port_in_use_is_one_line_before_anything_starts(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        assert main(["webcam", "--source", "pattern", "--sink", "null", "--osc", str(port)]) == 1
        told = capfd.readouterr().err.splitlines()
        assert len(told) == 2 and f"cannot listen for OSC on 127.0.0.1:{port}" in told[0] and "hint" in told[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["webcam", "--osc", "here"], "must be a port like 9000"),
        (["webcam", "--modulate", "strength=loud"], "there is no 'loud'"),
        (["webcam", "--midi-learn", "strength"], "add --midi default"),
        (["webcam", "--osc-feedback", "9001"], "add --osc 9000"),
        (["webcam", "--osc", "0", "--osc-feedback", "no such host:9001"], "no such address"),
        (["web", "--osc", "9000"], "add --source"),
        (["web", "--modulate", "strength=sine:4s"], "add --source"),
    ],
)
def test_wrong_options(arguments: list[str], told: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) in (1, 2)
    error = capfd.readouterr().err
    assert told in error and "Traceback" not in error


@pytest.mark.parametrize(
    ("play", "module", "room", "extra"),
    [
        (Play(osc="0"), "pythonosc.dispatcher", "rtstyle.live.osc", "osc"),
        (Play(midi="default"), "mido", "rtstyle.live.midi", "midi"),
    ],
)
def test_a_missing_extra(play: Play, module: str, room: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, room, raising=False)
    monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]  # as Python marks what is absent
    with pytest.raises(ConfigError, match=f"needs {module.partition('.')[0]}") as error:
        Instruments(play)
    assert error.value.hint == pip_install(extra)


def test_settings_in_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "stage.toml"
    file.write_text('osc = 9000\nmidi = "nano"\nmidi-map = "nano.toml"\nmodulate = ["strength=wobble:4s"]\n')
    assert main(["webcam", "--config", str(file)]) == 1
    assert "there is no 'wobble'" in capfd.readouterr().err


@in_loop
async def test_the_pages_own_source_is_steered_while_it_runs() -> None:
    instruments = Instruments(Play(modulate=["strength=sine 4s"]))
    followed: list[Actions | None] = []

    def follow(actions: Actions | None) -> None:
        followed.append(actions)
        instruments.follow(actions)

    rooms = Rooms(WebSettings(port=0), Tint, lambda: PatternSource(64, 48, 30), follow)
    for _ in range(2):
        session = await rooms._local_session()
        assert followed[-1] is not None and followed[-1].live.controls is session.controls
        assert followed[-1].live.modulations.running == {"strength": "sine 4s"}
        await rooms._close_unwatched()
        assert followed[-1] is None
    assert len(followed) == 4
    instruments.close()
