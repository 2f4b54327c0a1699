"""A real browser for the tests of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all tests of a module."""
    from benchmarks.page import browser

    try:
        with browser() as shown:
            yield shown
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture
def new_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open an empty page of a size. Whatever goes wrong in its scripts fails the test, but for an ``expected`` text."""
    faults, allowed, contexts = list[str](), list[str](), []

    def opened(width: int, height: int, expected: str = "") -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        contexts.append(context)
        allowed.extend([expected] if expected else [])
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not [fault for fault in faults if not any(text in fault for text in allowed)]
