"""Who may talk to the page's server, how often and how much.

A page that listens on this machine can be reached by every other page that a browser here has open: by a form, by a
script, or under a name that its owner lets point to 127.0.0.1 (DNS rebinding). So a request must be for a name that we
go by, and one that changes something must come from our own page.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

from aiohttp import web

from rtstyle.live.http_guard import Guard

BODY = 64 << 10
"""Longest body of a request, bytes: an offer has about 5 KB."""

SLOW_S = 10.0
"""How long a connection may take for a request, and to take the answer, each, seconds."""

HANDSHAKE_S = 3.0
"""How long a TLS handshake may take, seconds. Until it is over a connection can be ended by nothing else."""

ACCEPT_S = 0.2
"""How long a connection without TLS may take to be made, seconds: it is there at once."""

CONNECTIONS = 64
"""HTTP connections at a time; a browser has six."""

_log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self' blob: mediastream:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""In every answer: nothing from elsewhere runs, and nobody else embeds the page."""


async def checked(guard: Guard, request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a request if the guard has nothing against it, errors as JSON, with ``HEADERS`` in every answer."""
    try:
        refused = guard.refuse(request.headers, public=_is_public(request))
        if refused is not None:
            told = {"error": refused.problem, "hint": refused.hint}
            answer: web.StreamResponse = web.json_response(told, status=refused.status)
        elif request.method == "POST" and request.content_type != "application/json":
            # What a form of another page can send goes without asking; JSON does not.
            raise web.HTTPUnsupportedMediaType(reason="the body must be application/json")
        else:
            answer = await handler(request)
    except web.HTTPException as error:
        answer = web.json_response({"error": error.reason}, status=error.status)
    except Exception:  # noqa: BLE001  # it is logged, and no answer may go out without HEADERS
        _log.exception("%s %s", request.method, request.path)
        answer = web.json_response({"error": "this is a fault in rtstyle"}, status=500)
    answer.headers.update(HEADERS)
    return answer


def _is_public(request: web.Request) -> bool:
    """The page itself and its pictures, which hold no secret: the script that asks with the token comes from it."""
    return request.method in ("GET", "HEAD") and request.path not in ("/stats", "/styles")


class ConnectionLimit:
    """Makes the protocol of each HTTP connection, and ends those that are too many or too slow.

    Args:
        server: makes the protocol of a connection.
        handshake_s: how long one may have no transport before it has been lost, seconds.
    """

    def __init__(self, server: web.Server, handshake_s: float) -> None:
        self._server, self._handshake_s = server, handshake_s
        self._since: dict[web.RequestHandler, float] = {}
        self._met: set[web.RequestHandler] = set()
        self._answering: set[web.RequestHandler] = set()

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        self._sweep()
        if len(self._since) >= CONNECTIONS:
            return _Refused()
        handler = self._server()
        self._since[handler] = _now()
        return handler

    @contextmanager
    def answering(self, request: web.BaseRequest) -> Iterator[None]:
        """While its request is worked on, which has time limits of its own, a connection is not slow."""
        handler = request.protocol
        self._answering.add(handler)
        try:
            yield
        finally:
            self._answering.discard(handler)
            self._met.add(handler)
            self._since[handler] = _now()

    async def watch(self) -> None:
        """End what is too slow. Runs until cancelled."""
        while True:
            await asyncio.sleep(min(1.0, SLOW_S / 4))
            self._sweep()

    def _sweep(self) -> None:
        now = _now()
        for handler, since in list(self._since.items()):
            transport = handler.transport
            if transport is not None:
                self._met.add(handler)
            late = now - since > SLOW_S and handler not in self._answering
            if late and transport is not None:
                transport.abort()
            # Before the handshake there is none yet, and after the end there is none any more.
            lost = transport is None and (handler in self._met or now - since > self._handshake_s)
            if late or lost:
                del self._since[handler]
                self._met.discard(handler)


def _now() -> float:
    return asyncio.get_running_loop().time()


class _Refused(asyncio.Protocol):
    """A connection that is ended at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """End it."""
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
