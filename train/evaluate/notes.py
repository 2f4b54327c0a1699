"""Notes that accompany the metrics: what was skipped, and what to know before comparing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rtstyle.doctor import cpu_name
from train.config.recipe import recorded_painting
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
            "style and content distance, CFSD, feature-FID, diversity",
            "no feature networks were found",
            f"--features DIR; {VGG19.name} (575 MB) is downloaded into it if needed",
        )
    if networks.lpips is None:
        yield SkippedMetric("LPIPS", "its networks were not found", f"--features DIR with {NETWORK} and {HEADS}")
    yield from _without_paintings(job, inputs)
    if inputs.artist is None:
        yield SkippedMetric("feature-FID", "no pictures of the artist were given", "--style-pictures DIR")
    elif min(photos, len(inputs.artist.rgb)) < 2:
        yield SkippedMetric("feature-FID", "it needs two or more pictures of each kind")
    if not job.clips:
        yield SkippedMetric("Ewarp, consistency ratio, e_stab", "no clip was given", "--clip FILE (repeatable)")


def _without_paintings(job: EvaluationJob, inputs: EvaluationInputs) -> Iterator[SkippedMetric]:
    if job.painting is None:
        trained = recorded_painting(inputs.style) or "FILE"
        yield SkippedMetric("style and colour distance", "the painting was not given", f"--painting {trained}")
    elif job.paintings is None:
        yield SkippedMetric("distance to its own painting", "no other paintings were given", "--paintings DIR")


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
    there = [f"{each.engine} is {each.runtime}" for each in times if each.timing is not None]
    return [*found, f"Engines: {', '.join(there)}; {cpu_name()}."] if there else found
