"""Pairs of frames from real clips, with the motion between them, estimated once and kept on disk.

    cache/
      <key>.pairs    NumPy's .npy format, one record for each pair, then the sha256 of all bytes before it

The key is the sha256 of the clip's content, of the settings and of ``FORMAT``, so an entry never goes stale: a clip
that was changed, or asked for otherwise, is another entry. Records are mapped, not read: a batch touches only the
crops it shows. Nothing here can run code: pickles are refused.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
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
from engines.errors import ConfigError, SourceError, TrainError
from engines.style_file import sha256
from rtstyle.commands.options import warn
from rtstyle.sources.file import FileSource
from train.data.optical_flow import estimate_flow, occluded, pull
from train.data.pictures import to_tensor, with_short_side
from train.data.synthetic_motion import inside

Records: TypeAlias = npt.NDArray[np.void]
"""(pairs,), fields as in ``_record``."""

FORMAT = 1
"""Version of an entry: raised when its layout or the choice of pairs changes; older entries are then not found."""

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".ogv", ".3gp"}
)

STILL_STEPS, STILL_SHARE = 3, 0.002
"""Two frames in which a smaller share of the pixels changes by more than so many 8-bit steps are one frame, twice."""

TRUSTED_SHARE, LARGEST_ERROR = 0.4, 0.01
"""Least share of trusted pixels, and largest mean squared error there (values in [0, 1]); beyond lies a cut."""

LONGEST = 4.0
"""Largest ratio of the sides of a frame: a strip, scaled to the short side, would fill the memory."""

_DIGEST_BYTES = 32


@dataclass(frozen=True)
class ClipProgress:
    """One clip is done.

    Attributes:
        file: the clip.
        number, total: which one of how many, from 1.
        pairs: that it gave; 0 when it was skipped.
        cached: they were there already.
    """

    file: Path
    number: int
    total: int
    pairs: int
    cached: bool


@dataclass(frozen=True)
class PairBatch:
    """Frames of clips with the motion between them: ``warp(first, flow)`` is ``second`` where ``valid``.

    Attributes:
        first, second: (N, 3, crop, crop), float32 in [0, 1].
        flow: (N, crop, crop, 2), float32, pixels, (x, y), as ``motion.warp`` takes it: on the grid of the second
            frame, where in the first one each pixel comes from.
        valid: (N, 1, crop, crop), float32, 1 where the flow is trusted and points into the crop, else 0.
    """

    first: Tensor
    second: Tensor
    flow: Tensor
    valid: Tensor


class PairSet:
    """Pairs of frames on disk. Holds no open files and no state: it may be shared by threads and processes.

    Args:
        entries: files in the cache.
        skipped: why clips gave nothing.
    """

    def __init__(self, entries: Sequence[Path], skipped: Mapping[Path, str]):
        self.entries = list(entries)
        self.skipped = dict(skipped)
        self._ends = list(accumulate(len(_records(path)) for path in self.entries))

    def __len__(self) -> int:
        """How many pairs there are."""
        return self._ends[-1] if self._ends else 0

    def batch(self, count: int, crop: int, rng: np.random.Generator) -> PairBatch:
        """Random squares of random pairs, mirrored half of the time; a function of the state of ``rng`` alone.

        Args:
            count: pairs.
            crop: side of the squares, pixels; never scaled, so the motion keeps its speed.
            rng: of choice, place and mirroring.

        Raises:
            TrainError: the crop is larger than the frames, or an entry has gone.
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
            raise TrainError(
                f"crops of {crop} pixels do not fit clips of {height}×{width}", hint="smaller crops or larger clips"
            )
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
class _Wanted:
    """What to take from each clip; see ``build_pairs``."""

    size: int
    gap: int
    per_clip: int

    def __post_init__(self) -> None:
        """Raises: ConfigError: naming every field that is wrong."""
        checks = [
            (self.size >= 64, f"the clips' short side must be at least 64 pixels, got {self.size}"),
            (1 <= self.gap <= 16, f"the gap must be 1 to 16 frames, got {self.gap}"),
            (self.per_clip >= 1, f"pairs for each clip must be at least 1, got {self.per_clip}"),
        ]
        faults = [fault for holds, fault in checks if not holds]
        if faults:
            raise ConfigError("; ".join(faults))

    def key(self, clip: Path) -> str:
        """Name of the entry, 64 hex digits.

        Raises:
            OSError: the clip cannot be read.
        """
        return hashlib.sha256(f"{FORMAT} {asdict(self)} {sha256(clip)}".encode()).hexdigest()


def clip_files(folder: Path) -> list[Path]:
    """Clips under a folder, recursively, in a fixed order.

    Raises:
        TrainError: no such folder, or nothing in it that looks like a clip.
    """
    if not folder.is_dir():
        raise TrainError(f"no such folder: {folder}", hint="--clips takes a folder of video files")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    files = [path for path in found if path.is_file()]
    if not files:
        raise TrainError(f"no clips in {folder}", hint=f"looked for {', '.join(sorted(SUFFIXES))}")
    return files


def build_pairs(
    files: Sequence[Path],
    cache: Path,
    size: int,
    gap: int = 1,
    per_clip: int = 40,
    *,
    on_progress: Callable[[ClipProgress], None] = lambda _: None,
    on_warning: Callable[[str], None] = warn,
) -> PairSet:
    """Pairs of all clips: from the cache, or decoded, matched and put there.

    Args:
        files: clips.
        cache: folder of the entries; made when it is not there. Several processes may use it at once.
        size: short side of the stored frames, pixels.
        gap: frames from the first of a pair to the second.
        per_clip: most pairs of one clip, spread evenly over it.
        on_progress: called after every clip.
        on_warning: called once for every clip that gives nothing, with one line that names it.

    Raises:
        TrainError: no clip gives a pair, or the cache cannot be written.
        ConfigError: a setting is out of range.
    """
    wanted = _Wanted(size, gap, per_clip)
    _make(cache)
    entries: list[Path] = []
    skipped: dict[Path, str] = {}
    for number, file in enumerate(files, 1):
        pairs, cached = 0, False
        try:
            entry, cached = _entry(file, cache, wanted)
            pairs = len(_records(entry))
            if not pairs:
                raise SourceError("nothing moves in it, or it is too short")
            entries.append(entry)
        except SourceError as error:
            skipped[file] = str(error)
            on_warning(f"the clip {file.name} is skipped: {error}")
        on_progress(ClipProgress(file, number, len(files), pairs, cached))
    if not entries:
        raise TrainError("none of the clips can be used", hint=next(iter(skipped.values()), "give at least one"))
    return PairSet(entries, skipped)


def _make(cache: Path) -> None:
    """Before the first clip is decoded, for its pairs will have to go there. Raises: TrainError: it cannot be made."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainError(f"cannot keep the clips' pairs in {cache}: {error.strerror}", hint="name a folder") from error


def _entry(file: Path, cache: Path, wanted: _Wanted) -> tuple[Path, bool]:
    """The entry of a clip, and whether it was there.

    Raises:
        SourceError: the clip cannot be read or decoded. TrainError: the entry cannot be written.
    """
    try:
        entry = cache / f"{wanted.key(file)}.pairs"
    except OSError as error:
        raise SourceError(f"{error.strerror or error}") from error
    cached = _whole(entry)
    if not cached:
        _write(entry, _extract(file, wanted))
    return entry, cached


def _extract(file: Path, wanted: _Wanted) -> Records:
    """Decode a clip once and take a pair from each of ``per_clip`` equal parts of it.

    Raises:
        SourceError: it cannot be decoded, or its frames are strips.
    """
    found = 0
    records = np.empty(0, _record(0, 0))
    recent: deque[RGB] = deque(maxlen=wanted.gap + 1)
    with closing(FileSource(str(file))) as source:
        info = source.info
        if max(info.width, info.height) > LONGEST * min(info.width, info.height):
            raise SourceError(f"its frames are strips of {info.width}×{info.height} pixels")
        part = max(1.0, ((info.frame_count or _count(file)) - wanted.gap) / wanted.per_clip)
        due = float(wanted.gap)
        for index, frame in enumerate(source.frames()):
            recent.append(frame.rgb)
            if index < due or recent[0].shape != recent[-1].shape:
                continue
            first, second = (with_short_side(x, wanted.size) for x in (recent[0], recent[-1]))
            if not found:
                # Pages that no pair is written to take no memory.
                records = np.zeros(wanted.per_clip, _record(*first.shape[:2]))
            if first.shape[:2] != records["valid"].shape[1:] or _still(first, second):
                continue  # the next frame may be better
            due = wanted.gap + part * (1 + (index - wanted.gap) // part)
            found += _match(first, second, records[found : found + 1])
            if found == wanted.per_clip:
                break
    return records[:found]


def _record(height: int, width: int) -> np.dtype[np.void]:
    """One pair; ``flow`` and ``valid`` are on the grid of the second frame."""
    return np.dtype(
        [
            ("first", "u1", (height, width, 3)),
            ("second", "u1", (height, width, 3)),
            ("flow", "<f2", (height, width, 2)),
            ("valid", "?", (height, width)),
        ]
    )


def _count(file: Path) -> int:
    """Frames of a clip that does not tell."""
    with closing(FileSource(str(file))) as source:
        return sum(1 for _ in source.frames())


def _still(first: RGB, second: RGB) -> bool:
    """The second frame is the first one again, as where a clip was brought to a higher rate."""
    changed = np.abs(second.astype(np.int16) - first) > STILL_STEPS
    return bool(changed.any(-1).mean() < STILL_SHARE)


def _match(first: RGB, second: RGB, record: Records) -> bool:
    """Estimate the motion of a pair and write it down; False where a cut, or too much, lies between the frames."""
    backward = estimate_flow(second, first)
    valid = ~occluded(backward, estimate_flow(first, second))
    if valid.mean() < TRUSTED_SHARE:
        return False
    error = ((second - pull(first, backward)) / 255.0)[valid]
    if float((error**2).mean()) > LARGEST_ERROR:
        return False
    record[0] = (first, second, backward, valid)
    return True


def _records(entry: Path) -> Records:
    """Map an entry. Raises: TrainError: it has gone."""
    try:
        records: Records = np.load(entry, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise TrainError(f"the clips' cache has lost {entry}", hint="start again: it will be rebuilt") from error
    return records


def _whole(entry: Path) -> bool:
    """The entry is there and its bytes are those that were written."""
    try:
        data = np.memmap(entry, np.uint8, "r")
    except (OSError, ValueError):  # an empty file cannot be mapped
        return False
    return hashlib.sha256(data[:-_DIGEST_BYTES].data).digest() == data[-_DIGEST_BYTES:].tobytes()


def _write(entry: Path, records: Records) -> None:
    """Other processes see a whole entry or none.

    Raises:
        TrainError: the disk is full or the folder cannot be written.
    """
    try:
        with atomic_write(entry, durable=True) as file:
            np.save(file, records, allow_pickle=False)
            file.seek(0)
            file.write(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise TrainError(
            f"cannot keep the clips' pairs in {entry.parent}: {error.strerror}", hint="free some space"
        ) from error
