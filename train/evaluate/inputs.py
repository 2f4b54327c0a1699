"""What `rtstyle evaluate` is asked for, and everything that is read for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.base import RGB
from engines.style_file import StyleModel
from rtstyle import styles
from train.evaluate.lpips import Lpips, load_lpips
from train.evaluate.material import Clip, Pictures, paintings_of, photographs_of, read_clip, read_painting_file
from train.losses.vgg_features import Features, cache_folder, load_features, network_files

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
class Networks:
    """What pictures are compared by.

    Attributes:
        features: ``None`` where there are none.
        lpips: likewise.
        style, deep: names of the files of the two networks in ``features``; empty where there are none.
    """

    features: Features | None
    lpips: Lpips | None
    style: str = ""
    deep: str = ""


@dataclass(frozen=True)
class Material:
    """Everything that is read before anything is measured."""

    style: StyleModel
    photos: Pictures
    painting: RGB | None
    artist: Pictures | None
    clips: Sequence[Clip]
    networks: Networks


def gather(job: Job) -> Material:
    """Read all of it, so that every fault shows before minutes are spent.

    Raises:
        StylerError: the style, a picture, a clip or a feature network cannot be used.
    """
    return Material(
        style=StyleModel.open(styles.find(job.style)),
        painting=None if job.painting is None else read_painting_file(job.painting),
        photos=photographs_of(job.content, job.pictures),
        artist=None if job.style_pictures is None else paintings_of(job.style_pictures, MOST_PAINTINGS),
        clips=[read_clip(path) for path in job.clips],
        networks=_networks(job.features),
    )


def _networks(folder: Path | None) -> Networks:
    """From a folder, which may cost a download into it; otherwise from the cache, which may not."""
    there = folder or cache_folder()
    features = load_features(folder) if folder is not None or network_files(there) else None
    style, deep = (file.name for file in network_files(there) or (Path(), Path()))
    return Networks(features, load_lpips(there), style, deep)
