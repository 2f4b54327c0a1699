"""What a file says about its pictures: 360° and stereo video, Dolby Vision, and captions."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av
import pytest
from av.sidedata.sidedata import Type

from rtstyle.media.codecs import CONTAINERS
from tests.rtstyle.clips import Clip, Seen, frames
from tests.rtstyle.tracks import film, stylize

ABOVE = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def described(path: Path, boxes: bytes, **options: Any) -> Path:
    """Write a clip with boxes in the entry that describes its pictures."""
    data = bytearray(Clip(frames=25, **options).write(path).read_bytes())
    assert data.index(b"moov") > data.index(b"mdat"), "places of packets stay as they are"
    starts, at = [], 0
    for kind in ABOVE:
        at = data.index(kind, at)
        starts.append(at - 4)
    starts.append(at + 12)
    for start in starts:
        (size,) = struct.unpack_from(">I", data, start)
        struct.pack_into(">I", data, start, size + len(boxes))
    data[starts[-1] + size : starts[-1] + size] = boxes
    path.write_bytes(data)
    return path


def layout_of(path: Path) -> dict[Any, bytes]:
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
        return {data.type: bytes(data)[:16] for data in frame.side_data if data.type in (Type.SPHERICAL, Type.STEREO3D)}


class TestLayout:
    SIDE_BY_SIDE = box(b"st3d", bytes((0, 0, 0, 0, 2)))
    AROUND = box(
        b"sv3d",
        box(b"svhd", bytes(4) + b"camera\0")
        + box(b"proj", box(b"prhd", bytes(16)) + box(b"equi", bytes(4 + 16))),
    )  # fmt: skip

    @pytest.mark.parametrize(
        ("ending", "codec"),
        [(e, c) for e in ("mp4", "mkv", "webm") for c in CONTAINERS[f".{e}"].codecs if c not in ("prores", "ffv1")],
    )
    def test_it_is_kept(self, tmp_path: Path, ending: str, codec: str) -> None:
        source = described(tmp_path / "a.mp4", self.SIDE_BY_SIDE + self.AROUND)
        before = layout_of(source)
        assert set(before) == {Type.SPHERICAL, Type.STEREO3D}
        preset = "13" if codec == "av1" else None
        report = stylize(source, tmp_path / f"b.{ending}", codec=codec, crf=10, preset=preset)
        assert report.warnings == ()
        after = layout_of(tmp_path / f"b.{ending}")
        if ending == "mp4":  # FFmpeg writes Apple's boxes, too, which do not tell how the pictures lie in a frame
            assert self.SIDE_BY_SIDE in (tmp_path / "b.mp4").read_bytes()
            del before[Type.STEREO3D], after[Type.STEREO3D]
        assert after == before
        seen, plain = Seen.of(tmp_path / f"b.{ending}"), Seen.of(source)
        assert seen.numbers == plain.numbers
        assert seen.times == pytest.approx(plain.times, abs=0.001)
        assert seen.duration == pytest.approx(1.0, abs=0.001)
        assert seen.last.colorspace == plain.last.colorspace

    @pytest.mark.parametrize(("ending", "codec"), [("mkv", "prores"), ("mov", "prores"), ("mkv", "ffv1")])
    def test_a_line_says_that_codecs_for_editing_lose_it(self, tmp_path: Path, ending: str, codec: str) -> None:
        source = described(tmp_path / "a.mp4", self.AROUND)
        report = stylize(source, tmp_path / f"b.{ending}", codec=codec)
        kept = layout_of(tmp_path / f"b.{ending}").keys() == {Type.SPHERICAL}
        assert len([line for line in report.warnings if "loses that the video is 360°" in line]) == (not kept)
        assert Seen.of(tmp_path / f"b.{ending}").numbers == Seen.of(source).numbers

    def test_apple_plays_hevc(self, tmp_path: Path) -> None:
        stylize(described(tmp_path / "a.mp4", self.AROUND), tmp_path / "b.mp4", codec="hevc")
        with av.open(str(tmp_path / "b.mp4")) as file:
            assert file.streams.video[0].codec_context.codec_tag == "hvc1"

    def test_a_line_says_what_quicktime_loses(self, tmp_path: Path) -> None:
        assert stylize(described(tmp_path / "a.mp4", self.AROUND), tmp_path / "b.mov").warnings == ()
        assert layout_of(tmp_path / "b.mov").keys() == {Type.SPHERICAL}
        report = stylize(described(tmp_path / "a.mp4", self.SIDE_BY_SIDE), tmp_path / "b.mov")
        assert report.warnings == ("mov loses how the pictures for both eyes lie in a frame",)

    def test_ordinary_video_has_none(self, tmp_path: Path) -> None:
        stylize(Clip(frames=3).write(tmp_path / "a.mp4"), tmp_path / "b.mp4")
        assert layout_of(tmp_path / "b.mp4") == {}


@pytest.mark.parametrize(("profile", "compatibility", "wrong"), [(5, 0, True), (8, 1, False), (8, 4, False)])
def test_colours_that_only_dolby_vision_knows(tmp_path: Path, profile: int, compatibility: int, wrong: bool) -> None:
    """ETSI's and Dolby's ISO media format: profile 5 is not compatible with anything."""
    record = struct.pack(">BBHB", 1, 0, profile << 9 | 1 << 3 | 0b101, compatibility << 4) + bytes(19)
    source = described(
        tmp_path / "a.mp4", box(b"dvcC", record), codec="libx265", options={"x265-params": "log-level=none"}
    )
    report = stylize(source, tmp_path / "b.mp4")
    assert [warning for warning in report.warnings if "colours will be wrong" in warning] == list(report.warnings)
    assert len(report.warnings) == wrong


def test_captions_inside_the_pictures_are_lost_and_a_line_says_so(tmp_path: Path) -> None:
    content = b"\xb5\0\x31GA94\x03\x41\xff\xfc\x94\x20\xff"  # ATSC A/53: one pair of bytes of CEA-608
    message = bytes((4, len(content))) + content + b"\x80"
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        video: Any = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.max_b_frames = 0
        packets = [p for frame in frames(5) for p in video.encode(av.VideoFrame.from_ndarray(frame.rgb))]
        for packet in packets + video.encode(None):
            captioned: Any = av.Packet(b"\0\0\0\1\6" + message + bytes(packet))
            captioned.pts, captioned.dts, captioned.time_base = packet.pts, packet.dts, packet.time_base
            captioned.is_keyframe, captioned.stream = packet.is_keyframe, video
            out.mux(captioned)
    assert stylize(tmp_path / "a.mkv", tmp_path / "b.mp4").warnings == ("closed captions inside the pictures are lost",)
    with film(tmp_path / "plain.mkv"):
        pass
    assert stylize(tmp_path / "plain.mkv", tmp_path / "b.mp4").warnings == ()


@pytest.mark.parametrize(("height", "size"), [(101, (100, 134)), (100, (100, 134)), (47, (46, 62))])
def test_an_odd_height_becomes_even(tmp_path: Path, height: int, size: tuple[int, int]) -> None:
    report = stylize(Clip(frames=2).write(tmp_path / "a.mp4"), tmp_path / "b.mp4", height=height)
    assert (report.height, report.width) == size
    assert [f"height {height} is odd" in warning for warning in report.warnings] == [True] * (height % 2)
    with av.open(str(tmp_path / "b.mp4")) as file:
        assert file.streams.video[0].pix_fmt == "yuv420p"
