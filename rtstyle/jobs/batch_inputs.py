"""Find the inputs of a batch: files, folders with what is below them, patterns and URLs."""

from __future__ import annotations

import glob
import logging
import os
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from urllib.parse import unquote, urlsplit

from engines.errors import SourceError
from engines.os_errors import advice, reason
from rtstyle.jobs.manifest import JOB_SUFFIX
from rtstyle.media.picture_sequence import PictureSequence
from rtstyle.media.urls import is_url, redact

logger = logging.getLogger(__name__)

Identity = tuple[int, int]
"""Device and number of a file or folder: equal if two names mean the same one."""


@dataclass(frozen=True)
class BatchInput:
    """A file or URL to stylize.

    Attributes:
        name: file or URL.
        below: its place and own name below the output folder.
        size: bytes; 0 if unknown.
        identity: ``None`` if there is no such file.
    """

    name: str
    below: PurePath
    size: int = 0
    identity: Identity | None = None

    @classmethod
    def of(cls, name: str, below: PurePath) -> BatchInput:
        """Describe a file, which may be gone, or a URL."""
        try:
            found = None if is_url(name) else Path(name).stat()
        except OSError:
            found = None
        return cls(name, below) if found is None else cls(name, below, found.st_size, (found.st_dev, found.st_ino))


@dataclass(frozen=True)
class UnreadableFolder:
    """A folder below an input that cannot be listed."""

    name: str
    error: SourceError


def find_inputs(
    names: Sequence[str], suffixes: Collection[str], output: Path, noun: str, *, only_named: Collection[str] = ()
) -> tuple[list[BatchInput], list[UnreadableFolder]]:
    """Return everything that the names of a command line mean, and the folders that cannot be read.

    A folder stands for the files below it with one of the suffixes. Hidden files, the output folder and the folders of
    interrupted jobs are left out; each folder is read once, whatever links lead to it.

    Args:
        names: files, folders, patterns that no shell has expanded, URLs.
        suffixes: in lower case, with their dots.
        output: folder of the results.
        noun: plural, for messages.
        only_named: suffixes of files that may be among them, but in folders mostly are something else; they are counted
            in a warning.

    Raises:
        SourceError: an input does not exist, or there is nothing to stylize.
    """
    inputs, unreadable, empty = list[BatchInput](), list[UnreadableFolder](), list[str]()
    named = _expand(names)
    for name in named:
        if is_url(name):
            inputs.append(BatchInput.of(name, _url_name(name)))
        elif Path(name).is_dir():
            found, closed = _below(Path(name), {*suffixes, *only_named}, output)
            found, left_out = _split(found, only_named)
            if left_out:
                logger.warning("left out in %s: %d files with %s; name those to stylize", name, *left_out)
            inputs += found
            unreadable += closed
            if not found and not closed:
                empty.append(name)
        else:
            inputs.append(BatchInput.of(name, PurePath(PurePath(name).name)))
    if not inputs and not unreadable:
        raise SourceError(f"no {noun} in {', '.join(named)}", hint=_hint(empty, suffixes))
    for name in empty if inputs else ():
        logger.warning("no %s in %s", noun, name)
    return inputs, unreadable


def _split(found: list[BatchInput], only_named: Collection[str]) -> tuple[list[BatchInput], tuple[int, str] | None]:
    """Return the inputs to take from a folder, and the number and suffixes of those that must be named."""
    taken = [one for one in found if one.below.suffix.lower() not in only_named]
    kinds = sorted({one.below.suffix.lower() for one in found} & set(only_named))
    return taken, (len(found) - len(taken), ", ".join(kinds)) if kinds else None


def _hint(folders: Sequence[str], suffixes: Collection[str]) -> str:
    found = (None if ".png" in suffixes else PictureSequence.find(Path(folder)) for folder in folders)
    for pictures in filter(None, found):
        return f"to take its pictures for the frames of a clip, give {pictures.pattern}"
    return f"their names end in {', '.join(suffixes)}"


def is_pattern(name: str) -> bool:
    """Return True for a pattern like ``*.mp4`` that matches something; a file of that very name is none."""
    return not is_url(name) and not os.path.lexists(name) and bool(_matches(name))


def _expand(names: Sequence[str]) -> list[str]:
    """Replace patterns by what they match; a file whose name has brackets is not a pattern."""
    expanded, missing = list[str](), list[str]()
    for name in names:
        if is_url(name) or os.path.lexists(name):
            expanded.append(name)
        elif matches := _matches(name):
            expanded += matches
        else:
            missing.append(name)
    if len(missing) == 1:
        pattern = glob.has_magic(missing[0])
        problem = f"nothing matches {missing[0]}" if pattern else f"no such file: {missing[0]}"
        raise SourceError(problem, hint="check the name and the folder")
    if missing:
        raise SourceError(f"no such files: {', '.join(missing)}", hint="check the names and the folders")
    return expanded


def _matches(pattern: str) -> list[str]:
    # Path.glob takes no absolute pattern.
    return sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else []  # noqa: PTH207


def _below(root: Path, suffixes: Collection[str], output: Path) -> tuple[list[BatchInput], list[UnreadableFolder]]:
    unreadable = list[UnreadableFolder]()
    found = sorted(_walk(root, suffixes, output, unreadable), key=lambda below: below.parts)
    return [BatchInput.of(str(root / below), below) for below in found], unreadable


def _walk(
    root: Path, suffixes: Collection[str], output: Path, unreadable: list[UnreadableFolder]
) -> Iterator[PurePath]:
    """Yield files relative to a folder. Real folders come before links to them, so that a tree keeps its own names."""
    seen = {folder_identity(output)} - {None}
    folders, links = deque([PurePath()]), deque[PurePath]()
    while folders or links:
        below = folders.popleft() if folders else links.popleft()
        identity = folder_identity(root / below)
        if identity in seen:
            continue
        if identity is not None:
            seen.add(identity)
        try:
            entries = _visible(root / below)
        except OSError as error:
            problem = f"cannot read the folder {root / below}: {reason(error)}"
            unreadable.append(UnreadableFolder(str(root / below), SourceError(problem, hint=advice(error))))
            continue
        for entry in entries:
            if _is_folder(entry):
                (links if entry.is_symlink() else folders).append(below / entry.name)
            elif PurePath(entry.name).suffix.lower() in suffixes and _may_be_file(entry):
                yield below / entry.name


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    """Return what a folder holds, but for hidden files and the segments of interrupted jobs."""
    with os.scandir(folder) as listing:
        return [entry for entry in listing if not entry.name.startswith(".") and not entry.name.endswith(JOB_SUFFIX)]


def folder_identity(path: Path) -> Identity | None:
    """Return what tells whether two names mean the same folder; ``None`` if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    """Return False for sockets, pipes and devices. A broken link is meant as a file: it is reported, not ignored."""
    try:
        return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())
    except OSError:
        return True


def _url_name(url: str) -> PurePath:
    """Return the file name in a URL."""
    try:
        name = PurePosixPath(unquote(urlsplit(url).path)).name.replace("\\", "_").replace("\0", "_")
    except ValueError:
        name = ""
    if name in ("", ".", ".."):
        raise SourceError(f"{redact(url)} has no file name to call its result by", hint="stylize it alone")
    return PurePath(name)
