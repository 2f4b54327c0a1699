"""Where the discriminator of a run takes a picture for the artist's, and where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from engines.base import RGB
from engines.errors import TrainError
from train import checkpoint
from train.config.schema import DiscriminatorConfig
from train.data.pictures import to_tensor
from train.explain.provenance import Record, contradictions
from train.loop import CHECKPOINT
from train.losses.adversarial import LOSSES
from train.losses.discriminator import Discriminator

NOTHING: Record = MappingProxyType({})
"""A record that speaks against no run."""


@dataclass(frozen=True)
class Belief:
    """What the discriminator says about one picture.

    Attributes:
        margins: by how much each place's score is over the line between the artist's and painted, mean over the
            resolutions. float32, (height, width) of the finest scores.
        share: of the patches that are over the line, 0 … 1; the resolutions count alike.
    """

    margins: npt.NDArray[np.float32]
    share: float


@dataclass(frozen=True)
class PatchJudge:
    """A discriminator with the loss that it was trained by.

    Attributes:
        discriminator: in evaluation mode.
        threshold: score above which a patch is taken for the artist's; ``None`` where scores have no zero.
    """

    discriminator: Discriminator
    threshold: float | None

    def takes(self, rgb: RGB) -> bool:
        """Whether a picture is large enough."""
        return bool(min(rgb.shape[:2]) >= self.discriminator.smallest)

    @torch.no_grad()
    def __call__(self, rgb: RGB, lines: list[float] | None = None) -> Belief:
        """Judge a picture.

        Args:
            rgb: large enough.
            lines: for each resolution, the score to compare with; the threshold, or without one the mean score of
                this picture, unless given.
        """
        scores = self.scores(rgb)
        lines = lines or [float(s.mean()) if self.threshold is None else self.threshold for s in scores]
        margins = [s - line for s, line in zip(scores, lines, strict=True)]
        size = margins[0].shape[-2:]
        together = torch.cat([F.interpolate(m, size, mode="bilinear", align_corners=False) for m in margins])
        share = sum(float((m > 0).float().mean()) for m in margins) / len(margins)
        return Belief(np.asarray(together.mean((0, 1)).numpy(), dtype=np.float32), share)

    @torch.no_grad()
    def scores(self, rgb: RGB) -> list[Tensor]:
        """(1, 1, h, w) for each resolution, the finest first."""
        return [judgement.scores for judgement in self.discriminator(to_tensor(rgb))]

    def lines(self, real: RGB, fake: RGB) -> list[float]:
        """The score to compare with at each resolution: the threshold, or the middle between two pictures' means."""
        means = [(float(a.mean()), float(b.mean())) for a, b in zip(self.scores(real), self.scores(fake), strict=True)]
        return [(a + b) / 2 if self.threshold is None else self.threshold for a, b in means]


def read_judge(run: Path, style: Record = NOTHING) -> PatchJudge | None:
    """The discriminator in a run's checkpoint.

    Args:
        run: folder of the run.
        style: the training record of the style that the run must have trained.

    Returns:
        ``None`` when the run trained none.

    Raises:
        TrainError: no run there, its checkpoint is damaged or of another version, or it trained another style.
    """
    if not (run / CHECKPOINT).is_file():
        raise TrainError(f"no {CHECKPOINT} in {run}", hint="--run takes the folder that `rtstyle train --out` wrote")
    try:
        state = checkpoint.load(run / CHECKPOINT)
    except TrainError as error:
        raise TrainError(error.problem, hint="leave --run away to do without the discriminator") from error
    against = contradictions(style, state)
    if against:
        raise TrainError(
            f"{run} did not train this style: {'; '.join(against)}",
            hint="give --run the folder of the run that trained it, or leave --run away",
        )
    critic = state.get("critic")
    return None if critic is None else _rebuilt(critic, state.get("settings"), run)


def _rebuilt(critic: Any, settings: Any, run: Path) -> PatchJudge:
    try:
        shape = DiscriminatorConfig(**settings["discriminator"])
        discriminator = Discriminator(shape.scales, shape.width, shape.layers)
        discriminator.load_state_dict(critic["discriminator"])
        loss = LOSSES[shape.loss]
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        kind = "no settings" if not isinstance(settings, Mapping) else "another discriminator than its settings say"
        raise TrainError(
            f"the checkpoint in {run} holds {kind}", hint="leave --run away to do without the discriminator"
        ) from error
    return PatchJudge(discriminator.eval().requires_grad_(False), loss.threshold)
