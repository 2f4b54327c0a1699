"""The contact sheets of a run, from first to last, small enough to lie in a page."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from engines.errors import TrainError
from train.data.pictures import read_picture
from train.html import Html, picture
from train.report.preview import jpeg

MOST = 8
"""Sheets in a page."""

SIDE = 960
"""Longer side of a sheet in a page, pixels."""

LIMIT = 180_000
"""Largest sheet in a page, bytes: all of them, in base64, and the newest twice, stay under 2.5 MB."""

NAME = re.compile(r"sheet-(\d+)\.jpg")


@dataclass(frozen=True)
class Sheet:
    """One contact sheet.

    Attributes:
        step: at which it was painted.
        picture: the sheet, inside markup.
    """

    step: int
    picture: Html


def sheets(out: Path) -> list[Sheet]:
    """Up to ``MOST`` contact sheets of a run, evenly spread from the first to the last; damaged ones are left out."""
    found = sorted((int(match[1]), path) for path in out.glob("sheet-*.jpg") if (match := NAME.fullmatch(path.name)))
    if len(found) > MOST:
        found = [found[round(i * (len(found) - 1) / (MOST - 1))] for i in range(MOST)]
    return list(_readable(found))


def _readable(found: list[tuple[int, Path]]) -> Iterator[Sheet]:
    for step, path in found:
        try:
            yield Sheet(step, _embedded(path, path.stat().st_mtime_ns, step))
        except (TrainError, OSError):  # damaged, or deleted a moment ago: the report is no place to fail
            continue


@functools.lru_cache(maxsize=2 * MOST)
def _embedded(path: Path, changed_ns: int, step: int) -> Html:  # noqa: ARG001  # a changed file is read again
    """A sheet is painted once and shown in every report after it, so it is shrunk once."""
    rgb = read_picture(path)
    scale = min(1.0, SIDE / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return picture(jpeg(small, LIMIT), f"photographs and their paintings at step {step}")
