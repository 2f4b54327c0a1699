"""Write the history of a run for TensorBoard, if it is installed."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import TrainError
from train.data.pictures import read_picture
from train.report.history import Entry

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger(__name__)

FLUSH_S = 20
"""Interval at which events reach the disk, seconds."""


class TensorBoardWriter:
    """Write events. After a failed write it logs one warning and does nothing more, so that training continues.

    Args:
        writer: writer of the event file; ``None`` does nothing.
    """

    def __init__(self, writer: SummaryWriter | None):
        self._writer = writer

    @classmethod
    def open(cls, folder: Path, step: int) -> TensorBoardWriter:
        """Begin an event file; log a warning if that is not possible.

        Args:
            folder: folder of the event files, created if missing.
            step: step of the checkpoint that the run resumes from, 0 for a new run; later events are dropped from the
                curves, because their steps are repeated.
        """
        if importlib.util.find_spec("tensorboard") is None:
            logger.warning("no TensorBoard curves, because it is not installed: pip install tensorboard")
            return cls(None)
        try:
            from torch.utils.tensorboard import SummaryWriter

            return cls(SummaryWriter(str(folder), purge_step=step + 1, flush_secs=FLUSH_S))
        except (ImportError, OSError) as error:
            logger.warning("no TensorBoard curves: %s", error)
            return cls(None)

    def add(self, entry: Entry) -> None:
        """Write every loss, share and metric of a logged step."""
        self._write(lambda writer: _add_scalars(writer, entry))

    def add_sheet(self, step: int, path: Path) -> None:
        """Write a contact sheet; a damaged one is left out."""
        self._write(lambda writer: writer.add_image("sheet", read_picture(path), step, dataformats="HWC"))

    def flush(self) -> None:
        """Flush to disk. Call it with each checkpoint: a resumed run does not repeat the steps before it."""
        self._write(lambda writer: writer.flush())

    def close(self) -> None:
        """Flush to disk and stop writing."""
        self._write(lambda writer: writer.close())
        self._writer = None

    def _write(self, write: Callable[[SummaryWriter], None]) -> None:
        if self._writer is None:
            return
        try:
            write(self._writer)
        except TrainError as error:  # the sheet cannot be read
            logger.warning("not in TensorBoard: %s", error.problem)
        except OSError as error:
            self._writer = None
            logger.warning("no more TensorBoard curves: %s", error)


def _add_scalars(writer: SummaryWriter, entry: Entry) -> None:
    for tag, value in _scalars(entry):
        writer.add_scalar(tag, value, entry.step)


def _scalars(entry: Entry) -> Iterator[tuple[str, float]]:
    yield from ((f"loss/{name}", value) for name, value in entry.losses.items())
    yield from ((f"share/{name}", value) for name, value in entry.shares.items())
    yield from ((f"steadiness/{name}", value) for name, value in entry.steadiness.items())
    yield "run/learning_rate", entry.learning_rate
    measured = {
        "discriminator/loss": entry.discriminator,
        "discriminator/penalty": entry.penalty,
        "discriminator/accuracy": entry.accuracy,
        "discriminator/diversity": entry.diversity,
        "run/data_wait": entry.data_wait,
    }
    yield from ((tag, value) for tag, value in measured.items() if value is not None)
