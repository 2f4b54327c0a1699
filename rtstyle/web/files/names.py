"""Names of uploaded files, as they are shown and downloaded. No file on this machine is ever called by them."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from rtstyle.image import PICTURES
from rtstyle.media.codecs import CONTAINERS
from rtstyle.media.image_files import FORMATS

STEM_BYTES = 160
"""Longest name without its suffix, UTF-8: with a style's name added it still fits into the 255 of a file system."""

MOVING = (".gif",)
"""Suffixes of pictures that move, which become videos."""

TYPES = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".mkv": "video/x-matroska",
    ".webm": "video/webm", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp",
    ".bmp": "image/bmp", ".tif": "image/tiff", ".tiff": "image/tiff",
}  # fmt: skip
"""Suffix of a result → its media type."""

_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")


def shown_name(raw: str) -> str:
    """Return what a browser calls a file as one short line: no folders, no control or invisible characters.

    Characters that turn the direction of text are among the latter: they make one suffix look like another.
    """
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", raw)[-1])
    visible = "".join(" " if one.isspace() else one for one in name if one.isspace() or _is_visible(one))
    path = PurePosixPath(" ".join(visible.split()).strip(". ") or "untitled")
    suffix = path.suffix if _SUFFIX.fullmatch(path.suffix.lower()) else ""
    stem = path.name.removesuffix(suffix).encode()[:STEM_BYTES].decode(errors="ignore")
    return stem.rstrip(". ") + suffix


def is_picture(name: str) -> bool:
    """Return True for a picture, by its suffix; everything else is opened as a video."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix in PICTURES and suffix not in MOVING


def stored_suffix(name: str) -> str:
    """Return the suffix under which an upload is stored; empty if its own is unusual."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def result_suffix(name: str) -> str:
    """Return the suffix of the result: that of the upload where it can be written, otherwise ``.mp4`` or ``.png``."""
    suffix = PurePosixPath(name).suffix.lower()
    if is_picture(name):
        return suffix if suffix in FORMATS else ".png"
    return suffix if suffix in CONTAINERS else ".mp4"


def result_name(name: str, style: str) -> str:
    """Return the name under which a result is downloaded: ``holiday-wave.mp4`` of ``holiday.mp4``."""
    suffix = PurePosixPath(name).suffix
    painted = shown_name(Path(style).name).encode()[:60].decode(errors="ignore")
    return f"{name.removesuffix(suffix)}-{painted}{result_suffix(name)}"


def attachment(name: str) -> str:
    """Return the header Content-Disposition of a download (RFC 6266): plain letters first, then the true name."""
    plain = re.sub(r'["\\%?]', "_", name.encode("ascii", "replace").decode())
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] != "C"
