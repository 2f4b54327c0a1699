"""Errors of both HTTP servers: JSON, with a status, a problem and a hint, whatever is asked for."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("aiortc")

from aiohttp import ClientSession

from rtstyle.controls import Controls
from rtstyle.live.actions import Actions
from rtstyle.live.http_control import control_app
from rtstyle.live.http_server import HttpOptions, HttpServer
from rtstyle.live.session import LiveSession
from rtstyle.sources.pattern import PatternSource
from rtstyle.web.files.routes import Files, FilesSettings
from rtstyle.web.rooms import Rooms, WebSettings
from rtstyle.web.server import Server
from tests.rtstyle.browsers import Tint, in_loop

ROOT = Path(__file__).resolve().parents[2]
JSON = {"Content-Type": "application/json"}

CONTROL = [
    ("GET", "/nothing", {}, None, 404, "there is nothing at /nothing"),
    ("GET", "/style", {}, None, 405, "/style takes POST, not GET"),
    ("BREW", "/stats", {}, None, 400, "not a valid HTTP request"),
    ("PATCH", "/stats", {}, None, 405, "/stats takes GET, not PATCH"),
    ("POST", "/strength", {}, b"2", 422, "out of range"),
    ("POST", "/style", {}, b"cubism", 422, "no style 'cubism'"),
    ("POST", "/style", {}, b"\xff", 400, "not text"),
    ("POST", "/style", JSON, b'{"mirror": true}', 422, "says nothing about style"),
    ("POST", "/snapshot", {}, None, 409, "there is no picture yet"),
    ("POST", "/style", {}, b"x" * 2000, 413, "at most"),
    ("POST", "/stop", {"Expect": "a miracle"}, b"", 417, "Expect"),
    ("GET", "/stats", {"Host": "evil.example"}, None, 403, "another name"),
    ("GET", "/stats", {"Origin": "https://evil.example"}, None, 403, "other servers"),
]

PAGE = [
    ("GET", "/nothing", {}, None, 404, "there is nothing at /nothing"),
    ("GET", "/styles/nobody.jpg", {}, None, 404, "there is nothing at"),
    ("GET", "/offer", {}, None, 405, "/offer takes POST, not GET"),
    ("POST", "/files", JSON, b"{}", 405, "/files takes GET, PUT, not POST"),
    ("POST", "/offer", {"Content-Type": "text/plain"}, b"{}", 415, "application/json"),
    ("POST", "/offer", JSON, b"{", 400, "not valid JSON"),
    ("POST", "/offer", JSON, b"[]", 422, "sdp is missing"),
    ("POST", "/offer", JSON, b'{"sdp": "rubbish"}', 422, "offer"),
    ("POST", "/offer", JSON, b'{"sdp": "v=0", "begin": 3}', 422, "begin must be an object"),
    ("POST", "/offer", JSON, b'{"sdp": "v=0", "begin": {"style": "nobody"}}', 422, "no style 'nobody'"),
    ("POST", "/offer", JSON, b'{"sdp": "v=0", "watch": true}', 409, "no source of its own"),
    ("POST", "/offer", JSON, b"x" * 70_000, 413, "at most"),
    ("PUT", "/files?name=a.mp4&style=nobody", {}, b"data", 422, "no style 'nobody'"),
    ("PUT", "/files?name=a.mp4&style=wave&strength=3", {}, b"data", 422, "out of range"),
    ("PUT", "/files", {}, b"data", 422, "name and style are missing"),
    ("PUT", "/files?name=a.mp4&style=wave", {}, b"x" * 5000, 413, "do not fit"),
    ("DELETE", "/files/0123456789abcdef", {}, None, 410, "removed"),
    ("POST", "/files/0123456789abcdef/stop", JSON, b"{}", 410, "removed"),
    ("GET", "/files", {"Origin": "https://evil.example"}, None, 403, "other servers"),
]


async def check(address: str, asked: list[tuple[str, str, dict[str, str], bytes | None, int, str]]) -> set[int]:
    async with ClientSession() as session:
        for method, path, headers, body, status, told in asked:
            async with session.request(method, address + path, headers=headers, data=body) as answer:
                text = await answer.text()
                assert answer.status == status, (method, path, text)
                assert answer.content_type == "application/json" and answer.headers["Server"] == "rtstyle", text
                error = json.loads(text)
            assert set(error) == {"error", "hint"} and told in error["error"], (method, path, error)
            assert error["error"][:1] != "" and not error["error"].endswith(".")
    return {status for *_, status, _ in asked}


def documented(page: str) -> set[int]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return {int(status) for status in re.findall(r"^\| (\d{3}) \|", text, re.MULTILINE)}


@in_loop
async def test_errors_of_the_control() -> None:
    with LiveSession(PatternSource(64, 48, 30), Controls(styles=["wave", "scream"])) as live:
        server = HttpServer(control_app(Actions(live)), HttpOptions(max_body=1024))
        port = await server.start(host="127.0.0.1")
        try:
            assert await check(f"http://127.0.0.1:{port}", CONTROL) <= documented("live.md")
        finally:
            await server.close()


@in_loop
async def test_errors_of_the_page(tmp_path: Path) -> None:
    rooms = Rooms(WebSettings(port=0), Tint)
    server = Server(rooms, Files(FilesSettings(tmp_path, 4000), lambda: rooms.styles))
    await server.start()
    try:
        assert await check(f"http://127.0.0.1:{server.port}", PAGE) <= documented("live.md")
    finally:
        await server.close()


@in_loop
async def test_a_fault_of_ours_and_a_token_are_json_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with LiveSession(PatternSource(64, 48, 30), Controls()) as live:
        actions = Actions(live)
        server = HttpServer(control_app(actions), HttpOptions(token="correct horse"))
        monkeypatch.setitem(actions._readers, "stats", lambda: {}["nothing"])
        port = await server.start(host="127.0.0.1")
        right: dict[str, Any] = {"Authorization": "Bearer correct horse"}
        try:
            await check(
                f"http://127.0.0.1:{port}",
                [
                    ("GET", "/stats", {}, None, 401, "the token is missing or wrong"),
                    ("GET", "/nothing", {}, None, 401, "the token is missing or wrong"),
                    ("GET", "/stats", right, None, 500, "KeyError"),
                ],
            )
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"POST /stop HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer correct horse\r\n"
                             b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")  # fmt: skip
                head, _, body = (await reader.read(4096)).partition(b"\r\n\r\n")
                writer.close()
        finally:
            await server.close()
    assert b" 411 " in head and json.loads(body)["error"] == "the length of the body is missing"
