"""The log of a run: history, report, TensorBoard curves, contact sheets."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, Self

import torch
from torch import Tensor

from engines.errors import StylerError, TrainError
from train.adversary import Adversary
from train.config.schema import TrainConfig
from train.data.pictures import Pictures
from train.distributed import SINGLE_PROCESS, ProcessGroup
from train.export import snapshot
from train.flicker_probe import FlickerProbe, make_probe
from train.report import REFRESH_S, REPORT, State, Status, write_report
from train.report.contact_sheet import save_sheet
from train.report.history import HISTORY, Entry, History
from train.report.tensorboard import TensorBoardWriter
from train.trainer import StepOutput, Trainer

logger = logging.getLogger(__name__)

TENSORBOARD_DIR = "board"
"""Folder of the TensorBoard events in the run folder."""


def gradient_shares(
    output: StepOutput, terms: Mapping[str, Tensor], weights: Mapping[str, float], group: ProcessGroup = SINGLE_PROCESS
) -> dict[str, float]:
    """Return the gradient norm of each weighted term, ‖w ∂L/∂y‖, as a share of the sum over the terms.

    It is taken at the generator's output y, which saves the passes through the generator, and keeps the graph for the
    real backward pass. Every process must call it.
    """
    squares = {}
    for name, value in terms.items():
        if not (weights[name] and value.requires_grad):
            continue
        slopes = torch.autograd.grad(value, output.raw, retain_graph=True, allow_unused=True)
        squares[name] = sum(float(slope.float().square().sum()) for slope in slopes if slope is not None)
    together = group.sum(list(squares.values()))
    norms = {name: weights[name] * square**0.5 for name, square in zip(squares, together, strict=True)}
    whole = sum(norms.values())
    return {name: norm / whole for name, norm in norms.items()} if whole > 0 else {}


class NullRunLog:
    """Log of the processes that do not write: does nothing."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def __enter__(self) -> Self:
        return self

    def is_due(self) -> bool:
        """Return True if the coming step is logged, with gradient shares: measuring those takes all processes."""
        step, config = self.trainer.step + 1, self.trainer.config
        last = config.schedule.steps if config.schedule.minutes is None else None
        return step % config.run.report_steps == 0 or step == last

    def add_wait(self, seconds: float) -> None:
        """Do nothing."""

    def add(
        self, losses: Mapping[str, float], game: Mapping[str, float], shares: Mapping[str, float], rate: float
    ) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Do nothing."""

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


class RunLog(NullRunLog):
    """Log of a run, whose trainer is already restored; as a context manager it also records how the run ended."""

    def __init__(self, trainer: Trainer, adversary: Adversary | None, pictures: Pictures) -> None:
        super().__init__(trainer)
        self.adversary, self.pictures = adversary, pictures
        self.config: TrainConfig = trainer.config
        self.out: Path = self.config.run.out
        self.history = History.open(self.out / HISTORY, trainer.step)
        self.board = TensorBoardWriter.open(self.out / TENSORBOARD_DIR, trainer.step)
        self.waited_s, self.since_s = 0.0, time.monotonic()
        self.losses, self.game = _Means(), _Means()
        self.steadiness: Mapping[str, float] = {}
        self.problem = ""
        self.reported_s = self.snapshot_s = 0.0

    def __enter__(self) -> Self:
        self._report("running")
        logger.info("watch the training in %s", self.out / REPORT)
        return self

    def add_wait(self, seconds: float) -> None:
        """Add time that a step waited for its pictures."""
        self.waited_s += seconds

    def add(
        self, losses: Mapping[str, float], game: Mapping[str, float], shares: Mapping[str, float], rate: float
    ) -> None:
        """Add a finished step; save a contact sheet and log the means of the last steps if they are due.

        Both are due at the last step, however short the run is.

        ``game`` holds losses and metrics of the adversary, ``shares`` the gradient shares; both may be empty.
        """
        self.losses.add(losses)
        self.game.add(game)
        is_last = self.trainer.share >= 1.0
        if is_last or self.trainer.step % self.config.run.sheet_steps == 0:
            self._sheet()
        if is_last or self.trainer.step % self.config.run.report_steps == 0:
            self._write(shares, rate)
        # A step may take seconds, and on a fast machine the page would take longer than the steps that it shows.
        if time.monotonic() - self.reported_s >= REFRESH_S:
            self._report("running", self._check_game())
        self._snapshot()

    def _snapshot(self) -> None:
        """Save the unfinished style if it is due."""
        every_s = self.config.run.snapshot_seconds
        if not every_s or time.monotonic() - self.snapshot_s < every_s:
            return
        try:
            snapshot(self.trainer)
        except StylerError as error:
            logger.warning("no preview: %s", error)
        self.snapshot_s = time.monotonic()

    def _write(self, shares: Mapping[str, float], rate: float) -> None:
        now_s = time.monotonic()
        game: dict[str, Any] = self.game.take()
        entry = Entry(
            step=self.trainer.step,
            seconds=self.trainer.seconds,
            learning_rate=rate,
            losses=self.losses.take(),
            shares=shares,
            steadiness=self.steadiness,
            data_wait=self.waited_s / max(now_s - self.since_s, 1e-9),
            **game,
        )
        self.waited_s, self.since_s, self.steadiness = 0.0, now_s, {}
        self.history.add(entry)
        self.board.add(entry)
        self._check_game()

    def _sheet(self) -> None:
        """Save a contact sheet, and measure temporal consistency for the next entry."""
        path = self.out / f"sheet-{self.trainer.step:06d}.jpg"
        save_sheet(path, self.trainer.stylize_picture, self.pictures)
        if path.exists():
            self.board.add_sheet(self.trainer.step, path)
        if self._probe is not None:
            self.steadiness = self._probe.measure(self.trainer.stylize_picture)

    @cached_property
    def _probe(self) -> FlickerProbe | None:
        return make_probe(self.config, self.pictures)

    def flush(self) -> None:
        """Flush the curves to disk. Call it with each checkpoint: a resumed run does not repeat the steps before it."""
        self.board.flush()

    def _check_game(self) -> str:
        """Return what is wrong in the game, if anything, and warn once about each problem."""
        problem = (self.adversary.monitor.problem() if self.adversary is not None else None) or ""
        sentence = re.sub(r"\d[\d.]*", "", problem)  # its figures change at every entry
        if sentence and sentence != self.problem:
            logger.warning("%s", problem)
        self.problem = sentence
        return problem

    def _report(self, state: State, message: str = "") -> None:
        self.reported_s = time.monotonic()
        share, seconds = self.trainer.share, self.trainer.seconds
        left = seconds * (1 - share) / share if share > 0 else None
        write_report(self.out, self.history, self.config.to_dict(), Status(share, seconds, left, state, message))

    def __exit__(self, *raised: object) -> None:
        error = raised[1]
        self.board.close()
        # A report that cannot be written must not hide why the run ends.
        try:
            if error is None:
                self._report("finished" if self.trainer.share >= 1.0 else "stopped", self._check_game())
            elif isinstance(error, KeyboardInterrupt):
                self._report("stopped", "Stopped at once: the steps after the last checkpoint will be repeated.")
            else:
                self._report("failed", str(error) or type(error).__name__)
        except TrainError as failure:
            logger.warning("the report is not up to date: %s", failure.problem)


class _Means:
    """Means of named numbers, each over the steps it occurred in."""

    def __init__(self) -> None:
        self.seen: dict[str, list[float]] = {}

    def add(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.seen.setdefault(name, []).append(value)

    def take(self) -> dict[str, float]:
        """Return the means, in order of first occurrence, and start again."""
        means = {name: fmean(values) for name, values in self.seen.items()}
        self.seen.clear()
        return means
