"""NDI through its own library: what the sink sends is received by the source, over this machine's loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.sync_clip import Heard, write_clip
from engines.base import RGB
from engines.errors import SourceError
from rtstyle.cli import app
from rtstyle.controls import Controls
from rtstyle.frame import Frame
from rtstyle.live.webcam import WebcamJob, run_webcam
from rtstyle.sinks.ndi import NdiSink
from rtstyle.sinks.paused_slate import paused_slate
from rtstyle.sound.feed import SoundFeed, SoundFormat, SoundPacket, sound_of
from rtstyle.sound.pcm import RATE, PcmBlock, PcmTrack
from rtstyle.sources import ndi
from rtstyle.sources.base import notice_of
from rtstyle.sources.factory import open_source
from rtstyle.sources.scene import Scene
from tests.conftest import ROOT
from tests.rtstyle.test_style_switcher import until
from tests.rtstyle.test_webcam import Identity

pytestmark = pytest.mark.real_time

pytest.importorskip("cyndilib", reason="needs the extra `ndi`")

FPS = 30

MEAN_TOLERANCE, BIAS_TOLERANCE = 4.0, 5.0
"""NDI compresses, with half the colours, and its conversion makes white (253, 253, 251): mean absolute difference, and
difference of the means, 8-bit steps."""

NAMES = (f"painting {number}" for number in count())


@pytest.fixture
def name() -> str:
    return next(NAMES)


@contextmanager
def sending(sink: NdiSink, picture: Callable[[int], RGB], sound: SoundFeed | None = None) -> Iterator[None]:
    """Write pictures into the sink at 30 frames per second; a tone on the left, and on the right half as loud."""
    over, pcm = threading.Event(), SoundFormat.pcm(RATE, "stereo")

    def work() -> None:
        start_s, length = time.monotonic(), RATE // FPS
        wave = 16_000 * np.sin(2 * np.pi * 300 * np.arange(length) / RATE)
        samples = np.stack([wave, wave / 2], axis=1).astype("<i2").tobytes()
        for number in count():
            moment_s = start_s + number / FPS
            if over.wait(max(0.0, moment_s - time.monotonic())):
                return
            if sound is not None:
                sound.put(SoundPacket(samples, moment_s, length / RATE, pcm))
            sink.write(Frame(picture(number), number, number, Fraction(1, FPS), time.monotonic()))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        sink.close(completed=True)
        sink.close(completed=True)


def painting(width: int, height: int) -> RGB:
    return Scene(width, height).at(0.5)


@pytest.mark.parametrize(("size", "height"), [((640, 360), None), ((321, 181), None), ((640, 360), 180)])
def test_pictures_arrive_as_they_were_sent(name: str, size: tuple[int, int], height: int | None) -> None:
    sink, sent = NdiSink(name, size, Fraction(FPS)), painting(*size)
    with sending(sink, lambda _: sent):
        source = open_source(f"ndi:{name}", size=(0, height) if height else None)
        frame = next(source.frames())
        source.close()
    assert sink.name == source.info.name == f"NDI TEST-{os.getpid()} ({name})"
    even = (size[1] + size[1] % 2, size[0] + size[0] % 2)
    assert frame.rgb.shape == ((180, 320, 3) if height else (*even, 3))
    assert (source.info.height, source.info.width, source.info.fps) == (*frame.rgb.shape[:2], FPS)
    if height is None:
        different = frame.rgb[: size[1], : size[0]].astype(int) - sent
        assert np.abs(different).mean() < MEAN_TOLERANCE + 6 * (size[0] % 2)  # which scales it by one pixel
        assert np.abs(different.mean(axis=(0, 1))).max() < BIAS_TOLERANCE


def test_every_picture_arrives_once_and_in_time(name: str) -> None:
    shades = [np.full((96, 160, 3), 10 + 7 * number, np.uint8) for number in range(32)]
    seen = []
    with sending(NdiSink(name, (160, 96), Fraction(FPS)), lambda number: shades[number % 32]):
        source = open_source(f"ndi:{name}")
        for frame in source.frames():
            seen.append((round((frame.rgb.mean() - 10) / 7), frame.moment_s))
            if len(seen) == 40:
                break
        source.close()
    steps = np.diff([number for number, _ in seen]) % 32
    assert (steps > 0).all() and (steps == 1).mean() > 0.7, "a busy machine skips some"
    assert np.median(np.diff([moment_s for _, moment_s in seen])) == pytest.approx(1 / FPS, rel=0.3)


def test_sound_arrives_beside_them_on_both_sides(name: str) -> None:
    sound = SoundFeed()
    sound.announce(SoundFormat.pcm(RATE, "stereo"))
    sink = NdiSink(name, (160, 96), Fraction(FPS), sound=sound)
    with sending(sink, lambda _: painting(160, 96), sound):
        source = open_source(f"ndi:{name}")
        feed = sound_of(source)
        assert feed is not None and feed.format is not None, "known before the first frame"
        track, blocks = PcmTrack(feed, time.monotonic() + 0.3), list[PcmBlock]()

        def heard() -> list[PcmBlock]:
            blocks.extend(track.read(1e9, 0.0))
            return [block for block in blocks if block.samples.any()]

        until(lambda: len(heard()) > 50)
        source.close()
    # A busy machine loses some, which is silence: what most of the others hold counts.
    squares = [(block.samples.astype(float) ** 2).mean(axis=0) for block in heard()]
    loud = np.sqrt(2 * np.median(squares, axis=0))
    assert loud == pytest.approx([16_000, 8_000], rel=0.1)


def test_sound_stays_in_step_through_both_ends(name: str, tmp_path: Path) -> None:
    """A clip with clicks is sent by one run, and received and recorded by another."""
    clip = write_clip(tmp_path / "a.mp4", 6.0)
    first = WebcamJob(str(clip), (f"ndi:{name}",))
    thread = threading.Thread(target=run_webcam, args=(first, Identity, Controls()))
    thread.start()
    second = WebcamJob(f"ndi:{name}", (str(tmp_path / "b.mp4"), "null"), reconnect=False)
    try:
        with pytest.raises(SourceError, match="is gone"):
            run_webcam(second, Identity, Controls())
    finally:
        thread.join()
    heard = Heard.of(str(tmp_path / "b.mp4"))
    offsets_s = heard.offsets_s(6.0)
    assert len(heard.numbers) > 60 and len(offsets_s) >= 2
    assert np.median(np.abs(offsets_s)) < 0.05


def test_a_source_that_vanishes_comes_back(name: str) -> None:
    with sending(NdiSink(name, (160, 96)), lambda _: painting(160, 96)):
        source = open_source(f"ndi:{name}")
        frames = source.frames()
        next(frames)
    lost = next(frame for frame in frames if frame.notice)
    assert lost.notice == f"NDI TEST-{os.getpid()} ({name}) is gone; waiting for it" == notice_of(source)
    with sending(NdiSink(name, (192, 96)), lambda _: painting(192, 96)):
        assert next(frame for frame in frames if not frame.notice).rgb.shape == (96, 192, 3)
        source.close()


def test_viewers_see_a_pause_and_a_lost_camera(name: str) -> None:
    sent, paused = painting(320, 180), threading.Event()
    with sending(NdiSink(name, (320, 180), paused=paused.is_set), lambda _: sent):
        source = open_source(f"ndi:{name}")
        frames = source.frames()
        assert abs(float(next(frames).rgb.mean()) - sent.mean()) < BIAS_TOLERANCE
        paused.set()
        slate = paused_slate(sent).mean()
        later = islice(frames, 60)
        assert any(abs(float(frame.rgb.mean()) - slate) < BIAS_TOLERANCE for frame in later)
        source.close()


def test_a_name_that_is_not_there_costs_a_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndi, "FIND_S", 1.0)
    with sending(NdiSink(name, (160, 96)), lambda _: painting(160, 96)):
        start_s = time.monotonic()
        with pytest.raises(SourceError, match=r"no NDI source is called 'nowhere'") as caught:
            open_source("ndi:nowhere")
        assert time.monotonic() - start_s < 5.0 and f"({name})" in caught.value.hint


def test_devices_lists_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with sending(NdiSink(name, (160, 96)), lambda _: painting(160, 96)):
        full = f"TEST-{os.getpid()} ({name})"
        assert f"\nndi:{full}\n" in CliRunner().invoke(app, ["devices"]).output
        assert full in json.loads(CliRunner().invoke(app, ["devices", "--json"]).stdout)["ndi"]


RECEIVER = """
import sys
from rtstyle.sources.factory import open_source
for _ in open_source("ndi:" + sys.argv[1]).frames():
    print("picture", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no process can be stopped here")
def test_a_receiver_that_hangs_holds_nothing_up(name: str) -> None:
    sink, sent, written_s = NdiSink(name, (640, 360), Fraction(FPS)), painting(640, 360), list[float]()

    def picture(_: int) -> RGB:
        written_s.append(time.monotonic())
        return sent

    command = [sys.executable, "-c", RECEIVER, name]
    with sending(sink, picture), subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None and other.stdout.readline() == "picture\n"
            other.send_signal(signal.SIGSTOP)
            before = len(written_s)
            until(lambda: len(written_s) > before + 3 * FPS)
        finally:
            other.kill()
    waits_s = np.diff(written_s[before:])
    assert np.median(waits_s) == pytest.approx(1 / FPS, rel=0.3)
