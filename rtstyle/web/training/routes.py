"""HTTP of one's own styles: learn one from a painting, follow and stop that, download, rename and remove styles."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import ClientError, web

from engines.errors import SinkError, StyleError, StylerError
from engines.style_file import StyleModel
from rtstyle import shelf
from rtstyle.live.http_server import json_error, json_response
from rtstyle.style_library import gallery_styles
from rtstyle.web.files.names import attachment, shown_name
from rtstyle.web.rooms import Rooms
from rtstyle.web.training.names import title_of, unique_name
from rtstyle.web.training.run import StyleTraining, TrainingSettings, missing_packages, taken_names

LARGEST = 20_000_000
"""Most bytes of a painting."""

SILENT_S, WHOLE_S = 30.0, 300.0
"""An upload of which nothing comes for this long, or which takes this long, is given up, seconds."""


class OwnStyles:
    """The styles that visitors let a server learn.

    Args:
        rooms: where they are shown.
        settings: how they are learned.
    """

    def __init__(self, rooms: Rooms, settings: TrainingSettings | None = None) -> None:
        self._rooms, self._training = rooms, StyleTraining(rooms, settings)
        self._missing = missing_packages()
        self._is_receiving = False

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_post("/styles", self._learn)
        app.router.add_get("/styles/training", self._state, allow_head=False)
        app.router.add_delete("/styles/training", self._stop)
        app.router.add_get("/styles/{name}.rtstyle", self._download, allow_head=False)
        app.router.add_patch("/styles/{name}", self._rename)
        app.router.add_delete("/styles/{name}", self._remove)

    async def close(self) -> None:
        """Stop learning; the shelf stays as it is. May be called twice."""
        await self._training.close()

    def described(self) -> dict[str, Any]:
        """Return what the page needs to know: the training, why there can be none, and whether styles have changed."""
        return {**self._training.described(), "missing": self._missing, "revision": self._rooms.revision}

    @staticmethod
    def is_upload(request: web.Request) -> bool:
        """Return True for a request whose body is read as it comes."""
        return request.method == "POST" and request.path == "/styles"

    async def _learn(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refusal(request.content_length or 0)
        if refusal is not None:
            return refusal
        self._is_receiving = True
        try:
            async with asyncio.timeout(WHOLE_S):
                data = await _received(request)
            file = shown_name(request.query.get("file", "painting"))
            await self._training.start(data, file, request.query.get("title", ""))
        except TimeoutError:
            return json_error(408, f"nothing came for {SILENT_S:.0f} s")
        except (ClientError, ConnectionError, web.RequestPayloadError):
            return json_error(400, "the upload was interrupted")
        except StylerError as error:
            return json_error(409 if isinstance(error, SinkError) else 422, error.problem, error.hint)
        finally:
            self._is_receiving = False
        return json_response(self.described(), 201)

    def _refusal(self, size: int) -> web.StreamResponse | None:
        """Return why no upload of this many bytes is taken now, or ``None`` to take it."""
        if self._missing:
            return json_error(501, *self._missing.split(": ", 1))
        if self._training.is_busy or self._is_receiving:
            return json_error(409, "a style is being learned already", "wait for it, or stop it")
        if not size:
            return json_error(400, "the picture is empty", "POST /styles?file=wave.jpg&title=Wave")
        if size > LARGEST:
            problem = f"the picture has {size / 1e6:.1f} MB"
            return json_error(413, problem, f"{LARGEST / 1e6:.0f} MB at most; save it smaller, or as JPEG")
        return None

    async def _state(self, _: web.Request) -> web.StreamResponse:
        await self._rooms.refresh_if_changed()
        return json_response(self.described())

    async def _stop(self, _: web.Request) -> web.StreamResponse:
        await self._training.stop()
        return json_response(self.described())

    async def _download(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]

        def packed() -> bytes:
            folder = shelf.own_styles().get(name)
            if folder is None:
                raise web.HTTPNotFound
            with shelf.scratch_folder() as scratch:
                target = scratch / f"style{shelf.SUFFIX}"
                shelf.pack(StyleModel.open(folder), target)
                return target.read_bytes()

        data = await asyncio.to_thread(packed)
        headers = {"Content-Disposition": attachment(f"{name}{shelf.SUFFIX}")}
        return web.Response(body=data, content_type="application/zip", headers=headers)

    async def _rename(self, request: web.Request) -> web.StreamResponse:
        old, wanted = request.match_info["name"], request.query.get("title", "")
        refusal = self._locked(old)
        if refusal is not None:
            return refusal
        if not wanted.strip():
            return json_error(422, "the new name is empty", "PATCH /styles/NAME?title=My+wave")

        def rename() -> str:
            name, title = unique_name(title_of(wanted, ""), taken_names() - {old})
            return shelf.rename(old, name, gallery_styles(), title).name

        try:
            new = await asyncio.to_thread(rename)
        except StyleError as error:
            return json_error(409, error.problem, error.hint)
        await self._rooms.refresh(new)  # whoever sees it goes on seeing it
        return json_response({**self.described(), "renamed": new})

    async def _remove(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        refusal = self._locked(name)
        if refusal is not None:
            return refusal
        try:
            await asyncio.to_thread(shelf.remove, name)
        except StyleError as error:
            return json_error(409, error.problem, error.hint)
        await self._rooms.refresh()
        return json_response(self.described())

    def _locked(self, name: str) -> web.StreamResponse | None:
        """Return why a style cannot be changed, or ``None`` if it can."""
        if name not in shelf.own_styles():
            return json_error(404, f"there is no style {name[:64]!r} of your own")
        if name in self._rooms.needed:
            return json_error(409, f"every visitor begins with {name}", "start rtstyle web with another --style")
        return None


async def _received(request: web.Request) -> bytes:
    """Read a body of known length as it comes. Raises TimeoutError, ClientError or ConnectionError."""
    data, size = bytearray(), request.content_length or 0
    while len(data) < size:
        async with asyncio.timeout(SILENT_S):
            part = await request.content.readany()
        if not part:
            raise ConnectionError
        data += part
    return bytes(data)
