"""Find styles: by name in the gallery that comes with rtstyle or on one's own shelf, or by folder."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from engines.errors import StyleError
from engines.style_file import MANIFEST, StyleModel, sha256
from rtstyle.shelf import SUFFIX, own_styles
from rtstyle.shell_word import shell_word
from rtstyle.style_mix import Mix, is_normal, is_single, split_texture

logger = logging.getLogger(__name__)

GALLERY = Path(__file__).parent / "gallery"
"""The styles that come with rtstyle, one folder each."""

RUN_STYLE = "style"
"""Folder of the finished style within a training run."""

RUN_CHECKPOINT = "checkpoint.pt"
"""File of a training run from which it can be continued."""

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".heic", ".avif")
"""Suffixes of pictures, which people give instead of a style."""


@dataclass(frozen=True)
class StyleEntry:
    """One style of the gallery or of one's own shelf.

    Attributes:
        name: what ``--style`` and ``rtstyle.load`` take.
        painter, work: of the painting that it was trained on.
        licence: of the weights.
        fault: why it cannot be used; empty if it can.
        own: it does not come with rtstyle.
        preview: path of a picture that shows it; empty if there is none.
        texture: share of its trained texture that it has, 0 … 1.
    """

    name: str
    title: str
    painter: str
    work: str
    licence: str
    path: str
    fault: str = ""
    own: bool = False
    preview: str = ""
    texture: float = 0.0


def find(style: str, gallery: Path | None = None) -> Path:
    """Return the folder of a style, given its name, a folder with a ``style.json``, or a training run."""
    known = folders(gallery)
    name = name_of(style, gallery)
    if name in known:
        return known[name]
    if not style:  # Path("") would be the current folder
        raise StyleError("the name of the style is empty", hint=_nearest(style, list(known)))
    path = Path(style).expanduser()
    for folder in (path, path / RUN_STYLE):
        if (folder / MANIFEST).is_file():
            return folder
    if not is_single(style):
        raise StyleError(f"no texture or mix can stand here: {style}", hint="give one style as it is")
    raise _not_found(style, path, list(known))


def _not_found(style: str, path: Path, names: list[str]) -> StyleError:
    """Return the error for something that is not a style."""
    if (path / RUN_CHECKPOINT).is_file():
        hint = "`rtstyle train … --resume`, the command that began it with --resume, continues it"
        return StyleError(f"{style} is a training that has not finished", hint=hint)
    if path.is_dir():
        problem = f"{style} is not a style: it has no {MANIFEST}"
        return StyleError(
            problem, hint="give the --out folder of `rtstyle train`; a run has a style once it has finished"
        )
    if path.suffix == SUFFIX and path.is_file():
        return StyleError(
            f"{style} is a pack", hint=f"`rtstyle styles add {shell_word(style)}` makes it a style with a name"
        )
    if path.exists():
        hint = "weights of other programs cannot be used: rtstyle reads safetensors only, never a pickle"
        if path.suffix.lower() in PICTURES:
            hint = f"`rtstyle train --style-picture {shell_word(style)}` learns a style from it"
        return StyleError(f"{style} is a file; a style is a folder with a {MANIFEST}", hint=hint)
    if path.name != style:
        return StyleError(f"no such folder: {style}", hint="check the path, or give a name from `rtstyle styles`")
    return StyleError(f"there is no style {style!r}", hint=_nearest(style, names))


def identify(style: str, engine: str) -> dict[str, str]:
    """Return what makes the frames of a style differ from those of another: names, shares, files, and the engine."""
    parts = sorted(
        (Path(name).name, sha256(find(split_texture(name)[0]) / MANIFEST)[:12], share)
        for name, share in parse(style).parts
    )
    shares = ["" if len(parts) == 1 else f" {100 * share:.4g} %" for _, _, share in parts]
    named = [f"{name} ({digest}){share}" for (name, digest, _), share in zip(parts, shares, strict=True)]
    return {"style": " + ".join(named), "engine": engine}


def open_style(style: str, gallery: Path | None = None) -> StyleModel:
    """Open a style, given by name or folder, or a mix of styles, with their textures; see ``rtstyle.style_mix``.

    Raises:
        StyleError: a style does not exist or is damaged, the weights are wrong, or the styles do not mix.
    """
    mix = parse(style, gallery)
    models = [_textured(StyleModel.open(find(name, gallery)), share) for name, share in mix.textures.items()]
    if len(models) == 1:
        return models[0]
    from engines.mixing.mixed_style import mix_styles

    return mix_styles(models, [share for _, share in mix.parts])


def _textured(style: StyleModel, texture: float | None) -> StyleModel:
    if texture is None:
        return style
    if texture and not style.texture:
        logger.info("%s has no texture to change", style.name)
    from engines.mixing.texture import with_texture

    return with_texture(style, texture)


def parse(style: str, gallery: Path | None = None) -> Mix:
    """Read a mix of styles, each as the gallery spells it. A style of that very name is no mix. Raises StyleError."""
    if not style or style in folders(gallery) or Path(style).expanduser().is_dir():
        return Mix(((style, 1.0),))
    return Mix.parse(style, lambda name: name_of(name, gallery))


def spelled(style: str) -> str:
    """Return a style or a mix as it is written everywhere: names as in the gallery, and shares that sum to 1.

    Weights that do not sum to 1 are logged. Raises StyleError as ``parse``.
    """
    mix = parse(style)
    if len(mix.parts) > 1 and not is_normal(style):
        logger.info("the weights of the mix do not sum to 1; it is %s", mix.caption)
    return str(mix)


def name_of(style: str, gallery: Path | None = None) -> str:
    """Return a style as the gallery spells it, whatever its case; a folder, or an unknown name, stays as it is."""
    names = folders(gallery)
    if style in names or Path(style).expanduser().is_dir():
        return style
    return next((name for name in names if name.lower() == style.lower()), style)


def choices(names: Sequence[str], wanted: Iterable[str]) -> list[str]:
    """Return styles to choose from: those of ``wanted``, also in mixes, that are not ``names``, and then these."""
    own = (name for style in wanted for name in parse(style).styles)
    return [*dict.fromkeys(name for name in own if name not in names), *names]


def installed(gallery: Path | None = None) -> list[StyleEntry]:
    """Return all styles of the gallery and then one's own, each sorted by name. A damaged one has its fault."""
    shipped = gallery_styles(gallery)
    return [_entry(folder, own=name not in shipped) for name, folder in folders(gallery).items()]


def gallery_styles(gallery: Path | None = None) -> dict[str, Path]:
    """Return the folders of the styles that come with rtstyle, by name."""
    records = sorted((gallery or GALLERY).glob(f"*/{MANIFEST}"))
    return {record.parent.name: record.parent for record in records}


def texture_of(style: str) -> float:
    """Return the share of its trained texture that a style has by itself, 0 … 1; 0 for one that cannot be read."""
    try:
        folder = find(style)
        return _texture(folder, (folder / MANIFEST).stat().st_mtime_ns)
    except (StyleError, OSError):
        return 0.0


@lru_cache(256)
def _texture(folder: Path, changed_ns: int) -> float:  # noqa: ARG001  # part of the key
    return StyleModel.open(folder).texture


def folders(gallery: Path | None = None) -> dict[str, Path]:
    """Return the folders of all styles by name: those of the gallery, and one's own unless a gallery is given."""
    own = own_styles() if gallery is None else {}
    shipped = gallery_styles(gallery)
    return {**shipped, **{name: folder for name, folder in own.items() if name not in shipped}}


def _entry(folder: Path, *, own: bool) -> StyleEntry:
    try:
        model = StyleModel.open(folder)
    except StyleError as error:
        return StyleEntry(folder.name, "", "", "", "", str(folder), error.problem, own)
    preview = str(model.preview or "")
    texts = folder.name, model.title, model.painter, model.work, model.licence, str(folder)
    return StyleEntry(*texts, own=own, preview=preview, texture=model.texture)


def _nearest(style: str, names: list[str]) -> str:
    near = difflib.get_close_matches(style.lower(), names, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"styles: {', '.join(names)}" if names else "`rtstyle train` makes a style"
