"""The page's server, with another WebRTC implementation's part played by aiortc: no browser is needed."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("aiortc")

from aiohttp import ClientError, ClientResponse, ClientSession
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import VideoFrame

from engines.base import RGB, Engine, EngineInfo
from engines.errors import ConfigError, EngineError, ShapeError, SinkError, SourceError, StyleError
from rtstyle.cli import main
from rtstyle.pipeline import Controls
from rtstyle.sources.base import Source
from rtstyle.sources.pattern import PatternSource
from rtstyle.web import limits
from rtstyle.web import peer as peers
from rtstyle.web.media import BrowserSource, PaintedTrack, ViewersSink
from rtstyle.web.server import Server, Studio, WebSettings
from rtstyle.web.session import Shelf, obey

GREY = 90
SHADES = {"vangogh": (200, 60, 30), "wave": (30, 80, 190)}


class Tint:
    """One colour for every frame, the input where the strength is 0."""

    def __init__(self, name: str) -> None:
        if name not in SHADES:
            raise EngineError(f"{name} cannot be painted here")
        self.info = EngineInfo("tint", "", "", "", name)
        self.closed = False

    def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
        assert not self.closed
        colour = np.array(SHADES[self.info.style])
        return np.asarray(rgb + strength * (colour - rgb.astype(float)), np.uint8)

    def close(self) -> None:
        self.closed = True


class Camera(MediaStreamTrack):  # type: ignore[misc]
    """A grey wall at 30 frames per second."""

    kind = "video"

    def __init__(self, width: int = 320, height: int = 176) -> None:
        super().__init__()
        self.size, self.number = (height, width), 0

    async def recv(self) -> VideoFrame:
        await asyncio.sleep(1 / 30)
        picture = VideoFrame.from_ndarray(np.full((*self.size, 3), GREY, np.uint8), "rgb24").reformat(format="yuv420p")
        picture.pts, picture.time_base = self.number * 3000, Fraction(1, 90_000)
        self.number += 1
        return picture


class Browser:
    """What the page's script does, in a few lines."""

    def __init__(self, address: str, camera: Camera | None) -> None:
        self.address, self.camera = address, camera
        self.connection = RTCPeerConnection(RTCConfiguration([]))
        self.channel = self.connection.createDataChannel("settings")
        self.messages: list[dict[str, Any]] = []
        self.pictures: list[RGB] = []
        self.channel.on("message", lambda text: self.messages.append(json.loads(text)))
        self.connection.on("track", self._on_track)
        self._task: asyncio.Task[None] | None = None

    async def offer(self) -> str:
        if self.camera is None:
            self.connection.addTransceiver("video", direction="recvonly")
        else:
            self.connection.addTrack(self.camera)
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return str(self.connection.localDescription.sdp)

    async def connect(self, **body: Any) -> None:
        async with ClientSession() as session:
            request = {"sdp": await self.offer(), "watch": self.camera is None, **body}
            async with session.post(self.address + "/offer", json=request) as answer:
                said = await answer.json()
                assert answer.status == 200, said
        await self.connection.setRemoteDescription(RTCSessionDescription(said["sdp"], "answer"))

    async def until(self, true: Callable[[], object], within_s: float = 20.0) -> None:
        async with asyncio.timeout(within_s):
            while not true():
                await asyncio.sleep(0.02)

    def colour(self) -> tuple[float, ...]:
        return tuple(self.pictures[-1].reshape(-1, 3).mean(0)) if self.pictures else (0.0, 0.0, 0.0)

    async def sees(self, colour: tuple[int, int, int]) -> None:
        await self.until(lambda: np.abs(np.subtract(self.colour(), colour)).max() < 8)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        await self.connection.close()

    def _on_track(self, track: MediaStreamTrack) -> None:
        async def look() -> None:
            while True:
                self.pictures.append((await track.recv()).to_ndarray(format="rgb24"))

        self._task = asyncio.get_running_loop().create_task(look())
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())


@asynccontextmanager
async def serving(
    settings: WebSettings | None = None, source: Callable[[], Source] | None = None
) -> AsyncIterator[tuple[str, Studio]]:
    """A server on a free port: its address, and what is behind it."""
    studio = Studio(settings or WebSettings(port=0), Tint, source)
    server = Server(studio)
    await server.start()
    try:
        yield f"http://127.0.0.1:{server.port}", studio
    finally:
        await server.close()


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an asynchronous test."""

    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 60))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("aiortc").setLevel(logging.CRITICAL)


@in_loop
async def test_a_browser_gets_its_own_picture_back_painted_and_changes_the_settings() -> None:
    async with serving() as (address, studio):
        browser = Browser(address, Camera())
        await browser.connect(begin={"style": "vangogh"})
        await browser.sees(SHADES["vangogh"])
        assert browser.pictures[-1].shape == (176, 320, 3)
        browser.channel.send(json.dumps({"style": "wave"}))
        await browser.sees(SHADES["wave"])
        browser.channel.send(json.dumps({"strength": 0}))
        await browser.sees((GREY, GREY, GREY))
        await browser.until(lambda: any(m.get("frames_out", 0) > 3 for m in browser.messages))
        last = browser.messages[-1]
        assert (last["style"], last["wanted"], last["strength"], last["fault"]) == ("wave", "wave", 0.0, "")
        await browser.close()
        await browser.until(lambda: not studio.state())


@in_loop
async def test_wrong_wishes_are_answered_and_change_nothing() -> None:
    async with serving() as (address, studio):
        browser = Browser(address, Camera())
        await browser.connect()
        await browser.sees(SHADES["vangogh"])
        wrong: tuple[object, ...] = (
            {"style": "nobody"}, {"strength": 7}, {"strength": "much"}, {"scale": 0}, {"mirror": 1}, {"strength": True},
            {"__class__": "x"}, {"style": ["wave"]},
        )  # fmt: skip
        for wish in wrong:
            told = len([m for m in browser.messages if "error" in m])
            browser.channel.send(json.dumps(wish))
            await browser.until(lambda told=told: len([m for m in browser.messages if "error" in m]) > told)
        for rubbish in ("", "[]", "7", "{", "[" * 2000, "x" * 60_000, b"\x00\xff"):
            browser.channel.send(rubbish)
        seen = len(browser.pictures)
        await browser.until(lambda: len(browser.pictures) > seen + 10)
        await browser.sees(SHADES["vangogh"])
        assert studio.state()[0]["strength"] == 1.0
        await browser.close()


@in_loop
async def test_those_who_watch_see_one_painting_and_the_source_is_closed_when_the_last_has_left() -> None:
    opened: list[PatternSource] = []

    def source() -> Source:
        opened.append(PatternSource(320, 176, 30))
        return opened[-1]

    async with serving(source=source) as (address, studio):
        first, second = Browser(address, None), Browser(address, None)
        await asyncio.gather(first.connect(), second.connect())
        await first.sees(SHADES["vangogh"])
        await second.sees(SHADES["vangogh"])
        assert len(opened) == 1
        second.channel.send(json.dumps({"style": "wave"}))
        await first.sees(SHADES["wave"])
        await first.close()
        await first.until(lambda: len(studio.state()) == 1)
        await second.close()
        await first.until(lambda: not studio.state())
        await first.until(opened[0]._stop.is_set)
        third = Browser(address, None)
        await third.connect()
        await third.sees(SHADES["vangogh"])
        assert len(opened) == 2
        await third.close()


@in_loop
async def test_a_source_that_ends_ends_those_who_watch_with_a_reason() -> None:
    async with serving(source=lambda: PatternSource(320, 176, 30, frames=20)) as (address, studio):
        browser = Browser(address, None)
        await browser.connect()
        await browser.until(lambda: any("end" in m for m in browser.messages))
        assert next(m["end"] for m in browser.messages if "end" in m) == "the source has ended"
        await browser.until(lambda: not studio.state())
        await browser.close()


@in_loop
async def test_there_are_no_more_browsers_than_agreed() -> None:
    async with serving(WebSettings(port=0, peers=1)) as (address, studio), ClientSession() as session:
        browser = Browser(address, Camera())
        await browser.connect()
        other = Browser(address, Camera())
        async with session.post(address + "/offer", json={"sdp": await other.offer()}) as answer:
            assert answer.status == 503
            assert "--peers" in (await answer.json())["error"]
        await other.close()
        await browser.sees(SHADES["vangogh"])
        await browser.close()
        await browser.until(lambda: not studio.state())
        again = Browser(address, Camera())
        await again.connect()
        await again.close()


def test_a_browser_that_does_not_connect_or_falls_silent_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "TELL_S", 0.05)
    monkeypatch.setattr(peers, "CONNECT_S", 0.3)

    async def absent() -> None:
        async with serving() as (address, studio), ClientSession() as session:
            browser = Browser(address, Camera())
            async with session.post(address + "/offer", json={"sdp": await browser.offer()}) as answer:
                assert answer.status == 200  # and the answer is never used
            assert len(studio.state()) == 1
            await browser.until(lambda: not studio.state())
            await browser.close()

    async def silent() -> None:
        monkeypatch.setattr(peers, "CONNECT_S", 15.0)
        monkeypatch.setattr(peers, "SILENT_S", 0.5)
        async with serving() as (address, studio):
            camera = Camera()
            browser = Browser(address, camera)
            await browser.connect()
            await browser.sees(SHADES["vangogh"])
            camera.stop()
            browser.connection.getSenders()[0].replaceTrack(None)
            await browser.until(lambda: any("no picture" in m.get("end", "") for m in browser.messages))
            await browser.until(lambda: not studio.state())
            await browser.close()

    asyncio.run(asyncio.wait_for(absent(), 30))
    asyncio.run(asyncio.wait_for(silent(), 30))


def test_a_picture_that_is_too_large_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "LARGEST", 100 * 100)

    async def large() -> None:
        async with serving() as (address, studio):
            browser = Browser(address, Camera())
            await browser.connect()
            await browser.until(lambda: any("too large" in m.get("end", "") for m in browser.messages))
            await browser.until(lambda: not studio.state())
            await browser.close()

    asyncio.run(asyncio.wait_for(large(), 30))


@in_loop
async def test_what_the_page_needs_is_handed_out_with_strict_headers() -> None:
    async with serving() as (address, _), ClientSession() as session:
        for path, kind in (("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")):
            async with session.get(address + path) as answer:
                assert (answer.status, answer.content_type) == (200, kind)
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
        async with session.get(address + "/styles") as answer:
            known = await answer.json()
            assert known["begin"]["style"] == "vangogh"
            assert {"wave", "vangogh"} <= {style["name"] for style in known["styles"]}
        async with session.get(address + "/styles/wave.jpg") as answer:
            assert answer.content_type == "image/jpeg"
            assert (await answer.read())[:2] == b"\xff\xd8"
        for missing in (
            "/nothing",
            "/styles/none.jpg",
            "/styles/../server.py",
            "/styles/%2e%2e%2fvangogh.jpg",
            "/../cli.py",
        ):
            async with session.get(address + missing) as answer:
                assert answer.status == 404


def test_the_page_loads_nothing_from_elsewhere() -> None:
    for file in (Path(limits.__file__).parent / "page").iterdir():
        text = file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")  # a name, never fetched
        assert "http://" not in text
        assert "https://" not in text
        assert " style=" not in text.replace('name="style"', "")  # which the policy forbids
        assert "onclick=" not in text


async def gone(writer: asyncio.StreamWriter) -> None:
    """Close a connection, whatever the other side has done to it."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def _status(answer: Awaitable[ClientResponse]) -> int:
    got = await answer
    got.release()
    return got.status


@in_loop
async def test_other_pages_and_other_names_are_refused() -> None:
    async with serving() as (address, studio), ClientSession() as session:
        browser = Browser(address, Camera())
        body = {"sdp": await browser.offer()}
        post, get = session.post, session.get
        port = address.rpartition(":")[2]
        for origin in (
            "http://evil.example",
            f"http://evil.example:{port}",
            "null",
            f"http://127.0.0.1:{int(port) + 1}",
        ):
            assert await _status(post(address + "/offer", json=body, headers={"Origin": origin})) == 403
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1:1", "", f"127.0.0.1.evil.example:{port}"):
            assert await _status(post(address + "/offer", json=body, headers={"Host": host})) == 403
            assert await _status(get(address + "/", headers={"Host": host})) == 403
        text = {"Content-Type": "text/plain"}  # what a form of another page can send
        assert await _status(post(address + "/offer", data=json.dumps(body), headers=text)) == 415
        assert not studio.state()
        # A link on another site may lead to the page, and to nothing else.
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert await _status(get(address + "/", headers=link)) == 200
        assert await _status(get(address + "/stats", headers=link)) == 403
        assert await _status(post(address + "/offer", json=body, headers={"Origin": address})) == 200
        await browser.close()


@in_loop
async def test_with_a_token_nobody_without_it_begins_anything() -> None:
    async with serving(WebSettings(port=0, token="s3cret-word")) as (address, studio), ClientSession() as session:
        browser = Browser(address, Camera())
        body = {"sdp": await browser.offer()}
        for header in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Bearer s3cret-wor"},
            {"Authorization": "é"},
        ):
            assert await _status(session.post(address + "/offer", json=body, headers=header)) == 401
            assert await _status(session.get(address + "/stats", headers=header)) == 401
            assert await _status(session.get(address + "/styles", headers=header)) == 401  # it tells folders
        assert not studio.state()
        borne = {"Authorization": "Bearer s3cret-word"}
        assert await _status(session.get(address + "/stats", headers=borne)) == 200
        assert await _status(session.post(address + "/offer", json=body, headers=borne)) == 200
        await browser.close()


@in_loop
async def test_rubbish_is_answered_and_the_picture_goes_on() -> None:
    async with serving() as (address, studio), ClientSession() as session:
        browser = Browser(address, Camera())
        await browser.connect()
        await browser.sees(SHADES["vangogh"])
        offer = browser.connection.localDescription.sdp
        many = offer + "".join(f"m=video {n} UDP/TLS/RTP/SAVPF 96\r\n" for n in range(20))
        bodies = ("", "[]", "7", '{"sdp": 3}', "{", "[" * 20_000, '{"sdp": "v=0"}', json.dumps({"sdp": many}),
                  json.dumps({"sdp": "v=0\r\nm=video rubbish"}), json.dumps({"sdp": offer.replace("a=", "a=\x00")}),
                  json.dumps({"sdp": offer, "begin": {"style": "nobody"}}), json.dumps({"sdp": offer, "begin": 3}),
                  json.dumps({"sdp": offer, "watch": True}), "\ud800".encode("utf-8", "surrogatepass"))  # fmt: skip
        head = {"Content-Type": "application/json"}
        for body in bodies:
            status = await _status(session.post(address + "/offer", data=body, headers=head))
            assert status == 400, body[:60]
        assert await _status(session.post(address + "/offer", data="x" * 70_000, headers=head)) == 413
        odd = {"Content-Type": "application/json; charset=nope"}
        async with session.post(address + "/offer", data="{}", headers=odd) as answer:
            assert answer.status == 400
            assert "Content-Security-Policy" in answer.headers
        host, port = address.removeprefix("http://").split(":")
        for _ in range(20):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(os.urandom(400) + b"\r\n\r\n")
            await asyncio.wait_for(reader.read(4096), 5)
            await gone(writer)
        seen = len(browser.pictures)
        await browser.until(lambda: len(browser.pictures) > seen + 10)
        assert len(studio.state()) == 1
        await browser.close()


def test_a_thousand_connections_and_slow_ones_do_not_disturb_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SLOW_S", 1.0)

    async def flood() -> None:
        async with serving() as (address, _):
            browser = Browser(address, Camera())
            await browser.connect()
            await browser.sees(SHADES["vangogh"])
            host, port = address.removeprefix("http://").split(":")
            open_ones: list[asyncio.StreamWriter] = []
            refused = 0
            for number in range(1000):
                reader, writer = await asyncio.open_connection(host, int(port))
                try:
                    if number < limits.CONNECTIONS:
                        writer.write(b"POST /offer HTTP/1.1\r\nHost: a\r\n")  # and never the rest
                        open_ones.append(writer)
                        continue
                    refused += await asyncio.wait_for(reader.read(1), 5) == b""
                except ConnectionError:
                    refused += 1
                await gone(writer)
            assert refused >= 1000 - 2 * limits.CONNECTIONS
            seen = len(browser.pictures)
            await browser.until(lambda: len(browser.pictures) > seen + 10)
            # The slow ones are ended, and then there is room again.
            async with ClientSession() as session, asyncio.timeout(20):
                while True:
                    try:
                        async with session.get(address + "/styles") as answer:
                            assert answer.status == 200
                            break
                    except (OSError, ClientError):
                        await asyncio.sleep(0.1)
            for writer in open_ones:
                await gone(writer)
            await browser.close()

    asyncio.run(asyncio.wait_for(flood(), 60))


@in_loop
async def test_connections_that_come_and_go_take_no_room() -> None:
    async with serving() as (address, _), ClientSession() as session:
        host, port = address.removeprefix("http://").split(":")
        for number in range(3 * limits.CONNECTIONS):
            if number % 2:
                assert await _status(session.get(address + "/page.css", headers={"Connection": "close"})) == 200
            else:
                _, writer = await asyncio.open_connection(host, int(port))
                await gone(writer)
                await asyncio.sleep(0.01)


def test_readers_that_take_no_answer_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SLOW_S", 1.0)
    monkeypatch.setattr(limits, "CONNECTIONS", 8)

    async def slow() -> None:
        async with serving() as (address, _):
            host, port = address.removeprefix("http://").split(":")
            stuck = []
            for _ in range(limits.CONNECTIONS):
                one = socket.socket()
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                one.connect((host, int(port)))
                one.sendall(f"GET /styles/wave.jpg HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode() * 200)
                stuck.append(one)
            async with ClientSession() as session, asyncio.timeout(20):
                while True:
                    try:
                        if await _status(session.get(address + "/")) == 200:
                            break
                    except (OSError, ClientError):
                        await asyncio.sleep(0.1)
            for one in stuck:
                one.close()

    asyncio.run(asyncio.wait_for(slow(), 60))


def test_with_tls_connections_that_shake_no_hands_are_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(limits, "HANDSHAKE_S", 1.0)
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    call = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    try:
        subprocess.run([*call, "-keyout", key, "-out", cert], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")

    async def flood() -> None:
        async with serving(WebSettings(port=0, cert=cert, key=key)) as (address, _):
            port = int(address.rpartition(":")[2])
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(200)]
            async with asyncio.timeout(10):
                for reader, writer in silent:
                    with suppress(ConnectionError):
                        assert await reader.read() == b""
                    await gone(writer)
            async with ClientSession() as session, asyncio.timeout(20):
                while True:
                    try:
                        if await _status(session.get(f"https://127.0.0.1:{port}/", ssl=False)) == 200:
                            break
                    except (OSError, ClientError):
                        await asyncio.sleep(0.1)

    asyncio.run(asyncio.wait_for(flood(), 60))


class SlowToOpen(PatternSource):
    """A camera that takes a while to open and to close, and that cannot be opened twice."""

    taken = 0

    def __init__(self) -> None:
        time.sleep(0.3)
        if SlowToOpen.taken:
            raise SourceError("the camera is busy")
        SlowToOpen.taken += 1
        super().__init__(320, 176, 30)
        self._left = False

    def close(self) -> None:
        super().close()
        if not self._left:
            self._left = True
            time.sleep(0.3)
            SlowToOpen.taken -= 1


@in_loop
async def test_a_page_that_is_loaded_again_waits_until_the_camera_is_free() -> None:
    async with serving(source=SlowToOpen) as (address, studio):
        for _ in range(3):
            browser = Browser(address, None)
            await browser.connect()
            await browser.until(lambda studio=studio: studio.state())
            await browser.close()
            for peer in list(studio._peers):
                peer.end()
        assert SlowToOpen.taken <= 1
    assert SlowToOpen.taken == 0


@in_loop
async def test_no_more_than_agreed_may_watch_also_when_all_come_at_once() -> None:
    async with (
        serving(WebSettings(port=0, peers=2), source=SlowToOpen) as (address, studio),
        ClientSession() as session,
    ):
        browsers = [Browser(address, None) for _ in range(6)]
        bodies = [{"sdp": await browser.offer(), "watch": True} for browser in browsers]
        answers = await asyncio.gather(*(_status(session.post(address + "/offer", json=body)) for body in bodies))
        assert sorted(answers) == [200, 200, 503, 503, 503, 503]
        assert len(studio.state()) == 2
        for browser in browsers:
            await browser.close()


@in_loop
async def test_a_server_that_is_closed_while_the_source_opens_leaves_nothing_open() -> None:
    async with serving(source=SlowToOpen) as (address, studio), ClientSession() as session:
        browser = Browser(address, None)
        offer = asyncio.ensure_future(
            session.post(address + "/offer", json={"sdp": await browser.offer(), "watch": True})
        )
        await asyncio.sleep(0.1)
    with suppress(ClientError):
        assert await offer == 503
    await browser.close()
    await browser.until(lambda: SlowToOpen.taken == 0)
    assert not studio.state()


def test_the_command_serves_until_it_is_stopped() -> None:
    call = [sys.executable, "-m", "rtstyle", "web", "--port", "0", "--source", "pattern"]
    with subprocess.Popen(call, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        address = line.rpartition(" ")[2].strip()
        assert line.startswith("the page is at http://127.0.0.1:"), line + process.stderr.read()
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert b"<title>rtstyle</title>" in answer.read()
        with urllib.request.urlopen(address + "styles", timeout=10) as answer:
            assert json.load(answer)["watchable"] is True
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read() == ""


def test_what_is_wrong_is_told_to_the_one_who_starts_the_server(capfd: pytest.CaptureFixture[str]) -> None:
    for arguments, told in (
        (["--source", "nosuch.mp4"], "nosuch.mp4"),
        (["--size", "0x0", "--source", "pattern"], "too small"),
        (["--host", "0.0.0.0"], "no token"),
        (["--style", "nobody"], "no style"),
        (["--cert", "none.pem"], "belong together"),
    ):
        assert main(["web", "--port", "0", *arguments]) in (1, 2)
        error = capfd.readouterr().err
        assert told in error
        assert len(error.splitlines()) == 2


def test_settings_that_let_strangers_in_are_refused(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.168.1.2", "::"):
        with pytest.raises(ConfigError, match="token"):
            WebSettings(host=host).check()
        WebSettings(host=host, token="long enough").check()
    for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9"):
        WebSettings(host=host).check()
    with pytest.raises(ConfigError, match="belong together"):
        WebSettings(cert=tmp_path / "cert.pem").check()
    with pytest.raises(ConfigError, match="no such file"):
        WebSettings(cert=tmp_path / "cert.pem", key=tmp_path / "key.pem").check()
    assert WebSettings(token="a b&c").address(80) == "http://127.0.0.1:80/#token=a%20b%26c"
    assert WebSettings(host="::1").address(80) == "http://[::1]:80/"
    assert not WebSettings().advice()
    assert "TLS" in WebSettings(host="0.0.0.0", token="long enough").advice()[0]


@in_loop
async def test_a_port_that_is_taken_and_a_certificate_that_is_none_are_told() -> None:
    async with serving() as (address, _):
        taken = int(address.rpartition(":")[2])
        with pytest.raises(SinkError, match="cannot listen"):
            await Server(Studio(WebSettings(port=taken), Tint)).start()
    with pytest.raises(ConfigError, match="certificate"):
        await Server(Studio(WebSettings(port=0, cert=Path(__file__), key=Path(__file__)), Tint)).start()


def test_the_newest_picture_wins_in_both_directions() -> None:
    source = BrowserSource("b", 16, 16)
    for shade in (10, 20, 30):
        assert source.put(VideoFrame.from_ndarray(np.full((16, 16, 3), shade, np.uint8), "rgb24"))
    frame = next(source.frames())
    assert frame.rgb.mean() == 30
    assert source.replaced == 2
    source.close()
    assert not source.put(VideoFrame(16, 16, "yuv420p"))
    assert list(source.frames()) == []

    async def track() -> None:
        painted = PaintedTrack(asyncio.get_running_loop())
        pictures = [VideoFrame(16, 16, "yuv420p") for _ in range(3)]
        for picture in pictures:
            painted.show(picture)
        await asyncio.sleep(0)
        assert await painted.recv() is pictures[2]
        painted.stop()

    asyncio.run(track())


def test_colours_survive_the_way_to_a_browser_and_back() -> None:
    rng = np.random.default_rng(1)
    rgb = np.kron(rng.integers(0, 255, (8, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    shown: list[VideoFrame] = []

    class Track:
        def show(self, picture: VideoFrame) -> None:
            shown.append(picture)

    from rtstyle.frame import Frame

    sink = ViewersSink(lambda: [Track()])  # type: ignore[list-item]
    for number in range(3):
        assert sink.write(Frame(rgb, number, 0, Fraction(1), 5.0))  # captured in one instant
    assert [picture.pts for picture in shown] == [0, 1, 2]
    source = BrowserSource("b", 64, 64)
    source.put(shown[0])
    back = next(source.frames()).rgb
    inside = np.abs(back.astype(int) - rgb)[2::8, 2::8]
    assert np.median(inside) <= 2
    source.close()
    odd = Frame(np.zeros((33, 47, 3), np.uint8), 0, 0, Fraction(1), 6.0)
    sink.write(odd)
    assert (shown[-1].width, shown[-1].height) == (46, 32)


def test_a_shelf_loads_each_style_once_and_frees_it_with_its_last_user() -> None:
    loaded: list[Tint] = []

    def load(name: str) -> Engine:
        loaded.append(Tint(name))
        return loaded[-1]

    shelf = Shelf(load)
    one, two = shelf.load("wave"), shelf.load("wave")
    assert len(loaded) == 1
    one.close()
    one.close()
    assert not loaded[0].closed
    assert two(np.zeros((16, 16, 3), np.uint8)).shape == (16, 16, 3)
    two.close()
    assert loaded[0].closed
    shelf.load("wave").close()
    assert len(loaded) == 2
    with pytest.raises(EngineError):
        shelf.load("monet")


def test_wishes_are_checked_one_by_one() -> None:
    controls = Controls(1.0, False, 1.0, ["vangogh", "wave"], "vangogh")
    obey(controls, {"style": "wave", "strength": 0.5, "scale": 2, "mirror": True})
    assert (controls.style, controls.strength, controls.scale, controls.mirror) == ("wave", 0.5, 2.0, True)
    for wish, error in (({"style": "x"}, StyleError), ({"strength": 2}, ShapeError), ({"stop": True}, ConfigError)):
        with pytest.raises(error):
            obey(controls, wish)
    with pytest.raises(ShapeError):
        obey(controls, {"scale": float("nan")})
