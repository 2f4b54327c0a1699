"""Who may use the HTTP servers, where they may listen, and how a value in a request is read."""

from __future__ import annotations

import pytest

from engines.errors import ConfigError
from rtstyle.live.http_control import parse_value
from rtstyle.live.http_guard import Address, Guard, is_loopback, parse_address


def test_only_this_machine_without_a_token() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.8.9.1"):
        Guard(Address(host, 1))
    for host in ("0.0.0.0", "::", "192.0.2.7"):
        with pytest.raises(ConfigError, match="no token"):
            Guard(Address(host, 1))
        Guard(Address(host, 1), "long enough")
    with pytest.raises(ConfigError, match="no such address"):
        is_loopback("no.such.host.invalid")


@pytest.mark.parametrize("token", ["", "short", "käse-käse-käse", "with\nlines"])
def test_bad_tokens(token: str) -> None:
    with pytest.raises(ConfigError, match="token"):
        Guard(Address("127.0.0.1", 1), token)


def test_the_token_is_asked_for() -> None:
    guard = Guard(Address("0.0.0.0", 8765), "correct horse")
    right = {"Host": "studio.local:8765", "Authorization": "Bearer correct horse"}
    assert guard.refuse(right) is None
    for wrong in ("", "Bearer", "Bearer correct", "Basic correct horse", "Bearer correct horsé", "correct horse"):
        refusal = guard.refuse(right | {"Authorization": wrong})
        assert refusal is not None and refusal.status == 401
    foreign = guard.refuse(right | {"Origin": "https://evil.example"})
    assert foreign is not None and foreign.status == 403


def test_addresses() -> None:
    assert parse_address("8765") == parse_address("127.0.0.1:8765") == Address("127.0.0.1", 8765)
    assert parse_address("[::1]:80") == Address("::1", 80) and str(Address("::1", 80)) == "[::1]:80"
    for wrong in ("", "here", "host:", ":80", "host:99999", "host:-1", "a:b:c", "host:８０"):
        with pytest.raises(ConfigError, match="not an address"):
            parse_address(wrong)


def test_values() -> None:
    assert parse_value("style", b" wave\n") == "wave" and parse_value("style", b"") is None
    assert parse_value("strength", b'{"strength": 0.5}') == 0.5 and parse_value("mirror", b"{}") is None
