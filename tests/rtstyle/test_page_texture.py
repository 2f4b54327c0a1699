"""The slider for texture in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("aiortc")
pytest.importorskip("playwright")

from benchmarks.page import serving, wait_for_stylized
from rtstyle.sources.pattern import PatternSource
from rtstyle.style_library import open_style
from rtstyle.web.rooms import Rooms, WebSettings
from tests.rtstyle.test_style_switcher import until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.real_time]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, Rooms]]:
    with serving(WebSettings(port=0), source=lambda: PatternSource(640, 360, 30)) as it:
        yield it


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    return new_page(1280, 860)


def test_the_texture_of_a_style_has_a_slider(page: Page, served: tuple[str, Rooms]) -> None:
    address, rooms = served

    def shows(style: str) -> None:
        until(lambda: rooms.state()[0].get("style") == style, 20)

    def own(style: str) -> str:
        return f"{100 * open_style(style).texture:.0f} %"

    page.goto(address)
    page.get_by_role("radio", name="The Starry Night").check(force=True)
    slider, shown = page.get_by_role("slider", name="Texture"), page.locator("#texture-now")
    assert shown.text_content() == own("vangogh") and slider.is_enabled()
    page.get_by_role("button", name="Start").click()
    wait_for_stylized(page)
    slider.fill("0.2")
    shows("vangogh@0.2")
    page.locator("body").press("l")
    shows("vangogh@0.3")
    assert shown.text_content() == "30 %" and page.locator("#caption").text_content() == "texture 30 %"
    page.get_by_label("Second style", exact=True).select_option("wave")
    shows("vangogh@0.3:0.5+wave:0.5")
    slider.fill("0.4")
    shows("vangogh@0.4:0.5+wave@0.4:0.5")
    page.get_by_role("radio", name="The Great Wave").check(force=True)
    shows("wave")
    assert shown.text_content() == own("wave"), "another style has its own"
    page.get_by_role("radio", name="Udnie").check(force=True)
    assert slider.is_disabled() and shown.text_content() == "none"
    page.locator("body").press("l")
    assert page.locator("#caption").text_content() == "texture none"
    page.get_by_label("Second style", exact=True).select_option("wave")
    shows("udnie:0.5+wave:0.5")
    page.get_by_role("button", name="Stop").click()
