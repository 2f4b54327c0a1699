"""What a job folder holds: the input and the settings of a job, and its finished segments."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from engines.atomic_write import atomic_write
from engines.errors import ConfigError
from rtstyle.masks.settings import MaskSettings
from rtstyle.media.picture_sequence import PictureSequence

JOB_SUFFIX = ".rtstyle-job"
"""Ending of a job folder beside its output."""

MANIFEST = "job.json"

LOCK = "lock"
"""File in the job folder that is locked while a process works in it."""

OURS = re.compile(r"\.?(segment-\d{6}|trial\.|job\.json|lock$)")
"""Names of the files in a job folder."""

VERSION = 1
"""Of the manifest; a newer one is refused."""

_SAMPLE_BYTES = 1 << 20
"""How much of the beginning and the end of an input identifies it: hashing a whole film would take minutes."""


@dataclass(frozen=True)
class Segment:
    """A finished part of the video, without sound.

    Attributes:
        name: of its file in the job folder.
        frames: in it.
        start_pts: time of its first frame, in units of the source's ``time_base``.
        reorder: how many frames a decoder must hold back to show them in order.
        size: of the file, bytes.
        sha256: of the file.
    """

    name: str
    frames: int
    start_pts: int
    reorder: int
    size: int
    sha256: str

    @property
    def number(self) -> int:
        """Number of the segment in the clip."""
        return int(self.name[len("segment-") :].partition(".")[0])

    def is_intact(self, folder: Path) -> bool:
        """Return True if the file is there, complete and unchanged."""
        path = folder / self.name
        return path.is_file() and path.stat().st_size == self.size and hash_file(path) == self.sha256


@dataclass(frozen=True)
class Manifest:
    """A job and its progress.

    Attributes:
        input: identity of the clip, see ``identify``.
        settings: everything else that decides what the output looks like.
        segments: finished ones, in order.
    """

    input: Mapping[str, Any]
    settings: Mapping[str, Any]
    segments: tuple[Segment, ...] = ()

    @staticmethod
    def exists(folder: Path) -> bool:
        """Return True if a folder holds a job."""
        return (folder / MANIFEST).is_file()

    @staticmethod
    def may_begin(folder: Path) -> bool:
        """Return True if a folder does not exist, or has no file but those of a job that was killed as it began."""
        return not folder.exists() or all(OURS.match(path.name) for path in folder.iterdir())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the manifest of a job folder.

        Raises:
            ConfigError: there is none, it is damaged, or a newer version of rtstyle wrote it.
        """
        path = folder / MANIFEST
        try:
            found = json.loads(path.read_text("utf-8"))
            version = int(found["version"])
            if version > VERSION:
                raise ConfigError(f"{path} was written by a newer rtstyle", hint="go on with that version")
            segments = tuple(Segment(**one) for one in found["segments"])
            return cls(dict(found["input"]), dict(found["settings"]), segments)
        except FileNotFoundError as error:
            raise ConfigError(f"{folder} is not a job folder: it has no {MANIFEST}") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path} is damaged: {error}", hint=f"remove {folder} to start again") from error

    def save(self, folder: Path) -> None:
        """Write the manifest; at every moment the old or the new one can be read.

        Raises:
            OSError: it cannot be written.
        """
        text = json.dumps({"version": VERSION, **asdict(self)}, indent=1, ensure_ascii=False)
        with atomic_write(folder / MANIFEST, durable=True) as file:
            file.write(text.encode())

    def differences(self, other: Manifest) -> list[str]:
        """Return one sentence for each setting in which another job differs from this one."""
        if dict(self.input) != dict(other.input):
            return [f"it is another clip: {_named(self.input)}, not {_named(other.input)}"]
        keys = [key for key in {**self.settings, **other.settings} if self.settings.get(key) != other.settings.get(key)]
        return [f"{key} was {_shown(self.settings.get(key))}, not {_shown(other.settings.get(key))}" for key in keys]


def identify(name: str) -> dict[str, Any]:
    """Return what identifies a clip: its name, its size and a hash of both its ends. A new date alone does not matter.

    Args:
        name: file.

    Raises:
        OSError: the file cannot be read.
    """
    path = Path(name)
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(_SAMPLE_BYTES))
        file.seek(max(0, size - _SAMPLE_BYTES))
        digest.update(file.read(_SAMPLE_BYTES))
    return {"name": path.name, "size": size, "ends_sha256": digest.hexdigest()}


def describe_modulation(texts: Sequence[str]) -> dict[str, Any]:
    """Return what a result depends on where settings move; nothing if none does, as older versions had it."""
    return {"modulate": list(texts)} if texts else {}


def describe_masks(only: str, masks: MaskSettings) -> dict[str, Any]:
    """Return what a result depends on where only a part of each frame is stylized; nothing without masks.

    Raises:
        OSError: the mask cannot be read.
    """
    if only == "all" and masks.file is None:
        return {}
    file = None if masks.file is None else _identify_mask(masks.file)
    return {"only": only, "mask": file, "inside": masks.inside, "outside": masks.outside, "feather": masks.feather}


def _identify_mask(path: Path) -> dict[str, Any]:
    pictures = PictureSequence.parse(str(path))
    if pictures is None:
        return identify(str(path))
    files = [pictures.path(number) for number in pictures.numbers()]
    sizes = json.dumps([[file.name, file.stat().st_size] for file in files])
    return {"name": path.name, "pictures": len(files), "sizes_sha256": hashlib.sha256(sizes.encode()).hexdigest()}


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _named(identity: Mapping[str, Any]) -> str:
    return f"{identity.get('name')} ({identity.get('size')} bytes)"


def _shown(value: object) -> str:
    return "not set" if value is None else str(value)
