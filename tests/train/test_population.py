"""Distances of distributions against known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.errors import TrainError
from tests.train.pictures import texture
from train.evaluate.frechet import Gaussian, Vectors, diversity, feature_fid, fit, frechet_distance, pooled
from train.losses.vgg_features import load_features


def draw(count: int, width: int, seed: int = 0, offset: float = 0.0) -> Vectors:
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(width, width)) / width**0.5
    return np.asarray(rng.normal(size=(count, width)) @ mix + offset)


def test_two_gaussians_of_one_dimension() -> None:
    """(μ_a − μ_b)² + (σ_a − σ_b)²."""
    a = Gaussian(np.array([1.0]), np.array([[9.0]]))
    b = Gaussian(np.array([3.0]), np.array([[4.0]]))
    assert frechet_distance(a, b) == pytest.approx(2.0**2 + 1.0**2)


def test_gaussians_with_common_axes_are_that_for_every_axis() -> None:
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    first, second = np.array([1.0, 4.0, 0.0, 2.5]), np.array([2.0, 1.0, 3.0, 0.0])
    a = Gaussian(np.zeros(4), axes @ np.diag(first) @ axes.T)
    b = Gaussian(np.full(4, 0.5), axes @ np.diag(second) @ axes.T)
    expected = 4 * 0.25 + ((np.sqrt(first) - np.sqrt(second)) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(expected)


def test_covariances_that_do_not_commute() -> None:
    """For 2×2, Tr √M = √(Tr M + 2 √det M), M = C_a C_b: no eigenvalues needed."""
    c, d = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([[0.5, -0.3], [-0.3, 3.0]])
    m = c @ d
    overlap = np.sqrt(np.trace(m) + 2 * np.sqrt(np.linalg.det(m)))
    expected = np.trace(c) + np.trace(d) - 2 * overlap
    a, b = Gaussian(np.zeros(2), c), Gaussian(np.zeros(2), d)
    assert frechet_distance(a, b) == pytest.approx(expected)
    assert frechet_distance(b, a) == pytest.approx(expected)


def test_a_set_has_no_distance_from_itself_also_with_few_pictures() -> None:
    for count in (3, 200):
        own = fit(draw(count, 12))
        assert frechet_distance(own, own) == pytest.approx(0.0, abs=1e-9)


def test_many_pictures_of_one_distribution_are_near_and_of_another_are_not() -> None:
    near = frechet_distance(fit(draw(4000, 8, 0)), fit(draw(4000, 8, 1)))
    far = frechet_distance(fit(draw(4000, 8, 0)), fit(draw(4000, 8, 1, offset=1.0)))
    assert near < 0.05
    assert far == pytest.approx(8.0, rel=0.1)


def test_the_covariance_is_that_of_ledoit_and_wolf() -> None:
    vectors = draw(7, 5)
    count, width = vectors.shape
    x = vectors - vectors.mean(0)
    sample = sum(np.outer(row, row) for row in x) / count
    size = np.trace(sample) / width
    d2 = ((sample - size * np.eye(width)) ** 2).sum() / width
    b2 = min(d2, sum(((np.outer(row, row) - sample) ** 2).sum() / width for row in x) / count**2)
    expected = b2 / d2 * size * np.eye(width) + (1 - b2 / d2) * sample
    assert fit(vectors).covariance == pytest.approx(expected)


def test_shrinking_gives_every_direction_a_width_and_goes_away() -> None:
    few = fit(draw(6, 20)).covariance
    assert np.linalg.eigvalsh(few)[0] > 1e-3
    many = draw(50_000, 6)
    assert fit(many).covariance == pytest.approx(np.cov(many.T), abs=2e-3)


def test_shrinking_brings_few_pictures_nearer_to_the_truth() -> None:
    truth, vectors = fit(draw(50_000, 20)), draw(12, 20, seed=5)
    plain = Gaussian(vectors.mean(0), np.cov(vectors.T))
    assert frechet_distance(fit(vectors), truth) < frechet_distance(plain, truth)


def test_equal_pictures_are_a_distribution_too() -> None:
    own = fit(np.ones((4, 3)))
    assert not own.covariance.any()
    assert frechet_distance(own, own) == 0.0


@pytest.mark.parametrize("measure", [fit, diversity])
def test_one_picture_is_too_few(measure: object) -> None:
    with pytest.raises(TrainError, match="two or more"):
        measure(np.ones((1, 3)))  # type: ignore[operator]


def test_diversity_is_zero_after_a_collapse_and_known_for_a_triangle() -> None:
    assert diversity(np.ones((5, 7))) == 0.0
    corners = np.eye(3)
    assert diversity(corners) == pytest.approx(2**0.5)
    assert diversity(10 * corners) == pytest.approx(2**0.5)


def test_features_are_averaged_over_each_picture(narrow_features: Path) -> None:
    network = load_features(narrow_features).style_network
    vectors = pooled(network, [texture(32, 40, 0), texture(48, 32, 1)])
    assert vectors.shape == (2, 10) and vectors.dtype == np.float64


def test_feature_fid_grows_as_pictures_change(narrow_features: Path) -> None:
    network = load_features(narrow_features).style_network
    pictures = [texture(32, 32, seed) for seed in range(6)]
    darker, inverted = [x // 2 for x in pictures], [255 - x // 4 for x in pictures]
    same, dark, other, mixed = feature_fid(network, pictures, pictures, darker, inverted, [*pictures[1:], darker[0]])
    assert same == pytest.approx(0.0, abs=1e-6) and dark > 0
    assert feature_fid(network, darker, pictures) == [pytest.approx(dark)]
    assert other > mixed
