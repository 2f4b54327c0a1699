"""The page's server: files, styles, figures, and answers to WebRTC offers."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from engines.errors import ConfigError, SinkError
from engines.os_errors import listen_advice, reason
from rtstyle.live import http_server
from rtstyle.live.http_server import Handler, HttpOptions, HttpServer, json_response, read_body, styler_error
from rtstyle.style_library import StyleEntry, texture_of
from rtstyle.web.files.routes import Files
from rtstyle.web.rooms import Rooms, WebSettings
from rtstyle.web.training.routes import OwnStyles
from rtstyle.webrtc.tracks import raise_bitrates

PAGE = Path(__file__).parent / "page"
"""The page's own files; there are no others."""

BEGIN = ("style", "strength", "scale", "colours", "only", "faces", "mirror", "hold_fps", "stun")
"""Settings that the page begins with."""

CONTENT_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


PAGE_HEADERS: Mapping[str, str] = {
    **http_server.SAFE_HEADERS,
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self' blob: mediastream:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
}
"""Headers of every response: nothing from elsewhere runs, and nobody else embeds the page."""


def _is_public(request: web.Request) -> bool:
    """Return True for the page and its pictures, which hold no secret: its script sends the token.

    Downloads ask for a ticket in their address instead, because links cannot send the token.
    """
    if request.method not in ("GET", "HEAD") or request.path in ("/stats", "/styles", "/files"):
        return False
    return not request.path.startswith("/styles/") or request.path.endswith(".jpg")


class Server:
    """The page on an address, with ``files`` and ``own_styles`` if visitors may upload clips, and paintings."""

    def __init__(self, rooms: Rooms, files: Files | None = None, own_styles: OwnStyles | None = None) -> None:
        self._rooms, self._files, self._own_styles = rooms, files, own_styles
        app = web.Application(client_max_size=http_server.BODY)
        app.router.add_get("/", self._file("index.html"))
        for path in PAGE.iterdir():
            app.router.add_get(f"/{path.name}", self._file(path.name))
        app.router.add_get("/styles", self._styles)
        app.router.add_get("/styles/{name}.jpg", self._preview)
        app.router.add_get("/stats", self._stats)
        app.router.add_post("/offer", self._offer)
        uploading = [one for one in (files, own_styles) if one is not None]
        for one in uploading:
            one.add_to(app)
        options = HttpOptions(
            token=rooms.settings.token or None,
            json_only=True,
            is_public=_is_public,
            is_upload=(lambda request: any(one.is_upload(request) for one in uploading)) if uploading else None,
            headers=PAGE_HEADERS,
        )
        self._http = HttpServer(app, options)
        self.port = rooms.settings.port

    async def start(self) -> None:
        """Listen; raise SinkError or ConfigError if the address or the certificate cannot be used."""
        settings = self._rooms.settings
        raise_bitrates()
        tls = _tls(settings)
        try:
            self.port = await self._http.start(host=settings.host, port=settings.port, tls=tls)
        except OSError as error:
            raise SinkError(
                f"cannot listen on {settings.host}:{settings.port}: {reason(error)}",
                hint=f"{listen_advice(error, settings.port)} (--port)",
            ) from error
        if self._files is not None:
            self._files.start()

    async def close(self) -> None:
        """Stop listening, and end all connections."""
        self._http.stop_listening()
        if self._own_styles is not None:
            await self._own_styles.close()
        await self._rooms.close()
        await self._http.close()
        if self._files is not None:
            await self._files.close()
        await self._rooms.close()  # whoever was joining meanwhile

    @staticmethod
    def _file(name: str) -> Handler:
        path = PAGE / name

        async def handler(_: web.Request) -> web.StreamResponse:
            return web.Response(body=path.read_bytes(), content_type=CONTENT_TYPES[path.suffix], charset="utf-8")

        return handler

    async def _styles(self, _: web.Request) -> web.StreamResponse:
        """Return the answer of ``--control``, and what the page needs first: its styles and initial settings."""
        settings, rooms = self._rooms.settings, self._rooms
        await rooms.refresh_if_changed()
        known = {entry.name: entry for entry in rooms.entries}
        entries = [_described(name, known.get(name)) for name in rooms.styles]
        masks = settings.masks
        begin = {name: getattr(settings, name) for name in BEGIN}
        begin |= {"inside": masks.inside, "outside": masks.outside, "feather": masks.feather}
        current = {"style": settings.style, "wanted": settings.style, **rooms.stats()}
        control = {"styles": rooms.styles, "style": current["style"], "wanted": current["wanted"]}
        offered: dict[str, Any] = {
            "watchable": rooms.watchable,
            "files": self._files is not None,
            "masked": masks.file is not None,
        }
        offered["training"] = None if self._own_styles is None else self._own_styles.described()
        return json_response({**control, "entries": entries, **offered, "begin": begin})

    async def _preview(self, request: web.Request) -> web.StreamResponse:
        entry = next((e for e in self._rooms.entries if e.name == request.match_info["name"]), None)
        if entry is None or not entry.preview:
            raise web.HTTPNotFound
        try:
            body = Path(entry.preview).read_bytes()
        except OSError:  # it was removed just now
            raise web.HTTPNotFound from None
        return web.Response(body=body, content_type="image/jpeg")

    async def _stats(self, _: web.Request) -> web.StreamResponse:
        return json_response({**self._rooms.stats(), "peers": self._rooms.state()})

    async def _offer(self, request: web.Request) -> web.StreamResponse:
        try:
            body = json.loads(await read_body(request, http_server.SLOW_S))
        except (ValueError, RecursionError):
            raise web.HTTPBadRequest(reason="the body is not valid JSON") from None
        try:
            if not isinstance(body, dict) or not isinstance(body.get("sdp"), str):
                raise ConfigError("sdp is missing", hint='send {"sdp": …}, the offer of a WebRTC connection')
            initial = body.get("begin", {})
            if not isinstance(initial, dict):
                raise ConfigError("begin must be an object", hint='for example {"style": "wave"}')
            answer = await self._rooms.join(
                body["sdp"], sender=request.remote or "", watch=body.get("watch") is True, initial=initial
            )
        except SinkError as error:  # no room for another browser
            return styler_error(error, 503)
        return json_response({"sdp": answer})


def _described(name: str, entry: StyleEntry | None) -> dict[str, Any]:
    if entry is None:  # a path, not a style of the library
        return {"name": name, "title": Path(name).name, "painter": "", "own": False, "texture": texture_of(name)}
    preview = {"preview": f"styles/{name}.jpg"} if entry.preview else {}
    described = {"name": name, "title": entry.title, "painter": entry.painter, **preview, "own": entry.own}
    return {**described, "texture": entry.texture}


def _tls(settings: WebSettings) -> ssl.SSLContext | None:
    if settings.cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.cert, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the certificate {settings.cert} cannot be used: {error}") from error
    return context
