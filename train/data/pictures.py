"""Pictures from a folder, as random crops that depend only on the seed and the step."""

from __future__ import annotations

import copy
import hashlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engines.base import RGB
from engines.errors import SourceError, TrainError
from engines.style_file import sha256
from rtstyle.media import image_files

T = TypeVar("T")

logger = logging.getLogger(__name__)

MEMORY_SHARE = 0.25
"""Share of the free memory for decoded photographs, and the same again for the artist's works."""

UNKNOWN_MEMORY = 8 << 30
"""Bytes assumed free if the system does not report free memory."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2", ".heic", ".heif"}
)


def picture_files(folder: Path, option: str = "--content") -> list[Path]:
    """List the pictures under the folder of an option, recursively, in a fixed order.

    Raises:
        TrainError: the folder does not exist or contains no pictures.
    """
    if not folder.is_dir():
        problem = "not a folder" if folder.exists() else "no such folder"
        raise TrainError(f"{problem}: {folder}", hint=f"{option} takes a folder of pictures")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not files:
        raise TrainError(f"no pictures in {folder}", hint=f"looked for {', '.join(sorted(SUFFIXES))}")
    return files


def split(files: Sequence[Path], hold_out: int) -> tuple[list[Path], list[Path]]:
    """Split pictures into training and held-out ones, by a hash of their names.

    Stills of clips (``frame_…``) are never held out, because their neighbours would stay in training.

    Raises:
        TrainError: no training picture would be left.
    """
    eligible = [path for path in files if not path.name.startswith("frame_")]
    held = set(sorted(eligible, key=lambda path: hashlib.sha256(path.name.encode()).digest())[:hold_out])
    rest = [p for p in files if p not in held]
    if not rest:
        raise TrainError(f"only {len(files)} pictures, of which {hold_out} are held out", hint="lower --hold-out")
    return rest, sorted(held)


def fingerprint(files: Sequence[Path]) -> str:
    """Return the sha256 of the names and contents of files, whatever their folder; of one file, its own sha256.

    A file that cannot be read counts with its name only: training skips it too.
    """
    with ThreadPoolExecutor() as pool:
        hashes = list(pool.map(_content_hash, files))
    if len(files) == 1:
        return hashes[0]
    lines = sorted(f"{file.name} {value}\n" for file, value in zip(files, hashes, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _content_hash(file: Path) -> str:
    try:
        return sha256(file)
    except OSError:
        return ""


def read_picture(path: Path) -> RGB:
    """Read a picture as ``rtstyle image`` does: upright, as sRGB, with transparent parts on white.

    Raises:
        TrainError: the file cannot be read or is not a picture.
    """
    try:
        return image_files.read_picture(path)[0]
    except SourceError as error:
        raise TrainError(error.problem, hint=error.hint) from error


def with_short_side(rgb: RGB, pixels: int) -> RGB:
    """Resize so that the short side has this many pixels."""
    height, width = rgb.shape[:2]
    scale = pixels / min(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, size, interpolation=method), dtype=np.uint8)


def to_tensor(rgb: RGB) -> Tensor:
    """Convert uint8 (H, W, 3) to float32 (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255.0


def to_picture(x: Tensor) -> RGB:
    """Convert float (1, 3, H, W) or (3, H, W), roughly in [0, 1], to uint8 (H, W, 3), clamped and rounded."""
    x = x.detach().reshape(x.shape[-3:]).clamp(0, 1)
    return np.asarray((x * 255.0 + 0.5).to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy())


def encode_jpeg(rgb: RGB, quality: int) -> bytes:
    """Encode as JPEG of this quality, 0 … 100."""
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def central_square(rgb: RGB, side: int) -> RGB:
    """Scale to the short side ``side`` and return the central square, both in pixels."""
    rgb = with_short_side(rgb, side)
    top, left = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
    return np.ascontiguousarray(rgb[top : top + side, left : left + side])


def fill(rgb: RGB, width: int, height: int) -> RGB:
    """Crop the center of a picture to the shape of ``width`` × ``height`` pixels and scale it to that size."""
    scale = max(width / rgb.shape[1], height / rgb.shape[0])
    cut_width, cut_height = max(1, round(width / scale)), max(1, round(height / scale))
    top, left = (rgb.shape[0] - cut_height) // 2, (rgb.shape[1] - cut_width) // 2
    cut = rgb[top : top + cut_height, left : left + cut_width]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(cut, (width, height), interpolation=method), dtype=np.uint8)


def random_crop(rgb: RGB, crop: int, rng: np.random.Generator) -> RGB:
    """Cut a random square, mirror it half of the time, and scale it to ``crop`` pixels.

    The square covers ``crop`` pixels, or up to twice as many in larger pictures, so that the generator sees both
    details and whole scenes.
    """
    short = min(rgb.shape[:2])
    side = int(min(short, rng.uniform(crop, max(crop, min(short, 2 * crop)))))
    top = int(rng.integers(0, rgb.shape[0] - side + 1))
    left = int(rng.integers(0, rgb.shape[1] - side + 1))
    square = rgb[top : top + side, left : left + side]
    if side != crop:
        square = with_short_side(square, crop)
    return square[:, ::-1] if rng.random() < 0.5 else square


def unscaled_crop(rgb: RGB, crop: int, rng: np.random.Generator) -> RGB:
    """Cut a random square of ``crop`` pixels at the picture's own scale, and mirror it half of the time.

    Smaller pictures are padded by reflection: enlarged, their strokes would be blurred and too large.
    """
    height, width = rgb.shape[:2]
    rgb = np.pad(rgb, ((0, max(0, crop - height)), (0, max(0, crop - width)), (0, 0)), mode="symmetric")
    top = int(rng.integers(0, rgb.shape[0] - crop + 1))
    left = int(rng.integers(0, rgb.shape[1] - crop + 1))
    square = rgb[top : top + crop, left : left + crop]
    return square[:, ::-1] if rng.random() < 0.5 else square


def memory_budget() -> int:
    """Return how many bytes of decoded pictures this process may keep."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # set by torchrun
    return int(MEMORY_SHARE * free_memory() / processes)


def free_memory(meminfo: Path = Path("/proc/meminfo"), limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Return free memory in bytes, of the machine and within the container; ``UNKNOWN_MEMORY`` if not reported."""
    free = UNKNOWN_MEMORY
    with suppress(OSError, StopIteration):
        lines = meminfo.read_text("ascii").splitlines()
        free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    with suppress(OSError, ValueError):  # "max" means no limit
        free = min(free, int(limit.read_text("ascii")))
    return free


class Pictures:
    """Batches of random crops from pictures, which are decoded when they are needed.

    A batch is a function of the seed and the step alone, so a resumed run sees the same batches, and the loader has no
    state to save.

    The place of a crop depends on all earlier draws of the batch, and these on the sizes of the pictures. So a process
    that loads a part draws for the whole batch, and decodes other pictures only while it does not know their size.

    Args:
        files: the pictures.
        batch: number of pictures in a batch.
        crop: side of a crop, pixels.
        seed: seed of choice, position and mirroring.
        places: places in the batch to load; ``None`` loads all.
        in_memory: keep decoded pictures, up to ``memory_budget``.
        short_side: scale larger pictures to this short side, pixels, and crop at that scale; ``None`` crops at several
            scales, see ``random_crop``.
        option: command line option for the pictures, for the error message.

    Raises:
        TrainError: none of the pictures can be read.
    """

    def __init__(
        self,
        files: Sequence[Path],
        batch: int,
        crop: int,
        seed: int,
        *,
        places: range | None = None,
        in_memory: bool = False,
        short_side: int | None = None,
        option: str = "--content",
    ):
        self.files = list(files)
        self.batch, self.crop, self.seed = batch, crop, seed
        self.places = range(batch) if places is None else places
        self._sizes: dict[Path, tuple[int, int]] = {}
        self.skipped: dict[Path, str] = {}
        self.short_side, self.option = short_side, option
        # A crop from a photograph of many megapixels would show only blur.
        self._max_side = 2 * crop if short_side is None else short_side
        self._cut = random_crop if short_side is None else unscaled_crop
        self.kept: dict[Path, RGB] = {}
        self.room = memory_budget() if in_memory else 0
        self._lock = threading.Lock()

    def __call__(self, step: int) -> Tensor:
        """Load the batch of a step: float32 (len(places), 3, crop, crop) in [0, 1]."""
        rng = np.random.default_rng((self.seed, step))
        own = []
        for place in range(self.batch):
            wanted = place in self.places
            square = self._cut(self._read(rng) if wanted else self._blank(rng), self.crop, rng)
            if wanted:
                own.append(to_tensor(square))
        return torch.cat(own)

    def _blank(self, rng: np.random.Generator) -> RGB:
        """Return an empty picture of the size ``_read`` would return, with the same draws from ``rng``."""
        file = self.files[int(copy.deepcopy(rng).integers(len(self.files)))]
        if file in self._sizes:
            rng.integers(len(self.files))
            return np.broadcast_to(np.uint8(0), (*self._sizes[file], 3))
        rgb = self._read(rng)
        if file not in self.skipped:  # else another picture was read
            self._sizes[file] = (rgb.shape[0], rgb.shape[1])
        return rgb

    def _read(self, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        while len(self.skipped) < len(self.files):
            path = self.files[int(rng.integers(len(self.files)))]
            if path in self.kept:
                return self.kept[path]
            try:
                rgb = read_picture(path)
            except TrainError as error:
                if path not in self.skipped:
                    self.skipped[path] = error.problem
                    logger.warning("%s; skipped, %d so far", error.problem, len(self.skipped))
                continue
            rgb = with_short_side(rgb, self._max_side) if min(rgb.shape[:2]) > self._max_side else rgb
            self._keep(path, rgb)
            return rgb
        hint = next(iter(self.skipped.values()), "add pictures")
        raise TrainError(f"none of the pictures in {self.option} can be read", hint=hint)

    def _keep(self, path: Path, rgb: RGB) -> None:
        with self._lock:
            if path not in self.kept and rgb.nbytes <= self.room:
                self.room -= rgb.nbytes
                self.kept[path] = rgb


def prefetch(make: Callable[[int], T], step: int, workers: int) -> Iterator[T]:
    """Yield ``make(step)``, ``make(step + 1)``, … without end, computed ahead by as many threads as ``workers``."""
    if workers == 0:
        yield from map(make, count(step))
    pool = ThreadPoolExecutor(workers, thread_name_prefix="pictures")
    try:
        pending, steps = deque[Future[T]](), count(step)
        while True:
            while len(pending) < workers:
                pending.append(pool.submit(make, next(steps)))
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
