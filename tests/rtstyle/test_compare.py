"""The blind comparison: sides that tell nothing, results that are counted for the right style."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from engines.base import Engine
from engines.errors import ConfigError, SinkError, SourceError
from rtstyle.compare import CompareJob, compare, draw_sides
from tests.rtstyle.clips import Clip, Still

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LIGHT, DARK = "light", "dark"
"""Styles: the input, and its negative."""


def engine(style: str) -> Engine:
    return Still(negative=style == DARK)


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, ...]:
    """Three bright pictures and a clip."""
    pictures = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(pictures):
        cv2.imwrite(str(path), np.full((48, 64, 3), 200 + number, np.uint8))
    return (*pictures, Clip().write(tmp_path / "clip.mp4"))


def written(job: CompareJob) -> dict[str, Any]:
    """Write the page, and return the data in it."""
    compare(job, engine, lambda _: None)
    match = re.search(r"const data = (\{.*\});\n", job.page.read_text("utf-8"))
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


def brightness(uri: str) -> float:
    data = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    return float(cv2.imdecode(data, cv2.IMREAD_COLOR).mean())


def test_each_side_is_the_style_that_the_page_counts_it_for(tmp_path: Path, inputs: tuple[Path, ...]) -> None:
    data = written(CompareJob((LIGHT, DARK), inputs, tmp_path / "page.html", height=48))
    pictures = [pair for pair in data["pairs"] if pair["left"].startswith("data:image/")]
    assert len(pictures) == 3
    for pair in pictures:
        other = "right" if pair["first"] == "left" else "left"
        assert brightness(pair[pair["first"]]) > 150 > brightness(pair[other])
    (clip,) = (pair for pair in data["pairs"] if pair not in pictures)
    assert clip["name"] == "clip.mp4"
    assert clip["left"].startswith("data:video/mp4") and clip["left"] != clip["right"]


@pytest.mark.parametrize("count", [20, 21])
def test_sides_are_balanced_and_change_with_the_seed(count: int) -> None:
    results, names = [(f"a{n}", f"b{n}") for n in range(count)], [str(n) for n in range(count)]
    pairs = draw_sides(results, names, seed=1)
    on_the_left = sum(pair["first"] == "left" for pair in pairs)
    assert on_the_left in (count // 2, count - count // 2)
    assert sorted(str(pair["name"]) for pair in pairs) == sorted(names)
    assert pairs == draw_sides(results, names, seed=1) != draw_sides(results, names, seed=2)
    assert [pair["name"] for pair in pairs] != names


def test_a_name_cannot_end_the_script(tmp_path: Path, inputs: tuple[Path, ...]) -> None:
    evil = "</script><script>alert(1)</script>"
    job = CompareJob((LIGHT, DARK), inputs[:1], tmp_path / "page.html", (evil,), height=48)
    assert written(job)["questions"] == [evil]
    assert job.page.read_text("utf-8").count("</script>") == 1


def test_mistakes_are_found_before_anything_is_stylized(tmp_path: Path, inputs: tuple[Path, ...]) -> None:
    def never(_: str) -> Engine:
        raise AssertionError("an engine was loaded")

    page = tmp_path / "page.html"
    page.write_text("mine")
    (tmp_path / "notes.txt").write_text("no picture")
    cases: list[tuple[CompareJob, type[Exception], str]] = [
        (CompareJob((LIGHT, LIGHT), inputs, tmp_path / "new.html"), ConfigError, "twice"),
        (CompareJob((LIGHT, DARK), (tmp_path / "none.jpg",), tmp_path / "new.html"), SourceError, "none.jpg"),
        (CompareJob((LIGHT, DARK), inputs, tmp_path / "none" / "new.html"), SinkError, "no such folder"),
        (CompareJob((LIGHT, DARK), inputs, page), SinkError, "--overwrite"),
    ]
    for job, error, text in cases:
        with pytest.raises(error, match=text):
            compare(job, never, lambda _: None)
    assert page.read_text() == "mine"


@pytest.fixture(scope="module")
def browser() -> Any:
    pytest.importorskip("playwright")
    from benchmarks.page import browser as started

    with started() as one:
        yield one


@pytest.mark.browser
def test_choices_are_counted(browser: Browser, tmp_path: Path, inputs: tuple[Path, ...]) -> None:
    questions = ("Which do you prefer?", "In which is the scene clearer?")
    job = CompareJob((LIGHT, DARK), inputs, tmp_path / "page.html", questions, height=48)
    pairs = written(job)["pairs"]
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(job.page.as_uri())
    press: Callable[[str], None] = page.keyboard.press
    press("ArrowDown")
    press("Backspace")  # changed my mind
    for pair in pairs:
        press("ArrowLeft" if pair["first"] == "left" else "ArrowRight")
        press("ArrowDown" if pair is pairs[0] else "ArrowLeft" if pair["first"] == "right" else "ArrowRight")
    rows = [row.all_inner_texts() for row in (one.locator("td") for one in page.locator("tr").all()[1:])]
    assert [row[:5] for row in rows] == [
        [questions[0], "4", "0", "0", "100 %"],
        [questions[1], "0", "3", "1", "0 %"],
    ]
    # Wilson's interval of 4 in 4 and 0 in 3 at z = 1.96.
    assert [row[5] for row in rows] == ["51 % to 100 %", "0 % to 56 %"]
    assert not errors
    page.close()
