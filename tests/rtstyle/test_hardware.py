"""Encoders in hardware: their options by table, and that those that cannot work here refuse before the first frame.

Where a test needs one that works, libx264 stands in: it takes NV12 as a chip does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from engines.errors import ConfigError
from rtstyle.cli import main
from rtstyle.doctor import examine
from rtstyle.media import hardware
from rtstyle.media.codecs import CODECS, ENCODERS, HARDWARE, choose
from rtstyle.media.hardware import fault, pick, working
from rtstyle.sinks.live_encoder import LiveEncoder
from rtstyle.video import VideoJob, stylize_video
from tests.rtstyle.clips import Clip, Seen, Still, numbered

PRESENT = [name for name in HARDWARE if name in av.codecs_available]

QUALITY = {
    "h264_nvenc": {"preset": "p4", "rc": "vbr", "cq": "20", "b": "0"},
    "hevc_nvenc": {"preset": "p4", "rc": "vbr", "cq": "24", "b": "0"},
    "av1_nvenc": {"preset": "p4", "rc": "vbr", "cq": "32", "b": "0"},
    "h264_qsv": {"preset": "medium", "global_quality": "20"},
    "hevc_qsv": {"preset": "medium", "global_quality": "24"},
    "av1_qsv": {"preset": "medium", "global_quality": "26"},
    "h264_amf": {"quality": "balanced", "rc": "cqp", "qp_i": "20", "qp_p": "20", "qp_b": "20"},
    "hevc_amf": {"quality": "balanced", "rc": "cqp", "qp_i": "24", "qp_p": "24"},
    "av1_amf": {"quality": "balanced", "rc": "cqp", "qp_i": "130", "qp_p": "130", "qp_b": "130"},
    "h264_videotoolbox": {"prio_speed": "0", "flags": "+qscale", "global_quality": str(118 * 62)},
    "hevc_videotoolbox": {"prio_speed": "0", "flags": "+qscale", "global_quality": str(118 * 54)},
}
RATE = {
    "nvenc": {"rc": "vbr", "b": "4000000", "maxrate": "4000000", "bufsize": "4000000"},
    "qsv": {"b": "4000000", "maxrate": "4000000", "bufsize": "4000000"},
    "amf": {"rc": "vbr_peak", "b": "4000000", "maxrate": "4000000", "bufsize": "4000000"},
    "videotoolbox": {"b": "4000000", "maxrate": "4000000", "bufsize": "4000000"},
}


@pytest.fixture
def chip(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A machine on which h264_qsv works; nothing that is found out about it outlives the test."""
    standin = replace(
        CODECS["h264"], family="qsv", pixel_format="nv12", odd_format="", presets=("fast", "medium"), preset="fast"
    )
    fault.cache_clear()
    hardware._automatic.cache_clear()
    monkeypatch.setitem(HARDWARE, "h264_qsv", standin)
    yield "h264_qsv"
    fault.cache_clear()
    hardware._automatic.cache_clear()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Clip(frames=12, sound="aac").write(tmp_path_factory.mktemp("clip") / "a.mp4")


@pytest.mark.parametrize("name", HARDWARE)
def test_quality_and_rate_by_table(name: str) -> None:
    codec = HARDWARE[name]
    assert codec.encoder_options(None, None) == QUALITY[name]
    preset = {codec.preset_option: QUALITY[name][codec.preset_option]}
    assert codec.encoder_options(None, None, 4_000_000) == preset | RATE[codec.family]
    assert codec.live_options["bf"] == "0"
    worst, best = codec.encoder_options(codec.crf_max, None), codec.encoder_options(0, None)
    assert worst != best and set(worst) == set(best)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *(
            ("ultrafast", "p2"),
            ("veryfast", "p2"),
            ("fast", "p2"),
            ("medium", "p4"),
            ("slow", "p6"),
            ("veryslow", "p6"),
        ),
        *(("13", "p2"), ("10", "p2"), ("8", "p4"), ("4", "p6"), ("0", "p6")),
    ],
)
def test_presets_of_encoders_in_software_stand_for_the_nearest(written: str, meant: str) -> None:
    assert HARDWARE["hevc_nvenc"].encoder_options(None, written)["preset"] == meant


def test_what_is_not_a_preset_or_a_quality() -> None:
    with pytest.raises(ConfigError, match="unknown preset 'warp'.*h264_nvenc has fast, "):
        HARDWARE["h264_nvenc"].encoder_options(None, "warp")
    with pytest.raises(ConfigError, match="crf 52 is out of range"):
        HARDWARE["h264_nvenc"].encoder_options(52, None)


@pytest.mark.parametrize("name", PRESENT)
def test_an_encoder_that_cannot_work_here_says_why(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    problem = fault(name, 640, 360)
    if not problem:
        pytest.skip(f"{name} works on this machine")
    assert "\n" not in problem and "option" not in problem.lower()
    level = av.logging.get_level()
    with pytest.raises(ConfigError, match=f"^{name} does not work here: ") as refusal:
        pick(HARDWARE[name], "software", 640, 360)
    assert refusal.value.hint and av.logging.get_level() == level
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", [name for name in HARDWARE if name not in av.codecs_available])
def test_an_encoder_that_is_not_there_says_so(name: str) -> None:
    assert fault(name, 640, 360) == "this build of FFmpeg does not have it"


@pytest.mark.skipif(bool(working()), reason="this machine has a chip that encodes")
def test_a_clip_is_refused_before_the_first_frame(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["--codec", "H264_NVENC"], ["--codec", "hevc", "--encoder", "nvenc"]):
        assert main(["video", str(clip), str(tmp_path / "b.mp4"), *arguments, "--threads", "1"]) == 1
        told = capsys.readouterr().err
        assert "_nvenc does not work here: " in told and "encodes in software" in told and told.count("\n") == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(bool(working()), reason="this machine has a chip that encodes")
def test_auto_falls_back_with_one_line(clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hardware._automatic.cache_clear()
    stylize_video(VideoJob(str(clip), tmp_path / "b.mp4", encoder="auto", segment_s=0.1), Still)
    assert caplog.messages == ["no hardware encoder for h264 works here; libx264 encodes"]
    assert Seen.of(tmp_path / "b.mp4").numbers == list(range(12))


def test_a_chip_that_works_is_found_and_used(
    chip: str, clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert working() == [chip]
    with pytest.raises(ConfigError, match=r"h264_nvenc does not work here.*\(h264_qsv works\)"):
        pick(HARDWARE["h264_nvenc"], "software", 64, 48)
    for number, settings in enumerate(({"encoder": "auto"}, {"encoder": "qsv"}, {"codec": chip, "segment_s": 0.1})):
        output = tmp_path / f"{number}.mp4"
        job = VideoJob(str(clip), output, crf=4, **settings)  # type: ignore[arg-type]  # of several kinds
        stylize_video(job, Still)
        seen = Seen.of(output)
        assert seen.numbers == list(range(12)), "NV12 has the same pictures"
        assert np.abs(seen.last.to_ndarray(format="rgb24").astype(int) - numbered(11)).mean() < 6
    assert [text for text in caplog.messages if "no hardware" in text] == []


def test_odd_sizes_need_an_encoder_that_has_them(chip: str) -> None:
    with pytest.raises(ConfigError, match="needs an even width and height"):
        pick(CODECS["h264"], "qsv", 63, 48)
    assert pick(CODECS["h264"], "auto", 63, 48).family == "software"
    assert pick(CODECS["h264"], "auto", 64, 48).family == "qsv"


def test_a_live_stream_is_encoded_by_the_chip_too(chip: str) -> None:
    encode = LiveEncoder(64, 48, 25, 500_000, "auto")
    packets = [packet for number in range(5) for packet in encode(numbered(number), number)]
    assert [packet.number for packet in packets] == list(range(5)), "no frame waits for a later one"
    assert packets[0].key and packets[0].data.startswith(b"\0\0\0\1")


@pytest.mark.parametrize("sink", ["a.mp4", "udp://127.0.0.1:9"])
@pytest.mark.skipif(bool(working()), reason="this machine has a chip that encodes")
def test_live_sinks_are_refused_before_the_camera_starts(
    sink: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["webcam", "--source", "pattern", "--sink", sink, "--encoder", "nvenc", "--frames", "3"]) == 1
    assert "h264_nvenc does not work here: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "gpu"}, f"unknown encoder 'gpu' .*{', '.join(ENCODERS)}"),
        ({"codec": "h264_nvenc", "encoder": "qsv"}, "h264_nvenc and the encoder qsv exclude each other"),
        ({"codec": "av1", "encoder": "videotoolbox"}, r"videotoolbox cannot encode av1 \(it has h264, hevc\)"),
        ({"codec": "h264_cuda"}, "unknown codec 'h264_cuda'"),
        ({"codec": "h264_nvenc", "preset": "warp"}, "unknown preset 'warp'"),
    ],
)
def test_settings_that_do_not_fit(clip: Path, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stylize_video(VideoJob(str(clip), tmp_path / "b.mp4", **settings), Still)


def test_a_container_refuses_a_codec_in_hardware_too() -> None:
    with pytest.raises(ConfigError, match=r"\.webm cannot hold hevc"):
        choose(Path("a.webm"), "hevc_nvenc")


def test_doctor_says_which_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtstyle.doctor._engines", lambda _: [])
    line = next(finding for finding in examine("wave") if finding.topic == "video encoders")
    assert line.good and line.found.startswith("h264, hevc, av1, vp9, prores, ffv1 in software; in hardware: ")
