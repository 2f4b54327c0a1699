"""What was logged in a test."""

from __future__ import annotations

import logging

import pytest


def logged(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    """Return the messages of exactly this level, and forget them."""
    messages = [record.getMessage() for record in caplog.records if record.levelno == level]
    caplog.clear()
    return messages
