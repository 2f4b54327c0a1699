"""The history of a run for TensorBoard, where its package is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import TrainError
from rtstyle.commands.options import warn
from train.data.pictures import read_picture
from train.report.history import Entry

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FLUSH_S = 20
"""Seconds after which events reach the disk: what a killed run may lose."""


class NoBoard:
    """Stands in where TensorBoard is not installed; does nothing."""

    def add(self, entry: Entry) -> None:
        """Nothing."""

    def add_sheet(self, step: int, path: Path) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Board:
    """Writes events. A board that cannot be written warns once and is silent from then on: training goes on.

    Args:
        writer: of the event file.
        on_warning: is given one line when something cannot be written.
    """

    def __init__(self, writer: SummaryWriter, on_warning: Callable[[str], None] = warn):
        self._writer: SummaryWriter | None = writer
        self._warn = on_warning

    @classmethod
    def open(cls, folder: Path, step: int, on_warning: Callable[[str], None] = warn) -> Board | NoBoard:
        """Begin an event file.

        Args:
            folder: of the event files, made where there is none.
            step: of the checkpoint that the run goes on from, 0 for a new run; later events of a part of the run that
                is done again disappear from the curves.
            on_warning: is given one line where there can be no board.
        """
        if importlib.util.find_spec("tensorboard") is None:
            on_warning("no curves for TensorBoard, it is not installed: pip install tensorboard")
            return NoBoard()
        try:
            from torch.utils.tensorboard import SummaryWriter

            writer = SummaryWriter(str(folder), purge_step=step + 1, flush_secs=FLUSH_S)
        except (ImportError, OSError) as error:
            on_warning(f"no curves for TensorBoard: {error}")
            return NoBoard()
        return cls(writer, on_warning)

    def add(self, entry: Entry) -> None:
        """One logged step: every loss, share and figure that was measured."""
        self._write(lambda writer: _add_scalars(writer, entry))

    def add_sheet(self, step: int, path: Path) -> None:
        """A contact sheet; a damaged one is left out."""
        self._write(lambda writer: writer.add_image("sheet", read_picture(path), step, dataformats="HWC"))

    def flush(self) -> None:
        """Bring everything to the disk, as when a checkpoint is written: a resumed run does not do its steps again."""
        self._write(lambda writer: writer.flush())

    def close(self) -> None:
        """Bring everything to the disk and end."""
        self._write(lambda writer: writer.close())
        self._writer = None

    def _write(self, what: Callable[[SummaryWriter], None]) -> None:
        if self._writer is None:
            return
        try:
            what(self._writer)
        except TrainError as error:  # a sheet that cannot be read
            self._warn(f"not in TensorBoard: {error.problem}")
        except OSError as error:
            self._writer = None
            self._warn(f"no more curves for TensorBoard: {error}")


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
