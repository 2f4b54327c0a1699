"""`rtstyle evaluate`: read everything, paint it, measure it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from statistics import mean

import engines
from engines.base import RGB, Engine
from engines.style_file import StyleModel
from train.evaluate import notes
from train.evaluate.efficiency import Latency, latencies, multiply_adds, parameters
from train.evaluate.frechet import diversity, feature_fid, pooled
from train.evaluate.inputs import Job, Material, gather
from train.evaluate.material import Clip, square
from train.evaluate.results import MEANINGS, Figure, LeftOut, Pair, Strip, Verdict
from train.evaluate.similarity import content_distance, ssim
from train.evaluate.style_distance import StyleJudge
from train.evaluate.temporal import ClipJudge, noise_amplification
from train.losses.vgg_features import Features

STILLS, SHOWN, STRIP = 4, 6, 6
"""Photographs for the noise; pairs and frames of a clip that are shown."""


def judge(job: Job, say: Callable[[str], None] = lambda _: None) -> Verdict:
    """Measure all that can be measured with what is given.

    Args:
        job: what is asked for.
        say: is told what comes next; it takes minutes.

    Raises:
        StylerError: the style, a picture, a clip or a feature network cannot be used.
    """
    say("reading …")
    material = gather(job)
    with closing(engines.load(material.style)) as engine:
        say(f"painting {len(material.photos.rgb)} pictures …")
        pairs = [(rgb, engine(rgb)) for rgb in material.photos.rgb]
        say("comparing pictures …")
        figures = [*_of_pictures(pairs, material, engine)]
        strips, gaps = [], [*notes.left_out(job, material)]
        for clip in material.clips:
            say(f"painting and comparing {clip.name} …")
            painted = [engine(rgb) for rgb in clip.frames]
            strips.append(_strip(clip, painted))
            of_clip = [*_of_clip(clip, painted)]
            figures += of_clip
            if not of_clip:
                gaps.append(LeftOut(f"Ewarp, e_stab of {clip.name}", "none of its frames continues the one before"))
    say("timing …")
    times = latencies(material.style)
    gaps += [LeftOut(f"latency of the engine {each.engine}", each.runtime) for each in times if each.timing is None]
    figures += [*_clip_means(figures), *_costs(material.style, times)]
    return Verdict(
        style=material.style.name,
        title=material.style.title,
        figures=sorted(figures, key=lambda figure: list(MEANINGS).index(figure.name)),
        left_out=gaps,
        notes=notes.notes(material, times),
        pairs=[Pair(name, *pair) for name, pair in zip(material.photos.names, pairs, strict=True)][:SHOWN],
        strips=strips,
    )


def _of_pictures(pairs: Sequence[tuple[RGB, RGB]], material: Material, engine: Engine) -> Iterator[Figure]:
    if not pairs:
        return
    networks = material.networks
    yield Figure("ssim", mean(ssim(painted, rgb) for rgb, painted in pairs))
    stills = [rgb for rgb, _ in pairs[:: max(1, len(pairs) // STILLS)]][:STILLS]
    yield Figure("noise", mean(noise_amplification(engine, rgb) for rgb in stills))
    if networks.lpips is not None:
        yield Figure("lpips", mean(networks.lpips.distance(rgb, painted) for rgb, painted in pairs))
    if networks.features is None:
        return
    deep = networks.features.deep_network
    yield Figure("content_distance", mean(content_distance(deep, painted, rgb) for rgb, painted in pairs))
    if len(pairs) > 1:
        before, after = (diversity(pooled(deep, [pair[i] for pair in pairs])) for i in (0, 1))
        yield Figure("diversity", after, before)
    if material.painting is not None:
        yield from _of_style(StyleJudge(networks.features.style_network, material.painting), pairs)
    if material.artist is not None and min(len(pairs), len(material.artist.rgb)) > 1:
        yield _fid(networks.features, material.artist.rgb, [rgb for rgb, _ in pairs], engine)


def _of_style(measure: StyleJudge, pairs: Sequence[tuple[RGB, RGB]]) -> Iterator[Figure]:
    unpainted, ours = (measure([pair[i] for pair in pairs]) for i in (0, 1))
    yield Figure("style_distance", ours.mean, unpainted.mean)
    if unpainted.mean > 0 and unpainted.strokes > 0:  # the painting itself may have been given as a photograph
        yield Figure("style_ratio", ours.mean / unpainted.mean, 1.0)
        yield Figure("strokes_ratio", ours.strokes / unpainted.strokes, 1.0)


def _fid(features: Features, artist: Sequence[RGB], photos: Sequence[RGB], engine: Engine) -> Figure:
    """Photographs are painted at the size in which the artist's pictures are, so that strokes are not shrunk."""
    squares = [square(rgb) for rgb in photos]
    ours, unpainted = feature_fid(features.style_network, artist, [engine(rgb) for rgb in squares], squares)
    return Figure("feature_fid", ours, unpainted)


def _of_clip(clip: Clip, painted: Sequence[RGB]) -> Iterator[Figure]:
    measure = ClipJudge(clip.frames)
    if measure.pairs:
        for name, error in (("ewarp", measure.warping_error), ("e_stab", measure.stability_error)):
            yield Figure(name, error(painted), error(clip.frames), clip.name)


def _strip(clip: Clip, painted: Sequence[RGB]) -> Strip:
    every = max(1, len(painted) // STRIP)
    return Strip(clip.name, clip.frames[::every][:STRIP], painted[::every][:STRIP])


def _clip_means(figures: Sequence[Figure]) -> Iterator[Figure]:
    """Over the clips, where there are several."""
    for name in ("ewarp", "e_stab"):
        ours = [figure for figure in figures if figure.name == name]
        if len(ours) > 1:
            unpainted = mean(figure.unpainted or 0.0 for figure in ours)
            yield Figure(name, mean(figure.value for figure in ours), unpainted, "mean of the clips")


def _costs(style: StyleModel, times: Sequence[Latency]) -> Iterator[Figure]:
    yield Figure("parameters", parameters(style))
    yield Figure("multiply_adds", multiply_adds(style) / 1e9)
    for each in times:
        if each.timing is not None:
            yield Figure("latency", each.timing.median_ms, of=each.engine)
            yield Figure("latency_p95", each.timing.p95_ms, of=each.engine)
