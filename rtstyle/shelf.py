"""One's own styles: a folder of them beside the gallery, and packs to pass them on.

A pack (``.rtstyle``) is a ZIP archive of a style's files. Whatever comes from elsewhere is unpacked in memory within
limits, verified against the hashes in its ``style.json``, and tried on a small frame before it has a name. Nothing in
it is executed: JSON, safetensors and ONNX are data.
"""

from __future__ import annotations

import json
import lzma
import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np

from engines.atomic_write import atomic_folder, atomic_write, remove_abandoned_folders, remove_folder
from engines.errors import StyleError, StylerError
from engines.os_errors import advice, reason
from engines.style_card import CARD
from engines.style_file import GRAPH, MANIFEST, PREVIEW, WEIGHTS, StyleModel, manifest_bytes, sha256, sha256_of

VARIABLE = "RTSTYLE_STYLES"
"""Environment variable that names another folder of one's own styles."""

SUFFIX = ".rtstyle"
"""Of a pack."""

PARTS = (MANIFEST, WEIGHTS, GRAPH, PREVIEW, CARD)
"""Files of a style, in the order of a pack; the last two are optional."""

NEEDED = PARTS[:3]

LIMIT = 64 << 20
"""Largest pack, and largest style unpacked, bytes: a hundred times the styles of the gallery."""

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

RESERVED = "training"
"""Name that would be an address of the page's own, see ``rtstyle.web.training``."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of every file in a pack, so that the same style always gives the same pack."""

TRIED = (64, 96)
"""Height and width of the frame on which a new style is tried, pixels."""


def home() -> Path:
    """Return the folder of one's own styles: by environment variable, or in the user's data folder."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    from platformdirs import user_data_path

    return user_data_path("rtstyle", appauthor=False) / "styles"


def own_styles() -> dict[str, Path]:
    """Return the folders of one's own styles by name, sorted."""
    found = {path.parent.name: path.parent for path in home().glob(f"*/{MANIFEST}")}
    return {name: found[name] for name in sorted(found) if not name.startswith(".")}


def stamps() -> dict[str, int]:
    """Return when each of one's own styles was changed, nanoseconds: it tells whether a list of them is still true."""
    found = {}
    for name, folder in own_styles().items():
        with suppress(OSError):  # it was removed just now
            found[name] = (folder / MANIFEST).stat().st_mtime_ns
    return found


def add(
    files: Mapping[str, bytes],
    taken: Mapping[str, object],
    name: str = "",
    *,
    replace: bool = False,
    source: str = "the new style",
) -> Path:
    """Put a style on the shelf.

    Args:
        files: of the style, by name.
        taken: names that it cannot have: those of the gallery.
        name: its name on the shelf; by default the one that it has.
        replace: take the place of a style of one's own with this name.
        source: what messages call the folder or pack that the files come from.

    Returns:
        its folder.

    Raises:
        StyleError: it is damaged, cannot be used by this version, or has a name that is taken; the shelf is unchanged.
    """
    with scratch_folder() as scratch:
        draft = scratch / "style"
        draft.mkdir()
        for part in PARTS:
            if part in files:
                (draft / part).write_bytes(files[part])
        try:
            style = StyleModel.open(draft)
            preview = _try(style)
        except StyleError as error:
            raise StyleError(error.problem.replace(str(draft), source), hint=error.hint) from error
        name = name or style.name
        check_name(name, taken, adding=True, replace=replace)
        _complete(draft, name, preview)
        target = home() / name
        if target.exists() and not (target / MANIFEST).is_file():
            raise StyleError(f"{target} exists and is not a style", hint="--name gives the style another name")
        remove_abandoned_folders(target.parent)
        try:
            with atomic_folder(target) as place:
                place.chmod(0o755)
                for file in draft.iterdir():
                    shutil.copyfile(file, place / file.name)
        except OSError as error:
            raise StyleError(f"cannot write {target}: {reason(error)}", hint=_OTHER_HOME) from error
    return target


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder for a moment. Raise StyleError if something cannot be written there."""
    try:
        with tempfile.TemporaryDirectory(prefix="rtstyle-") as folder:
            yield Path(folder)
    except OSError as error:
        problem = f"cannot unpack a style in the folder for temporary files: {reason(error)}"
        raise StyleError(problem, hint=advice(error, "the environment variable TMPDIR names another")) from error


def check_name(name: str, taken: Mapping[str, object], *, adding: bool = False, replace: bool = False) -> None:
    """Raise StyleError unless a style of one's own can have this name, which is given or that of a style to add."""
    if not NAME.fullmatch(name):
        raise StyleError(f"{name!r} is not a valid style name", hint="use up to 64 of a-z, 0-9, _ and -")
    hint = "--name NAME gives it another name" if adding else "choose another name"
    if name in taken:
        raise StyleError(f"{name} is a style that comes with rtstyle", hint=hint)
    if name == RESERVED:
        raise StyleError(f"the page of rtstyle needs the name {name}", hint=hint)
    if name in own_styles() and not replace:
        raise StyleError(f"you have a style {name!r} already", hint=hint + ", --overwrite replaces yours" * adding)


def remove(name: str) -> Path:
    """Delete a style of one's own; return the folder that is gone. Raise StyleError if there is none."""
    folder = _own(name)
    try:
        remove_folder(folder)
    except OSError as error:
        raise StyleError(f"cannot remove {folder}: {reason(error)}", hint=advice(error)) from error
    return folder


def rename(old: str, new: str, taken: Mapping[str, object], title: str = "") -> Path:
    """Give a style of one's own another name, and another title if one is given; return its new folder.

    Raises:
        StyleError: that is not possible. With a title, the new name may be the old one.
    """
    folder = _own(old)
    if not (title and new == old):
        check_name(new, taken)
    target = folder.with_name(new)
    if target != folder and target.exists():
        raise StyleError(f"{target} exists and is not a style", hint="choose another name")
    StyleModel.open(folder)  # a damaged one keeps its name
    try:
        if target != folder:
            folder.rename(target)
        _complete(target, new, title=title)
    except OSError as error:
        raise StyleError(f"cannot rename {folder}: {reason(error)}", hint=advice(error)) from error
    return target


def _own(name: str) -> Path:
    found = own_styles()
    if name not in found:
        yours = f"yours are {', '.join(found)}" if found else "you have none; `rtstyle styles add` adds one"
        raise StyleError(f"you have no style {name!r}", hint=yours)
    return found[name]


def pack(style: StyleModel, target: Path, *, replace: bool = False) -> str:
    """Write a style into a pack; return its sha256.

    Raises:
        StyleError: the file exists or cannot be written.
    """
    if target.exists() and not replace:
        raise StyleError(f"{target} exists already", hint="--overwrite replaces it")
    files = style.files()
    try:
        with atomic_write(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for part in PARTS:
                if part in files:
                    info = zipfile.ZipInfo(part, EPOCH)
                    info.external_attr = 0o644 << 16
                    archive.writestr(info, files[part], zipfile.ZIP_DEFLATED)
    except OSError as error:
        raise StyleError(f"cannot write {target}: {reason(error)}", hint=advice(error)) from error
    return sha256(target)


def unpack(file: Path) -> dict[str, bytes]:
    """Read a pack, or a ZIP archive with a style at its top or in its only folder.

    Raises:
        StyleError: it is no such archive, is damaged, too large, or holds links or paths out of the folder.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return _unpacked(file, archive)
    except (*_BROKEN, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        # Encrypted archives raise RuntimeError, unknown compressions NotImplementedError.
        raise StyleError(f"{file} cannot be read: {reason(error)}", hint=advice(error, "get it again")) from error


def _unpacked(file: Path, archive: zipfile.ZipFile) -> dict[str, bytes]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    records = [entry.filename for entry in entries if entry.filename.rpartition("/")[2] == MANIFEST]
    if len(records) != 1:
        how_many = "no" if not records else "more than one"
        raise StyleError(f"{file} holds {how_many} {MANIFEST}", hint="`rtstyle styles export` makes a pack of a style")
    folder = records[0].removesuffix(MANIFEST)
    found: dict[str, bytes] = {}
    for entry in entries:
        name = entry.filename.removeprefix(folder)
        if name not in PARTS or not entry.filename.startswith(folder):
            continue  # nothing else is read, whatever path it names
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise StyleError(f"{file} holds a link instead of {name}", hint="get it from somebody you trust")
        room = LIMIT - sum(len(data) for data in found.values())
        with archive.open(entry) as content:
            # The size that the archive states may be false.
            found[name] = content.read(room + 1)
        if len(found[name]) > room:
            problem = f"{file} unpacks to more than {LIMIT >> 20} MB, which no style does"
            raise StyleError(problem, hint="get it from somebody you trust")
    return found


def read_folder(folder: Path) -> dict[str, bytes]:
    """Read the files of a style in a folder. Raise StyleError if they cannot be read, or are too large."""
    paths = {part: folder / part for part in PARTS if (folder / part).is_file()}
    try:
        if sum(path.stat().st_size for path in paths.values()) > LIMIT:
            raise StyleError(f"{folder} is larger than {LIMIT >> 20} MB, which no style is", hint="get it again")
        return {part: path.read_bytes() for part, path in paths.items()}
    except OSError as error:
        raise StyleError(f"{folder} cannot be read: {reason(error)}", hint=advice(error)) from error


def _complete(folder: Path, name: str, preview: bytes | None = None, title: str = "") -> None:
    """Write another name into ``style.json``, and a preview beside it if there is a new one.

    A style whose title is its name, as without ``--title``, has its new name as its title, too.
    """
    path = folder / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    changed = {**manifest, "name": name}
    if title or manifest["title"] == manifest["name"]:
        changed["title"] = title or name
    if preview is not None:
        (folder / PREVIEW).write_bytes(preview)
        changed["files"] = {**manifest["files"], PREVIEW: sha256_of(preview)}
    if changed != manifest:
        with atomic_write(path) as file:
            file.write(manifest_bytes(changed))


def _try(style: StyleModel) -> bytes | None:
    """Stylize a small frame, so that a style that cannot run is not added; return a preview if it has none."""
    import engines
    from rtstyle.style_previews import is_preview, make_preview

    _check_weights(style)
    frame = np.random.default_rng(0).integers(0, 256, (*TRIED, 3), np.uint8)
    preview = None
    try:
        for name in ("cpu:int8", "cpu:fp32") if style.ranges else ("cpu:fp32",):
            with closing(engines.load(style, name)) as engine:
                engine(frame)
                if name == "cpu:fp32" and not (style.preview and is_preview(style.preview)):
                    preview = make_preview(engine)
    except StylerError as error:
        raise StyleError(f"the style {style.name} cannot be used: {error.problem}", hint="get it again") from error
    return preview


def _check_weights(style: StyleModel) -> None:
    """Raise StyleError if the weights are not numbers, or of other widths than the style says: GPUs go by these."""
    tensors = style.tensors()
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise StyleError(f"{style.weights} holds values that are not numbers", hint="train it again, or get another")
    widths = {"stem": "stem", "body": "down", "head": "refine"}
    try:
        found = {name: len(tensors[f"{layer}.conv.bias"]) for name, layer in widths.items()}
    except KeyError as error:
        raise StyleError(f"{style.weights} has no {error}", hint="it is from another version of rtstyle") from error
    found["blocks"] = sum(name.endswith(".first.conv.bias") for name in tensors)
    if found != dict(style.arch):
        problem = f"{style.weights} has another shape than {style.folder / MANIFEST} says"
        raise StyleError(problem, hint="it is damaged, or from another version of rtstyle")


_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)

_OTHER_HOME = f"the environment variable {VARIABLE} names another folder"
