"""Run `rtstyle evaluate`: read the inputs, stylize them and compute the metrics."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from statistics import mean

import engines
from engines.base import RGB, Engine
from engines.style_file import StyleModel
from train.data.pictures import central_square
from train.evaluate import notes
from train.evaluate.efficiency import Latency, latencies, multiply_adds, parameters
from train.evaluate.frechet import diversity, feature_fid, pooled
from train.evaluate.inputs import SQUARE, Clip, EvaluationInputs, EvaluationJob, read_inputs
from train.evaluate.results import METRICS, Metric, Pair, Results, SkippedMetric, Strip
from train.evaluate.similarity import content_distance, ssim, structure_distance
from train.evaluate.style_distance import StyleDistance, colour_distance, grams
from train.evaluate.temporal import TemporalConsistency, noise_amplification
from train.losses.vgg_features import Features, Vgg19

logger = logging.getLogger(__name__)

_TINY = 1e-9
"""Distance of a copy of a painting."""

STILLS, SHOWN, STRIP = 4, 6, 6
"""Photographs used for the noise metric; pairs shown; frames shown of each clip."""


def evaluate(job: EvaluationJob) -> Results:
    """Compute every metric that the job's inputs allow; this takes minutes and logs its progress.

    Raises:
        StylerError: the style, a picture, a clip or a feature network cannot be used.
    """
    logger.info("reading …")
    inputs = read_inputs(job)
    with closing(engines.load(inputs.style)) as engine:
        logger.info("stylizing %d pictures …", len(inputs.photos.rgb))
        pairs = [(rgb, engine(rgb)) for rgb in inputs.photos.rgb]
        logger.info("comparing pictures …")
        figures = [*_picture_metrics(pairs, inputs, engine)]
        strips, gaps = [], [*notes.left_out(job, inputs)]
        for clip in inputs.clips:
            logger.info("stylizing and comparing %s …", clip.name)
            stylized = [engine(rgb) for rgb in clip.frames]
            strips.append(_strip(clip, stylized))
            of_clip = [*_clip_metrics(clip, stylized)]
            figures += of_clip
            if not of_clip:
                gaps.append(SkippedMetric(f"Ewarp, e_stab of {clip.name}", "no frame continues the previous one"))
    logger.info("timing …")
    times = latencies(inputs.style)
    gaps += [
        SkippedMetric(f"latency of the engine {each.engine}", each.runtime) for each in times if each.timing is None
    ]
    figures += [*_clip_means(figures), *_cost_metrics(inputs.style, times)]
    return Results(
        style=inputs.style.name,
        title=inputs.style.title,
        figures=sorted(figures, key=lambda figure: list(METRICS).index(figure.name)),
        left_out=gaps,
        notes=notes.notes(inputs, times),
        pairs=[Pair(name, *pair) for name, pair in zip(inputs.photos.names, pairs, strict=True)][:SHOWN],
        strips=strips,
    )


def _picture_metrics(pairs: Sequence[tuple[RGB, RGB]], inputs: EvaluationInputs, engine: Engine) -> Iterator[Metric]:
    if not pairs:
        return
    networks = inputs.networks
    yield Metric("ssim", mean(ssim(stylized, rgb) for rgb, stylized in pairs))
    stills = [rgb for rgb, _ in pairs[:: max(1, len(pairs) // STILLS)]][:STILLS]
    yield Metric("noise", mean(noise_amplification(engine, rgb) for rgb in stills))
    if networks.lpips is not None:
        yield Metric("lpips", mean(networks.lpips.distance(rgb, stylized) for rgb, stylized in pairs))
    if networks.features is None:
        return
    deep = networks.features.deep_network
    yield Metric("content_distance", mean(content_distance(deep, stylized, rgb) for rgb, stylized in pairs))
    if len(pairs) > 1:
        before, after = (diversity(pooled(deep, [pair[i] for pair in pairs])) for i in (0, 1))
        yield Metric("diversity", after, before)
    style = networks.features.style_network
    yield Metric("cfsd", mean(structure_distance(style, stylized, rgb) for rgb, stylized in pairs))
    if inputs.painting is not None:
        yield from _style_metrics(style, inputs.painting, inputs.other_paintings, pairs)
    if inputs.artist is not None and min(len(pairs), len(inputs.artist.rgb)) > 1:
        yield _fid(networks.features, inputs.artist.rgb, [rgb for rgb, _ in pairs], engine)


def _style_metrics(
    network: Vgg19, painting: RGB, others: Mapping[str, RGB], pairs: Sequence[tuple[RGB, RGB]]
) -> Iterator[Metric]:
    measure = StyleDistance(network, painting)
    stylized = [grams(network, picture) for _, picture in pairs]
    unpainted, ours = measure(rgb for rgb, _ in pairs), measure.of_grams(stylized)
    yield Metric("style_distance", ours.mean, unpainted.mean)
    if unpainted.mean > 0 and unpainted.strokes > 0:  # the painting itself may be among the photographs
        yield Metric("style_ratio", ours.mean / unpainted.mean, 1.0)
        yield Metric("strokes_ratio", ours.strokes / unpainted.strokes, 1.0)
    before, after = (mean(colour_distance(pair[i], painting) for pair in pairs) for i in (0, 1))
    yield Metric("colour_distance", after, before)
    distances = {name: StyleDistance(network, other).of_grams(stylized).mean for name, other in others.items()}
    if distances:
        nearest = min(distances, key=distances.__getitem__)
        yield Metric("own_painting", ours.mean / max(distances[nearest], _TINY), of=f"against {nearest}")


def _fid(features: Features, artist: Sequence[RGB], photos: Sequence[RGB], engine: Engine) -> Metric:
    """Compute feature-FID at the size of the artist's pictures, so that strokes are not shrunk."""
    squares = [central_square(rgb, SQUARE) for rgb in photos]
    ours, unpainted = feature_fid(features.style_network, artist, [engine(rgb) for rgb in squares], squares)
    return Metric("feature_fid", ours, unpainted)


def _clip_metrics(clip: Clip, stylized: Sequence[RGB]) -> Iterator[Metric]:
    measure = TemporalConsistency(clip.frames)
    if not measure.pairs:
        return
    for name, error in (
        ("ewarp", measure.warping_error),
        ("ewarp_long", measure.long_warping_error),
        ("consistency_ratio", measure.consistency_ratio),
        ("e_stab", measure.stability_error),
    ):
        value = error(stylized)
        if value is not None:
            yield Metric(name, value, error(clip.frames), clip.name)


def _strip(clip: Clip, stylized: Sequence[RGB]) -> Strip:
    every = max(1, len(stylized) // STRIP)
    return Strip(clip.name, clip.frames[::every][:STRIP], stylized[::every][:STRIP])


def _clip_means(figures: Sequence[Metric]) -> Iterator[Metric]:
    """Average the clip metrics where there are several clips."""
    for name in ("ewarp", "ewarp_long", "consistency_ratio", "e_stab"):
        ours = [figure for figure in figures if figure.name == name]
        if len(ours) > 1:
            unpainted = mean(figure.unpainted or 0.0 for figure in ours)
            yield Metric(name, mean(figure.value for figure in ours), unpainted, "mean of the clips")


def _cost_metrics(style: StyleModel, times: Sequence[Latency]) -> Iterator[Metric]:
    yield Metric("parameters", parameters(style))
    yield Metric("multiply_adds", multiply_adds(style) / 1e9)
    for each in times:
        if each.timing is not None:
            yield Metric("latency", each.timing.median_ms, of=each.engine)
            yield Metric("latency_p95", each.timing.p95_ms, of=each.engine)
