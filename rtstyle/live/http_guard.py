"""Access control of the HTTP servers: against other machines, and against foreign pages in the user's own browser."""

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
"""Least characters of a token; shorter ones can be guessed."""


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused: the HTTP status, and words as in ``StylerError``."""

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
    """Parse ``127.0.0.1:8765``, ``[::1]:8765``, or only a port, which is on 127.0.0.1."""
    host, colon, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isascii() or not port.isdecimal() or int(port) > 65535 or (colon and not host):
        raise ConfigError(f"{text!r} is not an address to listen on", hint="write it like 127.0.0.1:8765")
    return Address(host or "127.0.0.1", int(port))


class Guard:
    """Refuses requests to an address by their headers; without a token, it trusts every program on this machine.

    Raises:
        ConfigError: other machines can connect and there is no token, or the token is too short.
    """

    def __init__(self, address: Address, token: str | None = None) -> None:
        if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
            raise ConfigError(
                "this token cannot be used",
                hint=f"use {SHORTEST_TOKEN} or more plain characters: python -c 'import secrets; "
                "print(secrets.token_urlsafe())'",
            )
        if token is None and not is_loopback(address.host):
            raise ConfigError(
                f"other machines can reach {address}, and there is no token",
                hint="listen on 127.0.0.1, or set RTSTYLE_TOKEN",
            )
        self._token = token
        self._address = address

    def refuse(self, headers: Mapping[str, str] | Message[str, str], *, public: bool = False) -> Refusal | None:
        """Return why a request with these headers is refused, or ``None`` to answer it.

        A ``public`` one reads no secret and changes nothing, so a link from elsewhere may lead to it.
        """
        host = headers.get("Host") or ""
        if self._token is None and not self._is_own_name(host):
            # DNS rebinding: a foreign name that leads here would get around the browser's same-origin policy.
            return Refusal(403, "this server has another name", f"use http://{self._address}")
        if public:
            return None
        origin = headers.get("Origin")
        foreign = origin is not None and origin not in (f"http://{host}", f"https://{host}")
        if foreign or headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return Refusal(403, "pages of other servers have no access")
        if self._token is not None and not self._has_token(headers.get("Authorization") or ""):
            return Refusal(401, "the token is missing or wrong", "send the header Authorization: Bearer TOKEN")
        return None

    def _is_own_name(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name, port = parts.hostname or "", parts.port
        except ValueError:
            return False
        return port in (self._address.port, None) and (name in ("localhost", self._address.host) or _is_local_ip(name))

    def _has_token(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        given, wanted = token.strip().encode("utf-8", "replace"), (self._token or "").encode()
        return scheme.lower() == "bearer" and hmac.compare_digest(given, wanted)


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach a host; raise ConfigError if the name cannot be resolved."""
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
