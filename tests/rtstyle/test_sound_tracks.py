"""Sound beside the film: every kind of it, damaged packets, and odd times."""

from __future__ import annotations

import io
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from rtstyle.media.codecs import CONTAINERS
from rtstyle.sinks.muxer_trial import can_hold
from rtstyle.sinks.packet_order import PacketOrder
from tests.rtstyle.clips import Seen, write_sound
from tests.rtstyle.tracks import clip_with, film, onset, packet_times, payload, remux, sound_length, stylize, tone

OUTPUTS = ("mp4", "mkv", "mov", "webm")

MP4_NAMES = {"mp2": "mp3", "mp2float": "mp3", "mp3float": "mp3"}
"""MP4 has one name for layers 2 and 3."""

SOUNDS = [
    *(("mkv", codec) for codec in ("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_f32le", "pcm_u8", "aac", "ac3", "eac3")),
    *(("mkv", codec) for codec in ("flac", "mp3", "mp2", "libopus", "alac", "wavpack", "vorbis")),
    *(("mp4", codec) for codec in ("aac", "ac3", "alac", "flac", "libopus", "mp3")),
    *(("mov", codec) for codec in ("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_f32le", "aac", "alac", "adpcm_ima_qt")),
    *(("avi", codec) for codec in ("pcm_s16le", "pcm_u8", "mp3", "ac3", "adpcm_ms", "wmav2")),
    *(("ts", codec) for codec in ("aac", "mp2", "ac3", "eac3", "libopus")),
    *(("webm", codec) for codec in ("libopus", "vorbis")),
]


class TestSound:
    @pytest.mark.parametrize(("container", "codec"), SOUNDS)
    def test_any_sound_goes_into_any_container(self, tmp_path: Path, container: str, codec: str) -> None:
        source = clip_with(tmp_path / f"a.{container}", codec, count=10)
        for ending in OUTPUTS:
            out = tmp_path / f"b.{ending}"
            report = stylize(source, out)
            with av.open(str(source)) as before, av.open(str(out)) as after:
                names = {MP4_NAMES.get(name := file.streams.audio[0].name, name) for file in (before, after)}
            notes = [warning for warning in report.warnings if "audio track 1" in warning]
            assert [note for note in notes if "re-encoded" not in note] == []
            assert len(notes) == (len(names) > 1), "copied, or a line that says it was not"
            assert tone(out) == pytest.approx(440, abs=15)
            assert sound_length(out) == pytest.approx(0.4, abs=0.08)

    def test_mp4_gets_no_uncompressed_sound(self, tmp_path: Path) -> None:
        """FFmpeg can write it, but older players show silence or noise."""
        stylize(clip_with(tmp_path / "a.mov", "pcm_s24le"), tmp_path / "b.mp4")
        with av.open(str(tmp_path / "b.mp4")) as file:
            assert file.streams.audio[0].name == "aac"

    @pytest.mark.parametrize("ending", ["webm", "mp4"])
    def test_surround_sound_stays_surround_sound(self, tmp_path: Path, ending: str) -> None:
        source = tmp_path / "a.mkv"
        with film(source) as out:
            sound = out.add_stream("pcm_s16le", rate=48000)
            sound.layout = "5.1"
            wave = (np.sin(np.arange(48000) * 2 * np.pi * 440 / 48000) * 8000).astype(np.int16)
            channels = np.zeros((48000, 6), np.int16)
            channels[:, 4] = wave  # back left
            tone_frame = av.AudioFrame.from_ndarray(channels.reshape(1, -1), format="s16", layout="5.1")
            tone_frame.sample_rate = 48000
            out.mux([*sound.encode(tone_frame), *sound.encode(None)])
        stylize(source, tmp_path / f"b.{ending}")
        with av.open(str(tmp_path / f"b.{ending}")) as file:
            wave = np.concatenate([f.to_ndarray() for f in file.decode(audio=0)], axis=1)
        loudness = np.abs(wave.astype(float)).mean(1)
        assert len(loudness) == 6
        assert np.argmax(loudness) == 4

    @pytest.mark.parametrize(("rate", "ending"), [(8000, "mp4"), (8000, "mkv"), (44100, "mov"), (192000, "mp4")])
    def test_re_encoding_does_not_shift_the_sound(self, tmp_path: Path, rate: int, ending: str) -> None:
        """Encoders begin with silence of their own: AAC at 8 kHz with an eighth of a second."""
        source = tmp_path / ("a.avi" if ending == "mkv" else "a.mkv")
        with film(source, codec="mpeg4") as out:
            sound = out.add_stream("adpcm_ms" if ending == "mkv" else "wavpack", rate=rate, layout="mono")
            wave = np.zeros((1, rate), np.int16)
            wave[0, rate // 2 :] = np.sin(np.arange(rate - rate // 2) * 2 * np.pi * 800 / rate) * 20000
            tone_frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            tone_frame.sample_rate = rate
            out.mux([*sound.encode(tone_frame), *sound.encode(None)])
        report = stylize(source, tmp_path / f"b.{ending}")
        assert any("re-encoded" in warning for warning in report.warnings)
        assert onset(tmp_path / f"b.{ending}") == pytest.approx(onset(source), abs=0.01)

    @pytest.mark.parametrize("ending", OUTPUTS)
    @pytest.mark.parametrize("rate", [16000, 44100])
    def test_the_delay_of_an_encoder_does_not_shift_the_pictures(self, tmp_path: Path, rate: int, ending: str) -> None:
        """An edit list cuts MP3's silent beginning off, inside a packet; Matroska has nothing like it."""
        source, out_path = tmp_path / "a.mp4", tmp_path / f"b.{ending}"
        with film(source) as out:
            sound = out.add_stream("libmp3lame", rate=rate, layout="mono")
            wave = np.zeros((1, rate), np.int16)
            wave[0, rate // 2 :] = np.sin(np.arange(rate - rate // 2) * 2 * np.pi * 800 / rate) * 20000
            tone_frame = av.AudioFrame.from_ndarray(wave, format="s16p", layout="mono")
            tone_frame.sample_rate, tone_frame.pts, tone_frame.time_base = rate, 0, Fraction(1, rate)
            out.mux([*sound.encode(tone_frame), *sound.encode(None)])
        assert packet_times(source, "audio")[0] < -0.02
        stylize(source, out_path)
        assert Seen.of(out_path).times == pytest.approx(Seen.of(source).times, abs=0.001)
        assert onset(out_path) == pytest.approx(onset(source), abs=0.005)


class TestDamage:
    """What is wrong with one packet costs this packet and a line, never the film."""

    @pytest.fixture
    def damaged(self, tmp_path: Path) -> Path:
        """A transport stream in which one packet of sound has lost its header."""
        with film(tmp_path / "a.ts") as out:
            write_sound(out, out.add_stream("aac", rate=48000, layout="stereo", bit_rate=32_000), 1.0)
        data = bytearray((tmp_path / "a.ts").read_bytes())
        headers = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xf1" and 20 < at % 188 < 180]
        middle = headers[len(headers) // 2]
        data[middle : middle + 7] = bytes(byte ^ 0x55 for byte in data[middle : middle + 7])
        (tmp_path / "a.ts").write_bytes(data)
        return tmp_path / "a.ts"

    @pytest.mark.parametrize("ending", OUTPUTS)
    def test_a_damaged_packet(self, tmp_path: Path, damaged: Path, ending: str) -> None:
        report = stylize(damaged, tmp_path / f"b.{ending}")
        assert report.frames_out == 25
        assert tone(tmp_path / f"b.{ending}") == pytest.approx(440, abs=15)
        assert sound_length(tmp_path / f"b.{ending}") > 0.8
        if ending != "webm":
            assert [warning for warning in report.warnings if "packets lost: 1" in warning]

    @pytest.mark.parametrize("ending", OUTPUTS)
    def test_packets_that_come_twice(self, tmp_path: Path, ending: str) -> None:
        seen: list[bytes] = []

        def repeat(packet: Any) -> list[Any]:
            if packet.stream.type != "audio":
                return [packet]
            seen.append(bytes(packet))
            twin = av.Packet(bytes(packet))
            twin.pts, twin.dts, twin.time_base, twin.duration = (
                packet.pts, packet.dts, packet.time_base, packet.duration
            )  # fmt: skip
            return [packet, twin] if len(seen) == 10 else [packet]

        source = remux(clip_with(tmp_path / "a.mkv", "aac"), tmp_path / "twice.mkv", repeat)
        report = stylize(source, tmp_path / f"b.{ending}")
        assert sum("packets lost: 1 (damaged or repeated)" in warning for warning in report.warnings) == 1
        if ending != "webm":
            assert payload(tmp_path / f"b.{ending}", "audio") == seen

    def test_times_that_repeat(self, tmp_path: Path) -> None:
        """Two packets of sound with one time, again and again: they last as long as their durations say."""

        count = 0

        def pair(packet: Any) -> list[Any]:
            nonlocal count
            if packet.stream.type == "audio":
                packet.pts = packet.dts = round(count // 2 * 2048 / 48)
                count += 1
            return [packet]

        source = remux(clip_with(tmp_path / "a.mkv", "aac"), tmp_path / "pairs.mkv", pair)
        stylize(source, tmp_path / "b.mp4")
        steps = np.diff(packet_times(tmp_path / "b.mp4", "audio"))
        assert steps.min() > 0.01
        assert steps.max() < 0.04
        assert Seen.of(tmp_path / "b.mp4").duration == pytest.approx(1.0, abs=0.08)

    def test_times_that_repeat_by_rounding(self, tmp_path: Path) -> None:
        """Matroska's clock has milliseconds; here come 1200 packets a second, as in TrueHD."""
        source = tmp_path / "a.mkv"
        with film(source) as out:
            sound = out.add_mux_stream("dts", rate=48000)
            for number in range(1200):
                packet: Any = av.Packet(number.to_bytes(2) + bytes(20))
                packet.stream, packet.time_base = sound, Fraction(1, 1000)
                packet.pts = packet.dts = number * 5 // 6
                out.mux(packet)
        times = packet_times(source, "audio")
        assert sum(a == b for a, b in pairwise(times)) == 200
        stylize(source, tmp_path / "b.mkv")
        assert packet_times(tmp_path / "b.mkv", "audio") == times


class TestOrder:
    def placed(self, *packets: tuple[int | None, int, bytes], kind: str = "audio") -> list[int | None]:
        """Times of the packets that are accepted, from (time, duration, content)."""
        order, times = PacketOrder(kind), []
        for pts, duration, content in packets:
            packet: Any = av.Packet(content)
            packet.pts = packet.dts = pts
            packet.duration = duration
            if order.accept(packet):
                times.append(packet.pts)
        return times

    def test_good_times_stay(self) -> None:
        assert self.placed((5, 10, b"a"), (15, 10, b"b"), (90, 10, b"c")) == [5, 15, 90]

    def test_a_missing_time_follows_the_last_packet(self) -> None:
        assert self.placed((None, 10, b"a"), (5, 10, b"b"), (None, 10, b"c"), (25, 10, b"d")) == [5, 15, 25]

    def test_a_packet_from_long_before_is_left_out(self) -> None:
        assert self.placed((0, 10, b"a"), (10, 10, b"b"), (20, 10, b"c"), (0, 10, b"a"), (30, 10, b"d")) == [
            0,
            10,
            20,
            30,
        ]

    def test_subtitles_may_begin_together(self) -> None:
        assert self.placed((5, 10, b"a"), (5, 10, b"b"), (5, 10, b"b"), kind="subtitle") == [5, 5, 5]


def test_a_trial_tells_what_a_muxer_refuses_only_at_the_end(tmp_path: Path) -> None:
    """MP4's muxer takes PCM with an unknown layout, and its packets, and fails when it writes the index."""
    source = clip_with(tmp_path / "a.mkv", "pcm_s16le")
    with av.open(str(source)) as file:
        stream = file.streams.audio[0]
        first = next(file.demux(stream))
        with av.open(io.BytesIO(), "w", format="mp4") as out:
            out.add_stream_from_template(stream)
            out.start_encoding()
        assert not can_hold(CONTAINERS[".mp4"], stream, first)
        assert can_hold(CONTAINERS[".mkv"], stream, first)
