"""Export a trained generator as a style."""

from __future__ import annotations

import logging
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import engines
from engines.base import RGB
from engines.errors import StylerError, TrainError
from engines.export import rounded, save_style
from engines.model.generator import Generator, fold
from engines.openvino.quantized_graph import measure_ranges
from engines.style_file import StyleMeta, StyleModel
from rtstyle.style_previews import make_preview
from train.canvas_mesh import remove_mesh
from train.config.schema import TrainConfig
from train.data.pictures import Pictures, fill, picture_files, read_picture, split
from train.inference import stylize_picture
from train.live_preview import SNAPSHOT
from train.report.contact_sheet import CELL
from train.trainer import Trainer, versions

logger = logging.getLogger(__name__)

RANGE_PICTURES, RANGE_SIDE, RANGE_SEED = 64, 384, 1
"""Number and side in pixels of the crops over which the ranges for int8 are measured, and the seed of their choice."""

TOLERANCE = 2
"""Largest difference between two engines at one pixel, 8-bit steps; both compute in fp32."""


def finish(trainer: Trainer, *, title: str = "", artist: str = "", licence: str = "unspecified") -> StyleModel:
    """Fold the trained generator, save it as ``OUT/style`` with the ranges for int8, and verify that engines agree.

    Raises:
        TrainError: two engines disagree.
        StyleError: the folder cannot be written.
    """
    config = trainer.config
    name = style_name(config)
    meta = StyleMeta(
        name=name, title=title or name, painter=artist, work=title, licence=licence, training=record(trainer)
    )
    trained = trainer.result
    assert isinstance(trained, Generator)  # the engines support no other network
    files, _ = split(picture_files(config.data.content), config.data.hold_out)
    probe = fill(read_picture(trainer.paintings[0]), *CELL)
    plain = folded(trained, config)
    remove_mesh(plain, config.generator.canvas)
    return save_finished(config.run.out / "style", rounded(plain), meta, files, probe)


def save_finished(
    folder: Path, plain: Generator, meta: StyleMeta, photographs: Sequence[Path], probe: RGB
) -> StyleModel:
    """Save a style with its preview and the ranges for int8, and verify that engines agree.

    Args:
        folder: of the style.
        plain: folded generator, its weights rounded.
        meta: description of the style.
        photographs: those that it was trained on, for the ranges.
        probe: what the engines are compared on.

    Raises:
        TrainError: two engines disagree.
        StyleError: the folder cannot be written.
    """
    model = save_style(folder, plain, meta, make_preview(lambda rgb: stylize_picture(plain, rgb)))
    verify(model, probe)
    crops = Pictures(photographs, RANGE_PICTURES, RANGE_SIDE, RANGE_SEED)(0)
    try:
        pictures = list(crops.permute(0, 2, 3, 1).mul(255).round().byte().numpy())
        return model.with_ranges(measure_ranges(model, pictures))
    except StylerError as error:  # the style itself is finished
        logger.warning("the style has no ranges for int8, and runs in fp32: %s", error)
        return model


def snapshot(trainer: Trainer) -> None:
    """Save the unfinished style in ``OUT/preview``. Raise StyleError if that is not possible."""
    trained = trainer.result
    assert isinstance(trained, Generator)
    meta = StyleMeta(style_name(trainer.config), "unfinished", "", "", "", {"steps_done": trainer.step})
    save_style(trainer.config.run.out / SNAPSHOT, folded(trained, trainer.config), meta)


def folded(trained: Generator, config: TrainConfig) -> Generator:
    """Return the network without norms, its pixels evened out, with as much of its canvas as the settings say."""
    plain = fold(trained)
    plain.even_out()
    plain.canvas.weaken(config.generator.canvas)
    return plain


def style_name(config: TrainConfig) -> str:
    """Return the name of the style as a style can have it."""
    return re.sub(r"[^a-z0-9]+", "-", config.name.lower()).strip("-")[:64] or "style"


def record(trainer: Trainer) -> dict[str, Any]:
    """Return the training record of a style: settings, hashes of the data, versions."""
    config = trainer.config
    settings = config.to_dict()
    # With `init` the shape is that of the initial style, whatever the settings say.
    settings["generator"] |= trainer.shape["arch"]
    return {
        "settings": settings,
        "changes": trainer.changes,
        "steps_done": trainer.step,
        "processes": trainer.group.size,
        "minutes": round(trainer.seconds / 60, 1),
        "data": trainer.data_hashes,
        "content_pictures": len(split(picture_files(config.data.content), config.data.hold_out)[0]),
        "versions": versions(),
        "machine": platform.machine(),
        "finished": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def verify(model: StyleModel, picture: RGB) -> None:
    """Compare the engines that need no GPU on a picture.

    Raises:
        TrainError: they differ by more than ``TOLERANCE`` somewhere.
    """
    results = {}
    for name, kind in (("torch", "torch"), ("cpu", "cpu:fp32")):
        engine = engines.load(model, kind)
        results[name] = engine(picture).astype(np.int16)
        engine.close()
    worst = int(np.abs(results["torch"] - results["cpu"]).max())
    if worst > TOLERANCE:
        raise TrainError(
            f"the torch and cpu engines differ by {worst} of 255 on one picture",
            hint=f"the style is in {model.folder}; please report this",
        )
