"""HTTP control of a live run, for scripts and Stream Decks: ``rtstyle webcam --control``."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from functools import partial
from threading import Event, Thread
from typing import Any

from aiohttp import web

from engines.errors import ConfigError
from engines.os_errors import listen_advice, reason
from rtstyle.live.actions import Actions
from rtstyle.live.http_guard import Address, Guard
from rtstyle.live.http_server import HttpOptions, HttpServer, json_response, read_body

BODY_BYTES = 1024
"""Largest body of a request."""

DEADLINE_S = 3.0
"""Time for a request, and for its response, each, seconds."""

CONNECTIONS = 16
"""Clients at a time; one more ends the oldest idle one."""


class ControlServer:
    """Listens from the start, and answers after ``start``, in a thread of its own; see ``Guard`` for the token.

    Raises:
        ConfigError: the address cannot be listened on, or not safely.
    """

    def __init__(self, address: Address, token: str | None = None) -> None:
        Guard(address, token)  # refuses before anybody can connect
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        try:
            self._socket = socket.create_server((address.host, address.port), family=family, backlog=64)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {address}: {reason(error)}", hint=listen_advice(error, address.port)
            ) from error
        self.address = Address(address.host, self._socket.getsockname()[1])
        self._token = token
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = Event()
        self._thread: Thread | None = None
        self._failure: Exception | None = None

    def start(self, actions: Actions) -> None:
        """Answer from now on."""
        app = control_app(actions)
        self._thread = Thread(target=lambda: asyncio.run(self._serve(app)), name="control", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Stop; may be called twice."""
        if self._thread is not None and self._thread.is_alive():
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join()
        self._socket.close()

    async def _serve(self, app: web.Application) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        options = HttpOptions(
            token=self._token, max_body=BODY_BYTES, slow_s=DEADLINE_S, connections=CONNECTIONS, newest_wins=True
        )
        server = HttpServer(app, options)
        try:
            await server.start(sock=self._socket, host=self.address.host)
        except Exception as error:  # noqa: BLE001  # raised again by ``start``, which waits for it
            self._failure = error
            self._closing.set()
        self._ready.set()
        try:
            await self._closing.wait()
        finally:
            await server.close()


def control_app(actions: Actions) -> web.Application:
    """Return the routes of a live run: GET what can be read, POST what can be changed."""
    app = web.Application(client_max_size=BODY_BYTES)
    readers, changers = actions.names
    for name in readers:
        app.router.add_get(f"/{name}", partial(_read, actions, name), allow_head=False)
    for name in changers:
        app.router.add_post(f"/{name}", partial(_change, actions, name))
    return app


async def _read(actions: Actions, name: str, _: web.Request) -> web.Response:
    return await _respond(lambda: actions.read(name))


async def _change(actions: Actions, name: str, request: web.Request) -> web.Response:
    body = await read_body(request, DEADLINE_S)
    return await _respond(lambda: actions.change(name, parse_value(name, body)))


async def _respond(action: Callable[[], dict[str, Any]]) -> web.Response:
    """Carry out an action in a thread, because a recording takes time to start, and return its result as JSON."""
    return json_response(await asyncio.to_thread(action))


def parse_value(name: str, body: bytes) -> object:
    """Read a value from ``{"style": "wave"}``, ``"wave"``, ``style=wave`` or ``wave``; an empty body gives ``None``."""
    try:
        text = body.decode().strip()
    except UnicodeDecodeError:
        raise web.HTTPBadRequest(reason="the body is not text in UTF-8") from None
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
