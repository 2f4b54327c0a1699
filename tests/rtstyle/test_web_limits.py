"""Who may talk to the page's server, how often and how much; and what it makes of everybody else."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("aiortc")

from aiohttp import ClientError, ClientSession

from rtstyle.live import http_server
from rtstyle.web.rooms import WebSettings
from tests.rtstyle.browsers import SHADES, Browser, Camera, gone, in_loop, serving, status_of


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
            assert await status_of(post(address + "/offer", json=body, headers={"Origin": origin})) == 403
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1:1", "", f"127.0.0.1.evil.example:{port}"):
            assert await status_of(post(address + "/offer", json=body, headers={"Host": host})) == 403
            assert await status_of(get(address + "/", headers={"Host": host})) == 403
        text = {"Content-Type": "text/plain"}  # what a form of another page can send
        assert await status_of(post(address + "/offer", data=json.dumps(body), headers=text)) == 415
        assert not studio.state()
        # A link on another site may lead to the page, and to nothing else.
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert await status_of(get(address + "/", headers=link)) == 200
        assert await status_of(get(address + "/stats", headers=link)) == 403
        assert await status_of(post(address + "/offer", json=body, headers={"Origin": address})) == 200
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
            assert await status_of(session.post(address + "/offer", json=body, headers=header)) == 401
            assert await status_of(session.get(address + "/stats", headers=header)) == 401
            assert await status_of(session.get(address + "/styles", headers=header)) == 401  # it tells folders
        assert not studio.state()
        borne = {"Authorization": "Bearer s3cret-word"}
        assert await status_of(session.get(address + "/stats", headers=borne)) == 200
        assert await status_of(session.post(address + "/offer", json=body, headers=borne)) == 200
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
            status = await status_of(session.post(address + "/offer", data=body, headers=head))
            assert status in (400, 409, 422), body[:60]
        assert await status_of(session.post(address + "/offer", data="x" * 70_000, headers=head)) == 413
        odd = {"Content-Type": "application/json; charset=nope"}
        async with session.post(address + "/offer", data="{}", headers=odd) as answer:
            assert answer.status == 422
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
    monkeypatch.setattr(http_server, "SLOW_S", 5.0)  # longer than a busy machine takes to open them all

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
                    if number < http_server.CONNECTIONS:
                        writer.write(b"POST /offer HTTP/1.1\r\nHost: a\r\n")  # and never the rest
                        open_ones.append(writer)
                        continue
                    refused += await asyncio.wait_for(reader.read(1), 5) == b""
                except ConnectionError:
                    refused += 1
                await gone(writer)
            assert refused >= 1000 - 2 * http_server.CONNECTIONS
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
        for number in range(3 * http_server.CONNECTIONS):
            if number % 2:
                assert await status_of(session.get(address + "/page.css", headers={"Connection": "close"})) == 200
            else:
                _, writer = await asyncio.open_connection(host, int(port))
                await gone(writer)
                await asyncio.sleep(0.01)


def test_readers_that_take_no_answer_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "SLOW_S", 1.0)
    monkeypatch.setattr(http_server, "CONNECTIONS", 8)

    async def slow() -> None:
        async with serving() as (address, _):
            host, port = address.removeprefix("http://").split(":")
            stuck = []
            for _ in range(http_server.CONNECTIONS):
                one = socket.socket()
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                one.connect((host, int(port)))
                one.sendall(f"GET /styles/wave.jpg HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode() * 200)
                stuck.append(one)
            async with ClientSession() as session, asyncio.timeout(20):
                while True:
                    try:
                        if await status_of(session.get(address + "/")) == 200:
                            break
                    except (OSError, ClientError):
                        await asyncio.sleep(0.1)
            for one in stuck:
                one.close()

    asyncio.run(asyncio.wait_for(slow(), 60))


def test_with_tls_connections_that_shake_no_hands_are_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(http_server, "HANDSHAKE_S", 1.0)
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
                        if await status_of(session.get(f"https://127.0.0.1:{port}/", ssl=False)) == 200:
                            break
                    except (OSError, ClientError):
                        await asyncio.sleep(0.1)

    asyncio.run(asyncio.wait_for(flood(), 60))
