"""What a run tells while it goes on: its history, the report, TensorBoard, contact sheets."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from statistics import fmean
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from engines.errors import TrainError
from train.adversary import Critic
from train.config.schema import TrainConfig
from train.data.pictures import Pictures
from train.distributed import ALONE, World
from train.flicker_probe import Scene, scene_of
from train.report import REFRESH_S, State, Status, write_report
from train.report.contact_sheet import save_sheet
from train.report.history import HISTORY, Entry, History
from train.report.tensorboard import Board
from train.trainer import Painted, Painter

BOARD = "board"
"""Folder of the TensorBoard events, in that of the run."""


def gradient_shares(
    painted: Painted, terms: Mapping[str, Tensor], weights: Mapping[str, float], world: World = ALONE
) -> dict[str, float]:
    """How hard each weighted term pulls at the paintings: ‖w ∂L/∂y‖, as a share of the sum over the terms.

    Taken at the generator's output, where a term costs one pass through its own network and none through the
    generator. The graph stays for the real backward pass. Of several processes all must take part.
    """
    outputs = painted.raw
    squares = {}
    for name, value in terms.items():
        if not (weights[name] and value.requires_grad):
            continue
        slopes = torch.autograd.grad(value, outputs, retain_graph=True, allow_unused=True)
        squares[name] = sum(float(slope.float().square().sum()) for slope in slopes if slope is not None)
    together = world.sums(list(squares.values()))
    norms = {name: weights[name] * square**0.5 for name, square in zip(squares, together, strict=True)}
    whole = sum(norms.values())
    return {name: norm / whole for name, norm in norms.items()} if whole > 0 else {}


def due(painter: Painter) -> bool:
    """Whether the coming step is one that is written down."""
    step, schedule = painter.step + 1, painter.config.schedule
    return step % painter.config.run.report_steps == 0 or (schedule.minutes is None and step == schedule.steps)


class NoJournal:
    """Of the processes that do not write."""

    def __init__(self, painter: Painter) -> None:
        self.painter = painter

    def __enter__(self) -> Self:
        return self

    def due(self) -> bool:
        """Whether the coming step is one that is written down: measuring takes all processes."""
        return due(self.painter)

    def waited(self, seconds: float) -> None:
        """Nothing."""

    def add(
        self, losses: Mapping[str, float], game: Mapping[str, float], shares: Mapping[str, float], rate: float
    ) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Nothing."""

    def __exit__(self, *_: object) -> None:
        """Nothing."""


class Journal:
    """Writes down a run; as a context it also writes down how the run ended.

    Args:
        painter: of the run, restored if it is resumed.
        critic: where there is one.
        pictures: shown on the contact sheets.
        on_warning: called with one line when something cannot be written or goes wrong in the game.
    """

    def __init__(
        self, painter: Painter, critic: Critic | None, pictures: Pictures, on_warning: Callable[[str], None]
    ) -> None:
        self.painter, self.critic, self.pictures = painter, critic, pictures
        self.on_warning = on_warning
        self.config: TrainConfig = painter.config
        self.out: Path = self.config.run.out
        self.history = History.open(self.out / HISTORY, painter.step)
        self.board = Board.open(self.out / BOARD, painter.step, on_warning)
        self.waited_s, self.since_s = 0.0, time.monotonic()
        self.losses, self.game = _Means(), _Means()
        self.steadiness: Mapping[str, float] = {}
        self.told = ""
        self.reported_s = 0.0

    def __enter__(self) -> Self:
        self._report("running")
        return self

    def due(self) -> bool:
        """Whether the coming step is one that is written down."""
        return due(self.painter)

    def waited(self, seconds: float) -> None:
        """Note time that the step had to wait for its pictures."""
        self.waited_s += seconds

    def add(
        self, losses: Mapping[str, float], game: Mapping[str, float], shares: Mapping[str, float], rate: float
    ) -> None:
        """Note a step that is done; where they are due, make a contact sheet and write down the means of the steps.

        Both are due at the last step, however short the run is.

        Args:
            losses: value of each term that occurred, and ``total``.
            game: what ``Critic`` told of this step; empty while there is no game.
            shares: of the gradient, where they were measured.
            rate: the generator's learning rate.
        """
        self.losses.add(losses)
        self.game.add(game)
        is_last = self.painter.share >= 1.0
        if is_last or self.painter.step % self.config.run.sheet_steps == 0:
            self._sheet()
        if is_last or self.painter.step % self.config.run.report_steps == 0:
            self._write(shares, rate)

    def _write(self, shares: Mapping[str, float], rate: float) -> None:
        now_s, game = time.monotonic(), self.game.take()
        entry = Entry(
            step=self.painter.step,
            seconds=self.painter.seconds,
            learning_rate=rate,
            losses=self.losses.take(),
            shares=shares,
            steadiness=self.steadiness,
            discriminator=game.get("discriminator"),
            penalty=game.get("penalty"),
            accuracy=game.get("accuracy"),
            diversity=game.get("diversity"),
            data_wait=self.waited_s / max(now_s - self.since_s, 1e-9),
        )
        self.waited_s, self.since_s, self.steadiness = 0.0, now_s, {}
        self.history.add(entry)
        self.board.add(entry)
        verdict = self._verdict()
        # On a fast machine the page would otherwise cost more than the steps that it shows.
        if now_s - self.reported_s >= REFRESH_S:
            self._report("running", verdict)

    def _sheet(self) -> None:
        """Save a contact sheet, and measure how still the generator holds; the next entry tells."""
        path = self.out / f"sheet-{self.painter.step:06d}.jpg"
        save_sheet(path, self.painter.paint, self.pictures)
        if path.exists():
            self.board.add_sheet(self.painter.step, path)
        if self._scene is not None:
            self.steadiness = self._scene.steadiness(self.painter.paint)

    @cached_property
    def _scene(self) -> Scene | None:
        return scene_of(self.config, self.pictures)

    def flush(self) -> None:
        """Bring the curves to the disk, because a checkpoint is there: no run will draw their beginning again."""
        self.board.flush()

    def _verdict(self) -> str:
        """What the watch over the game says; each new sentence is also a warning."""
        verdict = (self.critic.watch.verdict() if self.critic is not None else None) or ""
        sentence = re.sub(r"\d[\d.]*", "", verdict)  # its figures are others at every entry
        if sentence and sentence != self.told:
            self.on_warning(verdict)
        self.told = sentence
        return verdict

    def _report(self, state: State, message: str = "") -> None:
        self.reported_s = time.monotonic()
        share, seconds = self.painter.share, self.painter.seconds
        left = seconds * (1 - share) / share if share > 0 else None
        write_report(self.out, self.history, self.config.to_dict(), Status(share, seconds, left, state, message))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.board.close()
        # The page must neither hide why the run ends nor end a run that is finished.
        try:
            if error is None:
                self._report("finished" if self.painter.share >= 1.0 else "stopped", self._verdict())
            elif isinstance(error, KeyboardInterrupt):
                self._report("stopped", "Stopped at once: what came after the last checkpoint will be done again.")
            else:
                self._report("failed", str(error) or type(error).__name__)
        except TrainError as failure:
            self.on_warning(f"the report is not up to date: {failure.problem}")


class _Means:
    """Means of named numbers, each over the steps in which it occurred."""

    def __init__(self) -> None:
        self.seen: dict[str, list[float]] = {}

    def add(self, values: Mapping[str, float]) -> None:
        """Note those of a step."""
        for name, value in values.items():
            self.seen.setdefault(name, []).append(value)

    def take(self) -> dict[str, float]:
        """The means, in the order in which the names came up first; the next ones begin anew."""
        means = {name: fmean(values) for name, values in self.seen.items()}
        self.seen.clear()
        return means
