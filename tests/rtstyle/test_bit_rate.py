"""A wanted bit rate or size of a file: what comes out, and what is refused before the first frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import typer

from engines.base import RGB
from engines.errors import ConfigError
from rtstyle.cli import main
from rtstyle.commands.values import BITS, BYTES
from rtstyle.media.codecs import CODECS
from rtstyle.preview import preview
from rtstyle.sources.pattern import PatternSource
from rtstyle.video import VideoJob, stylize_video
from tests.rtstyle.clips import Clip, Still


class Noisy(Still):
    """Paints what no encoder can predict, so that it has use for every bit."""

    def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
        draw = np.random.default_rng(self.calls)
        noise = draw.integers(0, 120, (rgb.shape[0] // 4, rgb.shape[1] // 4, 3), np.uint8)
        return super().__call__(rgb, strength) // 2 + noise.repeat(4, 0).repeat(4, 1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds with sound."""
    return Clip(frames=250, height=96, width=128, sound="aac").write(tmp_path_factory.mktemp("clip") / "a.mp4")


def stylize(clip: Path, output: Path, **settings: Any) -> int:
    stylize_video(VideoJob(str(clip), output, **settings), Noisy)
    return output.stat().st_size


@pytest.mark.parametrize(
    ("text", "bits"),
    [("4000", 4_000_000), ("4000k", 4_000_000), ("4M", 4_000_000), ("2.5M", 2_500_000), ("800 kbit/s", 800_000)],
)
def test_bit_rates(text: str, bits: int) -> None:
    assert BITS(text) == bits


@pytest.mark.parametrize("text", ["0", "-4M", "4G", "4MB", "fast", "", "nan", "9999M"])
def test_what_is_not_a_bit_rate(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="a bit rate in kbit/s like 4000, or like 4000k or 4M"):
        BITS(text)


@pytest.mark.parametrize(
    ("text", "count"), [("25MB", 25_000_000), ("25m", 25_000_000), ("1.5GB", 1_500_000_000), ("8MiB", 8 << 20)]
)
def test_sizes(text: str, count: int) -> None:
    assert BYTES(text) == count


@pytest.mark.parametrize("text", ["25", "0MB", "-1MB", "25TB", "many", "MB"])
def test_what_is_not_a_size(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="a file size like 25MB"):
        BYTES(text)


WITH_QUALITY = {name: codec for name, codec in CODECS.items() if codec.presets}


@pytest.mark.parametrize("codec", WITH_QUALITY.values(), ids=WITH_QUALITY)
def test_a_rate_replaces_the_quality(codec: Any) -> None:
    options = codec.encoder_options(None, None, 300_000)
    assert options["b"] == "300000" and "crf" not in options
    with pytest.raises(ConfigError, match="exclude each other"):
        codec.encoder_options(20, None, 300_000)


@pytest.mark.parametrize(
    ("ending", "settings"),
    [(".mp4", {}), (".mkv", {"codec": "hevc"}), (".mp4", {"codec": "av1"}), (".webm", {}), (".mp4", {"segment_s": 4})],
)
def test_a_file_of_a_wanted_size(clip: Path, tmp_path: Path, ending: str, settings: dict[str, Any]) -> None:
    size = stylize(clip, tmp_path / f"b{ending}", target_bytes=600_000, **settings)
    assert 0.9 * 600_000 < size <= 600_000


def test_a_bit_rate(clip: Path, tmp_path: Path) -> None:
    stylize(clip, tmp_path / "b.mp4", bits=300_000)
    with av.open(str(tmp_path / "b.mp4")) as file:
        assert sum(packet.size for packet in file.demux(video=0)) == pytest.approx(300_000 * 10 / 8, rel=0.05)


def test_a_size_that_is_never_reached_is_not_filled_with_air(clip: Path, tmp_path: Path) -> None:
    assert stylize(clip, tmp_path / "b.mp4", target_bytes=10**12) < 30_000_000


def test_too_small_a_size_names_the_smallest(clip: Path, tmp_path: Path) -> None:
    engine = Still()
    with pytest.raises(ConfigError, match=r"0.1 MB are too little for 10 s of 128×96 \(give at least 0.2MB") as refusal:
        stylize_video(VideoJob(str(clip), tmp_path / "b.mp4", target_bytes=100_000), lambda: engine)
    assert engine.calls == 0 and not list(tmp_path.iterdir())
    least = BYTES(str(refusal.value).partition("at least ")[2].partition(",")[0])
    assert stylize(clip, tmp_path / "b.mp4", target_bytes=least) <= least


@pytest.mark.parametrize("settings", [{"bits": 0}, {"bits": -1}, {"target_bytes": 0}])
def test_a_rate_that_is_none_is_refused(clip: Path, tmp_path: Path, settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(settings))} .* is out of range"):
        stylize(clip, tmp_path / "b.mp4", **settings)


def test_a_few_bytes_are_named_as_such(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="^10 bytes are too little"):
        stylize(clip, tmp_path / "b.mp4", target_bytes=10)


def test_a_clip_without_a_length_is_refused(tmp_path: Path) -> None:
    job = VideoJob("pattern", tmp_path / "b.mp4", target_bytes=1_000_000)
    with pytest.raises(ConfigError, match="give --bitrate instead"):
        stylize_video(job, Still, source=PatternSource(64, 48))
    assert not list(tmp_path.iterdir())


def test_a_preview_knows_the_size(clip: Path, tmp_path: Path) -> None:
    job = VideoJob(str(clip), tmp_path / "b.mp4", target_bytes=600_000)
    found = preview(job, Noisy, 1, pattern=None)
    assert found.bytes == pytest.approx(600_000, rel=0.1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--crf", "20", "--bitrate", "4M"],
        ["--crf", "20", "--target-size", "4MB"],
        ["--bitrate", "4M", "--target-size", "4MB"],
    ],
)
def test_only_one_of_them(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(["video", str(clip), str(tmp_path / "b.mp4"), *arguments]) == 1
    assert f"{arguments[0]} and {arguments[2]} exclude each other" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_of_settings_takes_a_rate_with_and_without_a_unit(clip: Path, tmp_path: Path) -> None:
    for value in ("300", '"300k"', '"0.3M"'):
        (tmp_path / "a.toml").write_text(f"bitrate = {value}\nheight = 48\n")
        arguments = [
            "video",
            str(clip),
            str(tmp_path / "b.mp4"),
            "--config",
            str(tmp_path / "a.toml"),
            "--preview",
            "1",
        ]
        assert main([*arguments, "--threads", "1"]) == 0
