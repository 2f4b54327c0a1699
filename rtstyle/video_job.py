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
from engines.os_errors import advice, reason
from rtstyle.controls import Controls
from rtstyle.jobs.manifest import JOB_SUFFIX, Manifest
from rtstyle.masks.mask_file import check_mask
from rtstyle.masks.settings import MaskSettings, mask_errors
from rtstyle.media.codecs import CONTAINERS, HARDWARE, choose
from rtstyle.media.container import check_file
from rtstyle.media.hardware import check_encoder
from rtstyle.media.hardware_decoding import HWACCELS
from rtstyle.media.picture_sequence import PictureSequence
from rtstyle.media.urls import is_url
from rtstyle.modulation import modulation_errors
from rtstyle.sinks.output_path import OVERWRITE
from rtstyle.stroke_scale import SCALES

PIPE = "-"
"""Stands for standard input and standard output."""

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
"""Endings of pictures that do not move."""


@dataclass(frozen=True)
class VideoJob:
    """A clip to stylize.

    Attributes:
        input: file or URL, or pictures, as in ``frames/%06d.png``, or ``-`` for standard input.
        output: ends in ``.mp4``, ``.m4v``, ``.mov``, ``.mkv`` or ``.webm``, or in ``.gif``, ``.webp`` or ``.apng`` for
            an animated picture, or names pictures as in ``frames/%06d.png``, or is ``-`` for standard output.
        strength: 0 shows the input, 1 the full style.
        height: of the output, pixels, rounded down to an even number; ``None`` keeps the height of the input.
        start, end: part to stylize, seconds from the beginning of the clip; ``None`` for no limit.
        codec, crf, preset: see ``codecs.CODECS``; ``None`` for the default.
        encoder: one of ``codecs.ENCODERS``: what encodes the codec.
        bits: bit rate of the pictures, per second, instead of ``crf``.
        target_bytes: largest size of the output, from which the bit rate follows, instead of ``crf`` and ``bits``.
        overwrite: replace an existing output.
        audio: copy the sound.
        scale: size of the strokes; 1 is the style's own.
        colours: how much of the clip's own colours is kept, 0 … 1.
        only: the part of the frames to stylize, one of ``masks.settings.ONLY``.
        faces: how much of the style is taken from faces, 0 … 1.
        mask: a picture or clip, white where the style shows; ``None`` for no such mask.
        inside, outside, feather: what masks do, see ``MaskSettings``.
        segment_s: length of the segments in which longer clips are written, seconds, so that an interrupted job can be
            resumed; 0 writes in one piece.
        resume: go on with an interrupted job, if there is one.
        job_dir: folder of the segments; ``None`` for one beside the output.
        video_stream: which of the input's video streams to stylize, from 1; ``None`` for the film, see
            ``container.video_stream``.
        hwaccel: what decodes the input, one of ``hardware_decoding.HWACCELS``.
        fps: pictures per second of pictures or raw video; ``None`` for 25 pictures.
        size: (width, height) of raw video on standard input.
        modulate: settings that move, see ``rtstyle.modulation``, by the time of the clip or its sound.
        pipe_format: ``y4m`` or ``rawvideo`` (24-bit RGB), for standard input and output; ``None`` sends y4m and
            finds out what it receives.
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
    encoder: str = "software"
    bits: int | None = None
    target_bytes: int | None = None
    overwrite: bool = False
    audio: bool = True
    scale: float = 1.0
    video_stream: int | None = None
    hwaccel: str = "none"
    segment_s: float = 20.0
    resume: bool = False
    job_dir: Path | None = None
    colours: float = 0.0
    only: str = "all"
    faces: float = 0.0
    mask: str | Path | None = None
    inside: float = 1.0
    outside: float = 0.0
    feather: float = 0.0
    fps: float | None = None
    size: tuple[int, int] | None = None
    pipe_format: str | None = None
    modulate: Sequence[str] = ()

    @property
    def input_pictures(self) -> PictureSequence | None:
        """Pictures that are the input; None for a file or URL."""
        return PictureSequence.parse(self.input)

    @property
    def output_pictures(self) -> PictureSequence | None:
        """Pictures to write; None for a file."""
        return PictureSequence.parse(str(self.output))

    @property
    def folder(self) -> Path:
        """Folder of the segments while the job is unfinished."""
        return self.job_dir or self.output.with_name(hidden_name(self.output.name, JOB_SUFFIX).removeprefix("."))

    @property
    def even_height(self) -> int | None:
        """Height of the output: many players cannot show odd sizes, which need 4:4:4."""
        return None if self.height is None else self.height // 2 * 2

    @property
    def is_video_file(self) -> bool:
        """False for pictures, an animated picture, and standard output."""
        return self.output_pictures is None and str(self.output) != PIPE and not self._is_animation

    @property
    def may_have_segments(self) -> bool:
        """False if what the output holds does not fit into segments, which are MP4; only for a codec that exists."""
        if not self.is_video_file:
            return self.output_pictures is not None
        try:
            return choose(self.output, self.codec)[1].name in CONTAINERS[".mp4"].codecs
        except ConfigError:
            return True  # another check says what is wrong

    @property
    def _is_animation(self) -> bool:
        from rtstyle.sinks.animation import KINDS

        return self.output.suffix.lower() in KINDS and self.output_pictures is None

    @property
    def masks(self) -> MaskSettings:
        """What masks there are, besides ``only``."""
        file = None if self.mask is None else Path(self.mask)
        return MaskSettings(file, self.inside, self.outside, self.feather)

    def controls(self) -> Controls:
        """Return the settings that a run begins with."""
        return Controls(
            self.strength, scale=self.scale, colours=self.colours, only=self.only, masks=self.masks, faces=self.faces
        )

    def check(self, *, named_input: bool = True) -> None:
        """Check all settings before anything is opened or written.

        Args:
            named_input: False if the frames come from elsewhere, so that ``input`` is not a file.

        Raises:
            ConfigError: a setting is invalid; several errors are joined in one line.
            SourceError: the input does not exist, or is a folder or an empty file; or the mask cannot be read.
        """
        if named_input:
            self._check_input()
        errors = [*self._range_errors(), *self._input_errors(named_input)]
        _raise([*errors, *self._codec_errors(), *self._output_errors(), *self._resume_errors()])
        self._check_mask()

    def check_settings(self) -> None:
        """Check only what depends on neither file, but for the ending of the output.

        Raises:
            ConfigError: a setting is invalid; several errors are joined in one line.
            SourceError: the mask cannot be read.
        """
        _raise([*self._range_errors(), *self._codec_errors()])
        self._check_mask()

    def _check_mask(self) -> None:
        if self.masks.file is not None:
            check_mask(self.masks.file)

    def _check_input(self) -> None:
        if self.input == PIPE or is_url(self.input) or self.input_pictures is not None:
            return
        check_file(Path(self.input))
        if not Path(self.input).is_file():
            # It is read twice, for the pictures and for the sound; a pipe would hang.
            raise SourceError(f"{self.input} is not a file", hint="give - to read standard input")

    def _input_errors(self, named_input: bool) -> list[ConfigError]:
        raw = self.pipe_format == "rawvideo" and self.input == PIPE
        errors = []
        if self.fps is not None and not raw and not (named_input and self.input_pictures is not None):
            hint = "--fps (in Python: fps) is for pictures, as in frames/%06d.png, and for raw video"
            errors.append(ConfigError(f"{self.input} has its own rate", hint=hint))
        if self.video_stream is not None and named_input and self.input_pictures is not None:
            hint = "leave out --video-stream (in Python: video_stream)"
            errors.append(ConfigError("numbered pictures have no video streams", hint=hint))
        if self.size is not None and not raw:
            hint = "--size is for raw video on standard input; --height resizes (in Python: size, height)"
            errors.append(ConfigError(f"{self.input} has its own size", hint=hint))
        if raw and (self.size is None or self.fps is None):
            errors.append(
                ConfigError(
                    "raw video does not say what it is", hint="add --size WxH and --fps N (in Python: size, fps)"
                )
            )
        if self.pipe_format is not None and PIPE not in (self.input, str(self.output)):
            errors.append(
                ConfigError(
                    "there is no pipe", hint=f"--pipe-format (in Python: pipe_format) is for {PIPE} as input or output"
                )
            )
        if self.pipe_format not in (None, "y4m", "rawvideo"):
            errors.append(ConfigError(f"unknown pipe format {self.pipe_format!r}", hint="choose y4m or rawvideo"))
        return errors

    def _range_errors(self) -> list[ConfigError]:
        errors = []
        errors += [
            ConfigError(f"{name} {value:g} is out of range", hint="give a value from 0 to 1")
            for name, value in (("strength", self.strength), ("colours", self.colours), ("faces", self.faces))
            if not 0.0 <= value <= 1.0
        ]
        if not SCALES[0] <= self.scale <= SCALES[1]:
            hint = f"give a value from {SCALES[0]:g} to {SCALES[1]:g}"
            errors.append(ConfigError(f"scale {self.scale:g} is out of range", hint=hint))
        errors += mask_errors(self.only, self.masks)
        errors += modulation_errors(self.modulate)
        if self.height is not None and not MIN_SIDE <= self.height <= MAX_SIZE[1]:
            hint = f"give {MIN_SIDE} to {MAX_SIZE[1]} pixels"
            errors.append(ConfigError(f"height {self.height} is out of range", hint=hint))
        errors += [
            ConfigError(f"{name} {value} is out of range", hint="give a number above 0")
            for name, value in (("bits", self.bits), ("target_bytes", self.target_bytes))
            if value is not None and value <= 0
        ]
        if self.hwaccel not in HWACCELS:
            hint = f"choose from {', '.join(HWACCELS)}"
            errors.append(ConfigError(f"unknown hardware decoding {self.hwaccel!r}", hint=hint))
        times = [t for t in (self.start, self.end) if t is not None]
        if any(not math.isfinite(t) or t < 0 for t in times) or (len(times) == 2 and times[0] >= times[1]):
            errors.append(
                ConfigError("start and end are out of order", hint="give seconds from 0, with the end after the start")
            )
        return errors

    def _codec_errors(self) -> list[ConfigError]:
        rates = {"crf": self.crf, "bitrate": self.bits, "target-size": self.target_bytes}
        if not self.is_video_file:
            chip = None if self.encoder in ("software", "auto") else self.encoder
            settings = {"codec": self.codec, **rates, "preset": self.preset, "encoder": chip}
            given = [name for name, value in settings.items() if value is not None]
            kind = "a pipe takes" if str(self.output) == PIPE else "pictures take"
            return [ConfigError(f"{kind} no {' and no '.join(given)}", hint="leave it out")] if given else []
        if self.output.suffix.lower() in PICTURES:
            hint = f"for all frames write a pattern: {self.output.stem}-%06d{self.output.suffix}"
            return [ConfigError(f"{self.output} is the name of one picture", hint=hint)]
        given = [f"--{name}" for name, value in rates.items() if value is not None]
        if len(given) > 1:
            return [ConfigError(f"{' and '.join(given)} exclude each other", hint="give one of them")]
        try:
            _, codec = choose(self.output, self.codec)
            check_encoder(codec, self.encoder)
            bits = self.bits or self.target_bytes
            HARDWARE.get(f"{codec.name}_{self.encoder}", codec).encoder_options(self.crf, self.preset, bits)
        except ConfigError as error:
            return [error]
        return []

    def _output_errors(self) -> list[ConfigError]:
        if str(self.output) == PIPE:
            return []
        try:
            pictures = self.output_pictures
            return self._path_errors() if pictures is None else self._picture_errors(pictures)
        except OSError as error:  # a name that is too long, for example
            return [ConfigError(f"cannot write {self.output}: {reason(error)}", hint=advice(error))]

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
            hint = f"give another name, or {OVERWRITE}"
            return [ConfigError(f"{self.output} already exists", hint=hint)]
        if not os.access(link_target(self.output).parent, os.W_OK):
            return [ConfigError(f"cannot write to the folder {folder}", hint="choose another")]
        return []

    def _picture_errors(self, pictures: PictureSequence) -> list[ConfigError]:
        from rtstyle.sinks.sequence import check_suffix

        check_suffix(pictures)
        inputs = self.input_pictures
        if (
            inputs is not None
            and inputs.folder.resolve() == pictures.folder.resolve()
            and (inputs.before, inputs.after) == (pictures.before, pictures.after)
        ):
            return [ConfigError("output and input are the same pictures", hint="give another folder for the output")]
        existing = next(path for path in (pictures.folder, *pictures.folder.absolute().parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            return [ConfigError(f"cannot write to {existing}", hint="choose another folder")]
        if pictures.numbers() and not self.overwrite and not Manifest.exists(self.folder):
            return [ConfigError(f"{self.output} already exists", hint=f"give another folder, or {OVERWRITE}")]
        return []

    def _in_one_piece(self) -> str:
        """Return why nothing is kept for ``resume``, in words; empty if something may be."""
        if PIPE in (self.input, str(self.output)):
            return "what came through a pipe cannot be resumed"
        if self._is_animation:
            return "an animated picture is written in one piece"
        return "" if self.may_have_segments else "ProRes and FFV1 are written in one piece"

    def _resume_errors(self) -> list[ConfigError]:
        whole = self._in_one_piece()
        if whole or (self.job_dir is not None and not self.segment_s):
            given = {"--resume (in Python: resume)": self.resume, "--job-dir (in Python: job_dir)": self.job_dir}
            idle = [name for name, value in given.items() if value]
            whole = whole or "without segments there is no job folder"
            return [ConfigError(whole, hint=f"leave out {' and '.join(idle)}")] if idle else []
        try:
            begun = Manifest.exists(self.folder)
            other = not begun and not Manifest.may_begin(self.folder)
        except OSError as error:
            return [ConfigError(f"cannot use the job folder {self.folder}: {reason(error)}", hint=advice(error))]
        if other:
            return [ConfigError(f"{self.folder} is not the folder of a job", hint="give an empty or new folder")]
        if begun and not (self.resume and self.segment_s):
            hint = "add --resume (in Python: resume=True) to go on with it, or, if no process works on it, remove "
            hint += f"{self.folder} to start again"
            hint += "" if self.segment_s else ", and leave out --segment 0 (in Python: segment_s=0)"
            return [ConfigError(f"an interrupted job has left {self.folder}", hint=hint)]
        return []


def _raise(errors: Sequence[ConfigError]) -> None:
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigError("; ".join(str(error) for error in errors))
