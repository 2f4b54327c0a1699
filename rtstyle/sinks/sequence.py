"""Picture sequence sink: every frame becomes a numbered picture file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from engines.errors import ConfigError, SinkError
from rtstyle.frame import Frame
from rtstyle.media.image_files import FORMATS, WITH_ALPHA, encode_picture
from rtstyle.media.picture_sequence import PictureSequence
from rtstyle.media.resize import letterbox
from rtstyle.sinks.output_path import OVERWRITE, part_path, write_errors

FIRST = 1
"""Number of the first picture, as FFmpeg counts."""


def check_suffix(pictures: PictureSequence) -> None:
    """Reject a kind of picture that cannot be written.

    Raises:
        ConfigError: its suffix is unknown.
    """
    if pictures.suffix not in FORMATS:
        kind = "OpenEXR" if pictures.suffix == ".exr" else f"the kind {pictures.suffix!r}"
        raise ConfigError(f"pictures of {kind} cannot be written", hint=f"use one of {', '.join(FORMATS)}")


def keeps_alpha(pictures: PictureSequence) -> bool:
    """Return True if pictures of this kind can be transparent."""
    return pictures.suffix in WITH_ALPHA


class SequenceSink:
    """Writes numbered pictures, each of which is complete as soon as its name appears.

    Unlike a video file, pictures of an interrupted run stay. Frames of another size than the first are fitted into its
    size, with bars.

    Args:
        pictures: names of the files; the folder is created.
        first: number of the first picture.
        by_time: take a picture's number from its time, for frames of a sequence: gaps in the numbering stay.
        overwrite: replace existing files.
        done: numbers of the pictures that are there from an interrupted run.

    Attributes:
        warnings: one line each.
        kept_frames: how many pictures are there from an interrupted run.
        written: how many were written in this run.

    Raises:
        ConfigError: this kind of picture cannot be written.
        SinkError: there are such pictures, or the folder cannot be created.
    """

    main_thread = False

    def __init__(
        self,
        pictures: PictureSequence,
        *,
        first: int = FIRST,
        by_time: bool = False,
        overwrite: bool = False,
        done: Sequence[int] = (),
    ) -> None:
        check_suffix(pictures)
        self.name = str(pictures.folder / f"{pictures.before}…{pictures.after}")
        self.warnings: list[str] = []
        self._pictures, self._first, self._by_time = pictures, first, by_time
        self._size: tuple[int, int] | None = None
        self.kept_frames, self.written = len(done), 0
        self._fitted = 0
        self._last = done[-1] if done else None
        self._closed = False
        if not done and not overwrite and pictures.numbers():
            raise SinkError(f"{self.name} already exists", hint=f"give another folder, or {OVERWRITE}")
        self._created = not pictures.folder.exists()
        with write_errors(pictures.folder):
            pictures.folder.mkdir(parents=True, exist_ok=True)

    def write(self, frame: Frame) -> bool:
        """Write one picture.

        Raises:
            SinkError: the disk is full, or the picture cannot be written.
        """
        self._size = self._size or (frame.rgb.shape[1], frame.rgb.shape[0])
        self._fitted += frame.rgb.shape[:2] != self._size[::-1]
        alpha = None if frame.alpha is None else letterbox(frame.alpha, self._size)
        self._last = self._first + (frame.pts if self._by_time else self.kept_frames + self.written)
        path = self._pictures.path(self._last)
        data = encode_picture(path, letterbox(frame.rgb, self._size), alpha)
        part = part_path(path)
        with write_errors(path):
            try:
                part.write_bytes(data)
                part.replace(path)
            finally:
                with suppress(OSError):
                    part.unlink(missing_ok=True)
        self.written += 1
        return True

    def close(self, *, completed: bool) -> None:
        """Finish; the pictures that are written stay. May be called twice.

        Raises:
            SinkError: there was no frame.
        """
        if self._closed:
            return
        self._closed = True
        if not self.written and self._created:
            with suppress(OSError):  # somebody else has put something there
                self._pictures.folder.rmdir()
        if not completed:
            return
        if self._last is None:
            raise SinkError(f"{self.name} was not written: there was no frame")
        older = [number for number in self._pictures.numbers() if number > self._last]
        if older:
            first = self._pictures.path(older[0]).name
            self.warnings.append(f"older pictures after the last: {len(older)}, from {first}; remove them")
        if self._fitted:
            width, height = self._size or (0, 0)
            self.warnings.append(f"frames of another size: {self._fitted}; fitted into {width}×{height} with bars")
