"""Adversarial losses with formulas and sources, and a monitor that detects when the game goes wrong.

x is the artist's picture, y the stylized one, D the score of a patch. A ``PatchScores`` holds one resolution; means are
taken over the patches of each resolution and then over the resolutions, so that coarse ones count as much as fine ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from train.losses.discriminator import PatchScores

Elementwise = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class AdversarialLoss:
    """A two-player game, defined by what the score of a single patch costs.

    Attributes:
        name: name in a recipe.
        real: the discriminator's cost for a patch of the artist's.
        fake: the discriminator's cost for a stylized patch.
        fool: the generator's cost for a stylized patch.
        threshold: score above which a patch counts as the artist's; ``None`` if scores have no zero: then the
            middle between both means is used.
        penalty: weight of ``gradient_penalty`` in the discriminator's loss.
        ceiling: sustained accuracy above which the discriminator has won; 1 if it may win.
    """

    name: str
    real: Elementwise
    fake: Elementwise
    fool: Elementwise
    threshold: float | None = 0.0
    penalty: float = 0.0
    ceiling: float = 0.98

    def discriminator(self, real: Sequence[PatchScores], fake: Sequence[PatchScores]) -> Tensor:
        """Return the discriminator's loss without the gradient penalty, a float32 scalar."""
        return _mean(self.real, real) + _mean(self.fake, fake)

    def generator(self, fake: Sequence[PatchScores]) -> Tensor:
        """Return the generator's loss, a float32 scalar."""
        return _mean(self.fool, fake)

    @torch.no_grad()
    def accuracy(self, real: Sequence[PatchScores], fake: Sequence[PatchScores]) -> float:
        """Return the share of patches classified correctly, 0 … 1; both kinds count equally."""
        shares = []
        for x, y in zip(real, fake, strict=True):
            a, b = x.scores.float(), y.scores.float()
            threshold = (a.mean() + b.mean()) / 2 if self.threshold is None else self.threshold
            shares += [(a > threshold).float().mean(), (b <= threshold).float().mean()]
        return float(torch.stack(shares).mean())


def _mean(cost: Elementwise, outputs: Sequence[PatchScores]) -> Tensor:
    return torch.stack([cost(output.scores.float()).mean() for output in outputs]).mean()


LSGAN = AdversarialLoss(
    "lsgan",
    real=lambda score: 0.5 * (score - 1).square(),
    fake=lambda score: 0.5 * score.square(),
    fool=lambda score: 0.5 * (score - 1).square(),
    threshold=0.5,
)
"""½ E[(D(x) − 1)²] + ½ E[D(y)²], and ½ E[(D(y) − 1)²]. Mao et al. 2017, arXiv:1611.04076, eq. 9."""

BCE = AdversarialLoss(
    "bce", real=lambda score: F.softplus(-score), fake=F.softplus, fool=lambda score: F.softplus(-score)
)
"""− E[log σ(D(x))] − E[log(1 − σ(D(y)))], and − E[log σ(D(y))]. Goodfellow et al. 2014, arXiv:1406.2661, eq. 1.

The generator's part is that of section 3, whose gradient does not vanish when D is certain.
"""

HINGE = AdversarialLoss(
    "hinge", real=lambda score: F.relu(1 - score), fake=lambda score: F.relu(1 + score), fool=torch.neg
)
"""E[max(0, 1 − D(x))] + E[max(0, 1 + D(y))], and − E[D(y)]. Lim and Ye 2017, arXiv:1705.02894, section 3.

In the form of Miyato et al. 2018, arXiv:1802.05957, eqs. 16 and 17.
"""

WGAN_GP = AdversarialLoss(
    "wgan-gp", real=torch.neg, fake=torch.clone, fool=torch.neg, threshold=None, penalty=10.0, ceiling=1.0
)
"""− E[D(x)] + E[D(y)] + 10 · gradient penalty, and − E[D(y)]. Gulrajani et al. 2017, arXiv:1704.00028, eq. 3.

Only differences between scores have a meaning, and a critic that wins still gives a useful gradient.
"""

LOSSES = {loss.name: loss for loss in (LSGAN, BCE, HINGE, WGAN_GP)}


def gradient_penalty(
    discriminator: Callable[[Tensor], Sequence[PatchScores]], real: Tensor, fake: Tensor, rng: torch.Generator
) -> Tensor:
    """E[(‖∇f(z)‖ − 1)²], z = a x + (1 − a) y with a uniform in [0, 1], one for each picture.

    f is the sum of the P patch scores divided by √P: with a single score it is the paper's, and with patches that do
    not overlap ‖∇f‖ is the root mean square of their slopes. So the penalty does not depend on the size of the crops.

    Args:
        discriminator: pictures → scores for each resolution.
        real: (N, 3, H, W); no gradient flows into it.
        fake: the same.
        rng: source of a, on any device.

    Source:
        Gulrajani et al. 2017, arXiv:1704.00028, eq. 3.
    """
    a = torch.rand(len(real), 1, 1, 1, generator=rng, device=rng.device).to(real)
    between = torch.lerp(fake.detach(), real.detach(), a).requires_grad_()
    penalties = []
    for output in discriminator(between):
        scores = output.scores.float()
        f = scores.sum() / scores[0].numel() ** 0.5
        (slope,) = torch.autograd.grad(f, between, create_graph=True)
        # The root has no bounded slope at 0, where a new critic may start.
        norm = (slope.float().flatten(1).square().sum(1) + 1e-12).sqrt()
        penalties.append((norm - 1).square().mean())
    return torch.stack(penalties).mean()


def feature_matching(
    real: Sequence[PatchScores], fake: Sequence[PatchScores], average: Elementwise = lambda mean: mean
) -> Tensor:
    """Mean over layers of 1/C Σ_c |E[D_c(x)] − E[D_c(y)]|, E over batch and space.

    Wang et al. 2018, arXiv:1711.11585, eq. 4, compares the features position by position, because each y has its x.
    Nothing is paired here, so only the means of the channels are compared, as in Salimans et al. 2016,
    arXiv:1606.03498, section 3.1.

    Args:
        real: outputs for the artist's works; no gradient flows into them.
        fake: outputs for stylized pictures, at the same resolutions.
        average: averages a mean, (C,), over processes: unlike the other losses, this one is not a mean over pictures.
    """
    differences = [
        average(b.float().mean((0, 2, 3)) - a.detach().float().mean((0, 2, 3))).abs().mean()
        for x, y in zip(real, fake, strict=True)
        for a, b in zip(x.features, y.features, strict=True)
    ]
    return torch.stack(differences).mean()


@torch.no_grad()
def diversity(stylized: Tensor, originals: Tensor, cells: int = 8) -> float | None:
    """Return the mean distance between stylized pictures relative to that between photographs; near 0 all look alike.

    Each picture is averaged to ``cells``×``cells`` cells first, so that colours and shapes count, not strokes.

    Args:
        stylized: (N, 3, H, W) in [0, 1].
        originals: the same.
        cells: cells per side.

    Returns:
        ``None`` for a single picture or photographs that are all alike.
    """
    among_stylized, among_originals = (
        torch.pdist(F.adaptive_avg_pool2d(x.float(), cells).flatten(1)) for x in (stylized, originals)
    )
    if among_originals.numel() == 0 or float(among_originals.mean()) < 1e-6:
        return None
    return float(among_stylized.mean() / among_originals.mean())


class CollapseMonitor:
    """Detects when the game between generator and discriminator is lost.

    It looks at means over a window, because single batches vary, and skips the first steps, when the generator still
    returns its input and the discriminator has not learned yet.

    Args:
        window: number of steps to average over.
        grace: number of steps in which the discriminator is not judged.
        won: mean accuracy above which the discriminator has won; 1 turns this off.
        given_up: mean accuracy below which the discriminator has given up. In theory it cannot tell anything apart at
            the optimum, but stylized photographs never get there: it is too weak, or its learning rate too low.
        narrowed: share of the first window's diversity below which the generator has collapsed.
    """

    def __init__(
        self, window: int = 200, grace: int = 500, won: float = 0.98, given_up: float = 0.52, narrowed: float = 0.1
    ):
        self.grace, self.won, self.given_up, self.narrowed = grace, won, given_up, narrowed
        self.steps = 0
        self.first_diversities: list[float] = []
        self.accuracies: deque[float] = deque(maxlen=window)
        self.diversities: deque[float] = deque(maxlen=window)

    def add(self, accuracy: float, diversity: float | None) -> None:
        """Add the discriminator's accuracy and the generator's diversity, if known, of a step."""
        self.steps += 1
        self.accuracies.append(accuracy)
        if diversity is not None:
            self.diversities.append(diversity)
            if len(self.first_diversities) < (self.diversities.maxlen or 0):
                self.first_diversities.append(diversity)

    def problem(self) -> str | None:
        """Describe what is wrong; ``None`` while all is well or it is too early to say."""
        return self._narrowed() or self._unbalanced()

    def _narrowed(self) -> str | None:
        if len(self.diversities) < (self.diversities.maxlen or 0):
            return None
        now, start = _average(self.diversities), _average(self.first_diversities)
        if now >= self.narrowed * start:
            return None
        return (
            f"all pictures look alike (diversity {now:.3f}, {start:.3f} at the start): "
            "the generator has collapsed; lower losses.adversarial or raise losses.content"
        )

    def _unbalanced(self) -> str | None:
        if self.steps < self.grace or len(self.accuracies) < (self.accuracies.maxlen or 0):
            return None
        accuracy = _average(self.accuracies)
        if accuracy > self.won:
            return (
                f"the discriminator has won (it is right on {accuracy:.1%} of the patches) and no longer helps; "
                "lower discriminator.learning_rate or discriminator.steps, or turn discriminator.augment on"
            )
        if accuracy < self.given_up:
            return (
                f"the discriminator has given up (it is right on {accuracy:.1%} of the patches, no better than "
                "chance); raise discriminator.learning_rate or discriminator.steps"
            )
        return None

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs, as plain values."""
        return {
            "steps": self.steps,
            "first_diversities": list(self.first_diversities),
            "accuracies": list(self.accuracies),
            "diversities": list(self.diversities),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self.steps = state["steps"]
        self.first_diversities = list(state["first_diversities"])
        self.accuracies = deque(state["accuracies"], self.accuracies.maxlen)
        self.diversities = deque(state["diversities"], self.diversities.maxlen)


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values)
