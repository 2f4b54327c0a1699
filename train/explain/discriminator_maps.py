"""Maps of where a run's discriminator takes a picture for the artist's."""

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
from train.checkpoint import CHECKPOINT
from train.config.schema import DiscriminatorConfig
from train.data.pictures import to_tensor
from train.explain.provenance import Record, contradictions
from train.losses.adversarial import LOSSES
from train.losses.discriminator import Discriminator

NO_RECORD: Record = MappingProxyType({})
"""An empty record, which matches every run."""


@dataclass(frozen=True)
class DiscriminatorMap:
    """The discriminator's answer for one picture.

    Attributes:
        margins: score above the threshold at each place, averaged over the resolutions. float32, (height, width) of
            the finest scores.
        share: fraction of patches above the threshold, 0 … 1; all resolutions count equally.
    """

    margins: npt.NDArray[np.float32]
    share: float


@dataclass(frozen=True)
class PatchClassifier:
    """A discriminator with the threshold of its loss.

    Attributes:
        discriminator: in evaluation mode.
        threshold: score above which a patch is taken for the artist's; ``None`` if the loss has no zero (wgan-gp).
    """

    discriminator: Discriminator
    threshold: float | None

    def accepts(self, rgb: RGB) -> bool:
        """Return True if a picture is large enough."""
        return bool(min(rgb.shape[:2]) >= self.discriminator.smallest)

    @torch.no_grad()
    def __call__(self, rgb: RGB, thresholds: list[float] | None = None) -> DiscriminatorMap:
        """Map where the discriminator takes a picture for the artist's.

        Args:
            rgb: picture, large enough.
            thresholds: one score for each resolution. By default ``threshold`` or, if that is ``None``, the picture's
                mean score.
        """
        scores = self.scores(rgb)
        thresholds = thresholds or [float(s.mean()) if self.threshold is None else self.threshold for s in scores]
        margins = [s - t for s, t in zip(scores, thresholds, strict=True)]
        size = margins[0].shape[-2:]
        together = torch.cat([F.interpolate(m, size, mode="bilinear", align_corners=False) for m in margins])
        share = sum(float((m > 0).float().mean()) for m in margins) / len(margins)
        return DiscriminatorMap(np.asarray(together.mean((0, 1)).numpy(), dtype=np.float32), share)

    @torch.no_grad()
    def scores(self, rgb: RGB) -> list[Tensor]:
        """Return scores (1, 1, h, w) for each resolution, finest first."""
        return [judgement.scores for judgement in self.discriminator(to_tensor(rgb))]

    def thresholds(self, real: RGB, fake: RGB) -> list[float]:
        """Return ``threshold`` for each resolution or, if it is ``None``, the midpoint of two pictures' mean scores."""
        means = [(float(a.mean()), float(b.mean())) for a, b in zip(self.scores(real), self.scores(fake), strict=True)]
        return [(a + b) / 2 if self.threshold is None else self.threshold for a, b in means]


def read_discriminator(run: Path, style: Record = NO_RECORD) -> PatchClassifier | None:
    """Read the discriminator from a run's checkpoint.

    Args:
        run: run folder.
        style: training record of the style that the run must have trained.

    Returns:
        ``None`` if the run trained no discriminator.

    Raises:
        TrainError: there is no run, its checkpoint is damaged or of another version, or it trained another style.
    """
    if not (run / CHECKPOINT).is_file():
        raise TrainError(f"no {CHECKPOINT} in {run}", hint="--run takes the folder that `rtstyle train --out` wrote")
    try:
        state = checkpoint.load(run / CHECKPOINT)
    except TrainError as error:
        raise TrainError(error.problem, hint="omit --run to leave the discriminator out") from error
    against = contradictions(style, state)
    if against:
        raise TrainError(
            f"{run} did not train this style: {'; '.join(against)}",
            hint="give --run the folder of the run that trained it, or omit --run",
        )
    saved = state.get("critic")
    return None if saved is None else _rebuild(saved, state.get("settings"), run)


def _rebuild(saved: Any, settings: Any, run: Path) -> PatchClassifier:
    try:
        shape = DiscriminatorConfig(**settings["discriminator"])
        discriminator = Discriminator(shape.scales, shape.width, shape.layers)
        discriminator.load_state_dict(saved["discriminator"])
        loss = LOSSES[shape.loss]
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        kind = (
            "no settings" if not isinstance(settings, Mapping) else "a discriminator that does not match its settings"
        )
        raise TrainError(
            f"the checkpoint in {run} holds {kind}", hint="omit --run to leave the discriminator out"
        ) from error
    return PatchClassifier(discriminator.eval().requires_grad_(False), loss.threshold)
