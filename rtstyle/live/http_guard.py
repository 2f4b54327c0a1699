"""Who may speak to a server on this machine: against other people, and against pages in the owner's own browser."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from urllib.parse import urlsplit

from engines.errors import ConfigError

SHORTEST_TOKEN = 8
"""Characters of a token; a shorter one is guessed."""


@dataclass(frozen=True)
class Refusal:
    """Why somebody may not.

    Attributes:
        status: of HTTP.
        problem, hint: as of an error.
    """

    status: int
    problem: str
    hint: str = ""


@dataclass(frozen=True)
class Address:
    """Where to listen. ``port`` 0 takes any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """``127.0.0.1:8765``, ``[::1]:8765``, or only a port, which is on this machine.

    Raises:
        ConfigError: not an address.
    """
    host, colon, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isascii() or not port.isdecimal() or int(port) > 65535 or (colon and not host):
        raise ConfigError(f"{text!r} is no address to listen on", hint="write it like 127.0.0.1:8765")
    return Address(host or "127.0.0.1", int(port))


class Guard:
    """Decides by the headers of a request.

    Args:
        address: where the server listens.
        token: what everybody must know; ``None`` where this machine is trusted.

    Raises:
        ConfigError: others than this machine could come, and there is no token; or the token is too short.
    """

    def __init__(self, address: Address, token: str | None = None) -> None:
        if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
            raise ConfigError(
                "this token cannot be used",
                hint=f"take {SHORTEST_TOKEN} or more plain characters: python -c 'import secrets; "
                "print(secrets.token_urlsafe())'",
            )
        if token is None and not is_loopback(address.host):
            raise ConfigError(
                f"{address} can be reached by others, and there is no token",
                hint="listen on 127.0.0.1, or set RTSTYLE_TOKEN",
            )
        self._token = token
        self._address = address

    def refuse(self, headers: Mapping[str, str] | Message[str, str], *, public: bool = False) -> Refusal | None:
        """Why a request must not be answered; ``None`` when it may be.

        Args:
            headers: asked by name, in whatever case.
            public: what is asked for is no secret and changes nothing, so that a link may lead there.
        """
        host = headers.get("Host") or ""
        if self._token is None and not self._is_ours(host):
            # A foreign name that leads here is how a page on the web gets round the browser's walls.
            return Refusal(403, "this server has another name", f"ask for http://{self._address}")
        if public:
            return None
        origin = headers.get("Origin")
        foreign = origin is not None and origin not in (f"http://{host}", f"https://{host}")
        if foreign or headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return Refusal(403, "pages of other servers may not ask")
        if self._token is not None and not self._knows(headers.get("Authorization") or ""):
            return Refusal(401, "the token is missing or wrong", "send the header Authorization: Bearer TOKEN")
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name, port = parts.hostname or "", parts.port
        except ValueError:
            return False
        return port in (self._address.port, None) and (name in ("localhost", self._address.host) or _is_local_ip(name))

    def _knows(self, authorization: str) -> bool:
        scheme, _, told = authorization.partition(" ")
        given, wanted = told.strip().encode("utf-8", "replace"), (self._token or "").encode()
        return scheme.lower() == "bearer" and hmac.compare_digest(given, wanted)


def is_loopback(host: str) -> bool:
    """True when only this machine can reach a host, whatever it is called.

    Raises:
        ConfigError: nobody knows that name.
    """
    try:
        found = socket.getaddrinfo(host, None)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"no such address: {host}", hint="write it like 127.0.0.1:8765") from error
    return all(_is_local_ip(str(entry[4][0])) for entry in found)


def _is_local_ip(text: str) -> bool:
    try:
        return ipaddress.ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return False
