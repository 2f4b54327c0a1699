"""How much of a face is left: structural similarity within the boxes of faces, all styles, with and without `--faces`.

python -m benchmarks.faces
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import cv2
import numpy as np

from benchmarks.quality import HELD_OUT
from benchmarks.report import Row, Section, at_least
from benchmarks.subject import NotMeasuredError, Subject
from engines.base import RGB, StrengthMap
from engines.openvino.engine import CpuEngine
from engines.style_file import StyleModel
from engines.vision.face_network import Face, FaceNetwork
from rtstyle import style_library
from rtstyle.masks.faces import FaceMask, squared
from train.data.pictures import picture_files, read_picture, split
from train.evaluate.similarity import ssim

SHORT_SIDE = 360
"""Of the pictures, as of a 640×360 camera, pixels."""

PICTURES = 28
"""Pictures that are looked at; training has held out the first ``HELD_OUT`` of them."""

LEAST_SIDE = 40
"""Smaller boxes hold too few pixels for the window of SSIM."""

KEPT, SSIM, ALONE, WORST = 0.5, 0.6, 0.5, 0.35
"""Share of `--faces`, and the bars: median with it, and median and smallest without."""

Portrait = tuple[RGB, list[tuple[slice, slice]], StrengthMap]


def measure(subject: Subject) -> Section:
    """Compare faces in photographs with their paintings."""
    if not (subject.data / "content").is_dir():
        raise NotMeasuredError(f"no pictures in {subject.data}; set RTSTYLE_DATA")
    portraits = list(_portraits(subject))
    count = sum(len(boxes) for _, boxes, _ in portraits)
    how = f"{count} faces in {len(portraits)} pictures, short side {SHORT_SIDE}, cpu"
    rows: list[Row] = []
    for entry in style_library.installed():
        engine = CpuEngine(StyleModel.open(style_library.find(entry.name)))
        alone = _similarities(engine, portraits, 0.0)
        kept = _similarities(engine, portraits, KEPT)
        engine.close()
        rows += [
            at_least(f"`{entry.name}`", f"SSIM, median of {how}", median(alone), ALONE, "", 2),
            at_least(f"`{entry.name}`", "smallest of them", min(alone), WORST, "", 2),
            at_least(f"`{entry.name}`", f"median with `--faces {KEPT:g}`", median(kept), SSIM, "", 2),
        ]
    notes = [
        "Boxes are those of the face detector.",
        f"{PICTURES} pictures were looked at. {HELD_OUT} are held out of training, which has seen crops of the others.",
    ]
    return Section("faces", "Faces", "all styles", rows, notes)


def _portraits(subject: Subject) -> Iterator[Portrait]:
    """Yield the pictures with faces, the boxes of the faces, and the mask of them."""
    network, mask = FaceNetwork(), FaceMask()
    for file in split(picture_files(subject.data / "content"), PICTURES)[1]:
        rgb = read_picture(file)
        scale = SHORT_SIDE / min(rgb.shape[:2])
        size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        boxes = [_box(face, *rgb.shape[:2]) for face in network(squared(rgb))]
        boxes = [(rows, columns) for rows, columns in boxes if rows.stop - rows.start >= LEAST_SIDE]
        mask.forget()
        if boxes:
            yield rgb, boxes, mask(rgb)


def _box(face: Face, height: int, width: int) -> tuple[slice, slice]:
    """Return the rows and columns of a face in a frame, from its place in the network's square."""
    unit = max(height, width)
    x, y = face.x * unit - (unit - width) / 2, face.y * unit - (unit - height) / 2
    half_height, half_width = face.height * unit / 2, face.width * unit / 2
    return (
        slice(max(0, round(y - half_height)), min(height, round(y + half_height))),
        slice(max(0, round(x - half_width)), min(width, round(x + half_width))),
    )


def _similarities(engine: CpuEngine, portraits: list[Portrait], kept: float) -> list[float]:
    found = []
    for rgb, boxes, mask in portraits:
        stylized = engine(rgb, 1.0 - np.float32(kept) * mask if kept else 1.0)
        found += [ssim(stylized[box], rgb[box]) for box in boxes]
    return found


if __name__ == "__main__":
    from benchmarks.bench import main

    main("faces")
