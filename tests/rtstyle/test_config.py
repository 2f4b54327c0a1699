"""Settings in a file: what they mean, that the command line wins, and that all faults are told."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from engines.errors import ConfigError, SettingsError
from rtstyle.cli import main
from rtstyle.commands import config_file
from rtstyle.commands.config_file import MAX_BYTES, settings_of
from rtstyle.commands.video import video
from rtstyle.commands.web import web
from rtstyle.commands.webcam import webcam
from rtstyle.live.webcam import WebcamJob

ROOT = Path(__file__).resolve().parents[2]

SETTINGS = settings_of(webcam, video, web)

GOOD: dict[str, tuple[str, Any]] = {
    "style": ('"wave"', "wave"),
    "source": ("1", "1"),
    "sink": ('["null", "out.mp4"]', ["null", "out.mp4"]),
    "size": ('"640x360"', "640x360"),
    "fps": ("25", 25.0),
    "loop": ("true", True),
    "reconnect": ("false", False),
    "mirror": ("true", True),
    "strength": ("0.5", 0.5),
    "scale": ("2", 2.0),
    "colours": ("0.5", 0.5),
    "only": ('"person"', "person"),
    "faces": ("0.5", 0.5),
    "mask": ('"mask.png"', "mask.png"),
    "inside": ("0.9", 0.9),
    "outside": ("0.1", 0.1),
    "feather": ("4", 4.0),
    "hold-fps": ("false", False),
    "train": ("false", False),
    "engine": ('"cpu"', "cpu"),
    "device": ("1", 1),
    "threads": ("2", 2),
    "bitrate": ("4000", "4000"),
    "control": ('"127.0.0.1:0"', "127.0.0.1:0"),
    "control-token": ('"correct horse"', "correct horse"),
    "height": ("720", 720),
    "codec": ('"hevc"', "hevc"),
    "crf": ("20", 20),
    "preset": ('"fast"', "fast"),
    "encoder": ('"auto"', "auto"),
    "microphone": ('"default"', "default"),
    "hwaccel": ('"auto"', "auto"),
    "segment": ("60", 60.0),
    "cluster": ('"studio-a:6379"', "studio-a:6379"),
    "workers": ("2", 2),
    "send-limit": ("500", 500.0),
    "glide": ("4", 4.0),
    "playlist": ('"vangogh,wave"', "vangogh,wave"),
    "every": ("8", 8.0),
    "osc": ("9000", "9000"),
    "osc-feedback": ('"10.0.0.7:9001"', "10.0.0.7:9001"),
    "midi": ('"nano"', "nano"),
    "midi-map": ('"nano.toml"', "nano.toml"),
    "modulate": ('"strength=sine 4s"', ["strength=sine 4s"]),
    "host": ('"127.0.0.1"', "127.0.0.1"),
    "port": ("8080", 8080),
    "token": ('"correct horse"', "correct horse"),
    "cert": ('"cert.pem"', "cert.pem"),
    "key": ('"key.pem"', "key.pem"),
    "stun": ('"stun:stun.example:3478"', "stun:stun.example:3478"),
    "peers": ("2", 2),
    "files": ('"painted"', "painted"),
    "files-limit": ("5", 5.0),
}
BAD = {
    "loop": "1", "reconnect": '"no"', "hold-fps": "0", "train": "1",
    "style": "7", "source": "-1", "sink": "[1]", "size": '"large"', "fps": "0", "mirror": '"yes"', "strength": "1.5",
    "scale": "nan", "colours": "2", "only": '"hands"', "faces": "-1", "mask": "1", "inside": "2", "outside": "-1",
    "feather": "1000", "engine": "true", "device": "-1", "threads": "0", "bitrate": "1.5", "control": "8765",
    "control-token": "[]", "height": '"720"', "codec": "{}", "crf": "true", "preset": '""', "encoder": "1",
    "microphone": "0",
    "hwaccel": "0", "segment": "-1", "cluster": "true", "workers": "0",
    "send-limit": "-1", "glide": "-1", "playlist": "1", "every": "0",
    "osc": '"here"', "osc-feedback": "{}", "midi": "1", "midi-map": "true", "modulate": "4",
    "host": "1", "port": "70000", "token": "12345678", "cert": "1", "key": "true", "stun": "[]", "peers": "0",
    "files": "false", "files-limit": "0",
}  # fmt: skip


def read_config(path: Path) -> dict[str, Any]:
    return config_file.read_config(path, SETTINGS)


def written(folder: Path, text: str) -> Path:
    path = folder / "studio.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_setting(tmp_path: Path) -> None:
    text = "".join(f"{key} = {value}\n" for key, (value, _) in GOOD.items())
    assert set(GOOD) == set(BAD) == set(SETTINGS)
    assert read_config(written(tmp_path, text)) == {key: value for key, (_, value) in GOOD.items()}
    assert read_config(written(tmp_path, 'sink = "null"\ncontrol_token = "correct horse"\n')) == {
        "sink": ["null"], "control-token": "correct horse",
    }  # fmt: skip


def test_all_faults_are_told_at_once_each_with_file_and_key(tmp_path: Path) -> None:
    text = "".join(f"{key} = {value}\n" for key, value in BAD.items()) + "stile = 1\nxyzzy = 2\n[window]\na = 1\n"
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        read_config(path)
    told = [fault.problem for fault in caught.value.errors]
    assert len(told) == len(BAD) + 3 and all(str(path) in one for one in told)
    assert all(any(f"{key} must be" in one for one in told) for key in BAD)
    assert "did you mean style?" in next(fault.hint for fault in caught.value.errors if "stile" in fault.problem)


@pytest.mark.parametrize("content", [b"style = ", b"\xff\xfe\x00", b"[" * 5000, b"a = 1\na = 2\n"])
def test_what_is_no_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_config(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot read"):
        read_config(tmp_path)
    (tmp_path / "film.toml").write_bytes(bytes(MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="too large"):
        read_config(tmp_path / "film.toml")


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[WebcamJob, Any]]:
    """The jobs that the command line makes; none is run."""
    made: list[tuple[WebcamJob, Any]] = []

    def note(job: WebcamJob, load: object, controls: Any, **_: object) -> None:
        made.append((job, controls))
        raise ConfigError("noted")

    monkeypatch.setattr("rtstyle.live.webcam.run_webcam", note)
    return made


def test_the_command_line_wins(tmp_path: Path, jobs: list[tuple[WebcamJob, Any]]) -> None:
    path = written(
        tmp_path, 'source = "pattern"\nsink = ["null", "a.mp4"]\nstrength = 0.5\nmirror = true\nsize = "64x48"\nfps = 9'
    )
    main(["webcam", "--config", str(path)])
    main(["webcam", "--strength", "0.25", "--sink", "b.mp4", "--no-mirror", "--size", "32x32", "--config", str(path)])
    main(["webcam"])
    (first, controls), (second, other), (third, _) = jobs
    assert (first.source, first.sinks, first.size, first.fps) == ("pattern", ("null", "a.mp4"), (64, 48), 9.0)
    assert (controls.strength, controls.mirror) == (0.5, True)
    assert (second.source, second.sinks, second.size) == ("pattern", ("b.mp4",), (32, 32))
    assert (other.strength, other.mirror) == (0.25, False)
    assert third.sinks == ("window",), "nothing stays from one to the next"


def test_the_documented_example_works(tmp_path: Path, jobs: list[tuple[WebcamJob, Any]]) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/live.md").read_text(encoding="utf-8"), re.DOTALL)
    path = written(tmp_path, text.replace("8765", "0"))
    of_files = {"height", "codec", "crf", "preset", "segment", "hwaccel", "cluster", "workers", "send-limit"}
    of_the_page = {"host", "port", "token", "cert", "key", "stun", "peers", "files", "files-limit", "train"}
    played = {"osc", "osc-feedback", "midi", "midi-map", "modulate"}  # on a page of their own
    assert (
        set(read_config(path)) == set(SETTINGS) - {"control-token", "mask", "device"} - of_files - of_the_page - played
    )
    main(["webcam", "--config", str(path)])
    ((job, controls),) = jobs
    assert (job.sinks, job.size, job.bits) == (("window", "virtual"), (1280, 720), 4_000_000)
    assert (controls.style, controls.mirror, controls.strength) == ("wave", True, 0.9)


def test_a_clip_takes_what_it_has_and_leaves_the_rest(tiny_style: Path, tmp_path: Path) -> None:
    import av

    text = f'style = "{tiny_style.as_posix()}"\nheight = 48\ncodec = "vp9"\nsink = "null"\ncontrol = "127.0.0.1:0"\n'
    text += 'size = "640x360"\nfps = 15\n'  # of the camera
    out = tmp_path / "a.mkv"
    assert main(["video", "pattern", str(out), "--end", "0.2", "--config", str(written(tmp_path, text)), "-q"]) == 0
    with av.open(str(out)) as clip:
        assert clip.streams.video[0].codec_context.name in ("vp9", "libvpx-vp9") and clip.streams.video[0].height == 48


def test_faults_on_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "strength = 3\nstile = 1\n")
    assert main(["webcam", "--config", str(path)]) == 2
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 2 and "strength must be" in told[0] and "stile" in told[1] and "did you mean" in told[1]
    assert main(["webcam", "--config", str(tmp_path / "none.toml")]) == 1
    assert "cannot read" in capfd.readouterr().err


def test_the_page_takes_the_file_too(tmp_path: Path) -> None:
    pytest.importorskip("aiortc")
    path = tmp_path / "studio.toml"
    path.write_text(
        'source = "pattern"\nstyle = "wave"\nstrength = 0.5\nport = 0\nfps = 10\nsink = "null"\nheight = 48\n'
    )
    call = [sys.executable, "-m", "rtstyle", "web", "--config", str(path), "--strength", "0.25"]
    with subprocess.Popen(call, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        with urllib.request.urlopen(line.rpartition(" ")[2].strip() + "styles", timeout=10) as answer:
            known = json.load(answer)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert known["watchable"] and known["begin"]["style"] == "wave" and known["begin"]["strength"] == 0.25
