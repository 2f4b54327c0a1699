"""The adversarial losses, each a function with its formula and its source, and what tells that the game goes wrong.

x is the artist's picture, y the painting, D the score of a patch. A ``Judgement`` holds one resolution; means are taken
over the patches of each resolution and then over the resolutions, so that the coarse ones count as much as the fine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from train.losses.discriminator import Judgement

Elementwise = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class AdversarialLoss:
    """A game of two, given by what a single patch's score costs.

    Attributes:
        name: as in a recipe.
        real: cost, to the discriminator, of a score of an artist's patch.
        fake: cost, to the discriminator, of a score of a painted patch.
        fool: cost, to the generator, of a score of a painted patch.
        threshold: score above which a patch is taken for the artist's; ``None`` where scores have no zero, and the
            middle between both means is taken.
        penalty: weight of ``gradient_penalty`` in the discriminator's loss.
        ceiling: sustained accuracy above which the discriminator has won; 1 where it may win.
    """

    name: str
    real: Elementwise
    fake: Elementwise
    fool: Elementwise
    threshold: float | None = 0.0
    penalty: float = 0.0
    ceiling: float = 0.98

    def discriminator(self, real: Sequence[Judgement], fake: Sequence[Judgement]) -> Tensor:
        """What the discriminator makes small, without the gradient penalty. Judgements → scalar, float32."""
        return _mean(self.real, real) + _mean(self.fake, fake)

    def generator(self, fake: Sequence[Judgement]) -> Tensor:
        """What the generator makes small. Judgements → scalar, float32."""
        return _mean(self.fool, fake)

    @torch.no_grad()
    def accuracy(self, real: Sequence[Judgement], fake: Sequence[Judgement]) -> float:
        """Share of patches told apart, 0 … 1; the artist's and the painted ones count alike."""
        shares = []
        for x, y in zip(real, fake, strict=True):
            a, b = x.scores.float(), y.scores.float()
            threshold = (a.mean() + b.mean()) / 2 if self.threshold is None else self.threshold
            shares += [(a > threshold).float().mean(), (b <= threshold).float().mean()]
        return float(torch.stack(shares).mean())


def _mean(cost: Elementwise, judgements: Sequence[Judgement]) -> Tensor:
    return torch.stack([cost(judgement.scores.float()).mean() for judgement in judgements]).mean()


def lsgan() -> AdversarialLoss:
    """½ E[(D(x) − 1)²] + ½ E[D(y)²], and ½ E[(D(y) − 1)²]. Mao et al. 2017, arXiv:1611.04076, eq. 9."""
    return AdversarialLoss(
        "lsgan",
        real=lambda score: 0.5 * (score - 1).square(),
        fake=lambda score: 0.5 * score.square(),
        fool=lambda score: 0.5 * (score - 1).square(),
        threshold=0.5,
    )


def bce() -> AdversarialLoss:
    """− E[log σ(D(x))] − E[log(1 − σ(D(y)))], and − E[log σ(D(y))]. Goodfellow et al. 2014, arXiv:1406.2661, eq. 1.

    The generator's part is the one of its section 3 whose gradient does not vanish when D is sure.
    """
    return AdversarialLoss(
        "bce",
        real=lambda score: F.softplus(-score),
        fake=F.softplus,
        fool=lambda score: F.softplus(-score),
    )


def hinge() -> AdversarialLoss:
    """E[max(0, 1 − D(x))] + E[max(0, 1 + D(y))], and − E[D(y)]. Lim and Ye 2017, arXiv:1705.02894, section 3.

    In the form of Miyato et al. 2018, arXiv:1802.05957, eqs. 16 and 17.
    """
    return AdversarialLoss(
        "hinge",
        real=lambda score: F.relu(1 - score),
        fake=lambda score: F.relu(1 + score),
        fool=torch.neg,
    )


def wgan_gp() -> AdversarialLoss:
    """− E[D(x)] + E[D(y)] + 10 · gradient penalty, and − E[D(y)]. Gulrajani et al. 2017, arXiv:1704.00028, eq. 3.

    Only differences of scores mean something, and a critic that wins still shows the way.
    """
    return AdversarialLoss(
        "wgan-gp", real=torch.neg, fake=torch.clone, fool=torch.neg, threshold=None, penalty=10.0, ceiling=1.0
    )


LOSSES = {loss.name: loss for loss in (lsgan(), bce(), hinge(), wgan_gp())}


def gradient_penalty(
    discriminator: Callable[[Tensor], Sequence[Judgement]], real: Tensor, fake: Tensor, rng: torch.Generator
) -> Tensor:
    """E[(‖∇f(z)‖ − 1)²], z = a x + (1 − a) y with a uniform in [0, 1], one for each picture.

    f is the sum of the P patch scores divided by √P: with a single score it is the paper's, and with patches that do
    not overlap ‖∇f‖ is the root mean square of their slopes. So the penalty does not depend on the size of the crops.

    Args:
        discriminator: pictures → one judgement for each resolution.
        real, fake: (N, 3, H, W), the same form. No gradient flows into either.
        rng: of a, on any device.

    Returns:
        scalar, float32, the mean over the resolutions, each of which has a slope of its own.

    Source:
        Gulrajani et al. 2017, arXiv:1704.00028, eq. 3.
    """
    a = torch.rand(len(real), 1, 1, 1, generator=rng, device=rng.device).to(real)
    between = torch.lerp(fake.detach(), real.detach(), a).requires_grad_()
    penalties = []
    for judgement in discriminator(between):
        scores = judgement.scores.float()
        f = scores.sum() / scores[0].numel() ** 0.5
        (slope,) = torch.autograd.grad(f, between, create_graph=True)
        # The root's own slope has no bound at 0, where a fresh critic may well stand.
        norm = (slope.float().flatten(1).square().sum(1) + 1e-12).sqrt()
        penalties.append((norm - 1).square().mean())
    return torch.stack(penalties).mean()


def feature_matching(
    real: Sequence[Judgement], fake: Sequence[Judgement], average: Elementwise = lambda mean: mean
) -> Tensor:
    """mean over layers of 1/C Σ_c |E[D_c(x)] − E[D_c(y)]|, E over batch and space.

    Wang et al. 2018, arXiv:1711.11585, eq. 4, compares the features place by place, because there each y has its x.
    Here nothing is paired: the artist never painted this photograph. So, as in Salimans et al. 2016,
    arXiv:1606.03498, section 3.1, only the means of the channels are compared.

    Args:
        real, fake: judgements at the same resolutions. No gradient flows into ``real``.
        average: of a mean, (C,), over processes, where a batch is spread over several: unlike the other losses, this
            one is not the mean of what single pictures cost.

    Returns:
        scalar, float32.
    """
    differences = [
        average(b.float().mean((0, 2, 3)) - a.detach().float().mean((0, 2, 3))).abs().mean()
        for x, y in zip(real, fake, strict=True)
        for a, b in zip(x.features, y.features, strict=True)
    ]
    return torch.stack(differences).mean()


@torch.no_grad()
def diversity(paintings: Tensor, originals: Tensor, cells: int = 8) -> float | None:
    """Mean distance between the paintings of a batch over that between the photographs; near 0 all look the same.

    Each picture is averaged over ``cells``×``cells`` places first, so that colours and shapes count, not strokes.

    Args:
        paintings: (N, 3, H, W) in [0, 1].
        originals: the same pictures, unpainted.
        cells: places in a row.

    Returns:
        the ratio; ``None`` when it says nothing: a single picture, or photographs that are all alike.
    """
    among_paintings, among_originals = (
        torch.pdist(F.adaptive_avg_pool2d(x.float(), cells).flatten(1)) for x in (paintings, originals)
    )
    if among_originals.numel() == 0 or float(among_originals.mean()) < 1e-6:
        return None
    return float(among_paintings.mean() / among_originals.mean())


class CollapseWatch:
    """Tells in plain words when the game between generator and discriminator is lost.

    Judged by means over a window, because single batches vary; and not in the first steps, when the generator hands
    photographs through and the discriminator has not learnt yet.

    Args:
        window: steps that a mean is taken over.
        grace: steps in which the discriminator is not judged.
        won: mean accuracy above which the discriminator has won: the generator's only way is to guess. 1 is never.
        given_up: mean accuracy below which it has given up. At the optimum it also cannot tell anything apart, but
            painted photographs never get there; a discriminator that guesses is too weak, or its rate too low.
        narrowed: share of the first window's diversity below which the generator paints one picture.
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
        """Note a step: the discriminator's accuracy, and the generator's diversity where there is one."""
        self.steps += 1
        self.accuracies.append(accuracy)
        if diversity is not None:
            self.diversities.append(diversity)
            if len(self.first_diversities) < (self.diversities.maxlen or 0):
                self.first_diversities.append(diversity)

    def verdict(self) -> str | None:
        """One sentence while something is wrong, ``None`` while all is well or nothing can be said yet."""
        return self._narrowed() or self._unbalanced()

    def _narrowed(self) -> str | None:
        if len(self.diversities) < (self.diversities.maxlen or 0):
            return None
        now, start = _average(self.diversities), _average(self.first_diversities)
        if now >= self.narrowed * start:
            return None
        return (
            f"the paintings look more and more alike (diversity {now:.3f}, {start:.3f} at the start): "
            "the generator has collapsed; lower losses.adversarial or raise losses.content"
        )

    def _unbalanced(self) -> str | None:
        if self.steps < self.grace or len(self.accuracies) < (self.accuracies.maxlen or 0):
            return None
        accuracy = _average(self.accuracies)
        if accuracy > self.won:
            return (
                f"the discriminator has won (it is right about {accuracy:.1%} of the patches) and teaches nothing "
                "more; lower discriminator.learning_rate or discriminator.steps, or turn discriminator.augment on"
            )
        if accuracy < self.given_up:
            return (
                f"the discriminator has given up (it is right about {accuracy:.1%} of the patches, no better than "
                "guessing); raise discriminator.learning_rate or discriminator.steps"
            )
        return None

    def state(self) -> dict[str, Any]:
        """What a resumed run needs, in plain values."""
        return {
            "steps": self.steps,
            "first_diversities": list(self.first_diversities),
            "accuracies": list(self.accuracies),
            "diversities": list(self.diversities),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``."""
        self.steps = state["steps"]
        self.first_diversities = list(state["first_diversities"])
        self.accuracies = deque(state["accuracies"], self.accuracies.maxlen)
        self.diversities = deque(state["diversities"], self.diversities.maxlen)


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values)
