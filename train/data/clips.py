"""Pairs of frames from real clips with the motion between them, estimated once and cached on disk.

    cache/
      <key>.pairs    NumPy's .npy format, one record per pair, followed by the sha256 of all bytes before it

The key is the sha256 of the clip's content, the settings and ``FORMAT``, so that an entry never goes stale. Records are
memory-mapped: a batch reads only its crops. Pickles are refused, so that a cache entry cannot run code.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engines.atomic_write import atomic_write
from engines.base import RGB
from engines.errors import SourceError, TrainError
from engines.os_errors import advice, at, reason
from engines.style_file import sha256
from rtstyle.sources.file import FileSource
from train.data.optical_flow import backward_warp, estimate_flow, occluded
from train.data.pictures import to_tensor, with_short_side
from train.data.synthetic_motion import inside

logger = logging.getLogger(__name__)

Records: TypeAlias = npt.NDArray[np.void]
"""(pairs,), with the fields of ``_record``."""

FORMAT = 1
"""Version of the entries; raise it when their layout or the choice of pairs changes."""

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".ogv", ".3gp"}
)

STILL_STEPS, STILL_SHARE = 3, 0.002
"""Two frames are the same if a smaller share of the pixels changes by more than so many 8-bit steps."""

MIN_VALID_SHARE, MAX_ERROR = 0.4, 0.01
"""Smallest share of valid pixels, and largest mean squared error there (values in [0, 1]); beyond that is a cut."""

MAX_ASPECT = 4.0
"""Largest aspect ratio of a frame: a strip, scaled to the short side, would fill the memory."""

_DIGEST_BYTES = 32


@dataclass(frozen=True)
class PairBatch:
    """Pairs of frames with the motion between them: ``warp(first, flow)`` equals ``second`` where ``valid``.

    Attributes:
        first, second: (N, 3, crop, crop), float32 in [0, 1].
        flow: (N, crop, crop, 2), float32, pixels, (x, y): for each pixel of the second frame, where in the first one
            it comes from, as ``synthetic_motion.warp`` takes it.
        valid: (N, 1, crop, crop), float32, 1 where the flow is reliable and points into the crop, else 0.
    """

    first: Tensor
    second: Tensor
    flow: Tensor
    valid: Tensor


class PairSet:
    """Pairs of frames in files of the cache, without open files or state: threads and processes may share it."""

    def __init__(self, entries: Sequence[Path], skipped: Mapping[Path, str]):
        self.entries = list(entries)
        self.skipped = dict(skipped)
        self._ends = list(accumulate(len(_records(path)) for path in self.entries))

    def __len__(self) -> int:
        """Return the number of pairs."""
        return self._ends[-1] if self._ends else 0

    def batch(self, count: int, crop: int, rng: np.random.Generator) -> PairBatch:
        """Load squares, ``crop`` pixels wide, of random pairs, mirrored half of the time.

        They are not scaled, so that the motion keeps its speed.

        Raises:
            TrainError: the crop is larger than the frames, or an entry is missing.
        """
        crops = [self._crop(int(rng.integers(len(self))), crop, rng) for _ in range(count)]
        first, second, flow, valid = (torch.cat(parts) for parts in zip(*crops, strict=True))
        return PairBatch(first, second, flow, valid * inside(flow))

    def _crop(self, index: int, crop: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        number = int(np.searchsorted(self._ends, index, side="right"))
        records = _records(self.entries[number])
        record = records[index - self._ends[number]]  # counted from the entry's end
        height, width = record["valid"].shape
        if crop > min(height, width):
            problem = f"crops of {crop} pixels do not fit clips of {height}×{width}"
            raise TrainError(problem, hint="use smaller crops or larger clips")
        top, left = int(rng.integers(height - crop + 1)), int(rng.integers(width - crop + 1))
        mirrored = rng.random() < 0.5
        part = (slice(top, top + crop), slice(left, left + crop))
        first, second, flow, valid = (np.array(record[name][part]) for name in ("first", "second", "flow", "valid"))
        if mirrored:
            first, second, flow, valid = (x[:, ::-1] for x in (first, second, flow, valid))
            flow = flow * np.array([-1, 1], np.float16)
        return (
            to_tensor(first),
            to_tensor(second),
            torch.from_numpy(flow.astype(np.float32))[None],
            torch.from_numpy(valid.astype(np.float32))[None, None],
        )


@dataclass(frozen=True)
class _PairSettings:
    """Settings of the pairs; see ``build_pairs``."""

    size: int
    gap: int
    per_clip: int

    def key(self, clip: Path) -> str:
        """Return the key of a clip's entry, 64 hex digits."""
        return hashlib.sha256(f"{FORMAT} {asdict(self)} {sha256(clip)}".encode()).hexdigest()


def clip_files(folder: Path) -> list[Path]:
    """List the clips under a folder, recursively, in a fixed order.

    Raises:
        TrainError: the folder does not exist or contains no clips.
    """
    if not folder.is_dir():
        raise TrainError(f"no such folder: {folder}", hint="--clips takes a folder of video files")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    files = [path for path in found if path.is_file()]
    if not files:
        raise TrainError(f"no clips in {folder}", hint=f"looked for {', '.join(sorted(SUFFIXES))}")
    return files


def build_pairs(files: Sequence[Path], cache: Path, size: int, gap: int = 1, per_clip: int = 40) -> PairSet:
    """Return the pairs of all clips; decode and match those that are not in the cache.

    Args:
        files: clips; unusable ones are skipped with a warning.
        cache: folder of the entries, created if needed. Several processes may use it at once.
        size: short side of the stored frames, pixels.
        gap: number of frames from the first of a pair to the second.
        per_clip: most pairs of one clip, spread evenly over it.

    Raises:
        TrainError: no clip can be used, or the cache cannot be written.
    """
    settings = _PairSettings(size, gap, per_clip)
    try:
        cache.mkdir(parents=True, exist_ok=True)  # before any clip is decoded
    except OSError as error:
        problem = f"cannot store the clips' pairs in {cache}: {error.strerror}"
        raise TrainError(problem, hint="choose another cache folder") from error
    entries: list[Path] = []
    skipped: dict[Path, str] = {}
    for number, file in enumerate(files, 1):
        try:
            entry = _entry(file, cache, settings)
            cached = _is_intact(entry)
            if not cached:
                _write(entry, _extract(file, settings))
            pairs = len(_records(entry))
            if not pairs:
                raise SourceError("nothing moves, or it is too short")
        except SourceError as error:
            skipped[file] = str(error)
            logger.warning("skipped the clip %s: %s", file.name, error)
            continue
        entries.append(entry)
        if not cached:
            logger.info("motion of clip %d of %d: %d pairs from %s", number, len(files), pairs, file.name)
    if not entries:
        raise TrainError("none of the clips can be used", hint=next(iter(skipped.values()), "add at least one"))
    return PairSet(entries, skipped)


def _entry(file: Path, cache: Path, settings: _PairSettings) -> Path:
    try:
        return cache / f"{settings.key(file)}.pairs"
    except OSError as error:
        raise SourceError(f"cannot read {at(error, file)}: {reason(error)}", hint=advice(error)) from error


def _extract(file: Path, settings: _PairSettings) -> Records:
    """Decode a clip once and take a pair from each of ``per_clip`` equal parts of it."""
    found = 0
    records = np.empty(0, _record(0, 0))
    recent: deque[RGB] = deque(maxlen=settings.gap + 1)
    with closing(FileSource(str(file))) as source:
        info = source.info
        if max(info.width, info.height) > MAX_ASPECT * min(info.width, info.height):
            raise SourceError(f"its frames are too long and narrow: {info.width}×{info.height} pixels")
        part = max(1.0, ((info.frame_count or _count_frames(file)) - settings.gap) / settings.per_clip)
        due = float(settings.gap)
        for index, frame in enumerate(source.frames()):
            recent.append(frame.rgb)
            if index < due or recent[0].shape != recent[-1].shape:
                continue
            first, second = (with_short_side(x, settings.size) for x in (recent[0], recent[-1]))
            if not found:
                # Pages that are never written take no memory.
                records = np.zeros(settings.per_clip, _record(*first.shape[:2]))
            if first.shape[:2] != records["valid"].shape[1:] or _still(first, second):
                continue  # the next frame may be better
            due = settings.gap + part * (1 + (index - settings.gap) // part)
            found += _match(first, second, records[found : found + 1])
            if found == settings.per_clip:
                break
    return records[:found]


def _record(height: int, width: int) -> np.dtype[np.void]:
    """Return the type of a pair; ``flow`` and ``valid`` are on the grid of the second frame."""
    rgb, flow = (height, width, 3), (height, width, 2)
    return np.dtype([("first", "u1", rgb), ("second", "u1", rgb), ("flow", "<f2", flow), ("valid", "?", rgb[:2])])


def _count_frames(file: Path) -> int:
    """Count the frames of a clip whose container does not say."""
    with closing(FileSource(str(file))) as source:
        return sum(1 for _ in source.frames())


def _still(first: RGB, second: RGB) -> bool:
    """Return True if the frames are the same, as in a clip whose frame rate was raised."""
    changed = np.abs(second.astype(np.int16) - first) > STILL_STEPS
    return bool(changed.any(-1).mean() < STILL_SHARE)


def _match(first: RGB, second: RGB, record: Records) -> bool:
    """Estimate the motion of a pair into ``record``; return False if there is a cut or too much motion."""
    backward = estimate_flow(second, first)
    valid = ~occluded(backward, estimate_flow(first, second))
    if valid.mean() < MIN_VALID_SHARE:
        return False
    error = ((second - backward_warp(first, backward)) / 255.0)[valid]
    if float((error**2).mean()) > MAX_ERROR:
        return False
    record[0] = (first, second, backward, valid)
    return True


def _records(entry: Path) -> Records:
    """Map an entry into memory."""
    try:
        records: Records = np.load(entry, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise TrainError(f"the clips' cache lost {entry}", hint="start again to rebuild it") from error
    return records


def _is_intact(entry: Path) -> bool:
    """Return True if the entry exists and its hash is right."""
    try:
        data = np.memmap(entry, np.uint8, "r")
    except (OSError, ValueError):  # an empty file cannot be mapped
        return False
    return hashlib.sha256(data[:-_DIGEST_BYTES].data).digest() == data[-_DIGEST_BYTES:].tobytes()


def _write(entry: Path, records: Records) -> None:
    """Write an entry atomically."""
    try:
        with atomic_write(entry, durable=True) as file:
            np.save(file, records, allow_pickle=False)
            file.seek(0)
            file.write(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise TrainError(
            f"cannot store the clips' pairs in {entry.parent}: {error.strerror}", hint="free some disk space"
        ) from error
