"""Styles on disk: folders of plain data, verified before use.

    vangogh/
      style.json             description, training record, ranges, and the sha256 of each file below
      weights.safetensors    fp16 weights of the folded generator, stored only here
      graph.onnx             the frame graph; its weights are external data in weights.safetensors
      preview.jpg            optional
      README.md              optional, the model card, see ``engines.style_card``

Nothing here can run code: JSON, safetensors and ONNX are data, and pickles are refused without being read.
Reading a style needs neither torch nor onnx; ``engines.export`` writes one.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from engines.atomic_write import atomic_write
from engines.errors import StyleError
from engines.os_errors import advice, reason

FORMAT = 1
"""Version of this layout. Older ones can be read, newer ones cannot."""

MANIFEST = "style.json"
WEIGHTS = "weights.safetensors"
GRAPH = "graph.onnx"
PREVIEW = "preview.jpg"

Bounds: TypeAlias = tuple[float, ...]
Ranges: TypeAlias = Mapping[str, tuple[Bounds, Bounds]]
"""Smallest and largest input of convolutions, by the name of their weights."""

LARGEST_SPAN = 65504.0
"""Largest difference of the ends of a range: what fp16 can hold."""

MANIFEST_LIMIT = 4 << 20
"""Largest ``style.json`` that is accepted, in bytes."""

_STYLE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
_PICKLES = frozenset({".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".t7", ".joblib", ".npz", ".npy"})
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_ONLY_SAFETENSORS = "only safetensors is accepted, because a pickle can run any code"


@dataclass(frozen=True)
class StyleMeta:
    """Description of a style.

    Attributes:
        name: identifier on the command line: up to 64 of a–z, 0–9, ``_`` and ``-``.
        title: name for display, e.g. ``Van Gogh · The Starry Night``.
        painter: the painter of the work.
        work: the painting or paintings that it was trained on.
        licence: of the weights, e.g. ``Apache-2.0``.
        training: the training record (settings, figures, date) as plain JSON values.

    Raises:
        StyleError: a field has the wrong type, or the name contains other characters.
    """

    name: str
    title: str
    painter: str
    work: str
    licence: str
    training: Mapping[str, Any]

    def __post_init__(self) -> None:
        texts = (self.name, self.title, self.painter, self.work, self.licence)
        if not all(isinstance(text, str) for text in texts) or not isinstance(self.training, Mapping):
            raise StyleError(
                "a style's name, title, painter, work and licence must be strings, its training record a table"
            )
        if not _STYLE_NAME.fullmatch(self.name):
            raise StyleError(f"{self.name!r} is not a valid style name", hint="use up to 64 of a-z, 0-9, _ and -")


@dataclass(frozen=True)
class StyleModel(StyleMeta):
    """A style whose files are complete and unaltered.

    Attributes:
        folder: the folder that it was read from.
        arch: widths and depth of the generator, as from ``engines.model.generator.Arch.to_dict``.
        ranges: what int8 arithmetic needs, see ``engines.openvino.quantized_graph``; empty in styles of older versions.
    """

    folder: Path
    arch: Mapping[str, int]
    ranges: Ranges = field(default_factory=dict)

    @property
    def weights(self) -> Path:
        """Path of the safetensors file."""
        return self.folder / WEIGHTS

    @property
    def graph(self) -> Path:
        """Path of the ONNX file."""
        return self.folder / GRAPH

    @property
    def texture(self) -> float:
        """Share of its trained texture that it has, 0 … 1, see ``engines.mixing.texture``."""
        settings = self.training.get("settings")
        generator = settings.get("generator") if isinstance(settings, Mapping) else None
        share = generator.get("canvas", 1.0) if isinstance(generator, Mapping) else 1.0
        # In the records of the first styles it is true or false.
        return min(1.0, max(0.0, float(share))) if isinstance(share, int | float) else 1.0

    @property
    def preview(self) -> Path | None:
        """Path of the preview image, or ``None`` if there is none."""
        path = self.folder / PREVIEW
        return path if path.is_file() else None

    @classmethod
    def open(cls, folder: str | Path) -> StyleModel:
        """Read a style and verify the sha256 of its files.

        Args:
            folder: the folder that contains ``style.json``.

        Raises:
            StyleError: there is no style, it is from a newer version, a file is missing, truncated or altered, or the
                weights are a pickle. The message names the file.
        """
        folder = Path(folder)
        manifest = _read_manifest(folder)
        arch, files = manifest.get("arch"), manifest.get("files")
        if not isinstance(arch, dict) or not isinstance(files, dict):
            raise _damaged(folder, "has no table `arch` or `files`")
        _check_files(folder, files)
        try:
            texts = {key: manifest[key] for key in ("name", "title", "painter", "work", "licence", "training")}
        except KeyError as error:
            raise _damaged(folder, f"has no {error}") from error
        return cls(folder=folder, arch=arch, ranges=_ranges(folder, manifest.get("ranges", {})), **texts)

    def with_ranges(self, ranges: Ranges) -> StyleModel:
        """Record ranges in ``style.json``. Raise StyleError if they are impossible, or it cannot be written."""
        path = self.folder / MANIFEST
        bounds = stored_ranges(ranges)
        _ranges(self.folder, bounds)
        data = manifest_bytes({**_read_manifest(self.folder), "ranges": bounds})
        try:
            with atomic_write(path) as file:
                file.write(data)
        except OSError as error:
            raise StyleError(f"cannot write {path}: {reason(error)}", hint=advice(error)) from error
        return type(self).open(self.folder)

    def weights_sha256(self) -> str:
        """Return the SHA-256 of the weights' file, 64 hex digits."""
        return sha256(self.weights)

    def files(self) -> dict[str, bytes]:
        """Return all files of the folder by name: less than a megabyte."""
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir()) if path.is_file()}

    def tensors(self) -> Mapping[str, npt.NDArray[np.floating]]:
        """Read the weights by name. Raise StyleError if the file is not safetensors, or has other types than fp16."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            tensors: dict[str, npt.NDArray[np.float16]] = load_file(self.weights)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise StyleError(f"{self.weights} cannot be read: {error}", hint="get the style again") from error
        if any(tensor.dtype != np.float16 for tensor in tensors.values()):
            raise StyleError(f"{self.weights} must contain fp16 tensors only")
        return tensors


def sha256_of(data: bytes) -> str:
    """Return the SHA-256 of bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Return ``style.json`` as a table of a version that can be read."""
    if folder.suffix.lower() in _PICKLES:
        raise StyleError(f"{folder} is not a style folder", hint=_ONLY_SAFETENSORS)
    path = folder / MANIFEST
    if not path.is_file():
        raise StyleError(f"no style in {folder}", hint=f"a style is a folder with {MANIFEST}, {WEIGHTS} and {GRAPH}")
    try:
        if path.stat().st_size > MANIFEST_LIMIT:
            raise _damaged(folder, f"is over {MANIFEST_LIMIT >> 20} MB")
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder, f"cannot be read: {error}") from error
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if type(version) is not int or version < 1:
        raise _damaged(folder, "has no format version")
    if version > FORMAT:
        raise StyleError(
            f"style {folder} has format {version}, this rtstyle reads up to {FORMAT}",
            hint="pip install --upgrade rtstyle",
        )
    return dict(manifest)


def manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    """Return the contents of ``style.json``: indented, and the ranges a line for each layer instead of each number."""
    rest = {key: value for key, value in manifest.items() if key != "ranges"}
    text = json.dumps(rest, indent=2, ensure_ascii=False)
    if ranges := manifest.get("ranges"):
        lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(pair)}" for name, pair in ranges.items())
        text = f'{text.removesuffix("}").rstrip()},\n  "ranges": {{\n{lines}\n  }}\n}}'
    return f"{text}\n".encode()


def stored_ranges(ranges: Ranges) -> dict[str, list[float | list[float]]]:
    """Return ranges as ``style.json`` holds them: a number for each bound that all channels share, else a list."""

    def stored(bounds: Bounds) -> float | list[float]:
        numbers = [float(f"{number:.4g}") for number in bounds]
        return numbers if len(set(numbers)) > 1 else numbers[0]

    return {name: [stored(low), stored(high)] for name, (low, high) in ranges.items()}


def _ranges(folder: Path, stored: object) -> Ranges:
    """Return the ranges as stored; they are numbers that a multiplication by their inverse survives."""
    found = {}
    for name, pair in stored.items() if isinstance(stored, dict) else [("ranges", stored)]:
        low, high = (_bounds(one) for one in pair) if isinstance(pair, list) and len(pair) == 2 else ((), ())
        channels = max(len(low), len(high))
        if not low or not high or not {len(low), len(high)} <= {1, channels}:
            raise _damaged(folder, f"has a range of {name} that is not two numbers, or two for each channel")
        pairs = zip(low * (channels // len(low)), high * (channels // len(high)), strict=True)
        if not all(a <= 0.0 <= b and 0.0 < b - a < LARGEST_SPAN for a, b in pairs):
            raise _damaged(folder, f"has an impossible range of {name}")
        found[name] = low, high
    return found


def _bounds(stored: object) -> Bounds:
    """Return the bounds of all channels, or of each; empty if they are no numbers."""
    numbers: list[Any] = stored if isinstance(stored, list) else [stored]
    if not all(isinstance(number, int | float) for number in numbers):
        return ()
    return tuple(float(number) if abs(number) < LARGEST_SPAN else math.nan for number in numbers)


def _check_files(folder: Path, files: Mapping[str, Any]) -> None:
    """Check that every listed file is in the folder and unaltered."""
    for name in files:
        if not _FILE_NAME.fullmatch(name):
            raise _damaged(folder, f"lists {name!r}, which is not a plain file name")
        if Path(name).suffix.lower() in _PICKLES:
            raise StyleError(f"{folder / name} is a pickle", hint=_ONLY_SAFETENSORS)
    for name in (WEIGHTS, GRAPH):
        if name not in files:
            raise _damaged(folder, f"does not list {name}")
    for name, expected in files.items():
        _check_file(folder / name, expected)


def _check_file(path: Path, expected: object) -> None:
    try:
        with path.open("rb") as file:
            # A safetensors file starts with the length of its header, which may look like a pickle, and then a brace.
            start = file.read(9)
            if path.name == WEIGHTS and start.startswith(_PICKLE_STARTS) and start[8:] != b"{":
                raise StyleError(f"{path} is a pickle", hint=_ONLY_SAFETENSORS)
        actual = sha256(path)
    except FileNotFoundError as error:
        raise StyleError(f"{path} is missing", hint="get the style again") from error
    except OSError as error:
        raise StyleError(f"{path} cannot be read: {reason(error)}", hint=advice(error)) from error
    if actual != expected:
        raise StyleError(
            f"{path} is truncated or altered: its sha256 differs from the recorded one", hint="get the style again"
        )


def _damaged(folder: Path, what: str) -> StyleError:
    return StyleError(f"{folder / MANIFEST} {what}", hint="get the style again")
