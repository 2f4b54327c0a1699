"""Streams by URL from real senders on this machine, which die, return, hang and send rubbish."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.errors import SourceError
from rtstyle.frame import Frame
from rtstyle.media import urls
from rtstyle.media.urls import check_input_url, input_options, redact
from rtstyle.sources.base import notice_of
from rtstyle.sources.factory import open_source
from rtstyle.sources.file import FileSource
from rtstyle.sources.reconnecting import ReconnectingSource
from tests.conftest import ROOT
from tests.rtstyle.clips import Clip, number_of
from tests.rtstyle.streams import FPS, FolderServer, LiveServer, Sender, free_port

pytestmark = pytest.mark.real_time

FFMPEG = shutil.which("ffmpeg")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ReconnectingSource.__init__.__kwdefaults__, "stall_s", 0.5)
    monkeypatch.setattr(urls, "READ_TIMEOUT_S", 2.0)


def until(frames: Iterator[Frame], *, lost: bool) -> Frame:
    """The next frame with a notice, or without one."""
    end_s = time.monotonic() + 30.0
    for frame in frames:
        if bool(frame.notice) == lost:
            return frame
        assert time.monotonic() < end_s
    raise AssertionError("the source has ended")


def test_a_server_that_dies_and_returns() -> None:
    server = LiveServer()
    source = open_source(server.url)
    frames = source.frames()
    until(frames, lost=False)
    server.die()
    lost = until(frames, lost=True)
    assert "waiting for it" in lost.notice and server.url in lost.notice
    with LiveServer(first=100, port=server.port):
        back = until(frames, lost=False)
        assert 100 <= number_of(back.rgb) < 200
        assert notice_of(source) == ""
        source.close()
    assert next(frames, None) is None


def test_without_reconnect_a_server_that_dies_is_the_end() -> None:
    server = LiveServer()
    source = open_source(server.url, reconnect=False)
    frames = source.frames()
    next(frames)
    server.die()
    with pytest.raises(SourceError, match="has ended|broke off"):
        list(frames)
    source.close()


def test_udp_that_falls_silent_and_returns() -> None:
    port = free_port(socket.SOCK_DGRAM)
    url = f"udp://127.0.0.1:{port}"
    with Sender(f"{url}?pkt_size=1316"):
        source = open_source(url)
        frames = source.frames()
        until(frames, lost=False)
    assert "sends no pictures" in until(frames, lost=True).notice
    with Sender(f"{url}?pkt_size=1316", first=128):
        # What the decoder still held may come first.
        assert any(number_of(until(frames, lost=False).rgb) >= 128 for _ in range(200))
        source.close()


@pytest.mark.skipif(FFMPEG is None, reason="ffmpeg is not installed")
def test_an_ffmpeg_that_is_killed_and_started_again() -> None:
    port = free_port(socket.SOCK_DGRAM)
    call = [str(FFMPEG), "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25", "-c:v", "libx264",
            "-preset", "ultrafast", "-tune", "zerolatency", "-g", "5", "-f", "mpegts",
            f"udp://127.0.0.1:{port}?pkt_size=1316"]  # fmt: skip
    sender = subprocess.Popen(call, stdin=subprocess.DEVNULL)
    try:
        source = open_source(f"udp://127.0.0.1:{port}")
        frames = source.frames()
        assert until(frames, lost=False).rgb.shape == (120, 160, 3)
        sender.kill()
        sender.wait(10.0)
        until(frames, lost=True)
        sender = subprocess.Popen(call, stdin=subprocess.DEVNULL)
        until(frames, lost=False)
        source.close()
    finally:
        sender.kill()
        sender.wait(10.0)


def test_a_slow_reader_gets_no_delay() -> None:
    """A reader of ten pictures a second from a sender of fifty: what it sees stays as new as at the start."""
    with LiveServer() as server:
        source = open_source(server.url)
        pause = threading.Event()
        behind = []
        for frame in source.frames():
            sent = server.senders[0].number - 1
            behind.append((sent - number_of(frame.rgb)) % 256)
            if len(behind) == 25:
                break
            pause.wait(0.1)
        source.close()
    assert sorted(behind[-10:])[5] <= 0.5 * FPS, behind


def test_a_clip_over_http_keeps_its_pace_and_ends(tmp_path: Path) -> None:
    Clip(frames=20, fps=20).write(tmp_path / "clip.mp4")
    with FolderServer(tmp_path) as server:
        source = open_source(f"{server.url}/clip.mp4")
        start_s = time.monotonic()
        numbers = [number_of(frame.rgb) for frame in source.frames() if not frame.notice]
        took_s = time.monotonic() - start_s
        source.close()
    assert took_s >= 0.9 and numbers[-1] == 19 and numbers == sorted(numbers)


def test_hls_keeps_its_pace(tmp_path: Path) -> None:
    clip = Clip(frames=30, fps=20, file_options={"hls_time": "0.5", "hls_list_size": "0", "hls_playlist_type": "vod"},
                options={"g": "10"})  # fmt: skip
    clip.write(tmp_path / "live.m3u8")
    assert len(list(tmp_path.glob("*.ts"))) > 1
    with FolderServer(tmp_path) as server:
        source = open_source(f"{server.url}/live.m3u8")
        start_s = time.monotonic()
        numbers = [number_of(frame.rgb) for frame in source.frames() if not frame.notice]
        took_s = time.monotonic() - start_s
        source.close()
    assert took_s >= 1.3 and numbers[-1] == 29


def test_a_server_that_accepts_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "OPEN_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/x"
        with pytest.raises(SourceError, match="no picture arrived within 0.3 s"):
            open_source(url)


def test_udp_without_a_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "OPEN_TIMEOUT_S", 0.3)
    url = f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    with pytest.raises(SourceError, match="is it sending to this address"):
        open_source(url)


def test_rubbish_is_not_a_stream(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<html>" + "not a video " * 1000)
    with FolderServer(tmp_path) as server:
        for path in ("page.html", "none.mp4"):
            with pytest.raises(SourceError, match="cannot open"):
                open_source(f"{server.url}/{path}")


def test_close_does_not_wait_for_a_stream_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "READ_TIMEOUT_S", 20.0)
    port = free_port(socket.SOCK_DGRAM)
    with Sender(f"udp://127.0.0.1:{port}?pkt_size=1316"):
        source = open_source(f"udp://127.0.0.1:{port}")
        frames = source.frames()
        next(frames)
    until(frames, lost=True)
    start_s = time.monotonic()
    source.close()
    assert next(frames, None) is None and time.monotonic() - start_s < 5.0


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("htp://host/x", "htp:// is not supported"),
        ("http://", "has no host"),
        ("udp://127.0.0.1", "has no port"),
        ("rtsp://host:99999/x", "is not a valid URL"),
        ("http://[::1/x", "is not a valid URL"),
        ("://x", "is not supported"),
    ],
)
def test_a_wrong_url_is_one_clear_line(url: str, problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        open_source(url)


@pytest.mark.parametrize("url", ["rtsp://camera:554/1", "http://host/x.m3u8", "udp://:1234", "udp://@239.0.0.1:5000"])
def test_valid_urls_pass(url: str) -> None:
    check_input_url(url)


def test_every_protocol_has_a_time_limit() -> None:
    assert input_options("rtsp://host/1", 5.0)["timeout"] == "5000000"
    assert input_options("udp://0.0.0.0:1", 5.0)["timeout"] == "5000000"
    for url in ("rtmp://host/1", "https://host/1"):
        assert input_options(url, 5.0)["rw_timeout"] == "5000000"


def test_a_loopback_url_listens_on_this_machine_only() -> None:
    for url in ("udp://127.0.0.1:1", "udp://localhost:1"):
        assert input_options(url, 1.0)["localaddr"] == "127.0.0.1"
    for url in ("udp://0.0.0.0:1", "udp://host:1"):
        assert "localaddr" not in input_options(url, 1.0)


def test_passwords_are_not_shown() -> None:
    assert redact("rtsp://me:secret@host/1") == "rtsp://host/1"
    assert redact("rtsp://host/a:b") == "rtsp://host/a:b" and redact("a:b@c.mp4") == "a:b@c.mp4"
    with pytest.raises(SourceError) as caught:
        open_source("rtsp://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value) and "nobody answers there" in str(caught.value)


def test_a_stream_of_unknown_length_that_ends_has_failed() -> None:
    """A clip states its length, so its end is expected; that of a stream is not."""
    server = LiveServer()
    source = FileSource(server.url, live=True)
    threading.Timer(0.3, server.die).start()
    with pytest.raises(SourceError, match="has ended|broke off"):
        list(source.frames())
    source.close()


def test_ctrl_c_ends_the_wait_for_a_stream() -> None:
    url = f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    code = (
        "import rtstyle.media.container as o, sys, threading\n"
        "real = o._open_url\n"
        "def logged(*args):\n    print('opening', flush=True)\n    return real(*args)\n"
        "o._open_url = logged\n"
        "from rtstyle.cli import main\n"
        f"sys.exit(main(['webcam', '--source', {url!r}, '--sink', 'null']))"
    )
    program = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdout is not None
    assert program.stdout.readline() == b"opening\n"
    start_s = time.monotonic()
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=30)
    assert program.returncode == 128 + signal.SIGINT and b"Traceback" not in err
    assert time.monotonic() - start_s < 8.0  # the stream would be waited for ten seconds
