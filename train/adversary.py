"""The other side of the game: discriminator, its optimiser, the artist's works, and the watch over both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.errors import TrainError
from train.config.schema import TrainConfig
from train.data.augment import ALL, augment
from train.data.pictures import Pictures, ahead, picture_files
from train.distributed import ALONE, World
from train.losses.adversarial import LOSSES, CollapseWatch, diversity, feature_matching, gradient_penalty
from train.losses.discriminator import Discriminator, Judgement

CELLS = 8
"""Places in a row at which the diversity of the paintings is judged."""


class Critic:
    """Learns to tell the artist's works from paintings, and tells the generator what gives it away.

    Args:
        config: of the run; has ``data.style_pictures``.
        device: of the discriminator.
        world: which of several processes this is; it judges its part of each batch.
        on_warning: called with one line for each work that cannot be read.

    Attributes:
        watch: tells when the game is lost.
        waited_s: how long the last ``learn`` waited for the artist's works.
    """

    def __init__(
        self,
        config: TrainConfig,
        device: torch.device,
        world: World = ALONE,
        on_warning: Callable[[str], None] = lambda _: None,
    ):
        settings, data = config.discriminator, config.data
        assert data.style_pictures is not None  # checked with the settings
        self.config, self.device, self.world = config, device, world
        self.loss = LOSSES[settings.loss]
        self.discriminator = Discriminator(settings.scales, settings.width, settings.layers).to(device)
        # β1 = 0.5: with momentum the two chase each other in circles. Radford et al. 2016, arXiv:1511.06434.
        self.optimizer = torch.optim.Adam(
            self.discriminator.parameters(), lr=settings.learning_rate, betas=(0.5, 0.999)
        )
        # Another seed than the photographs': the same draws would always bring the same two together.
        seed, places = config.run.seed + 7919, world.places(data.batch)
        # At the size at which the style loss sees them, so that both agree on how large a stroke is.
        self.works = Pictures(
            picture_files(data.style_pictures, "--style-pictures"), data.batch, data.crop, seed,
            places=places, short_side=data.style_size, in_memory=data.in_memory, on_skip=on_warning,
            option="--style-pictures",
        )  # fmt: skip
        self._coming: Iterator[Tensor] | None = None
        self._number = -1
        self.watch = CollapseWatch(won=self.loss.ceiling)
        self.waited_s = 0.0

    def playing(self, step: int) -> bool:
        """Whether the game has begun; before, the generator learns the painting's colours alone."""
        return step >= self.config.discriminator.warmup

    def learn(self, pictures: Tensor, originals: Tensor, step: int, rate: float) -> dict[str, Tensor]:
        """Train the discriminator on a step's paintings. The host does not wait for the device here.

        Args:
            pictures: paintings, (N, 3, H, W) in [0, 1]; no gradient flows into them.
            originals: the photographs, same shape.
            step: of the run; random numbers depend on it and on the seed alone.
            rate: share of the full learning rate, 0 … 1.

        Returns:
            of the last turn, detached scalars on the device: ``discriminator``, its loss, and where the loss has
            a gradient penalty ``penalty``, which is a part of it, unweighted.
        """
        settings, fake, self.waited_s = self.config.discriminator, pictures.detach(), 0.0
        rng = torch.Generator().manual_seed((self.config.run.seed * 1_000_033 + step) * 7)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate
        losses: dict[str, Tensor] = {}
        for turn in range(settings.steps):
            real = self._works(step * settings.steps + turn)
            seen = [self._changed(real, rng), self._changed(fake, rng)]
            of_real, of_fake = self.discriminator(seen[0]), self.discriminator(seen[1])
            losses = {"discriminator": self.loss.discriminator(of_real, of_fake)}
            if self.loss.penalty:
                with self.world.own_draws(rng, len(fake)):
                    losses["penalty"] = gradient_penalty(self.discriminator, seen[0], seen[1], rng)
                losses["discriminator"] = losses["discriminator"] + self.loss.penalty * losses["penalty"]
            self.optimizer.zero_grad(set_to_none=True)
            losses["discriminator"].backward()  # type: ignore[no-untyped-call]
            averaged = self.world.average(self.discriminator, list(losses.values()))
            losses = dict(zip(losses, averaged, strict=True))
            self.optimizer.step()
        self._judged = self._all(of_real), self._all(of_fake)
        # Distances between all pictures of the batch, whichever process they are with; their cells are enough for it.
        cells = [self.world.gathered(F.adaptive_avg_pool2d(x.float(), CELLS)) for x in (fake, originals)]
        self._cells = _on_its_way(cells[0]), _on_its_way(cells[1])
        return losses

    def standing(self) -> dict[str, float]:
        """How the game stood in the last ``learn``: the discriminator's ``accuracy``, the generator's ``diversity``.

        The watch is told, too. Comes once in a step, after the host has waited for the device for another reason.
        """
        accuracy, spread = self.loss.accuracy(*self._judged), diversity(*self._cells, CELLS)
        self.watch.add(accuracy, spread)
        return {"accuracy": accuracy} | ({} if spread is None else {"diversity": spread})

    def _works(self, number: int) -> Tensor:
        """A batch of works; those after it are read meanwhile, as the turns follow each other."""
        if self._coming is None or number != self._number + 1:
            self._coming = ahead(self._read, number, self.config.data.workers)
        asked_s = time.monotonic()
        works = next(self._coming)
        self.waited_s += time.monotonic() - asked_s
        self._number, self._real = number, works.to(self.device, non_blocking=True)
        return self._real

    def _read(self, number: int) -> Tensor:
        """A batch of works in memory from which a GPU fetches it by itself."""
        works = self.works(number)
        return works.pin_memory() if self.device.type == "cuda" else works

    def terms(self, pictures: Tensor, step: int) -> dict[str, Tensor]:
        """What the paintings cost the generator: ``adversarial`` and, where it has a weight, ``feature_matching``.

        Comes after ``learn`` of the same step, and compares with the works that it saw last.
        """
        rng = torch.Generator().manual_seed((self.config.run.seed * 1_000_033 + step) * 7 + 1)
        # The generator must not train its judge: gradients pass through the discriminator, not into it.
        self.discriminator.requires_grad_(False)
        try:
            of_fake = self.discriminator(self._changed(pictures, rng))
            terms = {"adversarial": self.loss.generator(of_fake)}
            if self.config.losses.feature_matching:
                with torch.no_grad():
                    of_real = self.discriminator(self._changed(self._real, rng))
                terms["feature_matching"] = feature_matching(of_real, of_fake, self.world.mean)
        finally:
            self.discriminator.requires_grad_(True)
        return terms

    def _changed(self, x: Tensor, rng: torch.Generator) -> Tensor:
        if not self.config.discriminator.augment:
            return x
        return self.world.drawn(lambda pictures: augment(pictures, ALL, rng), x)

    def _all(self, judgements: list[Judgement]) -> list[Judgement]:
        """The scores of the whole batch."""
        return [Judgement(_on_its_way(self.world.gathered(judgement.scores)), ()) for judgement in judgements]

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "watch": self.watch.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``.

        Raises:
            TrainError: it belongs to another discriminator.
        """
        try:
            self.discriminator.load_state_dict(state["discriminator"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.watch.restore(state["watch"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise TrainError("the checkpoint holds another discriminator", hint="start anew") from error


def _on_its_way(x: Tensor) -> Tensor:
    """A copy on the host, to be read only after the host has waited for the device: until then it may be rubbish."""
    return x.detach().to("cpu", non_blocking=True)
