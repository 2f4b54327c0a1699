"""The training loop."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engines.errors import TrainError
from train import checkpoint
from train.adversary import Adversary
from train.checkpoint import CHECKPOINT
from train.config.schema import TrainConfig
from train.data.batches import Batch, BatchLoader
from train.distributed import SINGLE_PROCESS, ProcessGroup
from train.losses.vgg_features import load_features
from train.optimizer import rate_share
from train.run_log import NullRunLog, RunLog, gradient_shares
from train.trainer import Trainer

logger = logging.getLogger(__name__)

LENGTH = ("schedule.steps", "schedule.minutes")
"""Settings of the length of a run."""

EXPLODED = 30.0
"""A smoothed total this many times above its lowest value does not recover by itself."""


@dataclass(frozen=True)
class Progress:
    """Progress of a run.

    Attributes:
        share: share of the run that is done, 0 … 1.
        seconds: training time, over all resumed parts.
        losses: value of each term at this step, unweighted, and ``total``, weighted.
    """

    step: int
    share: float
    seconds: float
    losses: Mapping[str, float]


def learning_rate(config: TrainConfig, step: int, share: float) -> float:
    """Return the learning rate of a step; ``share`` is how much of the run is done."""
    return config.schedule.learning_rate * rate_share(step, config.schedule.warmup, share)


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    group: ProcessGroup = SINGLE_PROCESS,
    kind: type[Trainer] = Trainer,
) -> Trainer:
    """Train a generator, and a discriminator if the adversarial loss has a weight.

    Args:
        config: settings of the run.
        resume: continue from the checkpoint in the run folder; bit-identical on one CPU if the run counts steps.
        on_progress: called after every step, in the main process.
        stop: polled before every step; True in any process ends the run with a checkpoint.
        group: process group that this process has joined.
        kind: trainer class; a subclass may train another network.

    Returns:
        the trainer; its generator still has its normalisation.

    Raises:
        TrainError: unusable pictures, features or checkpoint; a loss that is not finite or explodes; a lost process.
    """
    run = _Run(config, resume, group, kind)
    trainer, adversary, weights = run.trainer, run.adversary, vars(config.losses)
    with run.log, group.lost_process_as_error():
        for batch in run.batches(stop):
            rate = learning_rate(config, trainer.step, trainer.share)
            trainer.optimizer.set_learning_rate(rate)
            trainer.generator.train(trainer.share < config.generator.freeze_at)

            with _precision(config, trainer.device):
                output = trainer.losses(batch)
                terms, game = dict(output.terms), {}
                if adversary is not None and adversary.is_active(trainer.step):
                    share = rate / config.schedule.learning_rate
                    game = adversary.train_step(output.pictures, batch.x, trainer.step, share)
                    terms |= adversary.generator_terms(output.pictures, trainer.step)
            total = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
            shares = gradient_shares(output, terms, weights, group) if run.log.is_due() else {}

            trainer.optimizer.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            means = group.average_gradients(trainer.generator, [*terms.values(), total])
            norm = torch.nn.utils.clip_grad_norm_(trainer.generator.parameters(), config.schedule.clip_gradient)
            losses = dict(zip([*terms, "total"], means, strict=True))
            fetched = _fetch(game, losses, {"gradient": norm})  # the one place that waits for the device
            run.guard.check(fetched, trainer.step)
            trainer.update()

            values = {name: fetched[name] for name in losses}
            run.end_step(values, {name: fetched[name] for name in game}, shares, rate)
            if on_progress is not None and group.is_main:
                on_progress(Progress(trainer.step, trainer.share, trainer.seconds, values))
        run.save()
    return trainer


class _Run:
    """Everything around the steps of a run: batches, log, checkpoints, guard."""

    def __init__(self, config: TrainConfig, resume: bool, group: ProcessGroup, kind: type[Trainer]) -> None:
        if config.run.threads:
            torch.set_num_threads(config.run.threads)
        device = group.device
        with group.main_first():
            self.loader = BatchLoader(config, group)
            self.loader.log_summary()
            logger.info("loading the feature networks")
            features = load_features(config.data.features, _feature_dtype(config, device)).to(device)
        self.trainer = kind(config, features, device, group)
        self.adversary = Adversary(config, device, group) if config.losses.adversarial else None
        self.guard = _Guard(config)
        if group.is_main:
            config.run.out.mkdir(parents=True, exist_ok=True)
        if resume:
            self._restore(checkpoint.load(config.run.out / CHECKPOINT))
        self.log = (
            RunLog(self.trainer, self.adversary, self.loader.pictures) if group.is_main else NullRunLog(self.trainer)
        )
        self.config, self.group = config, group
        self.began_s = self.saved_s = time.monotonic()

    def _restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint, and warn about everything that has changed since."""
        trainer = self.trainer
        trainer.restore(dict(state))
        files = [name for name, value in state.get("data", {}).items() if trainer.data_hashes.get(name) != value]
        if files:
            logger.warning("the files differ from those at the start of the run: %s", ", ".join(files))
        for change in trainer.changes:
            if change["from_step"] == trainer.step:
                text = "%s was %s and is %s from step %d on"
                # A longer run is what most resume for.
                level = logging.INFO if change["setting"] in LENGTH else logging.WARNING
                logger.log(level, text, change["setting"], change["was"], change["now"], trainer.step)
        self.guard.restore(state.get("guard"))
        if self.adversary is not None and state.get("critic") is not None:
            self.adversary.restore(state["critic"])
        elif state.get("critic") is not None:
            logger.warning("the discriminator in the checkpoint is dropped: losses.adversarial is now 0")

    def batches(self, stop: Callable[[], bool]) -> Iterator[Batch]:
        """Yield the batch of each step, on the device, until the run is done or stopped."""
        trainer, asked_s = self.trainer, time.monotonic()
        for batch in self.loader.from_step(trainer.step):
            self.began_s = time.monotonic()
            self.log.add_wait(self.began_s - asked_s)
            trainer.seconds, stopped = self.group.synchronise(trainer.step, trainer.seconds, stop())
            if trainer.share >= 1.0 or stopped:
                return
            yield batch.to(trainer.device)
            asked_s = time.monotonic()

    def end_step(
        self, losses: Mapping[str, float], game: dict[str, float], shares: Mapping[str, float], rate: float
    ) -> None:
        """Count the time of a step, log it, and save a checkpoint if one is due."""
        if self.adversary is not None and game:
            game |= self.adversary.metrics()
            self.log.add_wait(self.adversary.waited_s)
        now_s, settings = time.monotonic(), self.config.run
        self.trainer.seconds += now_s - self.began_s
        self.log.add(losses, game, shares, rate)
        minutes = (time.monotonic() - self.saved_s) / 60
        if self.trainer.step % settings.checkpoint_steps == 0 or minutes >= settings.checkpoint_minutes:
            self.save()
            self.log.flush()

    def save(self) -> None:
        """Save a checkpoint, in the main process."""
        if not self.group.is_main:
            return
        adversary = None if self.adversary is None else self.adversary.state()
        state = self.trainer.state() | {"critic": adversary, "guard": self.guard.state()}
        checkpoint.save(self.config.run.out / CHECKPOINT, state)
        self.saved_s = time.monotonic()


def _fetch(*groups: Mapping[str, Tensor]) -> dict[str, float]:
    """Copy named scalars to the host in one transfer."""
    names = [name for group in groups for name in group]
    values = torch.stack([value for group in groups for value in group.values()]).tolist()
    return dict(zip(names, values, strict=True))


class _Guard:
    """Stops the run before a step that would ruin the weights and the next checkpoint.

    It does not watch the adversarial term for explosions: in some games it has no zero and no bound.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.weights = {name: weight for name, weight in vars(config.losses).items() if name != "adversarial"}
        self.smooth = self.first = math.nan
        self.lowest = math.inf

    def check(self, numbers: Mapping[str, float], step: int) -> None:
        """Check the numbers of a step before the optimizer takes it.

        They are losses of the discriminator, loss terms and gradient norm, in this order: the first one that is not
        finite is reported, because it spoils the others.

        Raises:
            TrainError: a number is not finite, or the losses have exploded; the message names the term.
        """
        for name, value in numbers.items():
            if not math.isfinite(value):
                rate = "discriminator.learning_rate" if name in ("discriminator", "penalty") else "--learning-rate"
                raise self._error(f"the loss term {name} is {value} at step {step}", rate)
        parts = {name: weight * numbers[name] for name, weight in self.weights.items() if name in numbers}
        now = sum(parts.values())
        if math.isnan(self.smooth):
            self.smooth = self.first = now
        self.smooth = 0.9 * self.smooth + 0.1 * now
        self.lowest = min(self.lowest, self.smooth)
        # Tiny losses may grow many times and still be small.
        if self.smooth > EXPLODED * max(self.lowest, 0.02 * self.first):
            worst = max(parts, key=lambda name: parts[name])
            raise self._error(f"the loss has exploded at step {step}: {now:.3g}, mostly {worst}", "--learning-rate")

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs, as plain values."""
        return {"scale": self._scale(), "smooth": self.smooth, "first": self.first, "lowest": self.lowest}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Continue from a state; one with other weights is ignored."""
        if state is not None and state["scale"] == self._scale():
            self.smooth, self.first, self.lowest = state["smooth"], state["first"], state["lowest"]

    def _scale(self) -> dict[str, float]:
        """Return every setting that scales the losses."""
        layers = vars(self.config.content_layers).items()
        return {**self.weights, **vars(self.config.style_layers), **{f"content_{name}": w for name, w in layers}}

    def _error(self, problem: str, rate: str) -> TrainError:
        path = self.config.run.out / CHECKPOINT
        last = f" and continue from {path} with --resume" if path.exists() else ""
        return TrainError(problem, hint=f"lower {rate}{last}")


def _precision(config: TrainConfig, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Run the trained networks in bfloat16 on a GPU; the weights stay float32."""
    if device.type == "cuda" and _in_bfloat16(config, device):
        return torch.autocast("cuda", torch.bfloat16)
    return contextlib.nullcontext()


def _feature_dtype(config: TrainConfig, device: torch.device) -> torch.dtype:
    """Return the type of the feature networks: they take most of a step, and bfloat16 halves it."""
    return torch.bfloat16 if _in_bfloat16(config, device) else torch.float32


def _in_bfloat16(config: TrainConfig, device: torch.device) -> bool:
    if config.schedule.precision != "auto":
        return config.schedule.precision == "bf16"
    if device.type == "cuda":  # where it is emulated, it is slower than float32
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001  # there is no public function
    return supported
