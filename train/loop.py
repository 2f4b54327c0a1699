"""One visible training loop."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engines.errors import TrainError
from train import checkpoint
from train.adversary import Critic
from train.config.schema import TrainConfig
from train.data.batches import Material
from train.data.inventory import held_out_doubts, learned_from
from train.distributed import ALONE, World
from train.losses.vgg_features import load_features
from train.report import REPORT
from train.run_log import Journal, NoJournal, gradient_shares
from train.trainer import Painter

CHECKPOINT = "checkpoint.pt"

EXPLODED = 30.0
"""A smoothed total this many times above its lowest value will not come back by itself."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        step: steps done.
        share: of the run, 0 … 1.
        seconds: spent training, over all resumed parts.
        losses: value of each term at this step, unweighted, and ``total``, weighted.
    """

    step: int
    share: float
    seconds: float
    losses: Mapping[str, float]


def _silent(_text: str) -> None:
    """What the first process says need not be said twice."""


def learning_rate(config: TrainConfig, step: int, share: float) -> float:
    """Linear warm-up, then a cosine from the full rate to 1 % of it. Loshchilov and Hutter 2017, arXiv:1608.03983."""
    warm = min(1.0, (step + 1) / (config.schedule.warmup + 1))
    return config.schedule.learning_rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_warning: Callable[[str], None] = lambda text: print(f"warning: {text}", file=sys.stderr),
    on_news: Callable[[str], None] = _silent,
    stop: Callable[[], bool] = lambda: False,
    world: World = ALONE,
    kind: type[Painter] = Painter,
) -> Painter:
    """Train a generator, and with it a discriminator where the adversarial loss has a weight.

    Args:
        config: of the run.
        resume: go on from the run folder's checkpoint; bit for bit on one CPU when the run counts steps.
        on_progress: called after every step, in the process that writes.
        on_warning: called with one line about what does not stop the run, in the process that writes.
        on_news: called with one line about what is going on before the first step, in the process that writes.
        stop: asked before every step; True ends the run with a checkpoint, of all processes when one says so.
        world: which of several processes this is; they have joined.
        kind: of painter; one of another kind trains another network.

    Returns:
        the painter, its generator trained and not yet folded.

    Raises:
        TrainError: unusable pictures, features or checkpoint; a loss that is not finite, or explodes; a process
            that was lost.
    """
    told, news = (on_warning, on_news) if world.writes else (_silent, _silent)
    painter, critic, material, guard = _prepare(config, resume, told, news, world, kind)
    weights, saves = vars(config.losses), _Saves(painter, critic, guard)
    journals = Journal(painter, critic, material.pictures, on_warning) if world.writes else NoJournal(painter)
    with journals as journal, world.connected():
        news(f"to look at while it goes on: {config.run.out / REPORT}")
        asked_s = time.monotonic()
        for loaded in material.from_step(painter.step):
            began_s = time.monotonic()
            journal.waited(began_s - asked_s)
            painter.seconds, stopped = world.agreed(painter.step, painter.seconds, stop())
            share = painter.share
            if share >= 1.0 or stopped:
                break
            batch = loaded.to(painter.device)
            rate = learning_rate(config, painter.step, share)
            painter.generator.train(share < config.generator.freeze_at)
            painter.optimizer.set_learning_rate(rate)

            with _precision(config, painter.device):
                painted = painter.losses(batch.x, painter.step, batch.pairs)
                terms, played = dict(painted.terms), {}
                if critic is not None and critic.playing(painter.step):
                    played = critic.learn(painted.pictures, batch.x, painter.step, rate / config.schedule.learning_rate)
                    journal.waited(critic.waited_s)
                    terms |= critic.terms(painted.pictures, painter.step)
            total = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
            shares = gradient_shares(painted, terms, weights, world) if journal.due() else {}
            painter.optimizer.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            means = world.average(painter.generator, [*terms.values(), total])
            gradient = torch.nn.utils.clip_grad_norm_(painter.generator.parameters(), config.schedule.clip_gradient)
            named = dict(zip([*terms, "total"], means, strict=True))
            game, losses, rest = _fetched(played, named, {"gradient": gradient})
            guard.check({**game, **losses, **rest}, painter.step)
            if critic is not None and played:
                game |= critic.standing()
            painter.update()

            painter.seconds += time.monotonic() - began_s
            journal.add(losses, game, shares, rate)
            if saves.after_step():
                journal.flush()
            if on_progress is not None and world.writes:
                on_progress(Progress(painter.step, painter.share, painter.seconds, losses))
            asked_s = time.monotonic()
        saves.now()
    return painter


def _prepare(
    config: TrainConfig,
    resume: bool,
    told: Callable[[str], None],
    news: Callable[[str], None],
    world: World,
    kind: type[Painter],
) -> tuple[Painter, Critic | None, Material, _Guard]:
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    device = world.device
    with world.in_turn():
        material = Material(config, told, world)
        news(learned_from(config, material))
        for text in held_out_doubts(config.data, material):
            told(text)
        news("loading the feature networks")
        features = load_features(config.data.features, _feature_dtype(config, device)).to(device)
    painter = kind(config, features, device, world)
    for text in painter.warnings:
        told(text)
    critic = Critic(config, device, world, told) if config.losses.adversarial else None
    guard = _Guard(config)
    if world.writes:
        config.run.out.mkdir(parents=True, exist_ok=True)
    if resume:
        _restore(painter, critic, guard, told)
    return painter, critic, material, guard


def _restore(painter: Painter, critic: Critic | None, guard: _Guard, told: Callable[[str], None]) -> None:
    """Go on from the checkpoint, and tell what is not as it was."""
    state = checkpoint.load(painter.config.run.out / CHECKPOINT)
    painter.restore(state)
    files = [name for name, value in state.get("data", {}).items() if painter.data_hashes.get(name) != value]
    if files:
        told(f"other files than when the run began: {', '.join(files)}")
    for change in painter.changes:
        if change["from_step"] == painter.step:
            told(f"{change['setting']} was {change['was']} and is {change['now']} from step {painter.step} on")
    guard.restore(state.get("guard"))
    if critic is not None and state.get("critic") is not None:
        critic.restore(state["critic"])
    elif state.get("critic") is not None:
        told("the checkpoint's discriminator is dropped: losses.adversarial is 0 now")


def _fetched(*groups: Mapping[str, Tensor]) -> list[dict[str, float]]:
    """Named scalars, brought to the host: the one place of a step where it waits for the device."""
    numbers = iter(torch.stack([value for group in groups for value in group.values()]).tolist())
    return [{name: next(numbers) for name in group} for group in groups]


class _Saves:
    """Writes the checkpoint when it is due, by steps or by minutes; of several processes, the first does."""

    def __init__(self, painter: Painter, critic: Critic | None, guard: _Guard) -> None:
        self.painter, self.critic, self.guard = painter, critic, guard
        self.last_s = time.monotonic()

    def after_step(self) -> bool:
        """Whether one was due."""
        run = self.painter.config.run
        minutes = (time.monotonic() - self.last_s) / 60
        is_due = self.painter.step % run.checkpoint_steps == 0 or minutes >= run.checkpoint_minutes
        if is_due:
            self.now()
        return is_due

    def now(self) -> None:
        if not self.painter.world.writes:
            return
        beside = {"critic": None if self.critic is None else self.critic.state(), "guard": self.guard.state()}
        checkpoint.save(self.painter.config.run.out / CHECKPOINT, self.painter.state() | beside)
        self.last_s = time.monotonic()


class _Guard:
    """Stops before a step that would ruin the weights, and with them the next checkpoint.

    The adversarial term is not watched for explosions: the generator's part of some games has no zero and no bounds,
    so that any value may be a healthy one.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.weights = {name: weight for name, weight in vars(config.losses).items() if name != "adversarial"}
        self.smooth = self.first = math.nan
        self.lowest = math.inf

    def check(self, numbers: Mapping[str, float], step: int) -> None:
        """Look at a step before it is taken.

        Args:
            numbers: what the discriminator learned from, every loss term, and the gradient; the first one that is not
                finite is named, because it has spoiled those after it.
            step: of the run.

        Raises:
            TrainError: a number is not finite, or the watched losses have exploded; it names the term.
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
        # Losses that have become tiny may grow many times and still be small.
        if self.smooth > EXPLODED * max(self.lowest, 0.02 * self.first):
            worst = max(parts, key=lambda name: parts[name])
            raise self._error(f"the loss has exploded at step {step}: {now:.3g}, mostly {worst}", "--learning-rate")

    def state(self) -> dict[str, Any]:
        """What a resumed run needs, in plain values."""
        return {"scale": self._scale(), "smooth": self.smooth, "first": self.first, "lowest": self.lowest}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go on from ``state``; under other weights, or without one, the losses are met anew."""
        if state is not None and state["scale"] == self._scale():
            self.smooth, self.first, self.lowest = state["smooth"], state["first"], state["lowest"]

    def _scale(self) -> dict[str, float]:
        """Everything that says how large the losses are."""
        layers = vars(self.config.content_layers).items()
        return {**self.weights, **vars(self.config.style_layers), **{f"content_{name}": w for name, w in layers}}

    def _error(self, problem: str, rate: str) -> TrainError:
        path = self.config.run.out / CHECKPOINT
        last = f" and go on from {path} with --resume" if path.exists() else ""
        return TrainError(problem, hint=f"lower {rate}{last}")


def _precision(config: TrainConfig, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """bfloat16 for the networks in training, on a GPU; the weights stay float32."""
    if device.type == "cuda" and _in_bfloat16(config, device):
        return torch.autocast("cuda", torch.bfloat16)
    return contextlib.nullcontext()


def _feature_dtype(config: TrainConfig, device: torch.device) -> torch.dtype:
    """Of the feature networks, on any device: they are most of a step, and bfloat16 halves its time."""
    return torch.bfloat16 if _in_bfloat16(config, device) else torch.float32


def _in_bfloat16(config: TrainConfig, device: torch.device) -> bool:
    """Whether it is wanted, or left open and the device computes with it: emulated it is slower than float32."""
    if config.schedule.precision != "auto":
        return config.schedule.precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001  # there is no public question
    return supported
