"""Who may talk to the page's server, how often and how much.

A page that listens on this machine can be reached by every other page that a browser here has open: by a form, by a
script, or under a name that its owner lets point to 127.0.0.1 (DNS rebinding). So a request must be for a name that we
go by, and one that changes something must come from our own page.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

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


@dataclass(frozen=True)
class Guard:
    """Decides about a request.

    Attributes:
        host: address that the server listens on.
        port: the one that it listens on.
        token: what a request must bear; empty lets everybody on this machine in.
    """

    host: str
    port: int
    token: str = ""

    def problem(self, request: web.Request) -> tuple[int, str] | None:
        """Why the request is refused: status and reason; ``None`` when it is not."""
        if not self.token and not self._ours(request.host):
            return 403, f"this server does not go by the name {request.host[:80]}"
        if request.method in ("GET", "HEAD") and not request.path.startswith("/stats"):
            return None
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
            return 403, "the request comes from another page"
        if request.method == "POST" and request.content_type != "application/json":
            return 415, "the body must be application/json"
        borne = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if self.token and not hmac.compare_digest(borne.encode(), self.token.encode()):
            return 401, "the token is missing or wrong"
        return None

    def _ours(self, host: str) -> bool:
        name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "80")
        names = {"localhost", "127.0.0.1", "[::1]", self.host.lower()}
        return name.lower() in names and port == str(self.port)


def is_loopback(host: str) -> bool:
    """True for an address that only this machine reaches."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def checked(guard: Guard, request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a request if the guard has nothing against it, errors as JSON, with ``HEADERS`` in every answer."""
    refused = guard.problem(request)
    try:
        if refused is not None:
            answer: web.StreamResponse = web.json_response({"error": refused[1]}, status=refused[0])
        else:
            answer = await handler(request)
    except web.HTTPException as error:
        answer = web.json_response({"error": error.reason}, status=error.status)
    answer.headers.update(HEADERS)
    return answer


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
