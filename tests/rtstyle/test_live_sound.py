"""Sound of a live source in recordings: in step with the pictures, whatever is lost on the way."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks.sync_clip import FPS, Heard, clicks_s, write_clip
from engines.base import RGB
from rtstyle.controls import Controls
from rtstyle.frame import Frame
from rtstyle.live.actions import Actions
from rtstyle.live.webcam import WebcamJob, run_webcam
from rtstyle.sinks.file import FileSink
from rtstyle.sound.feed import HISTORY_S, SoundFeed, SoundFormat, SoundPacket
from rtstyle.sound.pcm import RATE, PcmTrack
from rtstyle.sources.file import FileSource
from rtstyle.sources.loop import LoopSource
from rtstyle.sources.sound_tap import LATE_S, ArrivalClock
from rtstyle.stats import Stats
from tests.rtstyle.streams import LiveServer, Sender
from tests.rtstyle.test_webcam import Identity

pytestmark = pytest.mark.real_time

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 4.0
BEGAN_S = 1234.5
"""When the first picture was taken, on the clock of the run."""

ENDINGS = ("mp4", "mkv", "mov", "webm")
TOLERANCE_S = 0.01
"""Matroska rounds to milliseconds, and Opus begins with a few of its own."""

Change = Callable[[SoundPacket], Iterable[SoundPacket]]


class Filter(SoundFeed):
    """A feed that loses, changes or delays packets."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self._change = change

    def put(self, packet: SoundPacket) -> None:
        for one in self._change(packet):
            super().put(one)


def live_frames(clip: Path, feed: SoundFeed) -> Iterator[Frame]:
    """Read a clip at full speed, on the clock of a live run."""
    source = FileSource(str(clip), sound=feed)
    assert source.tap is not None
    source.tap.align(BEGAN_S - float(source.first_pts * source.time_base))
    for frame in source.frames():
        moment_s = BEGAN_S + float((frame.pts - source.first_pts) * frame.time_base)
        yield replace(frame, sound_s=moment_s, captured_s=moment_s + 0.1)
    source.close()


def record(clip: Path, out: Path, feed: SoundFeed, keep: Callable[[int], bool] = lambda _: True) -> Heard:
    sink = FileSink(out, fps=Fraction(FPS), live=True, sound=feed)
    for frame in live_frames(clip, feed):
        if keep(frame.index):
            sink.write(frame)
    sink.close(completed=True)
    return Heard.of(str(out))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "a.mp4", SECONDS)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("source", "sound"), [("mp4", "aac"), ("ts", "mp2"), ("mkv", "pcm_s16le"), ("mkv", "flac")])
def test_clicks_stay_with_their_pictures(tmp_path: Path, source: str, sound: str, ending: str) -> None:
    """Three of four frames are dropped."""
    clip = write_clip(tmp_path / f"a.{source}", SECONDS, sound=sound)
    heard = record(clip, tmp_path / f"b.{ending}", SoundFeed(), lambda number: number % 4 == 0)
    offsets_s = heard.offsets_s(SECONDS)
    assert len(offsets_s) == len(clicks_s(SECONDS)) and np.abs(offsets_s).max() < TOLERANCE_S
    assert len(heard.numbers) == SECONDS * FPS / 4


def test_sound_is_copied_where_the_container_holds_it(tmp_path: Path, clip: Path) -> None:
    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as file:
            return [bytes(packet) for packet in file.demux(audio=0) if packet.size]

    record(clip, tmp_path / "b.mkv", SoundFeed())
    copied = packets(tmp_path / "b.mkv")
    assert len(copied) > SECONDS * 40 and set(copied) <= set(packets(clip))


@pytest.mark.parametrize("ending", ["mp4", "webm"])
def test_sound_that_breaks_off_comes_back_in_its_place(tmp_path: Path, clip: Path, ending: str) -> None:
    lost = (BEGAN_S + 1.0, BEGAN_S + 2.9)
    feed = Filter(lambda packet: () if lost[0] < packet.moment_s < lost[1] else (packet,))
    heard = record(clip, tmp_path / f"b.{ending}", feed)
    left = [time_s for time_s in clicks_s(SECONDS) if not 1.0 < time_s < 2.9]
    assert len(heard.clicks_s) == len(left) < len(clicks_s(SECONDS))
    assert np.abs(heard.offsets_s(SECONDS)).max() < TOLERANCE_S and len(heard.numbers) == SECONDS * FPS


@pytest.mark.parametrize("ending", ["mp4", "webm"])
def test_sound_that_is_late_is_in_its_place(tmp_path: Path, clip: Path, ending: str) -> None:
    waiting: list[SoundPacket] = []

    def later(packet: SoundPacket) -> Iterator[SoundPacket]:
        waiting.append(packet)
        while packet.moment_s - waiting[0].moment_s > 0.6:
            yield waiting.pop(0)

    heard = record(clip, tmp_path / f"b.{ending}", Filter(later))
    assert len(heard.clicks_s) >= len(clicks_s(SECONDS - 0.7))
    assert np.abs(heard.offsets_s(SECONDS)).max() < TOLERANCE_S


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm"])
def test_packets_may_have_no_length(tmp_path: Path, clip: Path, ending: str) -> None:
    heard = record(clip, tmp_path / f"b.{ending}", Filter(lambda packet: (replace(packet, length_s=0.0),)))
    offsets_s = heard.offsets_s(SECONDS)
    assert len(offsets_s) == len(clicks_s(SECONDS)) and np.abs(offsets_s).max() < TOLERANCE_S


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm"])
def test_damage_costs_no_picture(tmp_path: Path, clip: Path, ending: str) -> None:
    random = np.random.default_rng(0)

    def damage(packet: SoundPacket) -> Iterator[SoundPacket]:
        kind = random.integers(8)
        yield replace(packet, data=random.bytes(len(packet.data))) if kind == 0 else packet
        if kind == 1:
            yield packet
        if kind == 2:
            yield replace(packet, moment_s=packet.moment_s - 5)

    assert len(record(clip, tmp_path / f"b.{ending}", Filter(damage)).numbers) == SECONDS * FPS


def test_a_source_that_comes_back_with_other_sound_costs_a_line(
    tmp_path: Path, clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    feed, other = SoundFeed(), write_clip(tmp_path / "other.ts", SECONDS, sound="mp2")
    sink = FileSink(tmp_path / "b.mp4", fps=Fraction(FPS), live=True, sound=feed)
    for number, one in enumerate((clip, other)):
        for frame in live_frames(one, feed):
            shifted = replace(frame, pts=frame.pts + round(number * SECONDS / frame.time_base))
            sink.write(replace(shifted, sound_s=frame.moment_s + number * SECONDS))
    sink.close(completed=True)
    heard = Heard.of(str(tmp_path / "b.mp4"))
    assert len(heard.numbers) == 2 * SECONDS * FPS and len(heard.clicks_s) == len(clicks_s(SECONDS))
    assert [message for message in caplog.messages if "other sound (mp2)" in message] == caplog.messages[-1:]


def test_encoded_sound_changes_its_kind(clip: Path, tmp_path: Path) -> None:
    feed, other = SoundFeed(), write_clip(tmp_path / "other.ts", SECONDS, sound="mp2")
    track = PcmTrack(feed, BEGAN_S)
    blocks = []
    for one in (clip, other):
        for frame in live_frames(one, feed):
            blocks += track.read(frame.moment_s, frame.moment_s)
    assert sum(np.abs(block.samples).max() > 10_000 for block in blocks) > len(clicks_s(SECONDS))


def test_a_track_of_samples_has_no_holes() -> None:
    """Timestamps that jitter move blocks a little, a gap becomes silence, and what overlaps is cut off."""
    feed, random = SoundFeed(), np.random.default_rng(1)
    pcm, tone = SoundFormat.pcm(RATE, "stereo"), np.full((960, 2), 1000, "<i2").tobytes()
    track = PcmTrack(feed, 10.0)
    blocks = []
    for i in [*range(100), *range(300, 400), *range(395, 450)]:
        feed.put(SoundPacket(tone, 10.0 + 0.02 * i + random.uniform(-0.01, 0.01), 0.02, pcm))
        blocks += track.read(1e9, 0.0)
    begins = np.array([block.moment_s for block in blocks])
    ends = np.array([block.moment_s + len(block.samples) / RATE for block in blocks])
    assert begins[0] == pytest.approx(10.0, abs=0.011) and ends[-1] == pytest.approx(19.0, abs=0.03)
    assert np.abs(begins[1:] - ends[:-1]).max() < 0.002
    silent = sum(len(block.samples) for block in blocks if not block.samples.any())
    assert silent / RATE == pytest.approx(4.0, abs=0.05)


def test_where_no_sound_comes_there_is_silence_after_a_second() -> None:
    track = PcmTrack(SoundFeed(), 10.0)
    assert list(track.read(10.9, 10.9)) == []
    assert sum(len(block.samples) for block in track.read(11.5, 11.5)) == 1.5 * RATE


def test_a_feed_keeps_the_newest_seconds_for_any_number_of_readers() -> None:
    feed, pcm = SoundFeed(), SoundFormat.pcm(RATE, "stereo")
    early, packets = feed.reader(), [SoundPacket(b"", 0.02 * i, 0.02, pcm) for i in range(1000)]
    for packet in packets:
        feed.put(packet)
    late = feed.reader()
    assert early.read() == late.read() == packets[-round(HISTORY_S / 0.02) - 1 :] and early.read() == []
    feed.paused = lambda: True
    feed.put(packets[0])
    assert late.read() == []


def test_the_clock_of_a_stream_is_free_of_jitter_and_follows_drift_and_delay() -> None:
    clock, random = ArrivalClock(), np.random.default_rng(2)
    drift, times_s = 1e-4, np.arange(0, 600, 0.04)
    found = np.array([clock.offset_s(t, 50 + t * (1 + drift) + random.uniform(0, 0.1)) for t in times_s])
    ideal = 50 + drift * times_s
    settled = found[100:] - ideal[100:]
    assert settled.min() >= -1e-9 and settled.max() < 0.03 and np.abs(np.diff(found[100:])).max() < 0.02
    assert clock.offset_s(601.0, 50 + 601 + 2.0) == pytest.approx(52.0 - LATE_S, abs=1e-6), "a burst behind a stall"


class Slow(Identity):
    """Takes three frames' time for each."""

    def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
        threading.Event().wait(3 / FPS)
        return rgb.copy()


def test_a_run_records_it_by_sink_and_by_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[Actions] = []

    def start(stats: Stats) -> None:
        if stats.progress()[0] == 5:
            seen[0].live.recorder.start()

    figures = run_webcam(
        WebcamJob(str(clip), ("b.mkv", "null")), Slow, Controls(hold_fps=False), on_frame=start, on_ready=seen.append
    )
    assert figures.dropped > SECONDS * FPS / 2
    (own,) = tmp_path.glob("rtstyle-*.mp4")
    for path, least in ((tmp_path / "b.mkv", len(clicks_s(SECONDS))), (own, len(clicks_s(SECONDS)) - 1)):
        offsets_s = Heard.of(str(path)).offsets_s(SECONDS)
        assert len(offsets_s) >= least and np.abs(offsets_s).max() < 0.04
    assert caplog.messages == []


class Clicks(Sender):
    """Sends the clip with the clicks at its own pace, and then closes the connection."""

    def send(self) -> None:
        start_s = time.monotonic()
        write_clip(
            self.target, 3.0, pace=lambda time_s: not self.stop.wait(max(0.0, start_s + time_s - time.monotonic()))
        )


def test_a_stream_that_reconnects_goes_on_with_its_sound(tmp_path: Path) -> None:
    """What was sent before the stream was open comes at once, too late for its pictures."""
    controls = Controls()

    def stop(_: Stats) -> None:
        if len(server.senders) == 3:
            controls.request_stop()

    with LiveServer(sender=Clicks) as server:
        run_webcam(WebcamJob(server.url, (str(tmp_path / "b.mp4"), "null")), Identity, controls, on_frame=stop)
    heard = Heard.of(str(tmp_path / "b.mp4"))
    again = Heard([number % 256 for number in heard.numbers], heard.times_s, heard.clicks_s)
    offsets_s = again.offsets_s(3.0)
    assert len(offsets_s) >= 4 and np.sort(np.abs(offsets_s))[:-2].max() < 0.04
    assert again.clicks_s[-1] - again.clicks_s[0] > 3.0, "of both connections"


def test_a_pause_leaves_the_sound_out(tmp_path: Path, clip: Path) -> None:
    controls = Controls()

    def pause(stats: Stats) -> None:
        controls.paused = 1.1 < stats.progress()[0] / FPS < 3.0

    run_webcam(WebcamJob(str(clip), (str(tmp_path / "b.mp4"), "null")), Identity, controls, on_frame=pause)
    heard = Heard.of(str(tmp_path / "b.mp4"))
    left = [time_s for time_s in clicks_s(SECONDS) if not 1.1 < time_s < 3.0]
    assert len(heard.clicks_s) == len(left) < len(clicks_s(SECONDS))
    assert np.abs(heard.offsets_s(SECONDS)).max() < 0.04


def test_a_loop_goes_on_with_its_sound(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 1.0)
    feed = SoundFeed()
    source = LoopSource(str(clip), sound=feed)
    sink = FileSink(tmp_path / "b.mp4", fps=Fraction(FPS), live=True, sound=feed)
    for frame in source.frames():
        sink.write(frame)
        if frame.index == round(2.8 * FPS):
            source.close()
    sink.close(completed=True)
    clicks = Heard.of(str(tmp_path / "b.mp4")).clicks_s
    assert np.diff(clicks) == pytest.approx([1.0, 1.0], abs=0.03)


def test_a_source_without_sound_gives_a_file_without(tmp_path: Path) -> None:
    from tests.rtstyle.clips import frames

    sink = FileSink(tmp_path / "b.mp4", live=True, sound=SoundFeed())
    for frame in frames(5):
        sink.write(frame)
    sink.close(completed=True)
    with av.open(str(tmp_path / "b.mp4")) as file:
        assert not file.streams.audio


RECORDER = """
import sys
from fractions import Fraction
from pathlib import Path
from rtstyle.sinks.file import FileSink
from rtstyle.sound.feed import SoundFeed
from tests.rtstyle.test_live_sound import live_frames
feed = SoundFeed()
sink = FileSink(Path(sys.argv[2]), fps=Fraction(30), live=True, sound=feed)
for frame in live_frames(Path(sys.argv[1]), feed):
    sink.write(frame)
print("there", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("ending", ENDINGS)
def test_it_is_readable_after_kill_9(tmp_path: Path, clip: Path, ending: str) -> None:
    out = tmp_path / f"b.{ending}"
    program = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(clip), str(out)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert program.stdout is not None and program.stdin is not None
    assert program.stdout.readline().strip() == b"there"
    program.kill()
    program.wait(timeout=20)
    program.stdin.close()
    program.stdout.close()
    heard = Heard.of(str(out))
    assert heard.times_s[-1] > SECONDS - 2.5 and len(heard.clicks_s) >= 2
    assert np.abs(heard.offsets_s(SECONDS)).max() < 0.03
