"""From a trained painter to a style on disk whose engines agree."""

from __future__ import annotations

import platform
import re
from datetime import UTC, datetime
from typing import Any

import numpy as np

import engines
from engines.errors import TrainError
from engines.export import rounded, save_style
from engines.model.generator import Generator, fold
from engines.style_file import StyleMeta, StyleModel
from train.data.pictures import picture_files, read_picture, split
from train.report.contact_sheet import cell, paint
from train.report.preview import small_preview
from train.trainer import Painter, versions

TOLERANCE = 2
"""Largest difference between two engines on one pixel, 8-bit steps; both compute in fp32."""


def finish(painter: Painter, *, title: str = "", artist: str = "", licence: str = "unspecified") -> StyleModel:
    """Freeze, fold, export to ``OUT/style``, and verify that every engine paints the same picture.

    Args:
        painter: trained.
        title: of the work.
        artist: who painted it.
        licence: of the style.

    Returns:
        the style on disk.

    Raises:
        TrainError: two engines disagree. StyleError: the folder cannot be written.
    """
    config = painter.config
    name = re.sub(r"[^a-z0-9]+", "-", config.name.lower()).strip("-")[:64] or "style"
    meta = StyleMeta(
        name=name, title=title or name, painter=artist, work=title, licence=licence, training=record(painter)
    )
    trained = painter.result
    assert isinstance(trained, Generator)  # the engines know no other network
    plain = rounded(fold(trained))
    preview = small_preview(lambda rgb: paint(plain, rgb))
    model = save_style(config.run.out / "style", plain, meta, preview)
    verify(model, painter)
    return model


def record(painter: Painter) -> dict[str, Any]:
    """What it takes to train the same style again: settings, the data by hash, versions."""
    config = painter.config
    settings = config.to_dict()
    # With `init` the shape is that of the style it started from, whatever the settings say.
    settings["generator"] |= painter.shape["arch"]
    return {
        "settings": settings,
        "changes": painter.changes,
        "steps_done": painter.step,
        "processes": painter.world.size,
        "minutes": round(painter.seconds / 60, 1),
        "data": painter.data_hashes,
        "content_pictures": len(split(picture_files(config.data.content), config.data.hold_out)[0]),
        "versions": versions(),
        "machine": platform.machine(),
        "finished": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def verify(model: StyleModel, painter: Painter) -> None:
    """Paint a part of the style picture with the engines that run without a GPU and compare.

    Of all pictures it is one that is known to be readable, or there would be no painter.

    Raises:
        TrainError: they differ by more than ``TOLERANCE`` somewhere.
    """
    picture = cell(read_picture(painter.paintings[0]))
    results = {}
    for name in ("torch", "cpu"):
        engine = engines.load(model, name)
        results[name] = engine(picture).astype(np.int16)
        engine.close()
    worst = int(np.abs(results["torch"] - results["cpu"]).max())
    if worst > TOLERANCE:
        raise TrainError(
            f"the torch and cpu engines differ by {worst} of 255 on one picture",
            hint=f"the style is in {model.folder}; please report this",
        )
