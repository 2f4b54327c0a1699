"""Titles and names of styles that visitors let the server learn."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container
from itertools import count
from pathlib import PurePosixPath

from rtstyle.web.files.names import shown_name

TITLE, NAME = 48, 40
"""Longest title and name, characters; a number may be added."""

FALLBACK = "my-style"
"""Name of a style whose title has no letter that a name can have."""


def title_of(wanted: str, file: str) -> str:
    """Return the title of a style: as the visitor wants it, or as the picture's file is called."""
    plain = " ".join("".join(one for one in wanted if one.isspace() or one.isprintable()).split())
    return (plain or re.sub(r"[_\s]+", " ", PurePosixPath(shown_name(file)).stem).strip())[:TITLE].strip() or "untitled"


def unique_name(title: str, taken: Container[str]) -> tuple[str, str]:
    """Return a name for a style and its title, both with a number if that name is ``taken``."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:NAME].strip("-") or FALLBACK
    if name not in taken:
        return name, title
    number = next(number for number in count(2) if f"{name}-{number}" not in taken)
    return f"{name}-{number}", f"{title} {number}"
