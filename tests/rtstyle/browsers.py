"""A browser's part of WebRTC, played by aiortc, and a server for it to talk to."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from fractions import Fraction
from functools import wraps
from typing import Any

import numpy as np
from aiohttp import ClientResponse, ClientSession
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import VideoFrame

from engines.base import RGB, EngineInfo
from engines.errors import EngineError
from rtstyle.sources.base import Source
from rtstyle.web.rooms import Rooms, WebSettings
from rtstyle.web.server import Server

logging.getLogger("aiortc").setLevel(logging.CRITICAL)  # packets go astray when a peer leaves

GREY = 90
SHADES = {"vangogh": (200, 60, 30), "wave": (30, 80, 190)}


class Tint:
    """One colour for every frame, the input where the strength is 0."""

    def __init__(self, name: str) -> None:
        if name not in SHADES:
            raise EngineError(f"{name} cannot be painted here")
        self.info = EngineInfo("tint", "", "", "", name)
        self.closed = False

    def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
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
) -> AsyncIterator[tuple[str, Rooms]]:
    """A server on a free port: its address, and what is behind it."""
    studio = Rooms(settings or WebSettings(port=0), Tint, source)
    server = Server(studio)
    await server.start()
    try:
        yield f"http://127.0.0.1:{server.port}", studio
    finally:
        await server.close()


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an asynchronous test, which may take fixtures."""

    @wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(asyncio.wait_for(test(**fixtures), 60))

    return run


async def gone(writer: asyncio.StreamWriter) -> None:
    """Close a connection, whatever the other side has done to it."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def status_of(answer: Awaitable[ClientResponse]) -> int:
    got = await answer
    got.release()
    return got.status
