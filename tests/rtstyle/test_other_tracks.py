"""Other tracks beside the film: subtitles, covers, fonts, and what is known about the film."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.stream import Disposition

from rtstyle.sinks.subtitle_transcoder import _HEADER
from rtstyle.sinks.track_metadata import later_timecode
from tests.rtstyle.clips import Clip, Seen, frames, numbered, write_sound
from tests.rtstyle.test_file_sink import lines
from tests.rtstyle.tracks import film, payload, remux, sound_length, stylize

OUTPUTS = ("mp4", "mkv", "mov", "webm")


class TestSubtitles:
    @pytest.fixture
    def crowd(self, tmp_path: Path) -> Path:
        """Fifty subtitles that begin together."""
        with film(tmp_path / "a.mkv") as out:
            text = out.add_stream("ass")
            text.codec_context.subtitle_header = _HEADER
            for i in range(50):
                packet = av.Packet(f"{i},0,Default,,0,0,0,,line {i}".encode())
                packet.stream, packet.time_base = text, Fraction(1, 1000)
                packet.pts = packet.dts = 200
                packet.duration = 400
                out.mux(packet)
        return tmp_path / "a.mkv"

    @pytest.mark.parametrize("ending", ["mkv", "webm"])
    def test_those_that_begin_together_stay_together(self, tmp_path: Path, crowd: Path, ending: str) -> None:
        stylize(crowd, tmp_path / f"b.{ending}")
        assert lines(tmp_path / f"b.{ending}") == [(0.2, f"line {i}") for i in range(50)]

    def test_mp4_shows_those_that_begin_together_as_one(self, tmp_path: Path, crowd: Path) -> None:
        report = stylize(crowd, tmp_path / "b.mp4")
        assert ["loses its styles" in warning for warning in report.warnings] == [True]
        ((time, text),) = lines(tmp_path / "b.mp4")
        assert time == pytest.approx(0.2)
        assert text == "\\N".join(f"line {i}" for i in range(50))

    @pytest.mark.parametrize("ending", OUTPUTS)
    def test_a_part_cuts_them(self, tmp_path: Path, crowd: Path, ending: str) -> None:
        """One that reaches over the end would make the file longer; one that began before is still shown."""
        stylize(crowd, tmp_path / f"b.{ending}", start=0.4, end=0.52)
        assert Seen.of(tmp_path / f"b.{ending}").duration == pytest.approx(0.12, abs=0.002)
        with av.open(str(tmp_path / f"b.{ending}")) as file:
            packets = [p for p in file.demux(file.streams.subtitles[0]) if p.size > 2]
            spans = {(float(p.pts * p.time_base), round(float(p.duration * p.time_base), 3)) for p in packets}
        assert spans == {(0.0, 0.12)}


class TestOtherTracks:
    @pytest.mark.parametrize("ending", OUTPUTS)
    @pytest.mark.parametrize(("codec_id", "kind"), [(b"A_AAC", "audio"), (b"S_TEXT/UTF8", "subtitle")])
    def test_no_decoder(self, tmp_path: Path, codec_id: bytes, kind: str, ending: str) -> None:
        source = Clip(frames=25, sound="aac", text="srt").write(tmp_path / "a.mkv")
        data = source.read_bytes()
        assert data.count(codec_id) == 1
        source.write_bytes(data.replace(codec_id, codec_id[:-1] + b"?"))
        report = stylize(source, tmp_path / f"b.{ending}")
        assert report.frames_out == 25
        assert sum(f"the {kind} track" in w and "left out" in w for w in report.warnings) == 1

    def test_no_decoder_but_a_container_that_holds_it(self, tmp_path: Path) -> None:
        source = tmp_path / "a.mkv"
        with film(source) as out:
            text = out.add_mux_stream("hdmv_text_subtitle")
            packet: Any = av.Packet(b"subtitles of a Blu-ray")
            packet.stream, packet.time_base, packet.pts, packet.dts = text, Fraction(1, 1000), 200, 200
            out.mux(packet)
        assert stylize(source, tmp_path / "b.mkv").warnings == ()
        assert payload(tmp_path / "b.mkv", "subtitle") == [b"subtitles of a Blu-ray"]
        assert "left out" in stylize(source, tmp_path / "b.mp4").warnings[0]

    @pytest.fixture(params=["mp4", "mkv"])
    def covered(self, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, bytes]:
        """A clip with a cover picture, and this picture."""
        picture = av.VideoFrame.from_ndarray(numbered(7)).reformat(format="yuvj420p")
        encoder: Any = av.CodecContext.create("mjpeg", "w")
        encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, "yuvj420p", Fraction(1)
        jpeg = bytes((encoder.encode(picture) + encoder.encode(None))[0])
        path = tmp_path / f"a.{request.param}"
        with film(path) as out:
            if request.param == "mkv":
                out.add_attachment("cover.jpg", "image/jpeg", jpeg)
            else:
                cover = out.add_mux_stream("mjpeg", width=64, height=48)
                cover.disposition = Disposition.attached_pic
                packet = av.Packet(jpeg)
                packet.stream, packet.time_base, packet.pts, packet.dts = cover, Fraction(1), 0, 0
                out.mux(packet)
        return path, jpeg

    @pytest.mark.parametrize("ending", ["mp4", "mkv"])
    def test_the_cover_is_kept(self, tmp_path: Path, covered: tuple[Path, bytes], ending: str) -> None:
        source, jpeg = covered
        report = stylize(source, tmp_path / f"b.{ending}", start=0.2)
        assert report.warnings == ()
        with av.open(str(tmp_path / f"b.{ending}")) as file:
            (cover,) = [s for s in file.streams.video if s.disposition & Disposition.attached_pic]
            assert [bytes(p) for p in file.demux(cover) if p.size] == [jpeg]

    @pytest.mark.parametrize("ending", ["mov", "webm"])
    def test_or_a_line_says_that_it_is_not(self, tmp_path: Path, covered: tuple[Path, bytes], ending: str) -> None:
        report = stylize(covered[0], tmp_path / f"b.{ending}")
        assert report.warnings == (f"the cover picture (mjpeg) is left out: {ending} cannot hold it",)

    def test_a_second_video_stream_is_kept(self, tmp_path: Path) -> None:
        source = tmp_path / "a.mkv"
        with film(source) as out:
            second = out.add_stream("libx264", rate=25)
            second.width, second.height, second.pix_fmt = 32, 16, "yuv420p"
            for frame in frames(25):
                out.mux(second.encode(av.VideoFrame.from_ndarray(frame.rgb)))
            out.mux(second.encode(None))
        for ending in ("mp4", "mkv", "mov"):
            stylize(source, tmp_path / f"b.{ending}")
            with av.open(str(tmp_path / f"b.{ending}")) as file:
                assert [(s.width, s.height) for s in file.streams.video] == [(64, 48), (32, 16)]
                assert len(list(file.decode(video=1))) == 25

    def test_other_qualities_of_a_stream_are_not_tracks(self, tmp_path: Path) -> None:
        playlist = "#EXTM3U\n"
        for name, height in (("high", 48), ("low", 32)):
            Clip(frames=25, height=height, sound="aac").write(tmp_path / f"{name}.ts")
            playlist += f"#EXT-X-STREAM-INF:BANDWIDTH={height}000,RESOLUTION=64x{height}\n{name}.m3u8\n"
            piece = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n{name}.ts\n#EXT-X-ENDLIST\n"
            (tmp_path / f"{name}.m3u8").write_text(piece)
        (tmp_path / "a.m3u8").write_text(playlist)
        stylize(tmp_path / "a.m3u8", tmp_path / "b.mp4")
        with av.open(str(tmp_path / "b.mp4")) as file:
            assert [stream.height for stream in file.streams.video] == [48]

    def test_fonts_that_mp4_cannot_hold_are_named(self, tmp_path: Path) -> None:
        with film(tmp_path / "a.mkv") as out:
            out.add_attachment("Comic.ttf", "font/ttf", b"glyphs")
        report = stylize(tmp_path / "a.mkv", tmp_path / "b.mp4")
        assert report.warnings == ("attached files are left out: mp4 cannot hold them (Comic.ttf)",)


class TestMetadata:
    @pytest.fixture
    def chapters(self, tmp_path: Path) -> Path:
        with film(tmp_path / "a.mp4", 50) as out:
            out.streams.video[0].metadata["timecode"] = "01:00:00:00"
            ends = [(0, 400, "One"), (400, 800, "Two"), (800, 2000, "Three")]
            unit = Fraction(1, 1000)
            out.set_chapters(
                [
                    {"id": i, "start": start, "end": end, "time_base": unit, "metadata": {"title": title}}
                    for i, (start, end, title) in enumerate(ends)
                ]
            )
        return tmp_path / "a.mp4"

    def found(self, path: Path) -> list[tuple[int, int, str]]:
        with av.open(str(path)) as file:
            return [
                (
                    round(c["start"] * c["time_base"] * 1000),
                    round(c["end"] * c["time_base"] * 1000),
                    c["metadata"]["title"],
                )
                for c in file.chapters()
                if c["time_base"]
            ]

    def test_chapters_are_kept_and_nothing_says_otherwise(self, tmp_path: Path, chapters: Path) -> None:
        assert stylize(chapters, tmp_path / "b.mp4").warnings == ()
        assert self.found(tmp_path / "b.mp4") == self.found(chapters)

    @pytest.mark.parametrize("ending", ["mp4", "mkv"])
    def test_a_part_has_its_chapters(self, tmp_path: Path, chapters: Path, ending: str) -> None:
        stylize(chapters, tmp_path / f"b.{ending}", start=0.52, end=1.6)
        assert self.found(tmp_path / f"b.{ending}") == [(0, 280, "Two"), (280, 1080, "Three")]

    @pytest.mark.parametrize("ending", ["mp4", "mkv", "mov"])
    def test_a_part_has_its_timecode(self, tmp_path: Path, chapters: Path, ending: str) -> None:
        stylize(chapters, tmp_path / f"b.{ending}", start=1.2)
        with av.open(str(tmp_path / f"b.{ending}")) as file:
            tags = {k.lower(): v for k, v in file.streams.video[0].metadata.items()}
        assert tags["timecode"] == "01:00:01:05"

    @pytest.mark.parametrize(
        ("timecode", "frames", "fps", "later"),
        [
            ("01:00:00:00", 26, Fraction(25), "01:00:01:01"),
            ("23:59:59:24", 1, Fraction(25), "00:00:00:00"),
            ("00:00:59;29", 1, Fraction(30000, 1001), "00:01:00;02"),  # SMPTE 12M leaves 00 and 01 out,
            ("00:09:59;29", 1, Fraction(30000, 1001), "00:10:00;00"),  # but not in each tenth minute
            ("00:00:00;00", 107892, Fraction(30000, 1001), "01:00:00;00"),
            ("00:00:59;59", 1, Fraction(60000, 1001), "00:01:00;04"),
            ("none", 5, Fraction(25), "none"),
        ],
    )
    def test_timecode(self, timecode: str, frames: int, fps: Fraction, later: str) -> None:
        assert later_timecode(timecode, frames, fps) == later

    def test_keys_of_phones(self, tmp_path: Path) -> None:
        keys = {"com.android.capture.fps": "240.000000", "com.android.version": "14"}
        clip = Clip(frames=5, metadata=keys, file_options={"movflags": "use_metadata_tags"})
        stylize(clip.write(tmp_path / "a.mp4"), tmp_path / "b.mp4")
        assert keys.items() <= Seen.of(tmp_path / "b.mp4").metadata.items()


def test_sound_that_an_edit_list_hides_stays_hidden(tmp_path: Path) -> None:
    """A clip cut without re-encoding holds packets from before its beginning, which are not played."""
    with film(tmp_path / "a.mp4") as out:
        sound = out.add_stream("aac", rate=48000, layout="stereo")
        write_sound(out, sound, 1.5)
    shift = 0.5

    def earlier(packet: Any) -> list[Any]:
        if packet.stream.type == "audio":
            packet.pts = packet.dts = packet.pts - round(shift / packet.time_base)
        return [packet]

    source = remux(tmp_path / "a.mp4", tmp_path / "cut.mp4", earlier)
    for ending in OUTPUTS:
        stylize(source, tmp_path / f"b.{ending}")
        seen = Seen.of(tmp_path / f"b.{ending}")
        assert seen.times[0] == pytest.approx(0.0, abs=0.03)
        assert seen.duration == pytest.approx(1.0, abs=0.08)
        assert sound_length(tmp_path / f"b.{ending}") == pytest.approx(1.0, abs=0.06)
