"""The stream sink against real receivers: PyAV and ffmpeg in other processes, and servers that misbehave."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from engines.errors import SinkError
from rtstyle.controls import Controls
from rtstyle.frame import Frame
from rtstyle.live.webcam import WebcamJob, run_webcam
from rtstyle.media.urls import check_output_url, redact
from rtstyle.sinks import connection_state
from rtstyle.sinks import stream as module
from rtstyle.sinks.live_encoder import bit_rate
from rtstyle.sinks.stream import StreamSink
from tests.rtstyle.clips import number_of, numbered
from tests.rtstyle.test_style_switcher import until
from tests.rtstyle.test_webcam import Identity

pytestmark = pytest.mark.real_time

ROOT = Path(__file__).resolve().parents[2]
FPS = 30

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the program ffmpeg as a server")

RECEIVER = """
import json, sys
import av
from tests.rtstyle.clips import number_of
with av.open(sys.argv[1], format="mpegts", options={"probesize": "30000", "analyzeduration": "200000"}) as file:
    for packet in file.demux(video=0):
        if packet.dts is None:
            continue
        try:
            pictures = packet.decode()
        except av.error.InvalidDataError:
            continue  # who tunes in late waits for the next keyframe
        numbers = [number_of(one.to_ndarray(format="rgb24")) for one in pictures]
        base = packet.time_base
        print(json.dumps([float(packet.pts * base), float(packet.dts * base), packet.is_keyframe, numbers]), flush=True)
"""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Feed:
    """Writes numbered frames at a camera's pace until it is stopped, and notes the longest write."""

    def __init__(self, sink: StreamSink, fps: int = FPS, noise: bool = False, white: bool = False) -> None:
        self.sink, self.fps, self.noise, self.white = sink, fps, noise, white
        self.longest_s, self.failure = 0.0, None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        random, number = np.random.default_rng(0), 0
        while not self._stop.wait(1 / self.fps):
            rgb = random.integers(0, 255, (240, 320, 3), np.uint8) if self.noise else numbered(number % 256)
            if self.white:
                rgb = np.full((240, 320, 3), 230, np.uint8)
            frame = Frame(rgb, number, number, Fraction(1, self.fps), time.monotonic())
            start_s = time.monotonic()
            self.sink.write(frame)
            self.longest_s = max(self.longest_s, time.monotonic() - start_s)
            number += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextlib.contextmanager
def logged_states() -> Iterator[list[str]]:
    """What sinks log about their connections meanwhile."""
    logger, kept = logging.getLogger(connection_state.__name__), _Kept()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(kept)
    try:
        yield kept.messages
    finally:
        logger.removeHandler(kept)
        logger.setLevel(level)


@contextlib.contextmanager
def streaming(address: str, **options: Any) -> Iterator[tuple[StreamSink, Feed, list[str]]]:
    noise, fps, white = options.pop("noise", False), options.pop("fps", FPS), options.pop("white", False)
    sink = StreamSink(address, Fraction(FPS), **options)
    feed = Feed(sink, fps, noise, white)
    try:
        with logged_states() as states:
            yield sink, feed, states
    finally:
        feed.stop()
        start_s = time.monotonic()
        sink.close(completed=True)
        sink.close(completed=False)
        assert time.monotonic() - start_s < 6
    assert feed.longest_s < 0.5, "whoever writes is never held up"


def received(port: int, count: int, **options: Any) -> list[tuple[float, float, bool, list[int]]]:
    """What another process gets of a UDP stream."""
    address = f"udp://127.0.0.1:{port}"
    receiver = subprocess.Popen(
        [sys.executable, "-c", RECEIVER, f"{address}?timeout=20000000"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert receiver.stdout is not None
    try:
        with streaming(address, **options):
            return [tuple(json.loads(receiver.stdout.readline())) for _ in range(count)]
    finally:
        receiver.kill()
        receiver.wait(timeout=20)
        receiver.stdout.close()


def test_udp_is_read_by_another_process_at_a_constant_rate() -> None:
    seen = received(free_port(socket.SOCK_DGRAM), 110)
    assert all(pts == dts for pts, dts, _, _ in seen), "no B-frames"
    assert [b[0] - a[0] for a, b in pairwise(seen)] == pytest.approx([1 / FPS] * (len(seen) - 1), abs=0.001)
    keys = [pts for pts, _, key, _ in seen if key and pts > 0.1]  # the first two are those of the connection
    assert keys and all(b - a == pytest.approx(2.0, abs=0.001) for a, b in pairwise(keys))
    numbers = [number for *_, shown in seen for number in shown]
    assert len(set(numbers)) > 30 and len(numbers) > 60
    assert all(0 <= (b - a) % 256 < 30 for a, b in pairwise(numbers)), "in order"


def test_gaps_of_a_slow_source_are_filled() -> None:
    seen = received(free_port(socket.SOCK_DGRAM), 45, fps=6)
    assert [b[0] - a[0] for a, b in pairwise(seen)] == pytest.approx([1 / FPS] * 44, abs=0.001)
    numbers = [number for *_, shown in seen for number in shown]
    assert len(set(numbers)) < len(numbers) / 2


def test_receivers_see_a_card_while_it_is_paused() -> None:
    paused = threading.Event()
    port = free_port(socket.SOCK_DGRAM)
    paused.set()
    with av_receiver(port) as pictures, streaming(f"udp://127.0.0.1:{port}", paused=paused.is_set, white=True):
        assert all(next(pictures) < 100 for _ in range(30)), "also from the start: who is paused is not seen"
        paused.clear()
        until(lambda: next(pictures) > 200, 20)
        paused.set()
        until(lambda: next(pictures) < 100, 20)


@contextlib.contextmanager
def av_receiver(port: int) -> Iterator[Iterator[float]]:
    """Brightness of each picture that comes."""
    code = """
import av, sys
with av.open(sys.argv[1], format="mpegts", options={"probesize": "30000", "analyzeduration": "200000"}) as file:
    for packet in file.demux(video=0):
        try:
            for one in packet.decode():
                print(one.to_ndarray(format="gray").mean(), flush=True)
        except av.error.InvalidDataError:
            continue
"""
    address = f"udp://127.0.0.1:{port}?timeout=20000000"
    program = subprocess.Popen([sys.executable, "-c", code, address], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    try:
        yield map(float, program.stdout)
    finally:
        program.kill()
        program.wait(timeout=20)
        program.stdout.close()


class Server:
    """ffmpeg that takes one RTMP stream into a file."""

    def __init__(self, port: int, target: Path) -> None:
        self.target = target
        self.process = subprocess.Popen(
            ["ffmpeg", "-v", "error", "-y", "-listen", "1", "-i", f"rtmp://127.0.0.1:{port}/live/secret",
             "-c", "copy", "-flush_packets", "1", str(target)],
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def took(self, size: int) -> bool:
        return self.target.exists() and self.target.stat().st_size > size

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=20)


@needs_ffmpeg
def test_rtmp_absent_at_the_start_then_there_killed_and_there_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", (0.2, 0.5))
    port = free_port()
    with streaming(f"rtmp://127.0.0.1:{port}/live/secret") as (sink, _, states):
        until(lambda: len(states) == 1, 20)
        for turn in range(2):
            server = Server(port, tmp_path / f"{turn}.flv")
            until(lambda: sink.state == "connected", 20)
            until(lambda: server.took(20_000), 20)  # noqa: B023  # it is asked at once
            server.kill()
            until(lambda: sink.state != "connected", 20)
        until(lambda: len(states) == 5, 20)
    name = f"rtmp://127.0.0.1:{port}/live/…: "
    assert [state.removeprefix(name).partition(" (")[0] for state in states] == [
        "not connected", "connected", "not connected", "connected", "not connected",
    ]  # fmt: skip
    assert not any("secret" in state for state in states) and "refused" in states[0]
    for turn in range(2):
        with av.open(str(tmp_path / f"{turn}.flv")) as file:
            numbers = [number_of(one.to_ndarray(format="rgb24")) for one in file.decode(video=0)]
        assert len(numbers) > 10 and all(0 <= (b - a) % 256 < 60 for a, b in pairwise(numbers))


@needs_ffmpeg
def test_a_receiver_that_stops_reading_is_left_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_S", 0.5)
    port = free_port()
    with streaming(f"rtmp://127.0.0.1:{port}/live/secret", noise=True, bits=20_000_000) as (sink, _, states):
        server = Server(port, tmp_path / "a.flv")
        until(lambda: server.took(20_000), 20)
        server.process.send_signal(signal.SIGSTOP)
        before = sink.dropped
        until(lambda: "stopped accepting" in states[-1], 20)
        assert sink.dropped > before
        server.kill()


def test_a_server_that_never_answers_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with streaming(f"rtmp://127.0.0.1:{silent.getsockname()[1]}/live/secret") as (sink, _, states):
            until(lambda: bool(states), 20)
            assert "no answer" in states[0]
        assert sink.dropped > 0


def test_a_server_that_talks_rubbish_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_S", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble() -> None:
            with contextlib.suppress(OSError):
                while True:
                    one, _ = server.accept()
                    with one:
                        one.sendall(os.urandom(5000))

        threading.Thread(target=babble, daemon=True).start()
        with streaming(f"rtmp://127.0.0.1:{server.getsockname()[1]}/live/secret") as (sink, _, states):
            until(lambda: bool(states), 20)
            assert "not connected" in states[0] and sink.state != "connected"
        server.shutdown(socket.SHUT_RDWR)


def test_close_before_the_first_frame_and_in_the_middle_of_connecting() -> None:
    sink = StreamSink("udp://127.0.0.1:9")
    sink.close(completed=False)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        streaming(f"rtmp://127.0.0.1:{silent.getsockname()[1]}/live/secret") as (sink, _, states),
    ):
        until(lambda: sink.state == "connecting")
    assert states == [], "it never was connected"


def test_a_protocol_that_is_not_built_in_is_an_error() -> None:
    with contextlib.suppress(av.FFmpegError), av.open("srt://127.0.0.1:9", "w", format="mpegts") as output:
        try:
            output.add_stream("mpeg1video", rate=25)
            output.start_encoding()
        except av.error.ProtocolNotFoundError:
            pass
        else:
            pytest.skip("this PyAV has SRT")
    sink = StreamSink("srt://127.0.0.1:9", Fraction(FPS))
    frame = Frame(numbered(0), 0, 0, Fraction(1, FPS), time.monotonic())

    sink.write(frame)
    until(lambda: not sink._thread.is_alive(), 20)
    with pytest.raises(SinkError, match="no srt.*udp"):
        sink.write(frame)
    sink.close(completed=True)


def test_the_sender_ends_with_the_one_who_started_it() -> None:
    code = f"""
import logging, sys, time
from fractions import Fraction
from tests.rtstyle.clips import frames
from rtstyle.sinks.stream import StreamSink
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
sink = StreamSink("udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}", Fraction(30))
for frame in frames(10**6):
    sink.write(frame)
    time.sleep(0.02)
"""
    program = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    assert program.stdout is not None
    program.stdout.readline()
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children")
    senders = [int(one) for task in children.parents[1].iterdir() for one in (task / "children").read_text().split()]
    assert len(senders) == 1
    program.kill()
    program.wait(timeout=20)
    program.stdout.close()
    until(lambda: not alive(senders[0]), 20)


def alive(process: int) -> bool:
    try:
        return "(zombie)" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://host/x", "cannot send to http"),
        ("udp://127.0.0.1", "no port"),
        ("rtmp:///live/key", "no host"),
        ("srt://host", "no port"),
        ("udp://host:99999", "no host"),
    ],
)
def test_addresses_that_cannot_work_are_refused_before_anything_starts(address: str, words: str) -> None:
    with pytest.raises(SinkError, match=words):
        check_output_url(address)
    with pytest.raises(SinkError, match=words):
        run_webcam(WebcamJob("pattern", ("null", address)), Identity, Controls())


def test_secrets_are_not_shown() -> None:
    assert redact("rtmp://me:password@live.example/app/KEY?x=1") == "rtmp://live.example/app/…"
    assert redact("rtmp://live.example/app") == "rtmp://live.example/app"
    assert redact("udp://10.0.0.1:5000") == "udp://10.0.0.1:5000" and redact("out.mp4") == "out.mp4"
    assert redact("srt://h:1?passphrase=abc") == "srt://h:1/…"
    assert redact("rtsp://me:p@ss@cam/1") == "rtsp://cam/1" and redact("rtsp://cam/a?token=b") == "rtsp://cam/a/…"
    assert "sec" not in redact("rtsp://me:sec/ret@cam/1") + redact("rtmp://[sec/ret")
    with pytest.raises(SinkError) as caught:
        run_webcam(WebcamJob("pattern", ("rtmp://h/a/KEY",) * 2), Identity, Controls())
    assert "KEY" not in str(caught.value)


def test_bit_rates() -> None:
    assert [bit_rate(*size, 30) for size in ((640, 360), (1280, 720), (1920, 1080))] == [2.1e6, 6e6, 11e6]
    assert bit_rate(16, 16, 1) == 100_000 and bit_rate(1280, 720, 60) > bit_rate(1280, 720, 30)


def test_a_stream_beside_another_sink(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "rtstyle")
    port = free_port(socket.SOCK_DGRAM)
    job = WebcamJob("pattern", ("null", f"udp://127.0.0.1:{port}"), (64, 48), 30.0, 45)
    assert run_webcam(job, Identity, Controls()).frames_out == 45
    assert caplog.messages == [f"udp://127.0.0.1:{port}: sending"]
