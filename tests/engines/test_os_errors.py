"""What the system refuses is told in words, and with something to do."""

from __future__ import annotations

import errno

import pytest

from engines.os_errors import advice, at, is_known, listen_advice, reason


@pytest.mark.parametrize("name", ["EROFS", "ENOSPC", "EACCES", "EMFILE", "EIO", "ENOENT", "EADDRINUSE", "ENAMETOOLONG"])
def test_what_is_known(name: str) -> None:
    error = OSError(getattr(errno, name), "Raw text of the system", "/mnt/disk/a.mp4")
    assert is_known(error) and "Raw text" not in reason(error) + advice(error)
    assert len(advice(error)) > 10 and at(error, "other") == "/mnt/disk/a.mp4"


def test_what_is_not_known_keeps_the_words_of_the_system() -> None:
    error = OSError(errno.EPROTO, "Protocol error.")
    assert not is_known(error) and reason(error) == "Protocol error"
    assert advice(error) == "" and advice(error, "try again") == "try again" and at(error, "other") == "other"
    assert reason(ValueError("odd")) == "odd" and reason(OSError()) == "OSError"


def test_a_port_of_the_system() -> None:
    refused = PermissionError(errno.EACCES, "Permission denied")
    assert "below 1024" in listen_advice(refused, 80) and "below" not in listen_advice(refused, 8765)
    assert "another port" in listen_advice(OSError(errno.EADDRINUSE, "Address already in use"), 80)
