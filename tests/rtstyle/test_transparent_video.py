"""Transparency, which is copied while the colours are stylized; and the codecs that are made for editing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from engines.base import RGB
from engines.errors import ConfigError
from rtstyle.frame import Alpha, Frame
from rtstyle.media.colour import RgbReader
from rtstyle.sources.file import FileSource
from rtstyle.video import VideoJob, VideoReport, stylize_video
from tests.rtstyle.clips import Clip, Seen, Still, numbered

ENCODERS = {
    "a.mov": ("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "16"}),
    "a.webm": ("libvpx-vp9", "yuva420p", {"deadline": "realtime", "cpu-used": "8", "crf": "4", "b": "0"}),
    "a.mkv": ("ffv1", "bgra", {}),
    "b.mov": ("qtrle", "argb", {}),
}
"""Name → encoder, pixel format and options of a transparent clip."""


def stylize(source: object, out: object, engine: Still | None = None, **options: Any) -> VideoReport:
    return stylize_video(VideoJob(str(source), Path(str(out)), **options), lambda: engine or Still())


def opacity(number: int, height: int = 48, width: int = 64) -> Alpha:
    """Opaque to the left of an edge that moves, half transparent in a stripe, nothing to the right of it."""
    alpha = np.zeros((height, width), np.uint8)
    alpha[:, : 16 + 4 * number] = 255
    alpha[:, 16 + 4 * number : 24 + 4 * number] = 128
    return alpha


def transparent_clip(path: Path, height: int = 48, width: int = 64, rotation: int | None = None) -> Path:
    """Four frames of one colour, with another colour hidden where they are transparent."""
    encoder, pixel_format, options = ENCODERS[path.name]
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream(encoder, rate=10, options=options)
        video.width, video.height, video.pix_fmt = width, height, pixel_format
        if rotation is not None:
            video.set_display_rotation(rotation)
        if path.suffix == ".webm":
            video.metadata["alpha_mode"] = "1"
        for number in range(4):
            alpha = opacity(number, height, width)
            rgb = np.where(alpha[..., None] > 0, (180, 60, 40), (0, 255, 0)).astype(np.uint8)
            picture = av.VideoFrame.from_ndarray(np.dstack([rgb, alpha]), "rgba")
            picture.pts, picture.time_base = number, Fraction(1, 10)
            out.mux(video.encode(picture.reformat(format=pixel_format, dst_colorspace=5)))
        out.mux(video.encode(None))
    return path


def frames(path: Path) -> list[Frame]:
    return list(FileSource(str(path), keep_alpha=True).frames())


OUTPUTS = [("o.mov", "prores"), ("o.mkv", "prores"), ("o.webm", None), ("o.mkv", "vp9"), ("o.mkv", "ffv1")]


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize(("out", "codec"), OUTPUTS)
def test_it_is_copied(tmp_path: Path, name: str, out: str, codec: str | None) -> None:
    source = transparent_clip(tmp_path / name)
    lossy = {"crf": 4} if codec in (None, "vp9") else {}
    report = stylize(source, tmp_path / out, Still(negative=True), codec=codec, **lossy)
    assert report.warnings == ()
    for number, frame in enumerate(frames(tmp_path / out)):
        assert frame.alpha is not None
        before = opacity(number)
        assert np.abs(frame.alpha.astype(int) - before).max() <= 24
        assert np.abs(frame.alpha.astype(int) - before).mean() <= 2
        inside = frame.rgb[4:-4, : 16 + 4 * number].astype(int)
        assert np.abs(inside - (75, 195, 215)).max() <= 12


def test_hidden_colours_do_not_reach_the_engine(tmp_path: Path) -> None:
    seen: list[RGB] = []

    class Watching(Still):
        def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
            seen.append(rgb)
            return super().__call__(rgb, strength)

    stylize(transparent_clip(tmp_path / "a.mkv"), tmp_path / "o.mkv", Watching(), codec="ffv1")
    assert len(seen) == 4
    assert all(np.abs(rgb.astype(int) - (180, 60, 40)).max() <= 1 for rgb in seen)


def test_resized_and_rotated(tmp_path: Path) -> None:
    source = transparent_clip(tmp_path / "a.mov", height=96, width=128, rotation=90)
    report = stylize(source, tmp_path / "o.mkv", codec="ffv1", height=64)
    assert (report.width, report.height) == (48, 64)
    first = frames(tmp_path / "o.mkv")[0]
    assert first.alpha is not None
    assert first.alpha.shape == (64, 48)
    assert {int(first.alpha[2, 24]), int(first.alpha[-3, 24])} == {0, 255}
    assert np.abs(first.rgb.astype(int) - (180, 60, 40)).max() <= 8


@pytest.mark.parametrize(("out", "codec"), [("o.mp4", None), ("o.mov", None), ("o.mp4", "vp9"), ("o.mkv", "hevc")])
def test_it_is_shown_on_black_where_the_output_has_none(tmp_path: Path, out: str, codec: str | None) -> None:
    report = stylize(transparent_clip(tmp_path / "a.mov"), tmp_path / out, codec=codec)
    assert report.warnings == ("transparent parts are shown on black",)
    first = frames(tmp_path / out)[0]
    assert first.alpha is None
    assert first.rgb[24, 60].max() < 8


def test_an_opaque_clip_stays_opaque(tmp_path: Path) -> None:
    source = Clip(frames=3).write(tmp_path / "a.mp4")
    for out, codec in OUTPUTS:
        stylize(source, tmp_path / out, codec=codec, overwrite=True)
        assert frames(tmp_path / out)[0].alpha is None


def test_a_live_reader_shows_it_on_black(tmp_path: Path) -> None:
    with av.open(str(transparent_clip(tmp_path / "a.mkv"))) as file:
        picture = next(file.decode(video=0))
    rgb = RgbReader()(picture, 48, 64)
    assert rgb[24, 60].max() == 0
    assert np.abs(rgb[24, 18].astype(int) - (90, 30, 20)).max() <= 1


class TestCodecsForEditing:
    @pytest.mark.parametrize(("height", "width"), [(48, 64), (49, 63), (48, 63)])
    def test_ffv1_keeps_every_bit(self, tmp_path: Path, height: int, width: int) -> None:
        source = Clip(frames=5, height=height, width=width, pixel_format="yuv444p").write(tmp_path / "a.mp4")
        stylize(source, tmp_path / "b.mkv", codec="ffv1")
        before, after = (list(FileSource(str(tmp_path / name)).frames()) for name in ("a.mp4", "b.mkv"))
        assert len(before) == len(after) == 5
        assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(before, after, strict=True))
        with av.open(str(tmp_path / "b.mkv")) as file:
            context = file.streams.video[0].codec_context
            assert (context.name, context.colorspace, context.color_range) == ("ffv1", 0, 2)

    @pytest.mark.parametrize("ending", ["mov", "mkv"])
    @pytest.mark.parametrize(("height", "width"), [(48, 64), (49, 63)])
    def test_prores(self, tmp_path: Path, ending: str, height: int, width: int) -> None:
        clip = Clip(frames=5, height=height, width=width, pixel_format="yuv444p", sound="aac")
        stylize(clip.write(tmp_path / "a.mp4"), tmp_path / f"b.{ending}", codec="prores")
        seen = Seen.of(tmp_path / f"b.{ending}")
        assert seen.numbers == list(range(5))
        assert seen.packets["audio"]
        rgb = next(FileSource(str(tmp_path / f"b.{ending}")).frames()).rgb.astype(int)
        assert np.median(np.abs(rgb - numbered(0, height, width))) <= 2
        with av.open(str(tmp_path / f"b.{ending}")) as file:
            assert file.streams.video[0].codec_context.profile == ("HQ" if height == 48 else "4444")

    @pytest.mark.parametrize(("out", "codec"), [("o.mov", "prores"), ("o.mkv", "ffv1"), ("o.mkv", "prores")])
    def test_the_last_frame_stays_as_long(self, tmp_path: Path, out: str, codec: str) -> None:
        source = Clip(pts=[0, 40, 80, 400], fps=2, time_base=Fraction(1, 1000)).write(tmp_path / "a.mkv")
        stylize(source, tmp_path / out, codec=codec)
        seen = Seen.of(tmp_path / out)
        assert seen.times == pytest.approx([0, 0.04, 0.08, 0.4])
        assert seen.duration == pytest.approx(0.9, abs=0.01)

    def test_refusals(self, tmp_path: Path) -> None:
        source = Clip(frames=3).write(tmp_path / "a.mp4")
        for out, options, words in (
            ("b.mkv", {"codec": "ffv1", "crf": 3}, "ffv1 has one quality and one speed"),
            ("b.mov", {"codec": "prores", "preset": "slow"}, "prores has one quality"),
            ("b.mp4", {"codec": "prores"}, r"\.mp4 cannot hold prores"),
            ("b.mov", {"codec": "ffv1"}, r"\.mov cannot hold ffv1"),
        ):
            with pytest.raises(ConfigError, match=words):
                stylize(source, tmp_path / out, **options)

    def test_a_long_clip_is_written_in_one_piece(self, tmp_path: Path) -> None:
        source = Clip(frames=30, fps=10).write(tmp_path / "a.mp4")
        stylize(source, tmp_path / "b.mkv", codec="ffv1", segment_s=1.0)
        assert Seen.of(tmp_path / "b.mkv").numbers == list(range(30))
