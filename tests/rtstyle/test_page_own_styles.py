"""The page's own styles in a real browser: drop a painting, see it learned, use the style, download and remove it."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("aiortc")
pytest.importorskip("playwright")
pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from benchmarks.page import serving, wait_for_stylized
from rtstyle import shelf
from rtstyle.commands.options import load_engine
from rtstyle.web.rooms import Rooms, WebSettings
from rtstyle.web.training.routes import OwnStyles
from rtstyle.web.training.run import TrainingSettings
from tests.rtstyle.page_scripts import BELOW, CAMERA_4_3
from tests.rtstyle.paintings import painting, tiny_training
from tests.train.features import write_features

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.real_time]

DROP = """
([data, ...names]) => {
  const carried = new DataTransfer(), bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  for (const name of names) carried.items.add(new File([bytes], name, { type: "image/png" }));
  for (const type of ["dragover", "drop"])
    document.getElementById("stage").dispatchEvent(
      new DragEvent(type, { dataTransfer: carried, bubbles: true, cancelable: true }));
}
"""
"""What a browser does when a picture is dropped on the video."""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The page of a server with an empty shelf that learns in a few steps."""
    monkeypatch.setenv("RTSTYLE_STYLES", str(tmp_path / "styles"))
    monkeypatch.setenv("RTSTYLE_FEATURES", str(write_features(tmp_path / "features")))

    def own_styles(rooms: Rooms) -> OwnStyles:
        return OwnStyles(rooms, TrainingSettings(40, tiny_training(), snapshot_s=0.5))

    settings = WebSettings(port=0, style="wave")
    with serving(settings, lambda style: load_engine(style, "cpu", 1, shared=True), own_styles=own_styles) as it:
        yield it[0]


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """An empty page."""
    return new_page(1280, 800, expected="422 (Unprocessable")


def shoot(page: Page, name: str) -> None:
    """Save a screenshot where RTSTYLE_SHOTS says, to look at."""
    if folder := os.environ.get("RTSTYLE_SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def drop(page: Page, data: bytes, *names: str) -> None:
    page.evaluate(DROP, [base64.b64encode(data).decode(), *names])


TOP_OF = """
(id) => {
  const box = document.getElementById(id).getBoundingClientRect();
  return document.elementFromPoint(box.x + 9, box.y + 9).id;
}
"""
"""What one sees where a control is: its id."""


def fits(page: Page) -> bool:
    """Nothing needs scrolling beside the picture."""
    height = page.evaluate("[document.documentElement.scrollHeight, innerHeight]")
    return bool(height[0] <= height[1]) and page.evaluate(BELOW) == []


def test_a_painting_is_dropped_learned_watched_used_downloaded_and_removed(
    page: Page, served: str, tmp_path: Path
) -> None:
    page.goto(served)
    page.get_by_role("radio", name="The Great Wave").wait_for()
    assert fits(page)
    shoot(page, "begin")
    page.evaluate(CAMERA_4_3)
    page.get_by_role("button", name="Start").click()
    wait_for_stylized(page)
    drop(page, painting(), "sea_at night.png")
    name = page.get_by_role("textbox", name="Name")
    assert name.input_value() == "sea at night"
    name.fill("")
    name.press_sequentially("My sea 1")  # letters and figures are keys of the page elsewhere
    assert page.locator("input[value=wave]").is_checked()
    shoot(page, "dropped")
    assert fits(page)
    page.get_by_role("button", name="Learn it").click()
    watch = page.get_by_role("button", name="Watch it")
    page.locator("#watch:enabled").wait_for(timeout=240_000)
    watch.click()
    shoot(page, "learning")
    assert fits(page)
    page.get_by_role("button", name="All styles").click()
    assert page.get_by_role("radio", name="My sea 1 …").is_checked()
    assert re.fullmatch(r"Learning \d+ %", page.locator("#your-open").text_content() or "")
    shoot(page, "unfinished")
    page.get_by_role("button", name="Stop", exact=True).click()  # frames go first, and the training would wait
    finished = page.get_by_role("radio", name="My sea 1", exact=True)
    finished.wait_for(timeout=240_000)
    page.locator("#status", has_text="My sea 1 is learned.").wait_for()
    assert finished.is_checked() and list(shelf.own_styles()) == ["my-sea-1"]
    shoot(page, "finished")
    assert fits(page)
    assert page.evaluate(TOP_OF, "second") == "second", "the styles scroll, and lie on nothing"
    page.get_by_role("button", name="+ Your style").click()
    shoot(page, "own")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download My sea 1").click()
    assert saved.value.suggested_filename == "my-sea-1.rtstyle"
    saved.value.save_as(tmp_path / "pack.rtstyle")
    assert shelf.unpack(tmp_path / "pack.rtstyle")
    page.get_by_role("button", name="Remove My sea 1").click()
    page.get_by_role("button", name=re.compile("sure")).click()
    page.locator("#own li").wait_for(state="detached")
    page.get_by_role("button", name="All styles").click()
    assert finished.count() == 0 and page.get_by_role("radio", name="The Great Wave").is_checked()
    assert not shelf.own_styles()


def test_an_own_style_is_renamed(page: Page, served: str, tiny_style: Path) -> None:
    shelf.add(shelf.read_folder(tiny_style), {}, "tiny")
    page.goto(served)
    page.get_by_role("radio", name="Tiny · for tests").check(force=True)
    page.get_by_role("button", name="+ Your style").click()
    shoot(page, "own-renaming")
    assert page.evaluate("document.querySelector('#own img').naturalWidth") == 640, "it has a preview"
    page.get_by_role("button", name="Rename Tiny").click()
    name = page.get_by_role("textbox", name="New name of Tiny")
    name.press("End")
    name.press_sequentially(" a1")  # keys of the page elsewhere
    shoot(page, "renaming")
    assert fits(page)
    name.press("Escape")
    assert page.locator("#own .name").text_content() == "Tiny · for tests"
    page.get_by_role("button", name="Rename Tiny").click()
    name.fill("Lake")
    name.press("Enter")
    page.get_by_role("button", name="Remove Lake").wait_for()
    page.get_by_role("button", name="All styles").click()
    assert page.get_by_role("radio", name="Lake").is_checked() and list(shelf.own_styles()) == ["lake"]


def test_other_pages_learn_of_new_styles_by_themselves(page: Page, served: str, tiny_style: Path) -> None:
    page.goto(served)
    page.get_by_role("radio", name="The Great Wave").wait_for()
    shelf.add(shelf.read_folder(tiny_style), {}, "tiny")  # as `rtstyle styles add`, or another visitor
    page.get_by_role("radio", name="Tiny · for tests").wait_for(timeout=15_000)
    page.get_by_role("radio", name="Tiny · for tests").check(force=True)
    shelf.rename("tiny", "small", {}, "Small")
    page.get_by_role("radio", name="Small").wait_for(timeout=15_000)
    assert page.locator("input[name=style]:checked").count() == 1
    shelf.remove("small")
    page.get_by_role("radio", name="Small").wait_for(state="detached", timeout=15_000)
    assert page.locator("input[value=wave]").is_checked()


def test_what_is_no_painting_is_told_in_a_line(page: Page, served: str) -> None:
    page.goto(served)
    page.get_by_role("button", name="+ Your style").click()
    drop(page, painting(), "one.png", "two.png")
    page.locator("#status", has_text="learned from one painting").wait_for()
    assert page.get_by_role("button", name="Learn it").is_hidden()
    drop(page, b"no picture", "notes.png")
    page.get_by_role("button", name="Learn it").click()
    page.locator("#status", has_text="notes.png is not a picture, or is damaged").wait_for(timeout=30_000)
    assert page.get_by_role("button", name="Learn it").is_visible(), "for another try"
    assert fits(page)


def test_on_a_telephone_nothing_sticks_out(chromium: Browser, served: str) -> None:
    context = chromium.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    page.goto(served)
    page.get_by_role("button", name="+ Your style").click()
    drop(page, painting(), "a very long name of a painting that nobody would ever want to read.png")
    page.get_by_role("button", name="Learn it").wait_for()
    page.locator("#named img[src]").wait_for()
    shoot(page, "telephone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()
