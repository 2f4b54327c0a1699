from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from engines.errors import ConfigError, SinkError
from rtstyle.frame import Frame
from rtstyle.media.codecs import CODECS, CONTAINERS, choose
from rtstyle.media.colour import ColourTags
from rtstyle.sinks.file import FileSink
from rtstyle.sinks.output_path import part_path
from rtstyle.sinks.track import TrackSource
from tests.rtstyle.clips import Clip, Seen, frames, numbered


def write(path: Path, count: int = 12, height: int = 48, width: int = 64, **options: Any) -> FileSink:
    sink = FileSink(path, fps=Fraction(25), **options)
    for frame in frames(count, height=height, width=width):
        assert sink.write(frame)
    sink.close(completed=True)
    return sink


@pytest.mark.parametrize(("ending", "codec"), [(e, c) for e, kind in CONTAINERS.items() for c in kind.codecs])
def test_every_container_with_every_codec(tmp_path: Path, ending: str, codec: str) -> None:
    path = tmp_path / f"a{ending}"
    # SVT-AV1 takes a second to start; the others need no help.
    write(path, codec=codec, preset="13" if codec == "av1" else None)
    seen = Seen.of(path)
    assert seen.numbers == list(range(12))
    assert seen.times == pytest.approx([i / 25 for i in range(12)], abs=0.0006)
    assert seen.duration == pytest.approx(12 / 25, abs=0.002)
    with av.open(str(path)) as file:
        assert CODECS[codec].name in {file.streams.video[0].codec_context.name, "av1"}
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("codec", "runs"), [("h264", 16), ("hevc", 4), ("vp9", 4)])
def test_the_same_frames_give_the_same_bytes(tmp_path: Path, codec: str, runs: int) -> None:
    contents = set[bytes]()
    noise = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    for number in range(runs):
        path = tmp_path / f"{number}.mp4" if codec != "vp9" else tmp_path / f"{number}.webm"
        sink = FileSink(path, fps=Fraction(25), codec=codec)
        for frame in frames(10, height=48, width=64):
            texture = cv2.GaussianBlur(np.roll(noise, frame.pts, 1), None, 1.5)  # the encoder has something to decide
            sink.write(replace(frame, rgb=cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)))
        sink.close(completed=True)
        with av.open(str(path)) as file:
            contents.add(b"".join(bytes(packet) for packet in file.demux(video=0)))
    assert len(contents) == 1


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9"])
@pytest.mark.parametrize("size", [(17, 31), (48, 65), (16, 16)])
def test_every_size_is_kept(tmp_path: Path, codec: str, size: tuple[int, int]) -> None:
    path = tmp_path / "a.mkv"
    write(path, 3, *size, codec=codec, crf=10)
    seen = Seen.of(path)
    assert (seen.height, seen.width) == size
    assert len(seen.times) == 3


@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
def test_colours_come_back_and_are_tagged(tmp_path: Path, matrix: int) -> None:
    path = tmp_path / "a.mp4"
    write(path, 2, colour=ColourTags(matrix, 1, 13), crf=1)
    last = Seen.of(path).last
    assert (last.colorspace, last.color_range, last.color_primaries, last.color_trc) == (matrix, 1, 1, 13)
    rgb = last.to_ndarray(format="rgb24", src_colorspace={6: 5}.get(matrix, matrix))
    for i, colour in enumerate(((200, 30, 30), (30, 180, 40), (40, 50, 200), (120, 120, 120))):
        assert np.abs(rgb[36, 16 * i + 8].astype(int) - colour).max() <= 4


def test_untagged_goes_by_size(tmp_path: Path) -> None:
    write(tmp_path / "small.mp4", 1)
    write(tmp_path / "large.mp4", 1, 720, 1280)
    assert Seen.of(tmp_path / "small.mp4").last.colorspace in (5, 6)  # one matrix with two numbers
    assert Seen.of(tmp_path / "large.mp4").last.colorspace == 1


@pytest.mark.parametrize(("ending", "pts"), [("mkv", [0, 1, 7, 8, 300]), ("mp4", [0, 4, 8, 12, 16])])
def test_variable_rate_and_a_long_last_frame(tmp_path: Path, ending: str, pts: list[int]) -> None:
    path = tmp_path / f"a.{ending}"
    sink = FileSink(path, fps=Fraction(25), last_end=lambda: 400)
    for i, time in enumerate(pts):
        sink.write(Frame(numbered(i), i, time, Fraction(1, 100), 0.0))
    sink.close(completed=True)
    seen = Seen.of(path)
    assert seen.times == pytest.approx([t / 100 for t in pts])
    assert seen.duration == pytest.approx(4.0, abs=0.001)


def test_times_that_do_not_grow_do_not_stop_it(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    sink = FileSink(path, fps=Fraction(25))
    for i, time in enumerate((0, 5, 5, 3, 9)):
        sink.write(Frame(numbered(i), i, time, Fraction(1, 100), 0.0))
    sink.close(completed=True)
    assert Seen.of(path).numbers == list(range(5))


def test_a_live_recording_begins_at_zero(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    sink = FileSink(path, fps=Fraction(25), time_base=Fraction(1, 90_000))
    for i in range(5):
        sink.write(Frame(numbered(i), i, 1_000_000 + 40 * i, Fraction(1, 1000), 0.0))
    sink.close(completed=True)
    assert Seen.of(path).times == pytest.approx([i / 25 for i in range(5)])


def test_a_new_size_is_resized(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    sink = FileSink(path, fps=Fraction(25))
    for i in range(6):
        sink.write(Frame(numbered(i, 48 * (1 + i % 2), 64 * (1 + i % 2)), i, i, Fraction(1, 25), 0.0))
    sink.close(completed=True)
    seen = Seen.of(path)
    assert (seen.height, seen.width, seen.numbers) == (48, 64, list(range(6)))


def test_pixel_aspect(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", 1, pixel_aspect=Fraction(4, 3))
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert file.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_frames(tmp_path: Path, count: int) -> None:
    """x265 gave times at random to fewer than three: often enough to be seen in so many."""
    for turn in range(25):
        path = tmp_path / f"{turn}.mp4"
        write(path, count, codec="hevc")
        assert Seen.of(path).numbers == list(range(count))
        with av.open(str(path)) as file:
            assert file.streams.video[0].start_time == 0


def test_apple_plays_hevc(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", 2, codec="hevc")
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert file.streams.video[0].codec_context.codec_tag == "hvc1"


def test_index_is_at_the_front(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


class TestNothingIsLeftBehind:
    def test_dropped(self, tmp_path: Path) -> None:
        sink = FileSink(tmp_path / "a.mp4")
        for frame in frames(30):
            sink.write(frame)
        assert [p.name for p in tmp_path.iterdir()] == [part_path(tmp_path / "a.mp4").name]
        sink.close(completed=False)
        sink.close(completed=True)
        assert list(tmp_path.iterdir()) == []

    def test_no_frame(self, tmp_path: Path) -> None:
        sink = FileSink(tmp_path / "a.mp4")
        with pytest.raises(SinkError, match="no frame"):
            sink.close(completed=True)
        assert list(tmp_path.iterdir()) == []

    def test_the_old_file_stays_until_the_new_one_is_complete(self, tmp_path: Path) -> None:
        path = tmp_path / "a.mp4"
        path.write_text("precious")
        sink = FileSink(path, overwrite=True)
        for frame in frames(3):
            sink.write(frame)
        sink.close(completed=False)
        assert path.read_text() == "precious"
        write(path, overwrite=True)
        assert Seen.of(path).numbers == list(range(12))

    @pytest.mark.skipif(sys.platform == "win32", reason="limits of file size are POSIX")
    @pytest.mark.parametrize("ending", ["mp4", "mkv"])
    def test_disk_full(self, tmp_path: Path, ending: str) -> None:
        """A limit on the size of files fails as a full disk does, in its own process."""
        script = f"""
            import resource
            from fractions import Fraction
            from pathlib import Path
            import numpy as np
            from engines.errors import SinkError
            from rtstyle.frame import Frame
            from rtstyle.sinks.file import FileSink
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            random = np.random.default_rng(0)
            sink = FileSink(Path({str(tmp_path / f"a.{ending}")!r}), fps=Fraction(25))
            try:
                for i in range(100):
                    noise = random.integers(0, 255, (240, 320, 3), dtype=np.uint8)
                    sink.write(Frame(noise, i, i, Fraction(1, 25), 0.0))
                sink.close(completed=True)
            except SinkError as error:
                sink.close(completed=False)
                print("refused:", error)
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=True
        )
        assert "size limit" in done.stdout
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_disk_full_at_the_very_end(self, tmp_path: Path) -> None:
        sink = FileSink(tmp_path / "a.mkv")
        part = part_path(tmp_path / "a.mkv")
        part.unlink()
        part.symlink_to("/dev/full")
        with pytest.raises(SinkError, match="disk is full"):  # noqa: PT012 - it may fail at any of them
            for frame in frames(3):
                sink.write(frame)
            sink.close(completed=True)
        sink.close(completed=False)
        assert list(tmp_path.iterdir()) == []


class TestRefusals:
    def test_exists(self, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").touch()
        with pytest.raises(SinkError, match="already exists"):
            FileSink(tmp_path / "a.mp4")

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(SinkError):
            FileSink(tmp_path / "no" / "a.mp4")

    @pytest.mark.parametrize(
        ("name", "codec", "words"),
        [
            ("a.xyz", None, "unknown kind"),
            ("a", None, "no suffix"),
            ("a.mp4", "theora", "unknown codec"),
            ("a.webm", "h264", "cannot hold h264"),
        ],
    )
    def test_container_and_codec(self, name: str, codec: str | None, words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            choose(Path(name), codec)

    @pytest.mark.parametrize(("crf", "preset"), [(-1, None), (52, None), (None, "warp")])
    def test_crf_and_preset(self, crf: int | None, preset: str | None) -> None:
        with pytest.raises(ConfigError):
            CODECS["h264"].encoder_options(crf, preset)


class TestTracks:
    def copy(self, clip: Path, out: Path, **limits: Any) -> FileSink:
        return write(out, 25, tracks=TrackSource(str(clip), **limits))

    def test_copied_bit_for_bit_with_language(self, tmp_path: Path) -> None:
        clip = Clip(frames=25, sound="aac", languages=("eng", "deu"), text="mov_text", metadata={"title": "Söhne"})
        source = clip.write(tmp_path / "a.mp4")
        sink = self.copy(source, tmp_path / "b.mp4")
        before, after = Seen.of(source), Seen.of(tmp_path / "b.mp4")
        assert after.packets == before.packets
        assert after.languages == before.languages == ["eng", "deu", "fra"]
        assert after.metadata["title"] == "Söhne"
        assert sink.warnings == []
        assert payload(source, "audio") == payload(tmp_path / "b.mp4", "audio")
        assert payload(source, "subtitle") == payload(tmp_path / "b.mp4", "subtitle")
        assert after.duration == pytest.approx(before.duration, abs=0.05)

    def test_disposition(self, tmp_path: Path) -> None:
        path = tmp_path / "a.mkv"
        Clip(frames=25, sound="aac", languages=("eng", "deu")).write(path)
        with av.open(str(path)) as file, av.open(str(tmp_path / "c.mkv"), "w") as out:
            streams = [out.add_stream_from_template(s, opaque=True) for s in file.streams]
            streams[1].disposition = av.stream.Disposition.comment
            streams[2].disposition = av.stream.Disposition.default
            for packet in file.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    out.mux(packet)
        self.copy(tmp_path / "c.mkv", tmp_path / "b.mkv")
        with av.open(str(tmp_path / "b.mkv")) as file:
            first, second = file.streams.audio
            assert first.disposition & av.stream.Disposition.comment
            assert not first.disposition & av.stream.Disposition.default
            assert second.disposition & av.stream.Disposition.default

    @pytest.mark.parametrize(
        ("text", "source", "target"),
        [("mov_text", "a.mp4", "b.mkv"), ("srt", "a.mkv", "b.mp4"), ("srt", "a.mkv", "b.webm")],
    )
    def test_subtitles_change_their_format(self, tmp_path: Path, text: str, source: str, target: str) -> None:
        sink = self.copy(Clip(frames=25, text=text).write(tmp_path / source), tmp_path / target)
        assert sink.warnings == []
        assert lines(tmp_path / target) == [(0.0, "line 0"), (0.3, "line 1")]
        assert Seen.of(tmp_path / target).languages == ["fra"]

    @pytest.mark.parametrize(("sound", "target"), [("aac", "b.webm"), ("pcm_u8", "b.mp4"), ("wmav2", "b.mov")])
    def test_sound_that_does_not_fit_is_encoded(self, tmp_path: Path, sound: str, target: str) -> None:
        source = tmp_path / ("a.avi" if sound == "wmav2" else "a.mkv")
        clip = Clip(frames=25, sound=sound, time_base=Fraction(1, 25))
        sink = self.copy(clip.write(source), tmp_path / target)
        assert len(sink.warnings) == 1
        assert "re-encoded" in sink.warnings[0]
        assert tone(tmp_path / target) == pytest.approx(440, abs=15)
        with av.open(str(tmp_path / target)) as file:
            assert file.streams.audio[0].codec_context.name in ("aac", "opus", "libopus")
        assert Seen.of(tmp_path / target).duration == pytest.approx(1.0, abs=0.1)

    @pytest.mark.parametrize("sound", ["aac", "mp3", "ac3", "flac", "libopus", "pcm_s16le", "vorbis"])
    def test_matroska_takes_all_as_it_is(self, tmp_path: Path, sound: str) -> None:
        options = {"strict": "experimental"} if sound == "vorbis" else {}
        source = Clip(frames=25, sound=sound, file_options=options).write(tmp_path / "a.mkv")
        assert self.copy(source, tmp_path / "b.mkv").warnings == []
        assert payload(source, "audio") == payload(tmp_path / "b.mkv", "audio")

    def test_transport_stream_into_mp4(self, tmp_path: Path) -> None:
        source = Clip(frames=25, sound="aac").write(tmp_path / "a.ts")
        sink = self.copy(source, tmp_path / "b.mp4")
        assert sink.warnings == []
        assert tone(tmp_path / "b.mp4") == pytest.approx(440, abs=15)

    def test_without_sound(self, tmp_path: Path) -> None:
        source = Clip(frames=25, sound="aac", text="mov_text").write(tmp_path / "a.mp4")
        self.copy(source, tmp_path / "b.mp4", audio=False)
        assert set(Seen.of(tmp_path / "b.mp4").packets) == {"video", "subtitle"}

    def test_range_is_cut_and_shifted(self, tmp_path: Path) -> None:
        source = Clip(frames=100, sound="aac", text="mov_text").write(tmp_path / "a.mp4")
        second = Fraction(1)
        self.copy(source, tmp_path / "b.mp4", origin_s=second, start_s=second, end_s=2 * second)
        with av.open(str(tmp_path / "b.mp4")) as file:
            times = [float(p.pts * p.time_base) for p in file.demux(audio=0) if p.size]
        assert 0 <= times[0] < 0.03
        assert 0.95 < times[-1] < 1.0

    def test_sound_and_video_lie_side_by_side(self, tmp_path: Path) -> None:
        """The bytes of one second of sound are never far from those of the same second of video."""
        source = Clip(frames=200, sound="aac").write(tmp_path / "a.mp4")
        write(tmp_path / "b.mp4", 200, tracks=TrackSource(str(source)))
        with av.open(str(tmp_path / "b.mp4")) as file:
            places = sorted((p.pos or 0, float(p.pts * p.time_base)) for p in file.demux() if p.size)
        apart = [abs(b[1] - a[1]) for a, b in pairwise(places)]
        assert max(apart) < 2.5

    def test_attachments_and_chapters(self, tmp_path: Path) -> None:
        source = tmp_path / "a.mkv"
        with av.open(str(source), "w") as out:
            video = out.add_stream("libx264", rate=25)
            video.width, video.height = 64, 48
            out.add_attachment("font.ttf", "font/ttf", b"glyphs")
            out.set_chapters(
                [{"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}}]
            )
            for frame in frames(25):
                picture = av.VideoFrame.from_ndarray(frame.rgb).reformat(format="yuv420p")
                picture.pts, picture.time_base = frame.pts, frame.time_base
                out.mux(video.encode(picture))
            out.mux(video.encode(None))
        self.copy(source, tmp_path / "b.mkv")
        with av.open(str(tmp_path / "b.mkv")) as file:
            assert [s.data for s in file.streams if s.type == "attachment"] == [b"glyphs"]
            assert [c["metadata"]["title"] for c in file.chapters()] == ["One"]


def payload(path: Path, kind: str) -> list[bytes]:
    """Packets as they are stored, empty fillers of MP4 subtitles left out."""
    with av.open(str(path)) as file:
        streams = [s for s in file.streams if s.type == kind]
        return [bytes(p) for p in file.demux(*streams) if p.size > 2]


def lines(path: Path) -> list[tuple[float, str]]:
    with av.open(str(path)) as file:
        stream = file.streams.subtitles[0]
        found = []
        for packet in file.demux(stream):
            if packet.size > 2:
                for rect in packet.decode():
                    found.append((float(packet.pts * packet.time_base), rect.ass.decode().split(",,")[-1]))
    return found


def tone(path: Path) -> float:
    """Loudest frequency of the sound, hertz."""
    with av.open(str(path)) as file:
        rate = file.streams.audio[0].codec_context.sample_rate
        parts = [frame.to_ndarray() for frame in file.decode(audio=0)]
    wave = np.concatenate([p[0] for p in parts]).astype(float)
    return float(np.argmax(np.abs(np.fft.rfft(wave))[1:]) + 1) * rate / len(wave)
