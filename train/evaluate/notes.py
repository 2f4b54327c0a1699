"""Notes that accompany the metrics: what was skipped, and what to know before comparing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from engines.style_file import StyleModel
from rtstyle.doctor import cpu_name
from train.evaluate.efficiency import Latency
from train.evaluate.inputs import SQUARE, EvaluationInputs, EvaluationJob
from train.evaluate.lpips import HEADS, NETWORK
from train.evaluate.results import SkippedMetric
from train.losses.vgg_features import VGG19


def left_out(job: EvaluationJob, inputs: EvaluationInputs) -> Iterator[SkippedMetric]:
    """Yield what could not be computed, each with the option that adds it."""
    networks, photos = inputs.networks, len(inputs.photos.rgb)
    if not photos:
        yield SkippedMetric("all figures of pictures", "no photographs were given", "--content DIR")
    if networks.features is None:
        yield SkippedMetric(
            "style and content distance, feature-FID, diversity",
            "no feature networks were found",
            f"--features DIR; {VGG19.name} (575 MB) is downloaded into it if needed",
        )
    if networks.lpips is None:
        yield SkippedMetric("LPIPS", "its networks were not found", f"--features DIR with {NETWORK} and {HEADS}")
    if job.painting is None:
        trained = _painting_of(inputs.style)
        yield SkippedMetric("style distance", "the painting was not given", f"--painting {trained or 'FILE'}")
    if inputs.artist is None:
        yield SkippedMetric("feature-FID", "no pictures of the artist were given", "--style-pictures DIR")
    elif min(photos, len(inputs.artist.rgb)) < 2:
        yield SkippedMetric("feature-FID", "it needs two or more pictures of each kind")
    if not job.clips:
        yield SkippedMetric("Ewarp, e_stab", "no clip was given", "--clip FILE (repeatable)")


def _painting_of(style: StyleModel) -> str:
    """Return the file name of the painting from the training record, or an empty string."""
    settings = style.training.get("settings")
    tables = [settings, settings.get("data")] if isinstance(settings, Mapping) else []
    names = [table.get("style_picture") for table in tables if isinstance(table, Mapping)]
    return next((Path(str(name)).name for name in names if name), "")


def notes(inputs: EvaluationInputs, times: Sequence[Latency]) -> list[str]:
    """Return what to know before comparing these metrics with others."""
    photos, artist, networks = inputs.photos, inputs.artist, inputs.networks
    found = [f"Pictures: {photos.source}."] if photos.rgb else []
    if networks.features is not None and photos.rgb:
        found.append(
            f"Style distances use {networks.style}, content distance and diversity by relu4_1 of {networks.deep}; "
            "other networks give other values."
        )
    if networks.features is not None and artist is not None:
        found.append(
            f"feature-FID is not Inception-FID: relu3_1 of {networks.style}, averaged over squares of {SQUARE} pixels, "
            f"{len(photos.rgb)} stylized pictures against {len(artist.rgb)} pictures of the artist, covariances shrunk "
            "(Ledoit-Wolf). Compare it only with values of the same network, size and counts."
        )
    if inputs.clips:
        counts = ", ".join(f"{clip.name} {len(clip.frames)}" for clip in inputs.clips)
        found.append(f"Frames of each clip: {counts}. The flow is DIS, estimated on the input.")
    skipped = [*photos.skipped, *(artist.skipped if artist else ())]
    if skipped:
        more = f" and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        found.append(f"Pictures left out: {'; '.join(skipped[:5])}{more}.")
    return found + _timing_notes(times)


def _timing_notes(times: Sequence[Latency]) -> list[str]:
    there = [f"{each.engine} is {each.runtime}" for each in times if each.timing is not None]
    return [f"Engines: {', '.join(there)}; {cpu_name()}."] if there else []
