"""A server that takes files, in this process or in one that can be killed, and a visitor of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from rtstyle.web.files.routes import Files, FilesSettings
from rtstyle.web.rooms import Rooms, WebSettings
from rtstyle.web.server import Server
from tests.rtstyle.browsers import Tint

GB = 10**9


class Visitor:
    """What the page's script does with files."""

    def __init__(self, session: ClientSession, address: str, files: Files) -> None:
        self.session, self.address, self.files = session, address, files
        self.folder = files.store.folder

    async def put(self, data: bytes, name: str, style: str = "wave", **query: str) -> tuple[int, dict[str, Any]]:
        asked = {"name": name, "style": style, **query}
        async with self.session.put(self.address + "/files", params=asked, data=BytesIO(data)) as answer:
            return answer.status, await answer.json()

    async def upload(self, path: Path, **query: str) -> str:
        status, file = await self.put(path.read_bytes(), path.name, **query)
        assert status == 201, file
        return str(file["id"])

    async def list(self) -> dict[str, Any]:
        async with self.session.get(self.address + "/files") as answer:
            assert answer.status == 200
            return dict(await answer.json())

    async def see(self, key: str) -> dict[str, Any]:
        return next(file for file in (await self.list())["files"] if file["id"] == key)

    async def until(self, key: str, *states: str) -> dict[str, Any]:
        async with asyncio.timeout(40):
            while (file := await self.see(key))["state"] not in states:
                await asyncio.sleep(0.05)
        return file

    async def act(self, key: str, act: str) -> int:
        path = f"{self.address}/files/{key}"
        call = self.session.delete(path) if act == "remove" else self.session.post(f"{path}/{act}", json={})
        async with call as answer:
            return answer.status


@asynccontextmanager
async def hosting(folder: Path, limit: int = GB, token: str = "") -> AsyncIterator[Visitor]:
    """A server with files on a free port, in this process."""
    rooms = Rooms(WebSettings(port=0, token=token), Tint)
    files = Files(FilesSettings(folder, limit, "cpu", 1), lambda: rooms.styles)
    server = Server(rooms, files)
    await server.start()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with ClientSession(headers=headers) as session:
            yield Visitor(session, f"http://127.0.0.1:{server.port}", files)
    finally:
        await server.close()


@contextmanager
def command(folder: Path, *options: str, **popen: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``rtstyle web --files`` in a process of its own, and its address."""
    arguments = ["web", "--port", "0", "--files", str(folder), "--engine", "cpu", "--threads", "1", *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "rtstyle", *arguments], stderr=subprocess.PIPE, text=True, **popen
    )  # fmt: skip
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert "the page is at " in line, line + process.stderr.read()
        yield process, line.split("the page is at ")[1].strip().rstrip("/")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def listed(address: str) -> list[dict[str, Any]]:
    """The files of a server in another process."""
    with urllib.request.urlopen(address + "/files", timeout=10) as answer:
        return list(json.load(answer)["files"])


def put(address: str, path: Path, strength: float = 1.0) -> tuple[int, dict[str, Any]]:
    """Upload a file to a server in another process."""
    query = f"name={path.name}&style=wave&strength={strength:g}"
    request = urllib.request.Request(f"{address}/files?{query}", path.read_bytes(), method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
