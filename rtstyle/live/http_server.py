"""The HTTP server behind ``--control`` and the page: one guard, one set of limits, errors as JSON.

A server on this machine can be reached by every page that a browser here has open: by a form, by a script, or under a
name that its owner lets point to 127.0.0.1 (DNS rebinding). So a request must be for one of our own names, and one that
reads secrets or changes something must come from our own page.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from engines.errors import ConfigError, ShapeError, StyleError, StylerError
from rtstyle.live.http_guard import Address, Guard

BODY = 64 << 10
"""Largest body of a request, bytes; a WebRTC offer has about 5 KB."""

HEADER_BYTES = 16 << 10
"""Largest headers of a request; those of browsers have one or two thousand bytes."""

SLOW_S = 10.0
"""Time that a connection may take for a request, and to take the response, each, seconds."""

HANDSHAKE_S = 3.0
"""Time for a TLS handshake, seconds; nothing else can end a connection before."""

ACCEPT_S = 0.2
"""Time for a connection without TLS, seconds."""

CONNECTIONS = 64
"""HTTP connections at a time; a browser has six."""

AHEAD = 512 << 10
"""What may come of an upload before its handler begins, bytes: aiohttp stops reading when it holds more than 128 KB of
a body, and asyncio hands over up to 256 KB at once."""

WORDS: Mapping[int, tuple[str, str]] = {
    408: ("the request did not come in time", "send it at once, and all of it"),
    413: ("the body is too large", ""),
    417: ("the header Expect asks for something unknown", "send 100-continue, or leave it out"),
}
"""Status → problem and hint, where aiohttp only has the name of the status."""

FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
"""Types of what a form can send, also one of a foreign page."""

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SAFE_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Server": "rtstyle",
}
"""Headers of every response."""


@dataclass(frozen=True)
class HttpOptions:
    """How a server is protected.

    Attributes:
        token: token that requests must bear, or ``None``.
        max_body, slow_s, connections: limits; see ``BODY``, ``SLOW_S`` and ``CONNECTIONS``.
        newest_wins: with too many connections, end the oldest one instead of refusing the new one.
        json_only: refuse POST bodies that are not declared as JSON, and uploads that are declared as ``FORMS``, which
            is all that a foreign form can send.
        is_public: returns True for requests that read no secret and change nothing, so that a link may lead there.
        is_upload: returns True for requests whose body a handler reads as it comes, with limits of its own; ``None``
            if there are none.
        headers: added to every response.
    """

    token: str | None = None
    max_body: int = BODY
    slow_s: float | None = None
    connections: int | None = None
    newest_wins: bool = False
    json_only: bool = False
    is_public: Callable[[web.Request], bool] = lambda _: False
    is_upload: Callable[[web.Request], bool] | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: SAFE_HEADERS)


class HttpServer:
    """An aiohttp application on an address, guarded and limited by a middleware that is added to it."""

    def __init__(self, app: web.Application, options: HttpOptions) -> None:
        self._app, self._options = app, options
        app.middlewares.append(self._checked)
        app.on_response_prepare.append(self._add_headers)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        self._listening: asyncio.Server | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self, *, sock: socket.socket | None = None, host: str = "", port: int = 0,
                    tls: ssl.SSLContext | None = None) -> int:  # fmt: skip
        """Listen on an open socket, or on a host and a port, and return the port."""
        await self._runner.setup()
        assert self._runner.server is not None
        loop, options = asyncio.get_running_loop(), self._options
        self._limit = ConnectionLimit(self._runner.server, HANDSHAKE_S if tls else ACCEPT_S, options)
        where: dict[str, Any] = {"sock": sock} if sock is not None else {"host": host, "port": port}
        try:
            self._listening = await loop.create_server(
                self._limit, **where, ssl=tls, ssl_handshake_timeout=HANDSHAKE_S if tls else None, backlog=CONNECTIONS
            )
        except OSError:
            await self._runner.cleanup()
            raise
        name = self._listening.sockets[0].getsockname()
        self._guard = Guard(Address(host or name[0], name[1]), options.token)
        self._watch = loop.create_task(self._limit.watch())
        return int(name[1])

    def stop_listening(self) -> None:
        """Accept no further connections."""
        if self._listening is not None:
            self._listening.close()
        if self._watch is not None:
            self._watch.cancel()

    async def close(self) -> None:
        """Stop listening, and end all connections."""
        self.stop_listening()
        await self._runner.cleanup()

    @web.middleware
    async def _checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request unless the guard refuses it; errors become JSON."""
        with self._limit.answering(request):
            try:
                response = self._refuse(request)
                if response is None:
                    self._limit.allow_body(request)
                    response = await handler(request)
            except web.HTTPNotFound:
                paths = ", ".join(resource.canonical for resource in self._app.router.resources())
                response = json_error(404, f"there is nothing at {request.path[:40]}", f"available: {paths}")
            except web.HTTPException as error:
                response = _refusal(request, error)
            except StylerError as error:
                response = styler_error(error)
            except Exception as error:
                logger.exception("%s %s failed", request.method, request.path)
                response = json_error(500, f"{type(error).__name__}: {error}", "this is a fault in rtstyle")
            return response

    async def _add_headers(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self._options.headers)

    def _refuse(self, request: web.Request) -> web.StreamResponse | None:
        options = self._options
        refusal = self._guard.refuse(request.headers, public=options.is_public(request))
        if refusal is not None:
            response = json_error(refusal.status, refusal.problem, refusal.hint)
            if refusal.status == 401:
                response.headers["WWW-Authenticate"] = "Bearer"
            return response
        if request.headers.get("Transfer-Encoding") is not None:
            return json_error(411, "the length of the body is missing", "send Content-Length")
        is_upload = options.is_upload is not None and options.is_upload(request)
        if (request.content_length or 0) > options.max_body and not is_upload:
            return json_error(413, f"a body has at most {options.max_body} bytes")
        if options.json_only and request.method == "POST":
            if is_upload and request.content_type in FORMS:
                return json_error(415, "the body must be the file itself", "state its type, such as image/jpeg")
            if not is_upload and request.content_type != "application/json":
                return json_error(415, "the body must be application/json")
        return None


async def read_body(request: web.Request, within_s: float) -> bytes:
    """Return the body of a request, or answer 408 if it does not come in time."""
    try:
        async with asyncio.timeout(within_s):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None


def json_response(value: Mapping[str, Any], status: int = 200) -> web.Response:
    """Return a line of JSON."""
    return web.Response(text=json.dumps(value) + "\n", status=status, content_type="application/json")


def styler_error(error: StylerError, unable: int = 409) -> web.Response:
    """Return an error of ours as JSON: 422 for a value that does not fit, ``unable`` for what cannot be done now."""
    status = 422 if isinstance(error, ConfigError | StyleError | ShapeError) else unable
    return json_error(status, error.problem, error.hint)


def _refusal(request: web.BaseRequest, error: web.HTTPException) -> web.Response:
    """Return an error of aiohttp as JSON."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        response = json_error(405, f"{request.path[:40]} takes {allowed}, not {request.method[:10]}")
        response.headers["Allow"] = allowed
        return response
    return json_error(error.status, *WORDS.get(error.status, (error.reason, "")))


def json_error(status: int, problem: str, hint: str = "") -> web.Response:
    """Return an error as JSON, as ``docs/live.md`` describes it."""
    return json_response({"error": problem, "hint": hint}, status)


class ConnectionLimit:
    """Makes the protocol of each HTTP connection, and ends those that are too many or too slow.

    A connection that has no transport after ``handshake_s`` seconds counts as lost.
    """

    def __init__(self, server: web.Server, handshake_s: float, options: HttpOptions) -> None:
        self._server, self._handshake_s, self._options = server, handshake_s, options
        self._slow_s, self._most = options.slow_s or SLOW_S, options.connections or CONNECTIONS
        self._since: dict[web.RequestHandler, float] = {}
        self._connected: set[web.RequestHandler] = set()
        self._answering: set[web.RequestHandler] = set()

    def __call__(self) -> asyncio.Protocol:
        """Make the protocol of a new connection."""
        self._sweep()
        if not self._options.newest_wins and len(self._since) >= self._most:
            return _Refused()
        handler = _Connection(self._server, self._options, self._end_oldest)
        self._since[handler] = _now()
        return handler

    @contextmanager
    def answering(self, request: web.Request) -> Iterator[None]:
        """Do not count a connection as slow while its request is being answered."""
        handler = request.protocol
        assert isinstance(handler, _Connection)
        handler.unanswered = 0
        handler.uploads = False
        self._answering.add(handler)
        try:
            yield
        finally:
            self._answering.discard(handler)
            self._connected.add(handler)
            self._since[handler] = _now()

    def allow_body(self, request: web.Request) -> None:
        """Let the body of an upload, which is not refused, be as long as its handler takes it."""
        handler = request.protocol
        assert isinstance(handler, _Connection)
        handler.uploads = self._options.is_upload is not None and self._options.is_upload(request)

    def _end_oldest(self) -> None:
        """End the oldest connections, idle ones first, if there are too many."""
        made = [handler for handler in self._since if handler.transport is not None]
        made.sort(key=lambda handler: (handler in self._answering, self._since[handler]))
        for oldest in made[: max(0, len(made) - self._most)]:
            assert oldest.transport is not None
            oldest.transport.abort()
            del self._since[oldest]
            self._connected.discard(oldest)

    async def watch(self) -> None:
        """End slow connections, until cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self._slow_s / 4))
            self._sweep()

    def _sweep(self) -> None:
        now = _now()
        for handler, since in list(self._since.items()):
            transport = handler.transport
            if transport is not None:
                self._connected.add(handler)
            late = now - since > self._slow_s and handler not in self._answering
            if late and transport is not None:
                transport.abort()
            # There is no transport before the handshake, and none after the end.
            lost = transport is None and (handler in self._connected or now - since > self._handshake_s)
            if late or lost:
                del self._since[handler]
                self._connected.discard(handler)


def _now() -> float:
    return asyncio.get_running_loop().time()


class _Connection(web.RequestHandler):
    """HTTP with one client: bounds what it may send before it is answered, and reports broken requests as JSON."""

    def __init__(self, server: web.Server, options: HttpOptions, on_made: Callable[[], None]) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), access_log=None)  # type: ignore[arg-type]
        self._options, self._on_made = options, on_made
        self.unanswered = 0
        self.uploads = False
        self._most = HEADER_BYTES + options.max_body + (AHEAD if options.is_upload is not None else 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._on_made()

    def data_received(self, data: bytes) -> None:
        self.unanswered += len(data)
        # aiohttp stops reading from the network while a handler has not taken what came of an upload.
        if self.unanswered <= self._most or self.uploads:
            super().data_received(data)
        elif self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002  # the method is aiohttp's
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        logger.debug("a request cannot be read", exc_info=exc)
        problem = "this is not a valid HTTP request" if status == 400 else message or "the request failed"
        response = json_error(status, problem)
        response.headers.update(self._options.headers)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if isinstance(resp, web.HTTPException):  # raised before our middleware
            response = _refusal(request, resp)
            response.headers.update(self._options.headers)
            resp = response
        return await super().finish_response(request, resp, start_time)


class _Refused(asyncio.Protocol):
    """Ends a connection at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
