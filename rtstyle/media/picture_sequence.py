"""Numbered picture files, named by a pattern such as ``frames/%06d.png``."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rtstyle.media.container import CLIPS

_NUMBER = re.compile(r"%0?(\d*)d")

_NUMBERED = re.compile(r"(.*?)(\d+)(\.(?:png|jpe?g|tiff?|webp|bmp|exr))", re.IGNORECASE)
"""Name of one of many numbered pictures: before the number, the number, and after it."""


@dataclass(frozen=True)
class PictureSequence:
    """Files whose names differ in a number, as FFmpeg and compositing programs write and read them.

    Attributes:
        folder: of the pictures.
        before, after: name before and after the number.
        digits: least number of digits, filled up with zeros.
    """

    folder: Path
    before: str
    digits: int
    after: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a pattern with one ``%d`` or ``%06d`` in its file name; None for names of clips and existing files."""
        path = Path(text)
        places = list(_NUMBER.finditer(path.name.replace("%%", "\0\0")))
        if len(places) != 1 or "://" in text or path.is_file() or path.suffix.lower() in CLIPS:
            return None
        place = places[0]
        before, after = (part.replace("%%", "%") for part in (path.name[: place.start()], path.name[place.end() :]))
        return cls(path.parent, before, int(place[1] or 1), after)

    @classmethod
    def find(cls, folder: Path) -> Self | None:
        """Return the numbered pictures in a folder, those of the first name that at least two share."""
        seen = set[Self]()
        with suppress(OSError):
            for name in sorted(path.name for path in folder.iterdir()):
                if (found := _NUMBERED.fullmatch(name)) is None:
                    continue
                padded = len(found[2]) if found[2].startswith("0") else 1
                pictures = cls(folder, found[1], padded, found[3])
                if pictures in seen:
                    return pictures
                seen.add(pictures)
        return None

    @property
    def pattern(self) -> str:
        """The text that ``parse`` reads."""
        digits = f"0{self.digits}" if self.digits > 1 else ""
        before, after = (part.replace("%", "%%") for part in (self.before, self.after))
        return str(self.folder / f"{before}%{digits}d{after}")

    @property
    def suffix(self) -> str:
        """Ending of the names, e.g. ``.png``, in small letters."""
        return Path(f"0{self.after}").suffix.lower()

    def path(self, number: int) -> Path:
        """Return the file of a number."""
        return self.folder / f"{self.before}{number:0{self.digits}}{self.after}"

    def numbers(self) -> list[int]:
        """Return the numbers of the files that exist, in order; empty if the folder does not exist."""
        exact, longer = rf"\d{{{self.digits}}}", rf"[1-9]\d{{{self.digits},}}"
        name = re.compile(rf"{re.escape(self.before)}({exact}|{longer}){re.escape(self.after)}")
        try:
            with os.scandir(self.folder) as entries:
                return sorted(int(found[1]) for entry in entries if (found := name.fullmatch(entry.name)))
        except (FileNotFoundError, NotADirectoryError):
            return []
