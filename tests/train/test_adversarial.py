"""Adversarial losses have the values of their formulas; the watch speaks when the game is lost, and only then."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from train.losses.adversarial import LOSSES, CollapseMonitor, diversity, feature_matching, gradient_penalty
from train.losses.discriminator import Discriminator, PatchScores

ALL = sorted(LOSSES)


def rng(seed: int = 0) -> torch.Generator:
    """Random numbers of a test."""
    return torch.Generator().manual_seed(seed)


def judged(*scores: Tensor | list[float]) -> list[PatchScores]:
    """One scale for each list of scores."""
    return [PatchScores(torch.as_tensor(s).reshape(1, 1, 1, -1), ()) for s in scores]


def seen(*features: Tensor) -> list[PatchScores]:
    """One scale with these features."""
    return [PatchScores(torch.zeros(1, 1, 1, 1), features)]


@pytest.mark.parametrize(
    ("name", "discriminator", "generator"),
    [
        ("lsgan", 0.5 * 0.5 + 0.5 * 2.0, 0.5 * 1.0),
        ("hinge", 0.5 + 2.0, -1.0),
        ("wgan-gp", -0.5 + 1.0, -1.0),
        ("bce", math.log(2) - 0.5 + 0.5 * math.log(1 + math.e) + 0.5 * math.log(1 + math.e**2), None),
    ],
)
def test_known_values(name: str, discriminator: float, generator: float | None) -> None:
    real, fake = judged([1.0, 0.0]), judged([0.0, 2.0])
    loss = LOSSES[name]
    assert loss.name == name
    assert float(loss.discriminator(real, fake)) == pytest.approx(discriminator)
    if generator is not None:
        assert float(loss.generator(fake)) == pytest.approx(generator)


def test_bce_is_the_cross_entropy_and_is_finite_when_sure() -> None:
    a, b = (10 * torch.randn(2, 50, generator=rng())).unbind()
    entropy = F.binary_cross_entropy_with_logits
    loss = LOSSES["bce"]
    expected = entropy(a, torch.ones(50)) + entropy(b, torch.zeros(50))
    assert float(loss.discriminator(judged(a), judged(b))) == pytest.approx(float(expected), rel=1e-5)
    assert float(loss.generator(judged(b))) == pytest.approx(float(entropy(b, torch.ones(50))), rel=1e-5)
    assert math.isfinite(float(loss.generator(judged([-1e4]))))


@pytest.mark.parametrize("name", ALL)
def test_a_coarse_scale_counts_as_much_as_a_fine_one(name: str) -> None:
    loss = LOSSES[name]
    fine, coarse = [0.3, 0.1, -0.7, 0.2], [1.4]
    both = loss.discriminator(judged(fine, coarse), judged(coarse, fine))
    single = [loss.discriminator(judged(a), judged(b)) for a, b in ((fine, coarse), (coarse, fine))]
    assert float(both) == pytest.approx(float(sum(single)) / 2)


@pytest.mark.parametrize("name", ALL)
def test_the_two_pull_at_the_score_of_a_painting_from_both_sides(name: str) -> None:
    real, fake = torch.tensor([0.4], requires_grad=True), torch.tensor([0.6], requires_grad=True)
    LOSSES[name].discriminator(judged(real), judged(fake)).backward()
    assert real.grad is not None and float(real.grad) < 0, "the artist's patch rises"
    assert fake.grad is not None and float(fake.grad) > 0, "the painted one falls"
    fake.grad = None
    LOSSES[name].generator(judged(fake)).backward()
    assert float(fake.grad) < 0, "the generator lifts it"


@pytest.mark.parametrize("name", ALL)
def test_sums_are_taken_in_float32(name: str) -> None:
    scores = torch.full((1, 1, 64, 64), 0.3, dtype=torch.bfloat16)
    value = LOSSES[name].discriminator([PatchScores(scores, ())], [PatchScores(scores, ())])
    assert value.dtype == torch.float32 and value.ndim == 0


@pytest.mark.parametrize(("name", "between"), [("lsgan", 0.5), ("bce", 0.0), ("hinge", 0.0), ("wgan-gp", -7.0)])
def test_accuracy_is_the_share_of_patches_told_apart(name: str, between: float) -> None:
    loss = LOSSES[name]
    low, high = [between - 0.25] * 4, [between + 0.25] * 4
    assert loss.accuracy(judged(high), judged(low)) == 1
    assert loss.accuracy(judged(low), judged(high)) == 0
    mixed = low[:2] + high[:2]
    assert loss.accuracy(judged(mixed), judged(mixed)) == 0.5
    assert loss.accuracy(judged(high, mixed), judged(low, mixed)) == 0.75


def linear(*slopes: float) -> Callable[[Tensor], list[PatchScores]]:
    """A critic with one scale for each slope; each pixel is a patch, scored by a linear function of its colour."""
    direction = torch.tensor([2.0, -1.0, 2.0]).view(1, 3, 1, 1) / 3
    return lambda x: [PatchScores(slope * (direction * x).sum(1, keepdim=True) + 5.0, ()) for slope in slopes]


@pytest.mark.parametrize("side", [1, 8, 24])
def test_the_gradient_penalty_of_a_linear_critic_is_known(side: int) -> None:
    real, fake = torch.rand(2, 4, 3, side, side, generator=rng()).unbind()
    for slopes, expected in (((1.0,), 0.0), ((3.0,), 4.0), ((0.0,), 1.0), ((1.0, 3.0), 2.0)):
        assert float(gradient_penalty(linear(*slopes), real, fake, rng()).detach()) == pytest.approx(expected, abs=1e-4)


def test_the_penalty_of_a_single_score_is_the_papers() -> None:
    """f(z) = ½ ‖z‖² has the slope ‖z‖, so the points between can be told from the penalty."""
    real, fake = torch.rand(2, 1, 3, 4, 4, generator=rng()).unbind()
    a = float(torch.rand(1, generator=rng(9)))
    expected = ((a * real + (1 - a) * fake).norm() - 1) ** 2

    def critic(x: Tensor) -> list[PatchScores]:
        return [PatchScores(0.5 * x.square().sum((1, 2, 3), keepdim=True), ())]

    assert float(gradient_penalty(critic, real, fake, rng(9)).detach()) == pytest.approx(float(expected), rel=1e-4)


def test_each_picture_has_its_own_place_between() -> None:
    places: list[Tensor] = []

    def critic(x: Tensor) -> list[PatchScores]:
        places.append(x.detach())
        return linear(1.0)(x)

    gradient_penalty(critic, torch.ones(16, 3, 2, 2), torch.zeros(16, 3, 2, 2), rng())
    for place in places[0]:
        assert float(place.min()) == float(place.max()), "one number for a whole picture"
    values = places[0][:, 0, 0, 0]
    assert len(values.unique()) == 16 and float(values.min()) >= 0 and float(values.max()) <= 1


def test_the_penalty_teaches_the_discriminator_and_nobody_else() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(scales=2, width=4, layers=2)
    real, fake = torch.rand(2, 2, 3, 24, 24, generator=rng()).unbind()
    fake.requires_grad_()
    penalty = gradient_penalty(discriminator, real, fake, rng())
    penalty.backward()
    assert float(penalty.detach()) > 0 and fake.grad is None
    gradients = [p.grad for name, p in discriminator.named_parameters() if name.endswith("original")]
    assert all(g is not None and bool(g.isfinite().all()) and float(g.abs().max()) > 0 for g in gradients)


def test_the_penalty_of_a_constant_critic_has_a_finite_gradient() -> None:
    weight = torch.zeros(1, requires_grad=True)

    def critic(x: Tensor) -> list[PatchScores]:
        return [PatchScores(weight * x.mean((1, 2, 3), keepdim=True), ())]

    gradient_penalty(critic, torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), rng()).backward()
    assert weight.grad is not None and math.isfinite(float(weight.grad))


def test_feature_matching_compares_means_of_channels() -> None:
    real = torch.tensor([1.0, 5.0]).view(1, 2, 1, 1).expand(3, 2, 4, 4)
    fake = torch.tensor([2.0, 2.0]).view(1, 2, 1, 1).expand(2, 2, 6, 5)  # other pictures, another size
    assert float(feature_matching(seen(real), seen(fake))) == pytest.approx((1 + 3) / 2)
    assert float(feature_matching(seen(real, real), seen(fake, real))) == pytest.approx(1.0), "mean over the layers"
    shuffled = torch.rand(2, 3, 4, 4, generator=rng())
    assert float(feature_matching(seen(shuffled), seen(shuffled.flip(0, 2, 3)))) == pytest.approx(0, abs=1e-6)


def test_feature_matching_of_a_divided_batch_is_that_of_the_whole() -> None:
    real, fake = torch.rand(2, 4, 3, 5, 5, generator=rng()).unbind()
    halves = list(zip(real.split(2), fake.split(2), strict=True))
    means = torch.stack([(b - a).mean((0, 2, 3)) for a, b in halves]).mean(0)
    whole = float(feature_matching(seen(real), seen(fake)))
    for a, b in halves:
        assert float(feature_matching(seen(a), seen(b), lambda _: means)) == pytest.approx(whole, rel=1e-5)


def test_feature_matching_has_a_gradient_for_the_painting_alone() -> None:
    real = torch.ones(1, 2, 3, 3, requires_grad=True)
    fake = torch.zeros(1, 2, 3, 3, requires_grad=True)
    feature_matching(seen(real), seen(fake)).backward()
    assert real.grad is None and fake.grad is not None and float(fake.grad.max()) < 0


def test_scales_and_layers_must_match() -> None:
    with pytest.raises(ValueError, match="zip"):
        feature_matching(seen(torch.ones(1, 1, 1, 1)), seen())
    with pytest.raises(ValueError, match="zip"):
        LOSSES["lsgan"].accuracy(judged([1.0]), judged([1.0], [1.0]))


def test_diversity_is_the_ratio_of_mean_distances() -> None:
    x = torch.rand(4, 3, 33, 47, generator=rng())
    assert diversity(x, x) == pytest.approx(1)
    assert diversity(0.5 + 0.25 * x, x) == pytest.approx(0.25, rel=1e-4)
    assert diversity(x[:1].expand(4, -1, -1, -1), x) == pytest.approx(0, abs=1e-6)
    assert diversity(x.bfloat16(), x) == pytest.approx(1, rel=0.02)


def test_strokes_are_no_diversity() -> None:
    x = torch.rand(4, 3, 1, 1, generator=rng()).expand(-1, -1, 64, 64)
    checks = 0.2 * ((torch.arange(64)[:, None] + torch.arange(64)) % 2 - 0.5)
    strokes = checks * torch.tensor([1.0, -1.0, 1.0, -1.0]).view(4, 1, 1, 1)
    assert diversity(x + strokes, x) == pytest.approx(1, rel=1e-4)


def test_diversity_says_nothing_where_there_is_nothing_to_compare() -> None:
    x = torch.rand(1, 3, 16, 16, generator=rng())
    assert diversity(x, x) is None
    assert diversity(torch.rand(3, 3, 16, 16), x.expand(3, -1, -1, -1)) is None


def fed(accuracies: list[float], diversities: list[float | None] | None = None) -> list[str | None]:
    """What a watch with small windows says after every step."""
    watch, verdicts = CollapseMonitor(window=20, grace=50), []
    for accuracy, value in zip(accuracies, diversities or [1.0] * len(accuracies), strict=True):
        watch.add(accuracy, value)
        verdicts.append(watch.problem())
    return verdicts


def wobbling(around: float, by: float, steps: int, seed: int = 0) -> list[float]:
    """A series as noisy as batches are."""
    return (around + by * (2 * torch.rand(steps, generator=rng(seed)) - 1)).tolist()


@pytest.mark.parametrize("around", [0.6, 0.75, 0.9])
def test_the_watch_is_silent_while_all_is_well(around: float) -> None:
    assert set(fed(wobbling(around, 0.1, 300), [*wobbling(0.7, 0.5, 300, seed=1)])) == {None}


def test_a_start_without_knowledge_is_no_collapse() -> None:
    assert set(fed([0.5] * 30 + [0.8] * 100)) == {None}
    assert set(fed([1.0] * 30 + [0.8] * 100)) == {None}


def test_single_batches_are_no_collapse() -> None:
    assert set(fed([1.0 if step % 10 else 0.7 for step in range(200)])) == {None}
    assert set(fed([0.8] * 60 + [0.5] * 5 + [0.8] * 60 + [1.0] * 5 + [0.8] * 60)) == {None}


@pytest.mark.parametrize(("accuracy", "words"), [(0.995, "has won"), (0.5, "has given up")])
def test_the_watch_speaks_while_the_game_is_lost_and_no_longer(accuracy: float, words: str) -> None:
    verdicts = fed([0.8] * 60 + [accuracy] * 40 + [0.8] * 40)
    assert set(verdicts[:60]) == {None}
    assert words in str(verdicts[99])
    assert verdicts[-1] is None


def test_a_discriminator_that_never_learns_is_told_after_the_grace() -> None:
    verdicts = fed(wobbling(0.5, 0.01, 100))
    assert set(verdicts[:49]) == {None} and "given up" in str(verdicts[60])


def test_paintings_that_become_alike_are_told() -> None:
    verdicts = fed([0.8] * 100, [0.9] * 40 + [0.05] * 60)
    assert set(verdicts[:40]) == {None}
    assert "alike" in str(verdicts[-1]) and "0.050" in str(verdicts[-1])
    assert set(fed([0.8] * 100, [0.9] * 40 + [0.15] * 60)) == {None}, "a sixth is not yet a tenth"


def test_batches_of_one_have_no_diversity_and_no_verdict() -> None:
    assert set(fed([0.8] * 100, [None] * 100)) == {None}


def test_a_critic_may_win() -> None:
    watch = CollapseMonitor(window=5, grace=5, won=LOSSES["wgan-gp"].ceiling)
    for _ in range(20):
        watch.add(1.0, 1.0)
    assert watch.problem() is None


def test_a_resumed_watch_remembers_the_start() -> None:
    first, second = CollapseMonitor(window=10, grace=10), CollapseMonitor(window=10, grace=10)
    for _ in range(15):
        first.add(0.8, 0.9)
    second.restore(first.state())
    for watch in (first, second):
        for _ in range(10):
            watch.add(0.8, 0.01)
    assert first.state() == second.state()
    assert second.problem() == first.problem() is not None


def test_a_verdict_is_one_line() -> None:
    for verdicts in (fed([1.0] * 100), fed([0.5] * 100), fed([0.8] * 100, [1.0] * 50 + [0.0] * 50)):
        assert verdicts[-1] is not None and "\n" not in verdicts[-1] and not verdicts[-1].endswith(".")
