"""`rtstyle evaluate`: read everything, paint it, measure it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import engines
from engines.base import RGB, Engine
from engines.model_file import StyleModel
from rtstyle import styles
from train.data import read_picture
from train.evaluate.cost import latencies, multiply_adds, parameters
from train.evaluate.likeness import content_distance, ssim
from train.evaluate.lpips import HEADS, NETWORK, Lpips, load_lpips
from train.evaluate.material import SQUARE, Clip, Pictures, paintings_of, photographs_of, read_clip, square
from train.evaluate.population import diversity, fit, frechet_distance, pooled
from train.evaluate.steadiness import ClipJudge, noise_amplification
from train.evaluate.style import StyleJudge
from train.evaluate.verdict import MEANINGS, Figure, LeftOut, Strip, Verdict
from train.features import DISTILLED, VGG19, WIDE, Features, cache_folder, load_features

STILLS, SHOWN, STRIP = 4, 6, 6
"""Photographs for the noise; pairs and frames of a clip that are shown."""

MOST_PAINTINGS = 200
"""Pictures of an artist that are looked at."""


@dataclass(frozen=True)
class Job:
    """What is asked for.

    Attributes:
        style: name or folder.
        content: folder of photographs.
        painting: what the style was trained on.
        style_pictures: folder of pictures of the artist, best such as training did not see.
        clips: files.
        features: folder of the feature networks; ``None`` takes what training has downloaded, or does without.
        pictures: how many photographs, at most.
    """

    style: str
    content: Path | None = None
    painting: Path | None = None
    style_pictures: Path | None = None
    clips: Sequence[Path] = ()
    features: Path | None = None
    pictures: int = 20


@dataclass(frozen=True)
class _Networks:
    """What pictures are compared by; ``features`` is ``None`` where there are none."""

    features: Features | None
    lpips: Lpips | None
    name: str


@dataclass(frozen=True)
class _Material:
    """Everything that is read before anything is measured."""

    style: StyleModel
    photos: Pictures
    painting: RGB | None
    artist: Pictures | None
    clips: Sequence[Clip]
    networks: _Networks


def judge(job: Job, say: Callable[[str], None] = lambda _: None) -> Verdict:
    """Measure all that can be measured with what is given.

    Args:
        job: what is asked for.
        say: is told what comes next; it takes minutes.
    Raises: StylerError: the style, a picture, a clip or a feature network cannot be used.
    """
    say("reading …")
    material = _gather(job)
    with closing(engines.load(material.style)) as engine:
        say(f"painting {len(material.photos.rgb)} pictures …")
        pairs = [(rgb, engine(rgb)) for rgb in material.photos.rgb]
        say("comparing pictures …")
        found = [*_of_pictures(pairs, material, engine)]
        strips = []
        for clip in material.clips:
            say(f"painting and comparing {clip.name} …")
            figures, strip = _of_clip(clip, engine)
            found += figures
            strips.append(strip)
    say("timing …")
    figures, silent = _costs(material.style)
    found = sorted([*found, *_clip_means(found), *figures], key=lambda figure: list(MEANINGS).index(figure.name))
    return Verdict(
        style=material.style.name,
        title=material.style.title,
        figures=found,
        left_out=[*_left_out(job, material), *silent],
        notes=_notes(material),
        pairs=pairs[:SHOWN],
        strips=strips,
    )


def _gather(job: Job) -> _Material:
    return _Material(
        style=StyleModel.open(styles.find(job.style)),
        painting=None if job.painting is None else read_picture(job.painting),
        photos=photographs_of(job.content, job.pictures),
        artist=None if job.style_pictures is None else paintings_of(job.style_pictures, MOST_PAINTINGS),
        clips=[read_clip(path) for path in job.clips],
        networks=_networks(job.features),
    )


def _networks(folder: Path | None) -> _Networks:
    """From a folder, which may cost a download into it; otherwise from the cache, which may not."""
    there = folder or cache_folder()
    small = (there / WIDE).exists() and (there / DISTILLED).exists()
    name = WIDE if small else VGG19.name
    wanted = folder is not None or small or (there / VGG19.name).exists()
    return _Networks(load_features(folder) if wanted else None, load_lpips(there), name)


def _of_pictures(pairs: Sequence[tuple[RGB, RGB]], material: _Material, engine: Engine) -> Iterator[Figure]:
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
    unstyled, ours = (measure([pair[i] for pair in pairs]) for i in (0, 1))
    yield Figure("style_distance", ours.mean, unstyled.mean)
    if unstyled.mean > 0 and unstyled.strokes > 0:  # the painting itself may have been given as a photograph
        yield Figure("style_ratio", ours.mean / unstyled.mean, 1.0)
        yield Figure("strokes_ratio", ours.strokes / unstyled.strokes, 1.0)


def _fid(features: Features, artist: Sequence[RGB], photos: Sequence[RGB], engine: Engine) -> Figure:
    """Photographs are painted at the size in which the artist's pictures are, so that strokes are not shrunk."""
    squares = [square(rgb) for rgb in photos]
    theirs, ours, unstyled = (
        fit(pooled(features.style_network, pictures))
        for pictures in (artist, [engine(rgb) for rgb in squares], squares)
    )
    return Figure("feature_fid", frechet_distance(ours, theirs), frechet_distance(unstyled, theirs))


def _of_clip(clip: Clip, engine: Engine) -> tuple[list[Figure], Strip]:
    frames = clip.frames
    painted = [engine(rgb) for rgb in frames]
    measure = ClipJudge(frames)
    figures = [
        Figure("ewarp", measure.warping_error(painted), measure.warping_error(frames), clip.name),
        Figure("e_stab", measure.stability_error(painted), measure.stability_error(frames), clip.name),
    ]
    every = max(1, len(frames) // STRIP)
    return figures, Strip(clip.name, frames[::every][:STRIP], painted[::every][:STRIP])


def _clip_means(figures: Sequence[Figure]) -> Iterator[Figure]:
    """Over the clips, where there are several."""
    for name in ("ewarp", "e_stab"):
        ours = [figure for figure in figures if figure.name == name]
        if len(ours) > 1:
            unstyled = mean(figure.unstyled or 0.0 for figure in ours)
            yield Figure(name, mean(figure.value for figure in ours), unstyled, "mean of the clips")


def _costs(style: StyleModel) -> tuple[list[Figure], list[LeftOut]]:
    figures = [Figure("parameters", parameters(style)), Figure("multiply_adds", multiply_adds(style) / 1e9)]
    silent = []
    for each in latencies(style):
        if each.timing is None:
            silent.append(LeftOut(f"latency of the engine {each.engine}", each.runtime))
        else:
            of = f"{each.engine} · {each.runtime}"
            figures.append(Figure("latency", each.timing.median_ms, of=of))
            figures.append(Figure("latency_p95", each.timing.p95_ms, of=of))
    return figures, silent


def _left_out(job: Job, material: _Material) -> Iterator[LeftOut]:
    """Each reason once, with the flag that removes it."""
    networks, photos = material.networks, len(material.photos.rgb)
    if not photos:
        yield LeftOut("all figures of pictures", "there are no photographs", "--content DIR")
    if networks.features is None:
        yield LeftOut(
            "style and content distance, feature-FID, diversity",
            "there are no feature networks",
            f"--features DIR, into which {VGG19.name} is downloaded if need be (575 MB)",
        )
    if networks.lpips is None:
        yield LeftOut("LPIPS", "its networks are not there", f"--features DIR with {NETWORK} and {HEADS}")
    if job.painting is None:
        trained = _painting_of(material.style)
        yield LeftOut("style distance", "the painting was not given", f"--painting {trained or 'FILE'}")
    if material.artist is None:
        yield LeftOut("feature-FID", "no pictures of the artist were given", "--style-pictures DIR")
    elif min(photos, len(material.artist.rgb)) < 2:
        yield LeftOut("feature-FID", "it needs two or more pictures on both sides")
    if not job.clips:
        yield LeftOut("Ewarp, e_stab", "no clip was given", "--clip FILE, which may be repeated")


def _painting_of(style: StyleModel) -> str:
    """File name of what it was trained on, from its record; empty when that does not say."""
    settings = style.training.get("settings")
    tables = [settings, settings.get("data")] if isinstance(settings, Mapping) else []
    names = [table.get("style_picture") for table in tables if isinstance(table, Mapping)]
    return next((Path(str(name)).name for name in names if name), "")


def _notes(material: _Material) -> list[str]:
    photos, artist, networks = material.photos, material.artist, material.networks
    notes = [f"Pictures: {photos.source}."] if photos.rgb else []
    if networks.features is not None and photos.rgb:
        notes.append(f"Distances of features are by {networks.name}; other networks give other figures.")
    if networks.features is not None and artist is not None:
        notes.append(
            f"feature-FID is no Inception-FID: relu3_1 of {networks.name}, averaged over squares of {SQUARE} pixels, "
            f"{len(photos.rgb)} paintings against {len(artist.rgb)} pictures of the artist, covariances shrunk "
            "(Ledoit-Wolf). Compare it only with figures of the same network, size and counts."
        )
    if material.clips:
        counts = ", ".join(f"{clip.name} {len(clip.frames)}" for clip in material.clips)
        notes.append(f"Frames of each clip: {counts}. The flow is DIS, estimated on the input.")
    skipped = [*photos.skipped, *(artist.skipped if artist else ())]
    if skipped:
        more = f" and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        notes.append(f"Pictures left out: {'; '.join(skipped[:5])}{more}.")
    return notes
