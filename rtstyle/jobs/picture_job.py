"""A clip's output as pictures: which of them an interrupted run has left, and whether they are of the same job."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from engines.errors import ConfigError
from rtstyle.jobs.manifest import MANIFEST, OURS, Manifest, hash_file, identify
from rtstyle.jobs.segmented_video import settings_of
from rtstyle.media.picture_sequence import PictureSequence
from rtstyle.media.urls import is_url
from rtstyle.sinks.output_path import write_errors
from rtstyle.sinks.sequence import FIRST, SequenceSink
from rtstyle.sources.base import Source
from rtstyle.sources.file import FileSource
from rtstyle.sources.pipe import PipeSource
from rtstyle.sources.sequence import SequenceSource
from rtstyle.video_job import VideoJob


class PictureJobSink(SequenceSink):
    """Pictures with the manifest of their job, which stays until the last one is written."""

    def __init__(self, folder: Path, pictures: PictureSequence, **options: Any) -> None:
        super().__init__(pictures, **options)
        self._folder = folder

    def close(self, *, completed: bool) -> None:
        """Finish; with ``completed=False`` keep the manifest if there are pictures. May be called twice."""
        if completed or not self.kept_frames + self.written:
            _remove(self._folder)
        super().close(completed=completed)


def open_pictures(job: VideoJob, clip: Source | None, style: Mapping[str, Any]) -> SequenceSink:
    """Open the sink of a job that writes pictures, and let the clip skip those that an interrupted run has left.

    Pictures made of pictures keep their numbers.

    Args:
        job: checked; it names pictures to write.
        clip: just opened; None if the frames come from elsewhere.
        style: identifies the style and the engine.

    Raises:
        ConfigError: the pictures are those of another job.
        SinkError: the folder cannot be created, or has such pictures already.
    """
    pictures = job.output_pictures
    assert pictures is not None, "the job writes pictures"
    sequence = clip if isinstance(clip, SequenceSource) else None
    numbering: dict[str, Any] = {"first": sequence.first_number, "by_time": True} if sequence else {"first": FIRST}
    if not isinstance(clip, FileSource | SequenceSource) or isinstance(clip, PipeSource) or is_url(job.input):
        return SequenceSink(pictures, **numbering, overwrite=job.overwrite)
    written = {"codec": pictures.suffix, "bits": None}
    manifest = Manifest(_identify(job), {**settings_of(job, written), "fps": job.fps, **style})
    if Manifest.exists(job.folder):
        _check_same(job.folder, manifest)
        done = pictures.numbers()
        clip.skip_first(sum(n <= done[-1] for n in sequence.numbers) if done and sequence else len(done))
        return PictureJobSink(job.folder, pictures, **numbering, done=done)
    if pictures.numbers():  # they may be of any job, so that what is replaced cannot be told from what is not
        return SequenceSink(pictures, **numbering, overwrite=job.overwrite)
    sink = PictureJobSink(job.folder, pictures, **numbering)
    try:
        with write_errors(job.folder):
            job.folder.mkdir(exist_ok=True)
            manifest.save(job.folder)
    except BaseException:
        sink.close(completed=False)
        raise
    return sink


def _identify(job: VideoJob) -> dict[str, Any]:
    pictures = job.input_pictures
    if pictures is None:
        return identify(job.input)
    numbers = pictures.numbers()
    ends = [hash_file(path) for path in (pictures.path(numbers[0]), pictures.path(numbers[-1])) if path.is_file()]
    return {"name": Path(job.input).name, "size": len(numbers), "ends_sha256": ends}


def _check_same(folder: Path, job: Manifest) -> None:
    differences = Manifest.load(folder).differences(job)
    if differences:
        hint = f"give the settings of that job, or remove {folder} and the pictures to start again"
        raise ConfigError(f"cannot resume the job in {folder}: {'; '.join(differences)}", hint=hint)


def _remove(folder: Path) -> None:
    with suppress(OSError):
        # The manifest first: a job that is killed here is finished, not to be resumed.
        for path in sorted(folder.iterdir(), key=lambda path: path.name != MANIFEST):
            if OURS.match(path.name):  # also what a process that was killed has left unfinished
                path.unlink()
        folder.rmdir()
