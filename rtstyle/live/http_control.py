"""A small address for scripts and Stream Decks: figures to read and things to change, over HTTP, bounded in everything.

The standard library's server is enough here and is in every install; what it leaves open is closed in this file: the
size of what comes, the time that a client takes, and how many there are.
"""

from __future__ import annotations

import io
import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from threading import BoundedSemaphore, Lock, Thread
from typing import Any

from engines.errors import ConfigError, SinkError, StylerError
from rtstyle.live.actions import Actions, UnknownActionError
from rtstyle.live.http_guard import Address, Guard, Refusal

BODY_BYTES = 1024
"""Largest body."""

REQUEST_BYTES = 16 * 1024
"""Largest request with its headers; those of browsers have one or two thousand bytes."""

DEADLINE_S = 3.0
"""Time for one request and its answer, seconds."""

CONNECTIONS = 16
"""Clients at a time. One more, and the oldest is cut off: it has had its time."""

_STATUS = {501: 405, 505: 400}
"""Errors of the client that the library takes for ours."""


class ControlServer:
    """Listens from the start, answers once it has something to tell.

    Args:
        address: where.
        token: what everybody must know; see ``Guard``.

    Raises:
        ConfigError: the address cannot be listened on, or not safely.
    """

    def __init__(self, address: Address, token: str | None = None) -> None:
        Guard(address, token)  # refuses before anybody can come
        try:
            self._server = _Server(address)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {address}: {error.strerror or error}", hint="is another program there?"
            ) from error
        self.address = Address(address.host, self._server.server_address[1])
        self._server.guard = Guard(self.address, token)
        self._thread = Thread(target=self._server.serve_forever, args=(0.1,), name="control", daemon=True)

    def start(self, actions: Actions) -> None:
        """Answer from now on, in threads of its own."""
        self._server.actions = actions
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more. Twice is fine."""
        if self._thread.ident is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.cut_off()


class _Server(ThreadingMixIn, TCPServer):
    """Threads for a bounded number of clients, each with a deadline. The newest wins."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    allow_reuse_address = os.name == "posix"  # on Windows it would let others share the port
    guard: Guard
    actions: Actions

    def __init__(self, address: Address) -> None:
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._clients: dict[socket.socket, None] = {}  # a dict keeps their order
        self._lock = Lock()
        self._room = BoundedSemaphore(CONNECTIONS)
        super().__init__((address.host, address.port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the client, where there is room for one."""
        if not self._room.acquire(blocking=False):
            self.cut_off(1)
            if not self._room.acquire(timeout=0.2):
                self.shutdown_request(request)
                return
        with self._lock:
            self._clients[request] = None
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._forget(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """In the thread of the client."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def cut_off(self, count: int | None = None) -> None:
        """End the connections of the oldest clients, or of all."""
        with self._lock:
            oldest = list(self._clients)[:count]
        for request in oldest:
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves in the middle is none of our business."""

    def _forget(self, request: socket.socket) -> None:
        with self._lock:
            known = request in self._clients
            self._clients.pop(request, None)
        if known:
            self._room.release()


class _Bounded(io.RawIOBase):
    """What a client sends, up to a number of bytes and a moment."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._left = connection, REQUEST_BYTES
        self._until_s = time.monotonic() + DEADLINE_S

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left_s = self._until_s - time.monotonic()
        if left_s <= 0 or self._left <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)
        count = self._connection.recv_into(memoryview(buffer)[: self._left])
        self._left -= count
        return count


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: _Server
    server_version, sys_version = "rtstyle", ""

    def setup(self) -> None:
        """Read through the bounds."""
        super().setup()
        self.rfile = io.BufferedReader(_Bounded(self.connection), 1024)

    def do_GET(self) -> None:
        """Something to know."""
        self._serve(self.server.actions.read)

    def do_POST(self) -> None:
        """Something to do."""
        self._serve(lambda name: self.server.actions.change(name, parse_value(name, self._body())))

    def _serve(self, action: Callable[[str], dict[str, Any]]) -> None:
        refusal = self.server.guard.refuse(self.headers)
        if refusal is None:
            refusal = self._refuse_body()
        if refusal is not None:
            self._answer(refusal.status, {"error": refusal.problem, "hint": refusal.hint})
            with suppress(OSError):  # who is cut off while sending may lose the answer
                self.connection.shutdown(socket.SHUT_WR)
                self.rfile.read(BODY_BYTES)
            return
        try:
            self._answer(200, action(self.path.partition("?")[0].strip("/")))
        except StylerError as error:
            status = 404 if isinstance(error, UnknownActionError) else 409 if isinstance(error, SinkError) else 400
            self._answer(status, {"error": error.problem, "hint": error.hint})
        except OSError:
            raise  # the client has gone, or was too slow
        except Exception as error:  # noqa: BLE001  # a fault of ours must not look like silence
            self._answer(500, {"error": f"{type(error).__name__}: {error}", "hint": ""})

    def _refuse_body(self) -> Refusal | None:
        length = self.headers.get("Content-Length", "0")
        if self.headers.get("Transfer-Encoding") is not None:
            return Refusal(411, "say how long the body is", "send Content-Length")
        if not (length.isascii() and length.isdecimal()):
            return Refusal(400, "this is no length of a body")
        if len(length) > 9 or int(length) > BODY_BYTES:
            return Refusal(413, f"a body has at most {BODY_BYTES} bytes")
        return None

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library finds wrong, as JSON, too."""
        self.close_connection = True
        self._answer(_STATUS.get(code, code), {"error": (message or explain or "bad request")[:200], "hint": ""})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name for it
        """Nothing: whoever wants to know asks for stats."""

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value, ensure_ascii=False).encode(errors="replace") + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        self.wfile.write(data)


def parse_value(name: str, body: bytes) -> object:
    """What a body says: ``{"style": "wave"}``, ``"wave"``, ``style=wave`` or ``wave``; None when there is nothing.

    Raises:
        ConfigError: neither text nor JSON, or JSON about something else.
    """
    try:
        text = body.decode().strip()
    except UnicodeDecodeError as error:
        raise ConfigError("the body is no text", hint="send JSON or plain text in UTF-8") from error
    try:
        value = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return text.removeprefix(f"{name}=")
    if not isinstance(value, dict):
        return value
    known = [key for key in (name, "value") if key in value]
    if value and not known:
        raise ConfigError(f"the body says nothing about {name}", hint=f'send {{"{name}": …}}, or only the value')
    return value[known[0]] if known else None
