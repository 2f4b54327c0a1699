"""Where styles are: names of the gallery that comes with rtstyle, and folders of one's own."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass
from pathlib import Path

from engines.errors import StyleError
from engines.style_file import MANIFEST, StyleModel

GALLERY = Path(__file__).parent / "gallery"
"""The styles that come with rtstyle, one folder each."""

OF_RUN = "style"
"""Where the folder of a run has its style."""


@dataclass(frozen=True)
class StyleEntry:
    """One style of the gallery, for people to choose from.

    Attributes:
        name: what ``--style`` takes.
        title: the style's own title.
        painter, work: whose hand, and which picture.
        licence: of the weights.
        path: its folder.
        fault: why it cannot be used; empty when it can.
    """

    name: str
    title: str
    painter: str
    work: str
    licence: str
    path: str
    fault: str = ""

    def to_dict(self) -> dict[str, str]:
        """Plain form for JSON."""
        return asdict(self)


def find(style: str, gallery: Path | None = None) -> Path:
    """The folder of a style.

    Args:
        style: a name of the gallery, a folder with a ``style.json``, or a run of ``rtstyle train`` that has finished.
        gallery: where names are looked up, the gallery of rtstyle unless told.

    Raises:
        StyleError: unknown, with the nearest names; or a folder or file that is no style.
    """
    gallery = gallery or GALLERY
    if style in _names(gallery):
        return gallery / style
    if not style:  # Path("") would be the current folder
        raise StyleError("the name of the style is empty", hint=_nearest(style, _names(gallery)))
    path = Path(style).expanduser()
    for folder in (path, path / OF_RUN):
        if (folder / MANIFEST).is_file():
            return folder
    if path.is_dir():
        raise StyleError(
            f"{style} is no style: it has no {MANIFEST}",
            hint="give a folder that `rtstyle train --out` wrote; its style is there when the run has finished",
        )
    if path.exists():
        raise StyleError(
            f"{style} is a file, and a style is a folder with a {MANIFEST}",
            hint="weights of other programs cannot be used; only safetensors is read, never a pickle",
        )
    raise StyleError(f"no style {style!r}", hint=_nearest(style, _names(gallery)))


def installed(gallery: Path | None = None) -> list[StyleEntry]:
    """All styles of the gallery, sorted by name. One that is damaged is listed with its fault."""
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
    return f"styles here: {', '.join(names)}" if names else "there is no style here yet: `rtstyle train` makes one"
