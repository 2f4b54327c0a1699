"""Sound in streams: in step at real receivers, and no picture waits for it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks.delay import SlowEngine
from benchmarks.sync import CopyEngine, run
from benchmarks.sync_clip import FPS, Heard, picture, write_clip
from rtstyle.frame import Frame
from rtstyle.sinks.stream import StreamSink
from rtstyle.sinks.stream_process import StreamProcess, StreamSound, StreamTarget
from rtstyle.sound.feed import SoundFeed, SoundFormat, SoundPacket
from rtstyle.sound.pcm import RATE
from tests.rtstyle.test_live_recording import ROOT
from tests.rtstyle.test_stream import free_port
from tests.rtstyle.test_style_switcher import until

pytestmark = pytest.mark.real_time

SECONDS = 5.0

RECEIVER = """
import json, sys, time
import av
from benchmarks.sync_clip import number_of
options = {"probesize": "30000", "analyzeduration": "200000", "timeout": "3000000", "fflags": "nobuffer"}
with av.open(sys.argv[1], options=options) as file:
    print(len(file.streams.audio), flush=True)
    try:
        for packet in file.demux(video=0):
            try:
                pictures = packet.decode()
            except av.error.InvalidDataError:
                continue
            for one in pictures:
                print(json.dumps([number_of(one.to_ndarray(format="rgb24")), time.monotonic()]), flush=True)
    except OSError:
        pass
"""


def test_clicks_stay_with_their_pictures_at_every_receiver(tmp_path: Path) -> None:
    """With an engine that drops two frames of three."""
    clip = write_clip(tmp_path / "a.mp4", SECONDS)
    for row in run(clip, tmp_path, SlowEngine(CopyEngine()), "", SECONDS):
        least = 40.0 if "udp" in row.what or "rtmp" in row.what else 100.0  # receivers come late
        assert row.verdict == "met" if "offset" in row.what else float(row.measured.split()[0]) >= least, row


@pytest.mark.parametrize("gap", ["never comes", "breaks off"])
def test_no_picture_waits_for_sound(gap: str) -> None:
    port, feed, pcm = free_port(socket.SOCK_DGRAM), SoundFeed(), SoundFormat.pcm(RATE, "stereo")
    feed.announce(pcm)
    url = f"udp://127.0.0.1:{port}"
    receiver = subprocess.Popen([sys.executable, "-c", RECEIVER, url], cwd=ROOT, stdout=subprocess.PIPE)
    assert receiver.stdout is not None
    sink = StreamSink(url, Fraction(FPS), sound=feed)
    start_s, written_s = time.monotonic(), {}
    for number in range(round(3.5 * FPS)):
        time.sleep(max(0.0, start_s + number / FPS - time.monotonic()))
        now_s = time.monotonic()
        if gap == "breaks off" and number < 1.5 * FPS:
            feed.put(SoundPacket(bytes(4 * RATE // FPS), now_s, 1 / FPS, pcm))
        written_s[number] = now_s
        sink.write(Frame(picture(number), number, number, Fraction(1, FPS), now_s))
    sink.close(completed=True)
    printed = receiver.communicate(timeout=20)[0].decode().splitlines()
    lags_s = [arrived_s - written_s[number] for number, arrived_s in map(json.loads, printed[1:]) if number > 1.7 * FPS]
    assert printed[0] == "1", "there is a track of sound"
    assert len(lags_s) > FPS / 3 and np.median(lags_s) < 0.2


@pytest.mark.parametrize("muxer", ["flv", "mpegts"])
def test_the_worker_writes_sound_where_it_belongs(tmp_path: Path, muxer: str) -> None:
    """Silence with a tone from 1 s on, in pieces of odd lengths."""
    from rtstyle.sinks.live_encoder import LiveEncoder

    path = tmp_path / "out"
    connection = StreamProcess(StreamTarget(str(path), muxer, 160, 96, FPS, sound=True))
    encoder, position = LiveEncoder(160, 96, FPS, 500_000), 0
    wave = (20_000 * np.sin(np.arange(2 * RATE) / 8) * (np.arange(2 * RATE) >= RATE)).astype("<i2")
    stereo = np.stack([wave, wave], axis=1)
    for number in range(2 * FPS):
        part = stereo[position : position + 1600 + (number % 3 - 1) * 7]
        until(lambda: connection.has_room)
        for encoded in encoder(picture(number), number):
            connection.put(encoded, [StreamSound(position, part.tobytes())])
        position += len(part)
    connection.close()
    heard = Heard.of(str(path))
    with av.open(str(path)) as file:
        assert file.streams.audio[0].codec_context.name == "aac"
    shown_s = float(np.interp(heard.clicks_s[0], heard.times_s, heard.numbers)) / FPS
    assert len(heard.clicks_s) == 1 and shown_s == pytest.approx(1.0, abs=0.005)
