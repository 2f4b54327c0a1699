"""The page's view of files in a real browser: drop a clip, see it advance, look at the result, download it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("aiortc")
pytest.importorskip("playwright")

from tests.rtstyle.clips import Clip, Seen
from tests.rtstyle.uploads import command, listed

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser

DROP = """
([files, type]) => {
  const carried = new DataTransfer();
  for (const [name, data] of files)
    carried.items.add(new File([Uint8Array.from(atob(data), (one) => one.charCodeAt(0))], name));
  document.body.dispatchEvent(new DragEvent(type, { dataTransfer: carried, bubbles: true, cancelable: true }));
}
"""
"""What a browser does when files are dragged from a folder."""

SLOW_UPLOADS = """
() => {
  const send = XMLHttpRequest.prototype.send;
  XMLHttpRequest.prototype.send = function (data) { setTimeout(() => send.call(this, data), 300); };
}
"""
"""Uploads that begin late, so that some still wait while others are done."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The page of a server that takes two megabytes of files."""
    with command(tmp_path / "files", "--files-limit", "0.002", "--style", "wave") as (_, address):
        yield address


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """An empty page, narrow as a phone's."""
    return new_page(360, 740)


def drop(page: Page, *files: Path) -> None:
    carried = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in files]
    for kind in ("dragover", "drop"):
        page.evaluate(DROP, [carried, kind])


def line(page: Page, name: str) -> Locator:
    return page.locator("#queue li", has_text=name)


def test_a_clip_is_dropped_stylized_shown_downloaded_and_removed(page: Page, served: str, tmp_path: Path) -> None:
    clip = Clip(frames=20, sound="aac").write(tmp_path / "Ferien am Meer ü.mp4")
    rubbish = tmp_path / "notes.mp4"
    rubbish.write_text("no clip")
    page.goto(served)
    page.get_by_role("radio", name="The Scream").wait_for()
    drop(page, rubbish, clip)
    assert page.get_by_role("button", name=re.compile("^Files")).get_attribute("aria-pressed") == "true"
    page.get_by_role("radio", name="The Scream").check(force=True)
    page.get_by_role("slider", name="Strength").fill("0.5")
    page.keyboard.press("p")  # a key of the live view
    page.get_by_role("button", name="Stylize 2 files").click()
    line(page, "notes.mp4").get_by_text("Cannot open notes.mp4 (it is not a video").wait_for(timeout=90_000)
    done = line(page, clip.name)
    assert done.get_by_text("The Scream · strength 50 %").is_visible()
    done.get_by_text("64 × 48 · 20 frames").wait_for(timeout=90_000)
    with page.expect_download() as saved:
        done.get_by_role("link", name="Download").click()
    assert saved.value.suggested_filename == "Ferien am Meer ü-scream.mp4"
    saved.value.save_as(tmp_path / "result.mp4")
    seen = Seen.of(tmp_path / "result.mp4")
    assert len(seen.times) == 20 and seen.packets["audio"] > 0
    done.get_by_role("button", name="Show").click()
    until(page, lambda: page.evaluate("document.querySelector('video.result')?.videoWidth") == 64)
    done.get_by_role("button", name="Hide").click()
    assert page.locator("video.result").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    remove = done.get_by_role("button", name="Remove")
    remove.click()
    page.get_by_role("button", name=re.compile("sure")).click()
    done.wait_for(state="detached")
    assert [file["name"] for file in listed(served)] == ["notes.mp4"]


def test_the_queue_reads_from_the_first_that_was_added(page: Page, served: str, tmp_path: Path) -> None:
    names = ["c.mp4", "a.mp4", "b.mp4", "later.mp4"]
    for name in names:
        Clip(frames=5).write(tmp_path / name)
    page.goto(f"{served}/?view=files")
    page.get_by_role("button", name="Choose files").wait_for()
    page.evaluate(SLOW_UPLOADS)
    seen = list[list[str]]()

    def shown() -> list[str]:
        seen.append(page.locator("#queue .name").all_text_contents())
        return seen[-1]

    drop(page, *(tmp_path / name for name in names[:3]))
    page.get_by_role("button", name="Stylize 3 files").click()
    until(page, lambda: len(shown()) == 3)
    drop(page, tmp_path / names[3])
    page.get_by_role("button", name="Stylize").click()
    until(page, lambda: len(shown()) == 4 and page.locator("#queue a").count() == 4, 300)
    assert all(one == names[: len(one)] for one in seen)
    page.reload()
    until(page, lambda: shown() == names)
    assert [file["name"] for file in listed(served)] == names


def test_what_does_not_fit_is_told_before_it_is_sent(page: Page, served: str, tmp_path: Path) -> None:
    large = tmp_path / "large.mp4"
    large.write_bytes(b"\x00" * 3_000_000)
    page.goto(f"{served}/?view=files")
    page.get_by_role("button", name="Choose files").wait_for()
    page.locator("#choose").set_input_files([large])
    page.get_by_role("button", name="Stylize").click()
    line(page, "large.mp4").get_by_text("It has 3.0 MB, and only 2.0 MB are left").wait_for()
    assert not listed(served)
    page.get_by_role("button", name="Remove large.mp4").click()
    assert page.locator("#none").is_visible()


def test_names_are_text_and_everything_works_by_keyboard(page: Page, served: str, tmp_path: Path) -> None:
    odd = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    Clip(frames=5).write(odd)
    page.goto(served)
    tab = page.get_by_role("button", name=re.compile("^Files"))
    tab.wait_for()
    tab.focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Choose files").wait_for()
    page.keyboard.press("Tab")
    page.wait_for_function("document.activeElement.id === 'pick'")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files([odd])
    page.wait_for_function("document.activeElement.textContent.startsWith('Stylize')")
    page.keyboard.press("Enter")
    row = line(page, odd.name)
    row.get_by_role("link", name="Download").wait_for(timeout=90_000)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("input, button, select, a")].filter((one) => one.checkVisibility()
          && !(one.labels?.length || one.ariaLabel || one.textContent.trim())).map((one) => one.outerHTML)"""
    )
    assert nameless == []
    small = (
        "() => [...document.querySelectorAll('#queue button, #queue a')].filter((one) => one.offsetHeight < 40).length"
    )
    assert page.evaluate(small) == 0


def test_the_settings_of_files_and_of_live_video_are_two(page: Page, served: str) -> None:
    page.goto(served)
    page.get_by_role("radio", name="The Great Wave").wait_for()
    page.get_by_role("button", name=re.compile("^Files")).click()
    page.get_by_role("radio", name="The Scream").check(force=True)
    page.get_by_role("button", name="Live").click()
    assert page.get_by_role("radio", name="The Great Wave").is_checked()
    page.get_by_role("button", name=re.compile("^Files")).click()
    assert page.get_by_role("radio", name="The Scream").is_checked()
    assert page.get_by_role("combobox", name="Source").count() == 0


def test_without_files_and_in_the_bare_page_there_is_no_such_view(chromium: Browser, served: str) -> None:
    page = chromium.new_page()
    page.goto(f"{served}/?view=only")
    page.locator("#empty", has_text="There is nothing to show").wait_for()
    assert not page.locator("#tabs").is_visible()
    page.close()


def until(page: Page, true: object, tries: int = 100) -> None:
    assert callable(true)
    while not true():
        tries -= 1
        assert tries > 0
        page.wait_for_timeout(100)
