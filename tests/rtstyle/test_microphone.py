"""The microphone against sounddevice's documented interface: there is no sound hardware where tests run."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.sync_clip import Heard, write_clip
from engines.errors import SourceError
from engines.install_hint import pip_install
from rtstyle.cli import app
from rtstyle.controls import Controls
from rtstyle.live.actions import Actions
from rtstyle.live.webcam import WebcamJob, run_webcam
from rtstyle.sound import microphone as module
from rtstyle.sound.feed import SoundFeed, SoundFormat, SoundPacket
from rtstyle.sound.microphone import Microphone, find_microphone, list_microphones
from rtstyle.sound.mixer import BLOCK, Mixer
from rtstyle.sound.pcm import RATE, PcmTrack
from rtstyle.stats import Stats
from tests.rtstyle.test_style_switcher import until
from tests.rtstyle.test_webcam import Identity

pytestmark = pytest.mark.real_time


@dataclass
class Times:
    """The fields of PortAudio's ``PaStreamCallbackTimeInfo``."""

    inputBufferAdcTime: float  # noqa: N815
    currentTime: float  # noqa: N815


class FakeStream:
    """What ``sounddevice.RawInputStream`` promises: calls back from a thread until it is stopped.

    It delivers a tone of 100 Hz, whose samples were captured 30 ms before they arrive.
    """

    def __init__(
        self,
        *,
        samplerate: float,
        device: int,
        channels: int,
        dtype: str,
        latency: str,
        callback: Callable[[Any, int, Any, Any], None],
        finished_callback: Callable[[], None],
    ) -> None:
        assert dtype == "int16" and latency == "low"
        self.rate, self.channels = int(samplerate), channels
        self._callback, self._finished = callback, finished_callback
        self.stopped, self.hangs = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        self.thread.start()

    def close(self) -> None:
        self.stopped.set()
        self.thread.join()

    def _work(self) -> None:
        count, sent, start_s = self.rate // 100, 0, time.monotonic()
        while not self.stopped.wait(max(0.0, start_s + sent / self.rate - time.monotonic())):
            if self.hangs.is_set():
                self.stopped.wait()
                break
            wave = 10_000 * np.sin(2 * np.pi * 100 * np.arange(sent, sent + count) / self.rate)
            samples = np.repeat(wave.astype("<i2")[:, None], self.channels, axis=1).tobytes()
            self._callback(memoryview(samples), count, Times(500.0 + sent / self.rate, 500.03 + sent / self.rate), None)
            sent += count
        self._finished()


class FakeLibrary(ModuleType):
    """The part of sounddevice that is used, with a loudspeaker and two microphones."""

    class PortAudioError(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("sounddevice")
        names = (("Loudspeaker", 0), ("USB Microphone", 1), ("Built-in Microphone", 8))
        self.devices = [
            {"index": i, "name": name, "max_input_channels": inputs, "default_samplerate": 44100.0}
            for i, (name, inputs) in enumerate(names)
        ]
        self.rates, self.streams = {44100, 48000}, list[FakeStream]()

    def query_devices(self, device: None = None, kind: str | None = None) -> Any:
        if kind is None:
            return self.devices
        inputs = [one for one in self.devices if one["max_input_channels"]]
        if not inputs:
            raise self.PortAudioError("Error querying device -1")
        return inputs[-1]

    def check_input_settings(self, *, device: int, channels: int, dtype: str, samplerate: int) -> None:
        if samplerate not in self.rates:
            raise self.PortAudioError("Invalid sample rate")

    def RawInputStream(self, **settings: Any) -> FakeStream:  # noqa: N802
        self.streams.append(FakeStream(**settings))
        return self.streams[-1]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeLibrary:
    fake = FakeLibrary()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


def test_microphones_are_found_by_number_name_and_part(library: FakeLibrary) -> None:
    assert [one.name for one in list_microphones()] == ["USB Microphone", "Built-in Microphone"]
    assert [find_microphone(name).index for name in ("1", "usb", "built-in microphone", "default")] == [1, 1, 2, 2]
    with pytest.raises(SourceError, match=r"several microphones .*1 USB Microphone, 2 Built-in"):
        find_microphone("microphone")
    with pytest.raises(SourceError, match="no microphone is called 'loudspeaker'"):
        find_microphone("loudspeaker")
    library.devices.clear()
    with pytest.raises(SourceError, match="no microphone is connected"):
        find_microphone("default")


def test_what_is_missing_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    job = WebcamJob("pattern", ("null",), microphone="default")
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "sounddevice", None)
        with pytest.raises(SourceError, match=re.escape(pip_install("microphone"))):
            run_webcam(job, Identity, Controls())
    broken = tmp_path / "sounddevice.py"
    broken.write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SourceError, match="libportaudio2"):
        run_webcam(job, Identity, Controls())


@pytest.mark.parametrize(("name", "rates"), [("usb", {48000}), ("built-in", {44100})])
def test_samples_come_with_the_time_of_their_capture(library: FakeLibrary, name: str, rates: set[int]) -> None:
    library.rates = rates
    microphone = Microphone(name)
    reader, packets = microphone.sound.reader(), list[SoundPacket]()
    until(lambda: len(packets) > 30 or packets.extend(reader.read()))  # type: ignore[func-returns-value]
    before_s = time.monotonic()
    microphone.close()
    microphone.close()
    (stream,) = library.streams
    assert stream.stopped.is_set() and {stream.rate} == rates and stream.channels == (1 if name == "usb" else 2)
    assert packets[-1].moment_s < before_s - 0.03
    assert np.diff([packet.moment_s for packet in packets]).mean() == pytest.approx(0.01, abs=0.005)
    blocks = list(PcmTrack(microphone.sound, packets[0].moment_s).read(1e9, 0.0))
    assert max(np.abs(block.samples).max() for block in blocks) == pytest.approx(10_000, rel=0.02)


@pytest.mark.parametrize("way", ["it ends", "nothing comes any more"])
def test_one_that_vanishes_costs_a_line_and_no_picture(
    library: FakeLibrary, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, way: str
) -> None:
    monkeypatch.setattr(module, "SILENT_S", 0.3)

    def vanish(stats: Stats) -> None:
        if stats.progress()[0] == 20:
            stream = library.streams[0]
            (stream.stopped if way == "it ends" else stream.hangs).set()

    job = WebcamJob("pattern", (str(tmp_path / "b.mp4"), "null"), (160, 96), 30.0, 60, microphone="usb")
    figures = run_webcam(job, Identity, Controls(), on_frame=vanish)
    assert caplog.messages == ["the microphone USB Microphone is gone; the pictures go on without it"]
    assert figures.frames_out == 60
    assert len(Heard.of(str(tmp_path / "b.mp4")).numbers) > 30


def test_one_that_cannot_be_opened_is_an_error_and_leaves_nothing_open(
    library: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise library.PortAudioError("Device unavailable")

    monkeypatch.setattr(library, "RawInputStream", refuse)
    with pytest.raises(SourceError, match=r"cannot open the microphone USB Microphone.*Device unavailable"):
        run_webcam(WebcamJob("pattern", ("null",), microphone="1"), Identity, Controls())


def test_a_mix_has_both_in_their_places_and_needs_neither() -> None:
    """The one comes from 0 s to 0.5 s, the other from 0.25 s to 0.75 s, and for the rest there is silence."""
    pcm, begin_s = SoundFormat.pcm(RATE, "stereo"), time.monotonic()
    feeds, values = (SoundFeed(), SoundFeed()), (1000, 20_000)
    mixer = Mixer(*feeds, begin_s=begin_s)
    track, blocks = PcmTrack(mixer.sound, begin_s), []
    for feed, value, first in zip(feeds, values, (0, 25), strict=True):
        for i in range(first, first + 50):
            samples = np.full((RATE // 100, 2), value, "<i2").tobytes()
            feed.put(SoundPacket(samples, begin_s + i / 100, 0.01, pcm))
    until(lambda: blocks.extend(track.read(1e9, 0.0)) or len(blocks) * BLOCK > RATE)  # type: ignore[func-returns-value]
    mixer.close()
    mixer.close()
    mix = np.concatenate([block.samples for block in blocks])[:RATE, 0]
    expected = np.zeros(RATE)
    expected[: RATE // 2] += values[0]
    expected[RATE // 4 : 3 * RATE // 4] += values[1]
    assert np.mean(mix != expected) < 0.001


def test_clips_keep_their_clicks_under_a_microphone(library: FakeLibrary, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 6.0)
    job = WebcamJob(str(clip), (str(tmp_path / "b.mp4"), "null"), microphone="default")
    run_webcam(job, Identity, Controls())
    heard = Heard.of(str(tmp_path / "b.mp4"), level=0.45)
    offsets_s = heard.offsets_s(6.0)
    # A live run on a busy machine leaves out what comes too late: some clicks, and a piece of the tone.
    assert len(offsets_s) >= 2 and np.abs(offsets_s).max() < 0.04
    assert 1 <= len(Heard.of(str(tmp_path / "b.mp4"), level=0.1).clicks_s) <= 3, "the microphone's tone goes on"


def test_devices_lists_them(library: FakeLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtstyle.sources.ndi.list_ndi_sources", list)
    printed = CliRunner().invoke(app, ["devices"]).output
    assert "microphone  1  USB Microphone\nmicrophone  2  Built-in Microphone\n" in printed
    told = json.loads(CliRunner().invoke(app, ["devices", "--json"]).stdout)["microphones"]
    assert told[0] == {"index": 1, "name": "USB Microphone", "channels": 1, "rate": 44100}
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert "icrophone" not in CliRunner().invoke(app, ["devices"]).output


def test_it_moves_settings(library: FakeLibrary) -> None:
    controls, strengths = Controls(), list[float]()

    def begin(actions: Actions) -> None:
        actions.change("modulate", "strength=level 0.2..1")

    def follow(_: Stats) -> None:
        strengths.append(controls.strength)
        if strengths[-1] > 0.9:
            controls.request_stop()

    job = WebcamJob("pattern", ("null",), (64, 48), 30.0, 600, microphone="usb")
    run_webcam(job, Identity, controls, on_ready=begin, on_frame=follow)
    assert strengths[0] < 0.5 and strengths[-1] > 0.9, "the tone begins, and stays"
