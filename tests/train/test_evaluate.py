"""Figures against known answers: brute force, translations, and ground-truth flow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines.base import RGB
from engines.errors import TrainError
from tests.train.flow_files import read_flow
from tests.train.pictures import scene, shifted, texture
from train import evaluate
from train.data import optical_flow as optical
from train.data.optical_flow import Flow
from train.data.pictures import read_picture, to_tensor, with_short_side
from train.evaluate import StyleDistance, StyleScores, run, similarity
from train.evaluate.results import Metric
from train.losses.vgg_features import load_features


def brute_force_ssim(first: RGB, second: RGB) -> float:
    """Wang et al. 2004, eqs. 13 to 16, window by window in float64."""
    axis = np.arange(-5, 6)
    window = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 1.5**2))
    window /= window.sum()
    a, b = (x.astype(np.float64) @ [0.299, 0.587, 0.114] for x in (first, second))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
            cov = (window * (p - mp) * (q - mq)).sum()
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(np.mean(values))


def test_ssim_of_equal_pictures_is_one() -> None:
    assert evaluate.ssim(texture(40, 50, 0), texture(40, 50, 0)) == pytest.approx(1.0, abs=1e-6)


def test_ssim_agrees_with_brute_force() -> None:
    first, second = texture(30, 34, 0), texture(30, 34, 1)
    noisy = np.clip(first + np.random.default_rng(0).normal(0, 20, first.shape), 0, 255).astype(np.uint8)
    for other in (second, noisy, 255 - first):
        assert evaluate.ssim(first, other) == pytest.approx(brute_force_ssim(first, other), abs=2e-3)


def test_a_static_clip_has_no_warping_error() -> None:
    clip = [scene(80, 100)] * 3
    assert evaluate.warping_error(clip, clip) == pytest.approx(0.0, abs=1e-7)


def test_a_moving_clip_has_nearly_none_and_a_boiling_one_has_what_it_boils() -> None:
    clip = shifted(4, 3, -2)
    steady = evaluate.warping_error(clip, clip)
    assert steady < 1e-4
    rng = np.random.default_rng(0)
    sigma = 10.0
    boiling = [np.clip(x + rng.normal(0, sigma, x.shape), 0, 255).astype(np.uint8) for x in clip]
    error = evaluate.warping_error(boiling, clip)
    # Two independent noises; whole-pixel motion blurs neither, sub-pixel errors of the flow blur the second.
    assert 1.2 < error / (sigma / 255) ** 2 < 2.1


def test_a_painting_that_stays_while_the_scene_moves_is_an_error() -> None:
    clip = shifted(3, 4, 0)
    assert evaluate.warping_error([clip[0]] * 3, clip) > 20 * evaluate.warping_error(clip, clip)


def test_the_stability_error_is_the_root_of_what_boils() -> None:
    """A still scene has no motion and no occlusion, so both errors are σ² of each of two noises."""
    clip = [scene(80, 100)] * 4
    rng = np.random.default_rng(0)
    sigma = 8.0
    boiling = [np.clip(x + rng.normal(0, sigma, x.shape), 0, 255).astype(np.uint8) for x in clip]
    judge = evaluate.TemporalConsistency(clip)
    assert judge.stability_error(clip) == 0.0
    assert judge.stability_error(boiling) == pytest.approx(2**0.5 * sigma / 255, rel=0.05)
    assert judge.stability_error(boiling) ** 2 == pytest.approx(judge.warping_error(boiling), rel=0.01)


def test_the_stability_error_looks_forward_along_the_motion() -> None:
    clip = shifted(3, 4, -3)
    judge = evaluate.TemporalConsistency(clip)
    stays = judge.stability_error([clip[0]] * 3)
    assert judge.stability_error(clip) < 0.01 and stays > 0.05
    jumps = [clip[0], np.roll(clip[1], 9, axis=1), clip[2]]
    assert judge.stability_error(jumps) > 0.05


def test_a_cut_is_left_out() -> None:
    before, still = shifted(3, 2, 1), [texture(120, 160, 9, detail=40)] * 3
    joined = [*before, *still]
    judge = evaluate.TemporalConsistency(joined)
    assert judge.pairs == 4
    assert judge.warping_error(joined) == pytest.approx(evaluate.warping_error(before, before) / 2, rel=1e-3)


def test_unrelated_frames_cannot_be_judged() -> None:
    clip = [texture(120, 160, seed) for seed in range(3)]
    assert evaluate.TemporalConsistency(clip).pairs == 0
    with pytest.raises(TrainError, match="continues"):
        evaluate.warping_error(clip, clip)


def test_frames_and_originals_must_be_as_many() -> None:
    clip = shifted(3, 1, 0)
    with pytest.raises(TrainError, match="as many"):
        evaluate.TemporalConsistency(clip).stability_error(clip[:2])


@pytest.mark.parametrize("counts", [(1, 1), (3, 2), (0, 0)])
def test_too_few_frames_are_refused(counts: tuple[int, int]) -> None:
    frame = scene(40, 40)
    with pytest.raises(TrainError, match="two or more"):
        evaluate.warping_error([frame] * counts[0], [frame] * counts[1])


def ground_truth(data_dir: Path) -> Sequence[tuple[RGB, RGB, Flow]]:
    """Frames 10 and 11 and the true flow between them, for each pair that is there."""
    pairs = []
    for folder in sorted(p for p in (data_dir / "flow").iterdir() if p.is_dir()):
        first, second = (read_picture(next(folder.glob(f"frame{n}.*"))) for n in (10, 11))
        pairs.append((first, second, read_flow(next(folder.glob("*.flo")))))
    assert pairs
    return pairs


def test_the_metric_agrees_with_ground_truth_flow(data_dir: Path) -> None:
    """The estimated flow may stand in for the true one: it is near, and so is the warping error."""
    for first, second, true in ground_truth(data_dir):
        known = (np.abs(true) < 1e9).all(-1)
        estimated = optical.estimate_flow(first, second)
        endpoint = np.sqrt(((estimated - true) ** 2).sum(-1))[known]
        assert endpoint.mean() < 0.35, "average endpoint error, pixels"
        valid = known & ~optical.occluded(estimated, optical.estimate_flow(second, first))
        assert 0.5 < valid.mean() <= 1.0
        with_true = evaluate.masked_error(first, second, np.where(known[..., None], true, 0), valid)
        with_estimate = evaluate.masked_error(first, second, estimated, valid)
        still = evaluate.masked_error(first, second, np.zeros_like(true), valid)
        assert with_estimate < 1.25 * with_true
        assert with_true < 0.5 * still


def test_noise_is_measured_relative_to_what_comes_in() -> None:
    still = texture(40, 60, 0)
    mild = (still // 2 + 64).astype(np.uint8)  # away from black and white, where noise is clipped
    assert evaluate.noise_amplification(lambda x: x, mild) == pytest.approx(1.0)
    assert evaluate.noise_amplification(lambda x: mild, mild) == 0.0
    # Rounding to whole steps adds 1/12 of a squared step; with a large noise it does not count.
    half = evaluate.noise_amplification(lambda x: (x.astype(np.float32) * 0.5 + 0.5).astype(np.uint8), mild, sigma=8.0)
    assert half == pytest.approx(0.5, rel=0.02)


def test_the_figure_of_the_painting_itself_is_zero(narrow_features: Path) -> None:
    painting = texture(80, 100, 3, detail=40)
    judge = StyleDistance(load_features(narrow_features).style_network, painting)
    itself = with_short_side(painting, evaluate.PAINTING_SIDE)
    assert judge([itself]).mean == pytest.approx(0.0, abs=1e-9)
    photo = judge([texture(60, 60, 1)])
    assert photo.strokes > 0 and len(photo.layers) == 3


def test_the_style_figure_is_the_formula(narrow_features: Path) -> None:
    painting, picture = texture(64, 64, 3, detail=40), texture(40, 48, 1)
    network = load_features(narrow_features).style_network
    expected = []
    with torch.no_grad():
        itself = with_short_side(painting, evaluate.PAINTING_SIDE)
        for f, s in zip(network(to_tensor(picture)), network(to_tensor(itself)), strict=True):
            a, b = (x[0].flatten(1).double().numpy() for x in (f, s))
            g, target = a @ a.T / a.shape[1], b @ b.T / b.shape[1]
            expected.append(np.linalg.norm(g - target) ** 2 / np.linalg.norm(target) ** 2)
    assert StyleDistance(network, painting)([picture]).layers == pytest.approx(expected, rel=1e-4)


def test_the_content_distance_is_the_formula(narrow_features: Path) -> None:
    network = load_features(narrow_features).deep_network
    stylized, original = texture(40, 48, 0), texture(40, 48, 1)
    with torch.no_grad():
        y, x = (network(to_tensor(rgb))[-1].double().numpy() for rgb in (stylized, original))
    expected = ((y - x) ** 2).sum() / (x**2).sum()
    assert evaluate.content_distance(network, stylized, original) == pytest.approx(expected, rel=1e-4)
    assert evaluate.content_distance(network, original, original) == 0.0


def test_the_structure_distance_is_the_formula(narrow_features: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "STRUCTURE_SIDE", 40)
    monkeypatch.setattr(similarity, "_ROWS", 17)
    network = load_features(narrow_features).style_network
    stylized, original = texture(40, 48, 0), texture(40, 48, 1)

    def self_similarity(rgb: RGB) -> np.ndarray[Any, np.dtype[np.float64]]:
        with torch.no_grad():
            places = network(to_tensor(rgb))[-1][0].flatten(1).T.double().numpy()
        weights = np.exp(places @ places.T / places.shape[1])
        return np.asarray(weights / weights.sum(1, keepdims=True))

    x, y = self_similarity(original), self_similarity(stylized)
    expected = (x * np.log(x / y)).sum() / len(x)
    assert evaluate.structure_distance(network, stylized, original) == pytest.approx(expected, rel=1e-3)
    assert evaluate.structure_distance(network, original, original) == pytest.approx(0.0, abs=1e-6)


def test_colours_count_and_their_places_do_not() -> None:
    picture = scene(40, 48)
    shuffled = np.random.default_rng(0).permutation(picture.reshape(-1, 3)).reshape(picture.shape)
    assert evaluate.colour_distance(shuffled, picture) == pytest.approx(0.0, abs=1e-3)
    red, blue = (np.full((8, 8, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))
    assert evaluate.colour_distance(red, blue) == pytest.approx(1.0)
    assert 0.0 < evaluate.colour_distance(np.concatenate([red, blue]), blue) < 1.0


def test_a_weak_style_has_less_flicker_but_no_better_ratio() -> None:
    clip = [scene(80, 100)] * 4
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 20, clip[0].shape) for _ in clip]
    measure = evaluate.TemporalConsistency(clip)
    strong, weak = (
        [np.clip(rgb * 0.5 + 64 + much * n, 0, 255).astype(np.uint8) for rgb, n in zip(clip, noise, strict=True)]
        for much in (1.0, 0.25)
    )
    assert measure.warping_error(weak) < 0.1 * measure.warping_error(strong)
    assert measure.consistency_ratio(strong) == pytest.approx(1.0, rel=0.05)
    assert measure.consistency_ratio(weak) == pytest.approx(1.0, rel=0.05)
    assert measure.consistency_ratio(clip) == 0.0


def test_what_follows_the_motion_has_a_low_ratio() -> None:
    clip = shifted(4, 3, -2)
    assert evaluate.TemporalConsistency(clip).consistency_ratio(clip) < 0.1


def test_slow_drift_shows_in_the_long_range() -> None:
    clip = [(scene(80, 100) // 2 + 32).astype(np.uint8)] * 6
    measure = evaluate.TemporalConsistency(clip)
    drifting = [(rgb + 4 * i).astype(np.uint8) for i, rgb in enumerate(clip)]
    assert measure.warping_error(drifting) == pytest.approx((4 / 255) ** 2, rel=0.01)
    far = [(4 * i / 255) ** 2 for i in range(1, 6)]
    assert measure.long_warping_error(drifting) == pytest.approx(np.mean(far), rel=0.01)


def test_what_is_never_seen_again_has_no_long_range() -> None:
    clip = [texture(80, 100, 0), *[texture(80, 100, 1)] * 3]
    measure = evaluate.TemporalConsistency(clip)
    assert measure.pairs == 2 and measure.long_warping_error(clip) is None
    with pytest.raises(TrainError, match="as many originals"):
        measure.long_warping_error(clip[:2])


def test_a_style_that_looks_like_another_painting_is_found(narrow_features: Path) -> None:
    network = load_features(narrow_features).style_network
    own = texture(evaluate.PAINTING_SIDE, evaluate.PAINTING_SIDE, 1, detail=20)
    others = {"dark.png": (own // 4).astype(np.uint8), "inverse.png": (255 - own // 2).astype(np.uint8)}

    def nearest(stylized: RGB) -> Metric:
        figures = run._style_metrics(network, own, others, [(texture(60, 60, 3), stylized)])
        return next(figure for figure in figures if figure.name == "own_painting")

    assert nearest(own).value == pytest.approx(0.0, abs=1e-6)
    assert nearest(others["dark.png"]).value > 1 and nearest(others["dark.png"]).of == "against dark.png"


def test_mean_and_strokes() -> None:
    figure = StyleScores((0.1, 0.2, 0.6))
    assert figure.mean == pytest.approx(0.3) and figure.strokes == 0.6


def test_judged_pictures_have_one_short_side(photos: Path) -> None:
    pictures = evaluate.read_pictures(sorted(photos.iterdir())[:2])
    assert [min(x.shape[:2]) for x in pictures] == [evaluate.PICTURE_SIDE] * 2
