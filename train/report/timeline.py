"""The contact sheets of a run, from first to last, shrunk to be embedded in a page."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from engines.errors import TrainError
from rtstyle.style_previews import jpeg
from train.data.pictures import read_picture
from train.html import Html, picture

MAX_SHEETS = 8
"""Largest number of sheets in a page."""

SIDE = 960
"""Longer side of a sheet in a page, pixels."""

LIMIT = 180_000
"""Largest sheet in a page, bytes. All of them in base64, the newest twice, stay under 2.5 MB."""

NAME = re.compile(r"sheet-(\d+)\.jpg")


@dataclass(frozen=True)
class Sheet:
    """The contact sheet of a step, as an HTML image."""

    step: int
    picture: Html


def sheets(out: Path) -> list[Sheet]:
    """Return up to ``MAX_SHEETS`` contact sheets, evenly spread over the run; damaged ones are left out."""
    found = sorted((int(match[1]), path) for path in out.glob("sheet-*.jpg") if (match := NAME.fullmatch(path.name)))
    if len(found) > MAX_SHEETS:
        found = [found[round(i * (len(found) - 1) / (MAX_SHEETS - 1))] for i in range(MAX_SHEETS)]
    return list(_readable(found))


def _readable(found: list[tuple[int, Path]]) -> Iterator[Sheet]:
    for step, path in found:
        try:
            yield Sheet(step, _embedded(path, path.stat().st_mtime_ns, step))
        except (TrainError, OSError):  # damaged or just deleted; the report must not fail
            continue


@functools.lru_cache(maxsize=2 * MAX_SHEETS)
def _embedded(path: Path, changed_ns: int, step: int) -> Html:  # noqa: ARG001  # a changed file is read again
    """Shrink and encode a sheet, once for all reports that show it."""
    rgb = read_picture(path)
    scale = min(1.0, SIDE / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return picture(jpeg(small, LIMIT), f"photographs and stylized pictures at step {step}")
