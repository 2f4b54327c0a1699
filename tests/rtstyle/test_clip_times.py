"""Clips whose timestamps jump, are missing, or are those of the decoder."""

from __future__ import annotations

import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from rtstyle.media.matroska import is_cut_off
from rtstyle.sources.file import FileSource
from rtstyle.sources.timestamps import BestTimes
from rtstyle.video import VideoJob, stylize_video
from tests.rtstyle.clips import Clip, Seen, Still, number_of, numbered


def read(path: Path, *, live: bool = False) -> tuple[list[int], list[float], FileSource]:
    source = FileSource(str(path), live=live)
    frames = list(source.frames())
    source.close()
    return [number_of(frame.rgb) for frame in frames], [float(frame.pts * frame.time_base) for frame in frames], source


def broadcast(path: Path, begin_s: float = 0, frames: int = 20) -> Path:
    """A transport stream with B-frames and sound whose clock begins at a time."""
    options = {"preset": "medium", "bf": "2", "g": "10"}
    shift = {"output_ts_offset": str(begin_s)}
    return Clip(frames=frames, sound="mp2", time_base=Fraction(1, 90_000), options=options, file_options=shift).write(
        path
    )


def joined(path: Path, *begins_s: float) -> Path:
    parts = [broadcast(path.with_name(f"part{i}.ts"), begin_s) for i, begin_s in enumerate(begins_s)]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def steps(times: list[float]) -> list[float]:
    return [b - a for a, b in pairwise(times)]


@pytest.mark.parametrize(
    "begins_s", [(0, 0), (0, 3600), (7200, 0), (0, 3600, 0)], ids=["repeats", "forwards", "backwards", "there and back"]
)
class TestJumps:
    """Recordings one after the other in one transport stream."""

    def test_time_goes_on(self, tmp_path: Path, begins_s: tuple[float, ...]) -> None:
        numbers, times, source = read(joined(tmp_path / "a.ts", *begins_s))
        assert numbers == [*range(20)] * len(begins_s)
        assert all(0.01 < step < 0.12 for step in steps(times)), steps(times)
        jumps = len(begins_s) - 1
        assert source.warnings == [f"the clock of the recording jumps: {jumps}; its parts are joined without a gap"]

    def test_sound_stays_with_the_pictures(self, tmp_path: Path, begins_s: tuple[float, ...]) -> None:
        out = tmp_path / "b.mkv"
        stylize_video(VideoJob(str(joined(tmp_path / "a.ts", *begins_s)), out), Still)
        ends = {}
        with av.open(str(out)) as file:
            for packet in file.demux():
                if packet.pts is not None:
                    ends[packet.stream.type] = float(packet.pts * packet.time_base)
        assert ends["video"] == pytest.approx(0.8 * len(begins_s), abs=0.12)
        assert ends["audio"] == pytest.approx(ends["video"], abs=0.1)


def test_a_live_source_does_not_wait_for_the_new_clock(tmp_path: Path) -> None:
    path = joined(tmp_path / "a.ts", 0, 3600)
    start_s = time.monotonic()
    numbers, _, _ = read(path, live=True)
    assert len(numbers) == 40
    assert 1.4 < time.monotonic() - start_s < 10


def test_a_pause_of_one_stream_is_no_jump(tmp_path: Path) -> None:
    """Pictures that stand still for longer than a jump, while the sound goes on."""
    pts = [round(second * 90_000) for second in (0, 0.04, 15, 15.04)]
    interleaved = {"max_interleave_delta": "0"}
    clip = Clip(pts=pts, time_base=Fraction(1, 90_000), sound="mp2", file_options=interleaved)
    path = clip.write(tmp_path / "a.ts")
    _, times, source = read(path)
    assert steps(times) == pytest.approx([0.04, 14.96, 0.04], abs=1e-3)
    assert source.warnings == []


def test_a_clock_that_wraps_loses_nothing(tmp_path: Path) -> None:
    """The clock of a transport stream has 33 bits: 95443.7 s."""
    numbers, times, source = read(broadcast(tmp_path / "a.ts", 95443.3))
    assert numbers == [*range(20)]
    assert steps(times) == pytest.approx([0.04] * 19)
    assert source.warnings == [] and source.frames_lost == 0


def test_avi_with_reordered_pictures(tmp_path: Path) -> None:
    """AVI only stores when a picture is decoded, which is at a steady rate."""
    clip = Clip(frames=40, time_base=Fraction(1, 25), options={"preset": "medium", "bf": "3", "g": "20"})
    numbers, times, source = read(clip.write(tmp_path / "a.avi"))
    assert numbers == [*range(40)]
    assert steps(times) == pytest.approx([0.04] * 39)
    assert source.warnings == []


@pytest.mark.parametrize(("ending", "codec"), [("m2v", "mpeg2video"), ("avi", "mpeg4")])
def test_reordered_pictures_of_older_codecs(tmp_path: Path, ending: str, codec: str) -> None:
    clip = Clip(frames=30, time_base=Fraction(1, 25), codec=codec, options={"bf": "2", "g": "12", "b": "2M"})
    numbers, times, source = read(clip.write(tmp_path / f"a.{ending}"))
    assert numbers == [*range(30)]
    assert steps(times) == pytest.approx([0.04] * 29, abs=1e-3)
    assert source.warnings == []


@pytest.mark.parametrize(
    ("ending", "codec"),
    [
        ("ts", "libx264"),
        ("ts", "mpeg2video"),
        ("mpg", "mpeg2video"),
        ("m2v", "mpeg2video"),
        ("avi", "libx264"),
        ("flv", "libx264"),
        ("mkv", "libx264"),
        ("nut", "mpeg4"),
    ],
)
@pytest.mark.parametrize("start", [0.02, 0.5, 0.8, 1.1, 1.5])
def test_start_is_exact(tmp_path: Path, ending: str, codec: str, start: float) -> None:
    """Key frames lie at 0, 0.8 and 1.6 s; pictures are reordered."""
    options = {"bf": "2", "g": "20", **({"preset": "medium", "sc_threshold": "0"} if codec == "libx264" else {})}
    clip = Clip(frames=45, time_base=Fraction(1, 25), codec=codec, options={"b": "2M", **options})
    path = clip.write(tmp_path / f"a.{ending}")
    whole, rest = FileSource(str(path)), FileSource(str(path), start=start)
    expected = [
        frame for frame in whole.frames() if frame.pts * frame.time_base - whole.begin_s >= Fraction(str(start))
    ]
    got = list(rest.frames())
    whole.close()
    rest.close()
    assert [frame.pts for frame in got] == [frame.pts for frame in expected]
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize(("start", "end"), [(0.3, 1.2), (0.9, None), (1.2, 1.5)])
@pytest.mark.parametrize("begins_s", [(0, 0), (0, 3600)], ids=["repeats", "forwards"])
def test_a_part_across_a_jump(tmp_path: Path, begins_s: tuple[float, ...], start: float, end: float | None) -> None:
    out = tmp_path / "b.mkv"
    job = VideoJob(str(joined(tmp_path / "a.ts", *begins_s)), out, start=start, end=end)
    stylize_video(job, Still)
    seconds = (1.6 if end is None else end) - start
    seen = Seen.of(out)
    assert len(seen.times) == pytest.approx(seconds * 25, abs=2)
    assert seen.times[-1] + 0.04 == pytest.approx(seconds, abs=0.1)
    assert seen.packets["audio"] == pytest.approx(seconds / 0.024, abs=5)


def picture(pts: int | None, dts: int | None) -> av.VideoFrame:
    frame = av.VideoFrame(16, 16)
    frame.pts, frame.dts = pts, dts
    return frame


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([(0, None), (40, None), (80, None)], [0, 40, 80]),
        ([(None, 2), (None, 3), (None, 4), (None, None)], [2, 3, 4, 5]),
        ([(5, 0), (6, 1), (7, 2)], [5, 6, 7]),
        ([(1, 1), (4, 2), (3, 3), (5, 4), (2, 5)], [1, 4, 3, 4, 5]),
        ([(None, None), (None, None)], [None, None]),
    ],
    ids=["presentation only", "decoding only", "both", "presentation out of order", "none"],
)
def test_best_times(given: list[tuple[int | None, int | None]], expected: list[int | None]) -> None:
    times = BestTimes()
    assert [times.of(picture(pts, dts)) for pts, dts in given] == expected


class TestCutOff:
    """Matroska files that end in the middle of an element, whether or not they state their length."""

    @pytest.mark.parametrize("live", [False, True], ids=["a file", "a live recording"])
    @pytest.mark.parametrize("share", [0.6, 0.95])
    def test_it_is_told(self, tmp_path: Path, live: bool, share: float) -> None:
        options = {"live": "1"} if live else {}
        path = Clip(frames=60, sound="libopus", file_options=options).write(tmp_path / "a.mkv")
        assert not is_cut_off(path)
        assert read(path)[2].warnings == []
        path.write_bytes(path.read_bytes()[: round(share * path.stat().st_size)])
        assert is_cut_off(path)
        assert len([warning for warning in read(path)[2].warnings if "cut off" in warning]) == 1

    def test_other_bytes_never_raise(self, tmp_path: Path) -> None:
        random = np.random.default_rng(5)
        for size in (1, 2, 9, 5000):
            for _ in range(50):
                path = tmp_path / "a.mkv"
                path.write_bytes(random.bytes(size))
                assert is_cut_off(path) in (True, False)


def test_a_stylized_transport_stream_has_the_length_of_its_parts(tmp_path: Path) -> None:
    out = tmp_path / "b.mp4"
    stylize_video(VideoJob(str(joined(tmp_path / "a.ts", 0, 3600)), out), Still)
    seen = Seen.of(out)
    assert seen.duration == pytest.approx(1.6, abs=0.15)
    assert len(seen.times) == 40


def test_sound_that_comes_twice_is_no_jump(tmp_path: Path) -> None:
    """A whole PES packet of sound, many frames of it, is there a second time, as after bad reception."""
    clip = Clip(frames=50, sound="aac", time_base=Fraction(1, 90_000)).write(tmp_path / "a.ts")
    with av.open(str(clip)) as file:
        pid = file.streams.audio[0].id
    data = clip.read_bytes()
    packets = [bytearray(data[at : at + 188]) for at in range(0, len(data), 188)]
    sound = [at for at, packet in enumerate(packets) if (packet[1] & 0x1F) << 8 | packet[2] == pid]
    begins = [at for at in sound if packets[at][1] & 0x40]
    first, second = begins[1], begins[2]
    again = [bytearray(packets[at]) for at in sound if first <= at < second]
    packets[second:second] = again
    count = 0
    for packet in packets:  # the counters of the track go on, or its packets would be dropped
        if (packet[1] & 0x1F) << 8 | packet[2] == pid:
            packet[3] = packet[3] & 0xF0 | count
            count = (count + 1) & 0x0F
    (tmp_path / "twice.ts").write_bytes(b"".join(packets))

    report = stylize_video(VideoJob(str(tmp_path / "twice.ts"), tmp_path / "b.mp4"), Still)
    stylize_video(VideoJob(str(clip), tmp_path / "a.mp4"), Still)
    (warning,) = report.warnings
    assert "(damaged or repeated)" in warning
    before, after = Seen.of(tmp_path / "a.mp4"), Seen.of(tmp_path / "b.mp4")
    assert after.packets == before.packets
    assert after.duration == pytest.approx(before.duration, abs=0.01)


@pytest.mark.parametrize("codec", ["mpeg4", "libvpx"])
def test_packets_without_data_show_the_picture_before(tmp_path: Path, codec: str) -> None:
    """So do Theora's encoders save a picture that does not change; the last one is shown to the end of the clip."""
    empty, count = (3, 4, 9, 18, 19), 20
    path = tmp_path / "a.nut"
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        coded = (i for i in range(count) if i not in empty)
        packets = [p for i in coded for p in video.encode(av.VideoFrame.from_ndarray(numbered(i)))] + video.encode(None)
        for number in range(count):
            packet = av.Packet(b"") if number in empty else packets.pop(0)
            packet.stream, packet.time_base, packet.duration = video, Fraction(1, 25), 1
            packet.pts = packet.dts = number
            out.mux(packet)
    shown = [i for i in range(count) if i not in empty]
    numbers, times, source = read(path)
    assert numbers == shown
    assert times == pytest.approx([i / 25 for i in shown])
    assert source.warnings == [] and source.frames_lost == 0
    report = stylize_video(VideoJob(str(path), tmp_path / "b.mp4"), Still)
    assert report.warnings == () and report.frames_out == len(shown)
    assert Seen.of(tmp_path / "b.mp4").duration == pytest.approx(count / 25, abs=0.002)


@pytest.mark.parametrize("segment_s", [0.0, 0.4])
@pytest.mark.parametrize("ending", ["mkv", "flv", "mp4"])
def test_a_recording_of_a_running_stream_begins_at_0(tmp_path: Path, ending: str, segment_s: float) -> None:
    """Otherwise a player shows a film of eight hours, nearly all of it empty."""
    plain, late, out = tmp_path / f"plain.{ending}", tmp_path / f"late.{ending}", tmp_path / "out.mp4"
    units = {"time_base": Fraction(1, 1000), "codec": "libx264", "sound": "aac", "options": {"g": "5"}}
    Clip(**units).write(plain)
    Clip(**units, file_options={"output_ts_offset": "30000"}).write(late)
    results = []
    for clip in (plain, late):
        stylize_video(VideoJob(str(clip), out, overwrite=True, segment_s=segment_s), Still)
        results.append(Seen.of(out))
    assert results[1].numbers == results[0].numbers == [*range(20)]
    assert results[1].duration < 1.0
    first = [np.array(seen.times) - seen.times[0] for seen in results]
    assert np.allclose(*first, atol=0.0015) and results[1].times[0] < 0.1
