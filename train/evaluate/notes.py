"""What the reader of a verdict must be told beside the figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from engines.style_file import StyleModel
from rtstyle.doctor import cpu_name
from train.evaluate.efficiency import Latency
from train.evaluate.inputs import Job, Material
from train.evaluate.lpips import HEADS, NETWORK
from train.evaluate.material import SQUARE
from train.evaluate.results import LeftOut
from train.losses.vgg_features import VGG19


def left_out(job: Job, material: Material) -> Iterator[LeftOut]:
    """What could not be measured: each reason once, with the flag that removes it."""
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


def notes(material: Material, times: Sequence[Latency]) -> list[str]:
    """What to know before the figures are compared with others."""
    photos, artist, networks = material.photos, material.artist, material.networks
    found = [f"Pictures: {photos.source}."] if photos.rgb else []
    if networks.features is not None and photos.rgb:
        found.append(
            f"Style distances are by {networks.style}, content distance and diversity by relu4_1 of {networks.deep}; "
            "other networks give other figures."
        )
    if networks.features is not None and artist is not None:
        found.append(
            f"feature-FID is no Inception-FID: relu3_1 of {networks.style}, averaged over squares of {SQUARE} pixels, "
            f"{len(photos.rgb)} paintings against {len(artist.rgb)} pictures of the artist, covariances shrunk "
            "(Ledoit-Wolf). Compare it only with figures of the same network, size and counts."
        )
    if material.clips:
        counts = ", ".join(f"{clip.name} {len(clip.frames)}" for clip in material.clips)
        found.append(f"Frames of each clip: {counts}. The flow is DIS, estimated on the input.")
    skipped = [*photos.skipped, *(artist.skipped if artist else ())]
    if skipped:
        more = f" and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        found.append(f"Pictures left out: {'; '.join(skipped[:5])}{more}.")
    return found + _timing_notes(times)


def _timing_notes(times: Sequence[Latency]) -> list[str]:
    there = [f"{each.engine} is {each.runtime}" for each in times if each.timing is not None]
    return [f"Engines: {', '.join(there)}; {cpu_name()}."] if there else []
