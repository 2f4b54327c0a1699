"""Self-contained HTML pages: inline style, embedded pictures, and markup escaped by type.

A plain ``str`` is text and is escaped wherever it meets markup; ``Html`` is markup and is not. A name from a file
therefore cannot become a tag.
"""

from __future__ import annotations

import base64
import codecs
import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from engines.atomic_write import atomic_write
from engines.base import RGB
from engines.errors import SinkError, TrainError
from train.data.pictures import encode_jpeg

Attribute = str | float | bool | None

VOID = frozenset({"br", "hr", "img", "input", "meta"})
"""Elements without an end tag."""

STYLE = Path(__file__).with_name("page.css")

PAGE_STARTS = (b"<!doctype html", b"<html")
"""Beginnings of an HTML file, in lower case."""

ASSETS = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Content security policy: a browser may load nothing from outside the page."""


class Html(str):
    """Markup."""

    __slots__ = ()


def markup(value: object) -> Html:
    """Escape text; return markup unchanged."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def join(parts: Iterable[object], between: str = "") -> Html:
    """Concatenate texts and markup."""
    return Html(markup(between).join(markup(part) for part in parts))


def element(tag: str, *children: object, **attributes: Attribute) -> Html:
    """Build one element.

    Args:
        tag: name of the element.
        children: text or markup.
        attributes: ``class_`` becomes class, ``font_size`` becomes font-size. ``None`` and False omit an attribute,
            True gives it no value.
    """
    given = "".join(_attribute(name, value) for name, value in attributes.items())
    return Html(f"<{tag}{given}>" if tag in VOID else f"<{tag}{given}>{join(children)}</{tag}>")


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'


def section(heading: str, sentence: str, *children: object, tag: str = "h2") -> Html:
    """Build a section: a heading, one sentence on what to look for, and its contents."""
    return element("section", element(tag, heading), element("p", sentence, class_="lead"), *children)


def figure(shown: Html, title: str, value: str = "", words: str = "", class_: str | None = None) -> Html:
    """Put a picture or chart under its title, with a value beside it, and words about it."""
    heading = element("h3", title, element("b", value) if value else "")
    return element("figure", element("figcaption", heading, words), shown, class_=class_)


def table(rows: Iterable[Sequence[object]], head: Sequence[object] = ()) -> Html:
    """Build a table with row headings in the first column."""
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    ]
    top = element("thead", element("tr", *(element("th", cell, scope="col") for cell in head))) if head else ""
    return element("div", element("table", top, element("tbody", *body)), class_="scroll")


def picture(data: bytes, alt: str, kind: str = "jpeg") -> Html:
    """Embed a file of this kind (jpeg, png or webp), described in ``alt`` for readers who cannot see it."""
    return element("img", src=f"data:image/{kind};base64,{base64.b64encode(data).decode()}", alt=alt)


def photograph(rgb: RGB, alt: str, quality: int = 85) -> Html:
    """Embed a picture, (height, width, 3), as a JPEG of this quality, 0 … 100."""
    return picture(encode_jpeg(rgb, quality), alt)


def document(title: str, *body: object, refresh: int | None = None, script: str = "") -> str:
    """Build a whole page, which the browser reloads every ``refresh`` seconds; the script must be trusted."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=ASSETS),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", http_equiv="refresh", content=refresh) if refresh else "",
        element("title", title),
        element("style", Html(STYLE.read_text(encoding="utf-8"))),
    )
    code = element("script", Html(script)) if script else ""
    whole = element("html", head, element("body", element("main", *body), code), lang="en")
    return f"<!doctype html>\n{whole}\n"


def check_page(path: Path, option: str) -> None:
    """Check before long work that a page can be written to the path of an option, and replaces nothing but a page.

    Raises:
        SinkError: it cannot be written there, or the file there is not a page.
    """
    folder = path.absolute().parent
    if path.is_dir():
        raise SinkError(f"{path} is a folder", hint=f"{option} takes a file name such as report.html")
    if not folder.is_dir():
        raise SinkError(f"no such folder: {folder}", hint="create it first")
    if not os.access(folder, os.W_OK):
        raise SinkError(f"the folder {folder} is not writable", hint=f"give {option} another folder")
    if path.exists() and not _is_page(path):
        raise SinkError(
            f"{path} already exists and is not a page", hint=f"give {option} another name such as report.html"
        )


def _is_page(path: Path) -> bool:
    """Return True if a file starts like a page or is empty, whatever its name."""
    if not path.is_file():
        return False  # a device
    try:
        with path.open("rb") as file:
            start = file.read(256).removeprefix(codecs.BOM_UTF8).lstrip().lower()
    except OSError:
        return False
    return not start or start.startswith(PAGE_STARTS)


def write_page(path: Path, text: str) -> None:
    """Write a page atomically: a browser loads either the old page or the new one.

    Raises:
        TrainError: it cannot be written; the old page stays.
    """
    try:
        with atomic_write(path) as file:
            file.write(text.encode("utf-8", errors="replace"))
    except OSError as error:
        hint = "check that the disk has space and the folder is writable"
        raise TrainError(f"cannot write {path}: {error.strerror}", hint=hint) from error
