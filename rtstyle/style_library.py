"""Find styles: by name in the gallery that comes with rtstyle, or by folder."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass
from pathlib import Path

from engines.errors import StyleError
from engines.style_file import MANIFEST, StyleModel

GALLERY = Path(__file__).parent / "gallery"
"""The styles that come with rtstyle, one folder each."""

RUN_STYLE = "style"
"""Folder of the finished style within a training run."""


@dataclass(frozen=True)
class StyleEntry:
    """One style of the gallery.

    Attributes:
        name: what ``--style`` and ``rtstyle.load`` take.
        title: of the style.
        painter, work: the painting that it was trained on.
        licence: of the weights.
        path: its folder.
        fault: why it cannot be used; empty if it can.
    """

    name: str
    title: str
    painter: str
    work: str
    licence: str
    path: str
    fault: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return plain values for JSON."""
        return asdict(self)


def find(style: str, gallery: Path | None = None) -> Path:
    """Return the folder of a style.

    Args:
        style: a name from the gallery, a folder with a ``style.json``, or a finished run of ``rtstyle train``.
        gallery: where names are looked up; by default the gallery of rtstyle.

    Raises:
        StyleError: there is no such style, or the folder or file is not a style.
    """
    gallery = gallery or GALLERY
    if style in _names(gallery):
        return gallery / style
    if not style:  # Path("") would be the current folder
        raise StyleError("the name of the style is empty", hint=_nearest(style, _names(gallery)))
    path = Path(style).expanduser()
    for folder in (path, path / RUN_STYLE):
        if (folder / MANIFEST).is_file():
            return folder
    if path.is_dir():
        raise StyleError(
            f"{style} is not a style: it has no {MANIFEST}",
            hint="give the --out folder of `rtstyle train`; a run has a style once it has finished",
        )
    if path.exists():
        raise StyleError(
            f"{style} is a file; a style is a folder with a {MANIFEST}",
            hint="weights of other programs cannot be used: rtstyle reads safetensors only, never a pickle",
        )
    raise StyleError(f"there is no style {style!r}", hint=_nearest(style, _names(gallery)))


def installed(gallery: Path | None = None) -> list[StyleEntry]:
    """Return all styles of the gallery, sorted by name. A damaged one is listed with its fault."""
    gallery = gallery or GALLERY
    return [_entry(gallery / name) for name in _names(gallery)]


def _names(gallery: Path) -> list[str]:
    return sorted(record.parent.name for record in gallery.glob(f"*/{MANIFEST}"))


def _entry(folder: Path) -> StyleEntry:
    try:
        model = StyleModel.open(folder)
    except StyleError as error:
        return StyleEntry(folder.name, "", "", "", "", str(folder), fault=error.problem)
    return StyleEntry(folder.name, model.title, model.painter, model.work, model.licence, str(folder))


def _nearest(style: str, names: list[str]) -> str:
    near = difflib.get_close_matches(style.lower(), names, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"styles: {', '.join(names)}" if names else "`rtstyle train` makes a style"
