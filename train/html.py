"""Pages that need nothing but themselves: markup that is escaped by its type, inline style, pictures as data.

A plain ``str`` is text and is escaped wherever it meets markup; ``Html`` is markup and is not. Nobody has to
remember to escape, and a name out of a file cannot become a tag.
"""

from __future__ import annotations

import base64
import codecs
import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from engines.atomic_write import atomic_write
from engines.base import RGB
from engines.errors import SinkError, TrainError

Attribute = str | float | bool | None

VOID = frozenset({"br", "hr", "img", "input", "meta"})
"""Elements that have no end."""

STYLE = Path(__file__).with_name("page.css")

PAGE_STARTS = (b"<!doctype html", b"<html")
"""What a page begins with, in small letters."""

ASSETS = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What a browser may load for a page: nothing that does not lie in it."""


class Html(str):
    """Markup."""

    __slots__ = ()


def markup(value: object) -> Html:
    """Text → markup that shows it; markup stays as it is."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def join(parts: Iterable[object], between: str = "") -> Html:
    """Texts and markup, one after the other."""
    return Html(markup(between).join(markup(part) for part in parts))


def element(tag: str, *children: object, **attributes: Attribute) -> Html:
    """One element.

    Args:
        tag: its name.
        children: text or markup.
        attributes: ``class_`` is class, ``font_size`` is font-size; ``None`` and False leave one out, True gives it
            no value.
    """
    given = "".join(_attribute(name, value) for name, value in attributes.items())
    return Html(f"<{tag}{given}>" if tag in VOID else f"<{tag}{given}>{join(children)}</{tag}>")


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'


def section(heading: str, sentence: str, *children: object, tag: str = "h2") -> Html:
    """A heading, one plain sentence that tells what to look for, and what there is to see."""
    return element("section", element(tag, heading), element("p", sentence, class_="lead"), *children)


def table(rows: Iterable[Sequence[object]], head: Sequence[object] = ()) -> Html:
    """A table whose first column names what the others hold."""
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    ]
    top = element("thead", element("tr", *(element("th", cell, scope="col") for cell in head))) if head else ""
    return element("div", element("table", top, element("tbody", *body)), class_="scroll")


def picture(data: bytes, alt: str, kind: str = "jpeg") -> Html:
    """An encoded picture, inside the page.

    Args:
        data: the file.
        alt: what it shows, for those who do not see it.
        kind: jpeg, png or webp.
    """
    return element("img", src=f"data:image/{kind};base64,{base64.b64encode(data).decode()}", alt=alt)


def photograph(rgb: RGB, alt: str, quality: int = 85) -> Html:
    """A picture, (height, width, 3), inside the page as a JPEG of this quality, 0 … 100."""
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return picture(data.tobytes(), alt)


def document(title: str, *body: object, refresh: int | None = None, script: str = "") -> str:
    """A whole page.

    Args:
        title: of the window.
        body: text or markup.
        refresh: seconds after which the browser loads it again; ``None`` is never.
        script: a few lines, ours; it must not hold ``</script``.
    """
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
    """What would fail only after minutes fails now, and so does what would cost a file that is no page.

    Args:
        path: where the page shall go.
        option: that told so, for the hint.

    Raises:
        SinkError: it could not be written there, or something else than a page is there: a picture, say.
    """
    folder = path.absolute().parent
    if path.is_dir():
        raise SinkError(f"{path} is a folder", hint=f"{option} takes the name of a file, like report.html")
    if not folder.is_dir():
        raise SinkError(f"no such folder: {folder}", hint="make it first")
    if not os.access(folder, os.W_OK):
        raise SinkError(f"the folder {folder} cannot be written", hint=f"give {option} another place")
    if path.exists() and not _is_page(path):
        raise SinkError(f"{path} is there already and is no page", hint=f"give {option} another name, like report.html")


def _is_page(path: Path) -> bool:
    """Whether a file may be replaced by a page: it begins like one, whatever its name, or is empty."""
    if not path.is_file():
        return False  # a device
    try:
        with path.open("rb") as file:
            start = file.read(256).removeprefix(codecs.BOM_UTF8).lstrip().lower()
    except OSError:
        return False
    return not start or start.startswith(PAGE_STARTS)


def write_page(path: Path, text: str) -> None:
    """A browser that loads it meanwhile sees the old page or the new one.

    Raises:
        TrainError: it cannot be written; the old page stays.
    """
    try:
        with atomic_write(path) as file:
            file.write(text.encode("utf-8", errors="replace"))
    except OSError as error:
        hint = "is the disk full, or the folder protected?"
        raise TrainError(f"cannot write {path}: {error.strerror}", hint=hint) from error
