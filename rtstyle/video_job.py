"""What to stylize, and into which file; all settings are checked before anything is opened."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.atomic_write import hidden_name, link_target
from engines.base import MAX_SIZE, MIN_SIDE
from engines.errors import ConfigError, SourceError
from rtstyle.jobs.manifest import JOB_SUFFIX, Manifest
from rtstyle.media.codecs import choose
from rtstyle.media.container import check_file
from rtstyle.media.urls import is_url
from rtstyle.stroke_scale import SCALES


@dataclass(frozen=True)
class VideoJob:
    """A clip to stylize.

    Attributes:
        input: file or URL.
        output: ends in ``.mp4``, ``.m4v``, ``.mov``, ``.mkv`` or ``.webm``.
        strength: 0 shows the input, 1 the full style.
        height: of the output, pixels, rounded down to an even number; ``None`` keeps the height of the input.
        start, end: part to stylize, seconds from the beginning of the clip; ``None`` for no limit.
        codec, crf, preset: see ``codecs.CODECS``; ``None`` for the default.
        overwrite: replace an existing output.
        audio: copy the sound.
        scale: size of the strokes; 1 is the style's own.
        segment_s: length of the segments in which longer clips are written, seconds, so that an interrupted job can be
            resumed; 0 writes in one piece.
        resume: go on with an interrupted job, if there is one.
        job_dir: folder of the segments; ``None`` for one beside the output.
        video_stream: which of the input's video streams to stylize, from 1; ``None`` for the film, see
            ``container.video_stream``.
    """

    input: str
    output: Path
    strength: float = 1.0
    height: int | None = None
    start: float | None = None
    end: float | None = None
    codec: str | None = None
    crf: int | None = None
    preset: str | None = None
    overwrite: bool = False
    audio: bool = True
    scale: float = 1.0
    video_stream: int | None = None
    segment_s: float = 20.0
    resume: bool = False
    job_dir: Path | None = None

    @property
    def folder(self) -> Path:
        """Folder of the segments while the job is unfinished."""
        return self.job_dir or self.output.with_name(hidden_name(self.output.name, JOB_SUFFIX).removeprefix("."))

    @property
    def even_height(self) -> int | None:
        """Height of the output: many players cannot show odd sizes, which need 4:4:4."""
        return None if self.height is None else self.height // 2 * 2

    def check(self, *, named_input: bool = True) -> None:
        """Check all settings before anything is opened or written.

        Args:
            named_input: False if the frames come from elsewhere, so that ``input`` is not a file.

        Raises:
            ConfigError: a setting is invalid; several errors are joined in one line.
            SourceError: the input does not exist, or is a folder or an empty file.
        """
        if named_input and not is_url(self.input):
            check_file(Path(self.input))
            if not Path(self.input).is_file():
                # It is read twice, for the pictures and for the sound; a pipe would hang.
                raise SourceError(f"{self.input} is not a file", hint="use `rtstyle webcam` for devices and pipes")
        _raise([*self._range_errors(), *self._codec_errors(), *self._output_errors(), *self._resume_errors()])

    def check_settings(self) -> None:
        """Check only what depends on neither file, but for the ending of the output.

        Raises:
            ConfigError: a setting is invalid; several errors are joined in one line.
        """
        _raise([*self._range_errors(), *self._codec_errors()])

    def _range_errors(self) -> list[ConfigError]:
        errors = []
        if not 0.0 <= self.strength <= 1.0:
            errors.append(ConfigError(f"strength {self.strength:g} is out of range", hint="give a value from 0 to 1"))
        if not SCALES[0] <= self.scale <= SCALES[1]:
            hint = f"give a value from {SCALES[0]:g} to {SCALES[1]:g}"
            errors.append(ConfigError(f"scale {self.scale:g} is out of range", hint=hint))
        if self.height is not None and not MIN_SIDE <= self.height <= MAX_SIZE[1]:
            hint = f"give {MIN_SIDE} to {MAX_SIZE[1]} pixels"
            errors.append(ConfigError(f"height {self.height} is out of range", hint=hint))
        times = [t for t in (self.start, self.end) if t is not None]
        if any(not math.isfinite(t) or t < 0 for t in times) or (len(times) == 2 and times[0] >= times[1]):
            errors.append(
                ConfigError("start and end are out of order", hint="give seconds from 0, with the end after the start")
            )
        return errors

    def _codec_errors(self) -> list[ConfigError]:
        try:
            _, codec = choose(self.output, self.codec)
            codec.encoder_options(self.crf, self.preset)
        except ConfigError as error:
            return [error]
        return []

    def _output_errors(self) -> list[ConfigError]:
        try:
            return self._path_errors()
        except OSError as error:  # a name that is too long, for example
            return [ConfigError(f"cannot write {self.output}", hint=error.strerror or "")]

    def _path_errors(self) -> list[ConfigError]:
        folder = self.output.parent
        if not folder.is_dir():
            return [ConfigError(f"no such folder: {folder}", hint="create it first")]
        if self.output.is_dir():
            return [ConfigError(f"{self.output} is a folder", hint="give the name of the file to write")]
        if self.output.exists() and Path(self.input).exists() and self.output.samefile(self.input):
            return [ConfigError("output and input are the same file", hint="give another name for the output")]
        # A job that was killed as it ended has its output already.
        if self.output.exists() and not self.overwrite and not (self.resume and Manifest.exists(self.folder)):
            hint = "give another name, or add --overwrite (in Python: overwrite=True)"
            return [ConfigError(f"{self.output} already exists", hint=hint)]
        if not os.access(link_target(self.output).parent, os.W_OK):
            return [ConfigError(f"cannot write to the folder {folder}", hint="choose another")]
        return []

    def _resume_errors(self) -> list[ConfigError]:
        try:
            begun = Manifest.exists(self.folder)
            other = not begun and not Manifest.may_begin(self.folder)
        except OSError as error:
            return [ConfigError(f"cannot use the job folder {self.folder}", hint=error.strerror or "")]
        if other:
            return [ConfigError(f"{self.folder} is not the folder of a job", hint="give an empty or new folder")]
        if begun and not (self.resume and self.segment_s):
            hint = f"add --resume to go on with it, or, if no process works on it, remove {self.folder} to start again"
            hint += "" if self.segment_s else ", and leave out --segment 0"
            return [ConfigError(f"an interrupted job has left {self.folder}", hint=hint)]
        return []


def _raise(errors: Sequence[ConfigError]) -> None:
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigError("; ".join(str(error) for error in errors))
