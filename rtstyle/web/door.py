"""Who may talk to the page's server, how often and how much.

A page that listens on this machine can be reached by every other page that a browser here has open: by a form, by a
script, or under a name that its owner lets point to 127.0.0.1 (DNS rebinding). So a request must be for a name that we
go by, and one that changes something must come from our own page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from rtstyle.guard import Guard

BODY = 64 << 10
"""Longest body of a request, bytes: an offer has about 5 KB."""

SLOW_S = 10.0
"""A request must be there within so many seconds, and a connection without one ends after as many."""

CONNECTIONS = 64
"""HTTP connections at a time; a browser has six."""

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
        refused = None if _is_public(request, guard) else guard.refuse(request.headers)
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
    answer.headers.update(HEADERS)
    return answer


def _is_public(request: web.Request, guard: Guard) -> bool:
    """The page itself, which holds no secret: the script that asks with the token comes from it."""
    return guard.has_token and request.method in ("GET", "HEAD") and not request.path.startswith("/stats")


class Doorman:
    """Makes the protocol of each connection, and ends those that are too many or too slow.

    Args:
        server: makes the protocol of a connection.
    """

    def __init__(self, server: web.Server) -> None:
        self._server = server
        self._since: dict[web.RequestHandler, float] = {}

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        if len(self._server.connections) >= CONNECTIONS:
            return _Refused()
        handler = self._server()
        self._since[handler] = asyncio.get_running_loop().time()
        return handler

    def served(self, request: web.BaseRequest) -> None:
        """This connection has sent a whole request's head: from now on its own timeouts hold."""
        self._since.pop(request.protocol, None)

    async def watch(self) -> None:
        """End connections that have been silent since they were made. Runs until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            now = asyncio.get_running_loop().time()
            for handler, since in list(self._since.items()):
                if now - since > SLOW_S:
                    handler.force_close()
                    del self._since[handler]


class _Refused(asyncio.Protocol):
    """A connection that is ended at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """End it."""
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
