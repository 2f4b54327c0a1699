"""The adversary of the generator: discriminator, its optimizer, the artist's works, and a monitor of the game."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.errors import TrainError
from train.config.schema import TrainConfig
from train.data.augment import augment
from train.data.pictures import Pictures, picture_files, prefetch
from train.distributed import SINGLE_PROCESS, ProcessGroup
from train.losses.adversarial import LOSSES, CollapseMonitor, diversity, feature_matching, gradient_penalty
from train.losses.discriminator import Discriminator, PatchScores

CELLS = 8
"""Cells per side to which pictures are averaged before their diversity is measured."""


class Adversary:
    """Learns to tell the artist's works from stylized pictures, and gives the generator its adversarial losses.

    Args:
        config: settings of the run, with ``data.style_pictures``.
        device: device of the discriminator.
        group: process group; this process judges its part of each batch.

    Attributes:
        monitor: detects when the game is lost.
        waited_s: time that the last ``train_step`` waited for the artist's works, seconds.
    """

    def __init__(self, config: TrainConfig, device: torch.device, group: ProcessGroup = SINGLE_PROCESS):
        settings, data = config.discriminator, config.data
        assert data.style_pictures is not None  # TrainConfig checks this
        self.config, self.device, self.group = config, device, group
        self.loss = LOSSES[settings.loss]
        self.discriminator = Discriminator(settings.scales, settings.width, settings.layers).to(device)
        # β1 = 0.5: with momentum the two networks chase each other in circles. Radford et al. 2016, arXiv:1511.06434.
        self.optimizer = torch.optim.Adam(
            self.discriminator.parameters(), lr=settings.learning_rate, betas=(0.5, 0.999)
        )
        # Another seed than for the photographs: the same draws would always pair the same work and photograph.
        seed, places = config.run.seed + 7919, group.places(data.batch)
        # The works have the size at which the style loss sees them, so that both agree on the size of a stroke.
        self.works = Pictures(
            picture_files(data.style_pictures, "--style-pictures"), data.batch, data.crop, seed,
            places=places, short_side=data.style_size, in_memory=data.in_memory, option="--style-pictures",
        )  # fmt: skip
        self._batches: Iterator[Tensor] | None = None
        self._number = -1
        self.monitor = CollapseMonitor(won=self.loss.ceiling)
        self.waited_s = 0.0

    def is_active(self, step: int) -> bool:
        """Return True if the game has begun; before that, the generator learns the painting's colours alone."""
        return step >= self.config.discriminator.warmup

    def train_step(self, pictures: Tensor, originals: Tensor, step: int, rate: float) -> dict[str, Tensor]:
        """Train the discriminator on a stylized batch, without making the host wait for the device.

        Args:
            pictures: stylized pictures, (N, 3, H, W) in [0, 1]; no gradient flows into them.
            originals: photographs, same shape.
            step: step of the run; random numbers depend on it and the seed alone.
            rate: share of the full learning rate, 0 … 1.

        Returns:
            the losses of the last turn, detached scalars on the device: ``discriminator`` and, for games with a
            gradient penalty, ``penalty``, its unweighted part of ``discriminator``.
        """
        settings, fake, self.waited_s = self.config.discriminator, pictures.detach(), 0.0
        rng = torch.Generator().manual_seed((self.config.run.seed * 1_000_033 + step) * 7)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = settings.learning_rate * rate
        losses: dict[str, Tensor] = {}
        for turn in range(settings.steps):
            real = self._next_works(step * settings.steps + turn)
            inputs = [self._augment(real, rng), self._augment(fake, rng)]
            of_real, of_fake = self.discriminator(inputs[0]), self.discriminator(inputs[1])
            losses = {"discriminator": self.loss.discriminator(of_real, of_fake)}
            if self.loss.penalty:
                with self.group.own_draws(rng, len(fake)):
                    losses["penalty"] = gradient_penalty(self.discriminator, inputs[0], inputs[1], rng)
                losses["discriminator"] = losses["discriminator"] + self.loss.penalty * losses["penalty"]
            self.optimizer.zero_grad(set_to_none=True)
            losses["discriminator"].backward()  # type: ignore[no-untyped-call]
            averaged = self.group.average_gradients(self.discriminator, list(losses.values()))
            losses = dict(zip(losses, averaged, strict=True))
            self.optimizer.step()
        self._scores = self._gather_scores(of_real), self._gather_scores(of_fake)
        # Diversity needs the distances between all pictures of the batch, over all processes; cells are enough.
        cells = [self.group.gather(F.adaptive_avg_pool2d(x.float(), CELLS)) for x in (fake, originals)]
        self._cells = _copy_to_host(cells[0]), _copy_to_host(cells[1])
        return losses

    def metrics(self) -> dict[str, float]:
        """Return the discriminator's ``accuracy`` and the generator's ``diversity`` in the last ``train_step``.

        Call it once per step, after something else has made the host wait for the device.
        """
        accuracy, spread = self.loss.accuracy(*self._scores), diversity(*self._cells, CELLS)
        self.monitor.add(accuracy, spread)
        return {"accuracy": accuracy} | ({} if spread is None else {"diversity": spread})

    def _next_works(self, number: int) -> Tensor:
        """Return a batch of works; threads load the following ones."""
        if self._batches is None or number != self._number + 1:
            self._batches = prefetch(self._load, number, self.config.data.workers)
        asked_s = time.monotonic()
        works = next(self._batches)
        self.waited_s += time.monotonic() - asked_s
        self._number, self._real = number, works.to(self.device, non_blocking=True)
        return self._real

    def _load(self, number: int) -> Tensor:
        works = self.works(number)
        return works.pin_memory() if self.device.type == "cuda" else works

    def generator_terms(self, pictures: Tensor, step: int) -> dict[str, Tensor]:
        """Return the generator's loss terms: ``adversarial`` and, if it has a weight, ``feature_matching``.

        Call it after ``train_step`` of the same step: it compares with the works seen last.
        """
        rng = torch.Generator().manual_seed((self.config.run.seed * 1_000_033 + step) * 7 + 1)
        # The generator must not train the discriminator: gradients pass through it, not into it.
        self.discriminator.requires_grad_(False)
        try:
            of_fake = self.discriminator(self._augment(pictures, rng))
            terms = {"adversarial": self.loss.generator(of_fake)}
            if self.config.losses.feature_matching:
                with torch.no_grad():
                    of_real = self.discriminator(self._augment(self._real, rng))
                terms["feature_matching"] = feature_matching(of_real, of_fake, self.group.mean)
        finally:
            self.discriminator.requires_grad_(True)
        return terms

    def _augment(self, x: Tensor, rng: torch.Generator) -> Tensor:
        if not self.config.discriminator.augment:
            return x
        return self.group.apply_random(lambda pictures: augment(pictures, rng), x)

    def _gather_scores(self, outputs: list[PatchScores]) -> list[PatchScores]:
        """Copy the scores of the whole batch to the host."""
        return [PatchScores(_copy_to_host(self.group.gather(output.scores)), ()) for output in outputs]

    def state(self) -> dict[str, Any]:
        """Return everything a resumed run needs."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "watch": self.monitor.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state.

        Raises:
            TrainError: it belongs to another discriminator.
        """
        try:
            self.discriminator.load_state_dict(state["discriminator"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.monitor.restore(state["watch"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise TrainError("the checkpoint holds another discriminator", hint="start over") from error


def _copy_to_host(x: Tensor) -> Tensor:
    """Start a copy to the host; its values are valid only after the host has waited for the device."""
    return x.detach().to("cpu", non_blocking=True)
