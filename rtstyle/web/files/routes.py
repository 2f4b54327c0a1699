"""HTTP of the files: list, upload, download, stop, try again and remove."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from aiohttp import ClientError, web
from aiohttp.abc import AbstractStreamWriter

from engines.errors import ConfigError, SinkError, StylerError
from rtstyle.controls import Controls
from rtstyle.live.actions import apply_settings
from rtstyle.live.http_server import json_error, json_response, styler_error
from rtstyle.web.files.names import TYPES, attachment
from rtstyle.web.files.store import DONE, FileStore, StoredFile, Upload
from rtstyle.web.files.work_queue import WorkQueue
from rtstyle.web.files.worker import LOOK

UPLOADS, DOWNLOADS = 4, 16
"""Most transfers at a time, so that slow ones do not take all connections of the server."""

SILENT_S = 30.0
"""An upload of which nothing comes for this long is given up, seconds."""

SLOWEST_BYTES = 32 << 10
"""Least bytes of a download in a second, on average; a slower one is ended, and browsers go on with the rest."""

Act = Callable[[StoredFile], Awaitable[None]]


@dataclass(frozen=True)
class FilesSettings:
    """How files are kept and stylized.

    Attributes:
        folder: of uploads and results.
        limit: of all of them, bytes.
        engine, threads: as ``rtstyle video`` takes them.
    """

    folder: Path
    limit: int
    engine: str = "auto"
    threads: int | None = None


class Files:
    """The files of a server. Create it before the server listens: it checks and locks the folder.

    Args:
        settings: where, and how many.
        styles: returns the names to choose from.

    Raises:
        ConfigError: the folder cannot be used.
    """

    def __init__(self, settings: FilesSettings, styles: Callable[[], Sequence[str]]) -> None:
        self.store = FileStore(settings.folder, settings.limit)
        self._queue = WorkQueue(self.store, settings.engine, settings.threads)
        self._styles = styles
        # Links to downloads hold this instead of the token, which then appears in no list of downloads.
        self._secret = secrets.token_bytes(32)
        self._uploads = self._downloads = 0

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/files", self._list, allow_head=False)
        app.router.add_put("/files", self._upload)
        app.router.add_get("/files/{id}/{ticket}", self._download)
        app.router.add_post("/files/{id}/stop", self._changer(self._queue.stop))
        app.router.add_post("/files/{id}/retry", self._changer(self._retry))
        app.router.add_delete("/files/{id}", self._changer(self._queue.remove))

    def start(self) -> None:
        """Begin with the files that are waiting."""
        self._queue.start()

    async def close(self) -> None:
        """Stop; a file in work goes on with the next server. May be called twice, and without ``start``."""
        await self._queue.close()
        self.store.close()

    @staticmethod
    def is_upload(request: web.Request) -> bool:
        """Return True for a request whose body is read as it comes."""
        return request.method == "PUT" and request.path == "/files"

    async def _list(self, _: web.Request) -> web.StreamResponse:
        store = self.store
        files = [self._described(file) for file in sorted(store.files.values(), key=lambda file: file.order)]
        return json_response({"files": files, "used": store.used, "limit": store.limit, "room": store.room})

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        if self._uploads >= UPLOADS:
            return json_error(503, f"{UPLOADS} files are being uploaded already", "wait for them")
        self._uploads += 1
        try:
            upload = self._begin(request.query, request.content_length or 0)
        except StylerError as error:
            return styler_error(error, 413)
        else:
            return await self._receive(request, upload)
        finally:
            self._uploads -= 1

    def _begin(self, query: Mapping[str, str], size: int) -> Upload:
        if not size:
            raise ConfigError("the file is empty")
        wanted = {name: query[name] for name in LOOK if name in query}
        if "style" not in wanted or not query.get("name"):
            raise ConfigError("name and style are missing", hint="PUT /files?name=holiday.mp4&style=wave")
        controls = Controls(styles=self._styles())
        apply_settings(controls, wanted)
        return self.store.begin(query["name"], size, controls)

    async def _receive(self, request: web.Request, upload: Upload) -> web.StreamResponse:
        """Write an upload to the disk as it comes."""
        try:
            while True:
                async with asyncio.timeout(SILENT_S):
                    data = await request.content.readany()
                if not data:
                    break
                await asyncio.to_thread(upload.write, data)
            await asyncio.to_thread(upload.finish)
        except TimeoutError:
            return json_error(408, f"nothing came for {SILENT_S:.0f} s")
        except (ClientError, ConnectionError, web.RequestPayloadError):
            return json_error(400, "the upload was interrupted")
        except SinkError as error:
            return styler_error(error, 507)
        finally:
            upload.close()
        self._queue.wake()
        return json_response(self._described(upload.file), 201)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        file = self._found(request)
        if not hmac.compare_digest(self._ticket(file).encode(), request.match_info["ticket"].encode(errors="replace")):
            return json_error(403, "this link has expired", "open the page again")
        if file.state != DONE:
            return json_error(409, f"{file.name} is {file.state}")
        if self._downloads >= DOWNLOADS:
            return json_error(503, f"{DOWNLOADS} files are being downloaded already", "wait for them")
        response = _Download(self.store.home(file) / file.output_name)
        response.content_type = TYPES.get(PurePosixPath(file.output_name).suffix, "application/octet-stream")
        # Nothing in an uploaded file is ever shown as a page of this server.
        response.headers["Content-Disposition"] = attachment(file.download_name)
        self._downloads += 1
        try:
            # Sent here, so that the connection does not count as slow meanwhile.
            async with asyncio.timeout(SILENT_S + file.size / SLOWEST_BYTES):
                await response.prepare(request)
        except (TimeoutError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._downloads -= 1
        return response

    def _changer(self, act: Act) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handler(request: web.Request) -> web.StreamResponse:
            await act(self._found(request))
            return await self._list(request)

        return handler

    async def _retry(self, file: StoredFile) -> None:
        self._queue.retry(file)

    def _found(self, request: web.Request) -> StoredFile:
        file = self.store.files.get(request.match_info["id"])
        if file is None:
            raise web.HTTPGone(reason="this file has been removed")
        return file

    def _ticket(self, file: StoredFile) -> str:
        return hmac.new(self._secret, file.id.encode(), hashlib.sha256).hexdigest()[:32]

    def _described(self, file: StoredFile) -> dict[str, Any]:
        """Return a file as plain values for the page."""
        progress = ("state", "problem", "notes", "width", "height", "frames", "total", "fps", "size")
        left_s = (file.total - file.frames) / file.fps if file.fps and file.total > file.frames else None
        return {
            **{name: getattr(file, name) for name in ("id", "name", *LOOK, *progress)},
            "picture": file.is_picture,
            "retry": file.is_readable,
            "left_s": left_s,
            "download": f"files/{file.id}/{self._ticket(file)}" if file.state == DONE else None,
        }


class _Download(web.FileResponse):
    """A file that a handler has sent already when aiohttp prepares its response."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if self.prepared:
            return await web.StreamResponse.prepare(self, request)
        return await super().prepare(request)
