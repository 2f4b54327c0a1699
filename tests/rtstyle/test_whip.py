"""WHIP against a media server of a few lines."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("aiortc")

from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import AudioFrame

from engines.base import RGB
from engines.errors import SinkError
from rtstyle.frame import Frame
from rtstyle.sinks import whip as module
from rtstyle.sinks.whip import WhipSink

pytestmark = pytest.mark.real_time

COLOUR = (200, 60, 30)


@pytest.fixture(autouse=True)
def states_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rtstyle.sinks.connection_state")


class Media:
    """A media server: what it got, and what it does."""

    def __init__(self, token: str = "") -> None:
        self.token, self.status = token, 201
        self.pictures: list[RGB] = []
        self.sounds: list[np.ndarray] = []
        self.codecs: list[str] = []
        self.offers = self.deleted = 0
        self.peers: list[RTCPeerConnection] = []
        self.port = 0
        self.loop: asyncio.AbstractEventLoop

    async def offer(self, request: web.Request) -> web.Response:
        self.offers += 1
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401)
        if self.status != 201:
            return web.Response(status=self.status)
        assert request.content_type == "application/sdp"
        peer = RTCPeerConnection(RTCConfiguration([]))
        self.peers.append(peer)

        @peer.on("track")
        def _(track: MediaStreamTrack) -> None:
            async def look() -> None:
                while True:
                    got = await track.recv()
                    if isinstance(got, AudioFrame):
                        self.sounds.append(got.to_ndarray())
                    else:
                        self.pictures.append(got.to_ndarray(format="rgb24"))

            task = asyncio.get_running_loop().create_task(look())
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

        await peer.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        sdp = peer.localDescription.sdp
        self.codecs = [line for line in sdp.splitlines() if line.startswith("a=rtpmap")]
        return web.Response(status=201, text=sdp, content_type="application/sdp", headers={"Location": "/whip/7"})

    async def delete(self, _: web.Request) -> web.Response:
        self.deleted += 1
        return web.Response()

    def call(self, work: Callable[[], object]) -> None:
        self.loop.call_soon_threadsafe(work)


@contextmanager
def serving(media: Media) -> Iterator[Media]:
    ready, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        media.loop = asyncio.get_running_loop()
        app = web.Application()
        app.router.add_post("/whip", media.offer)
        app.router.add_delete("/whip/7", media.delete)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", media.port)
        await site.start()
        media.port = runner.addresses[0][1]
        ready.set()
        await stop.wait()
        await runner.cleanup()
        for peer in media.peers:
            await peer.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield media
    finally:
        media.call(stop.set)
        thread.join(10)


def frame(number: int, colour: tuple[int, int, int] = COLOUR, notice: str = "") -> Frame:
    rgb = np.full((176, 320, 3), colour, np.uint8)
    return Frame(rgb, number, number, Fraction(1, 30), time.monotonic(), notice=notice)


def feed(sink: WhipSink, until: Callable[[], object], within_s: float = 30.0, notice: str = "") -> None:
    """Write frames at 30 a second until something is true."""
    end_s, number, never = time.monotonic() + within_s, 0, threading.Event()
    while not until():
        assert time.monotonic() < end_s
        began_s = time.monotonic()
        assert sink.write(frame(number, notice=notice))
        assert time.monotonic() - began_s < 0.5
        number += 1
        never.wait(1 / 30)


def sees(media: Media, colour: tuple[int, int, int]) -> bool:
    return bool(media.pictures) and bool(np.abs(media.pictures[-1].reshape(-1, 3).mean(0) - colour).max() < 10)


def test_a_media_server_gets_the_frames_and_a_farewell(caplog: pytest.LogCaptureFixture) -> None:
    with serving(Media("s3cret")) as media:
        sink = WhipSink(f"whip+http://s3cret@127.0.0.1:{media.port}/whip")
        try:
            feed(sink, lambda: sees(media, COLOUR))
            assert sink.state == "connected"
            assert sink.name == f"whip+http://127.0.0.1:{media.port}/whip"
            assert "H264" in media.codecs[0]
            feed(sink, lambda: sees(media, (70, 21, 10)) or len(media.pictures) > 400, notice="unplugged")
            assert media.pictures[-1].mean() < 0.6 * np.mean(COLOUR)  # the slate
        finally:
            sink.close(completed=True)
        sink.close(completed=True)
        assert media.deleted == 1
    assert caplog.messages == [f"whip+http://127.0.0.1:{media.port}/whip: connected"]


def test_an_absent_server_is_tried_again_and_a_lost_one_too(caplog: pytest.LogCaptureFixture) -> None:
    with serving(Media()) as first:
        port = first.port
    media = Media()
    media.port = port
    sink = WhipSink(f"whip+http://127.0.0.1:{port}/whip")
    try:
        feed(sink, lambda: caplog.messages)
        assert "not connected" in caplog.messages[0]
        with serving(media):
            feed(sink, lambda: sees(media, COLOUR))
            media.pictures.clear()
            for peer in media.peers:
                asyncio.run_coroutine_threadsafe(peer.close(), media.loop).result(10)
            feed(sink, lambda: media.offers >= 2 and sees(media, COLOUR), 60)
            sink.close(completed=True)  # before the server, or its farewell meets a server that is half gone
    finally:
        sink.close(completed=True)
    assert [line.rpartition(": ")[2].partition(" (")[0] for line in caplog.messages][:4] == [
        "not connected", "connected", "not connected", "connected",
    ]  # fmt: skip


def test_a_server_that_refuses_is_quoted(caplog: pytest.LogCaptureFixture) -> None:
    with serving(Media("right")) as media:
        sink = WhipSink(f"whip+http://wrong@127.0.0.1:{media.port}/whip")
        try:
            feed(sink, lambda: caplog.messages)
        finally:
            sink.close(completed=True)
    assert "401" in caplog.messages[0] and "wrong@" not in caplog.messages[0]


def test_a_silent_server_holds_up_nobody(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(module, "CONNECT_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sink = WhipSink(f"whip+http://127.0.0.1:{silent.getsockname()[1]}/whip")
        feed(sink, lambda: caplog.messages)
        began_s = time.monotonic()
        sink.close(completed=True)
        assert time.monotonic() - began_s < 5


def test_addresses_that_name_no_server() -> None:
    for address in ("whip+http://", "whip+ftp://host/x", "whip+https:///path"):
        with pytest.raises(SinkError):
            WhipSink(address)
