"""The page's server, with another WebRTC implementation's part played by aiortc: no browser is needed."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("aiortc")

from aiohttp import ClientError, ClientSession

from engines.errors import ConfigError, SinkError, SourceError
from rtstyle.cli import main
from rtstyle.controls import Controls
from rtstyle.live.session import LiveSession
from rtstyle.sources.base import Source
from rtstyle.sources.pattern import PatternSource
from rtstyle.web import peer as peers
from rtstyle.web import server
from rtstyle.web.rooms import Rooms, WebSettings
from rtstyle.web.server import Server
from tests.rtstyle.browsers import GREY, SHADES, Browser, Camera, Tint, in_loop, serving, status_of

pytestmark = pytest.mark.real_time


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
            {"style": "nobody"}, {"strength": 7}, {"strength": "much"}, {"scale": 0}, {"mirror": 7}, {"strength": True},
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
            assert "--peers" in (await answer.json())["hint"]
        await other.close()
        await browser.sees(SHADES["vangogh"])
        await browser.close()
        await browser.until(lambda: not studio.state())
        again = Browser(address, Camera())
        await again.connect()
        await again.close()


def test_a_browser_that_does_not_connect_or_falls_silent_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "STATS_S", 0.05)
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
            await browser.until(lambda: any("no frame" in m.get("end", "") for m in browser.messages))
            await browser.until(lambda: not studio.state())
            await browser.close()

    asyncio.run(asyncio.wait_for(absent(), 30))
    asyncio.run(asyncio.wait_for(silent(), 30))


def test_a_picture_that_is_too_large_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "MAX_PIXELS", 100 * 100)

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
            assert {"wave", "vangogh"} <= {style["name"] for style in known["entries"]}
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


@in_loop
async def test_figures_and_styles_of_the_own_source_are_those_of_the_control() -> None:
    async with serving(source=lambda: PatternSource(320, 176, 30)) as (address, _), ClientSession() as session:

        async def ask(name: str) -> dict[str, Any]:
            async with session.get(f"{address}/{name}") as answer:
                assert answer.status == 200
                return dict(await answer.json())

        assert await ask("stats") == {"peers": []}, "nobody watches"
        known = await ask("styles")
        assert (known["style"], known["wanted"]) == ("vangogh", "vangogh")
        assert known["styles"] == [entry["name"] for entry in known["entries"]]
        browser = Browser(address, None)
        await browser.connect()
        await browser.sees(SHADES["vangogh"])
        browser.channel.send(json.dumps({"style": "wave"}))
        await browser.sees(SHADES["wave"])
        stats = await ask("stats")
        peers = stats.pop("peers")
        assert stats.keys() == LiveSession(PatternSource(24, 24, 30), Controls()).read().to_dict().keys()
        assert len(peers) == 1 and stats["style"] == peers[0]["style"] == "wave"
        known = await ask("styles")
        assert (known["style"], known["wanted"]) == ("wave", "wave")
        await browser.close()


@in_loop
async def test_errors_are_json() -> None:
    async with serving() as (address, _), ClientSession() as session:
        async with session.get(address + "/offer") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
            assert (await answer.json())["error"] == "/offer takes POST, not GET"
        async with session.get(address + "/nothing") as answer:
            assert answer.status == 404
            assert (await answer.json())["error"] == "there is nothing at /nothing"
        async with session.post(address + "/offer", json={"sdp": "v=0\r\nm=video", "watch": True}) as answer:
            assert answer.status == 409
            told = {"error": "this server has no source of its own", "hint": "start it with --source"}
            assert await answer.json() == told


def test_the_page_loads_nothing_from_elsewhere() -> None:
    for file in (Path(server.__file__).parent / "page").iterdir():
        text = file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")  # a name, never fetched
        assert "http://" not in text
        assert "https://" not in text
        assert " style=" not in text.replace('name="style"', "")  # which the policy forbids
        assert "onclick=" not in text


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
        answers = await asyncio.gather(*(status_of(session.post(address + "/offer", json=body)) for body in bodies))
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
            await Server(Rooms(WebSettings(port=taken), Tint)).start()
    with pytest.raises(ConfigError, match="certificate"):
        await Server(Rooms(WebSettings(port=0, cert=Path(__file__), key=Path(__file__)), Tint)).start()
