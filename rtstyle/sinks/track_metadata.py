"""Metadata of a clip, as the output's container understands it."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING

from av.container import InputContainer, OutputContainer
from av.stream import Stream

from rtstyle.media.codecs import Container

if TYPE_CHECKING:
    from av.container.core import Chapter

_STATISTICS = ("BPS", "DURATION", "NUMBER_OF_BYTES", "NUMBER_OF_FRAMES", "_STATISTICS_", "ENCODER")
"""Prefixes of Matroska's statistics tags, which are wrong for a track that was cut or re-encoded."""

_ABOUT_THE_FILE = ("MAJOR_BRAND", "MINOR_VERSION", "COMPATIBLE_BRANDS", "ENCODER")
"""Tags that describe the container, not the film."""

_OF_PHONES = ("com.apple.quicktime.", "com.android.")
"""Prefixes of keys that fit no classic MP4 field, like a phone's model or its frames per second in slow motion."""

QUICKTIME_LANGUAGES = {
    "bod": "tib",
    "cym": "wel",
    "cze": "ces",
    "deu": "ger",
    "ell": "gre",
    "eus": "baq",
    "fas": "per",
    "fre": "fra",
    "hye": "arm",
    "isl": "ice",
    "kat": "geo",
    "mkd": "mac",
    "msa": "may",
    "mya": "bur",
    "nld": "dut",
    "rum": "ron",
    "slo": "slk",
    "sqi": "alb",
    "swe": "sve",
    "zho": "chi",
}
"""Language code → the code that QuickTime's muxer knows; it drops the language of all others."""

_TIMECODE = re.compile(r"(\d+):(\d\d):(\d\d)([:;.])(\d\d)")


def copy_metadata(source: InputContainer, output: OutputContainer) -> None:
    """Copy the tags of the whole film."""
    tags = output.metadata
    tags.update({k: v for k, v in source.metadata.items() if k.upper() not in _ABOUT_THE_FILE})
    flags = output.container_options.get("movflags")
    if flags and any(key.startswith(_OF_PHONES) for key in tags):
        output.container_options["movflags"] = f"{flags}+use_metadata_tags"


def copy_description(source: Stream, target: Stream, kind: Container) -> None:
    """Copy language, title and disposition of a track."""
    kept = {k: v for k, v in source.metadata.items() if not k.upper().startswith(_STATISTICS)}
    if kind.format == "mov" and "language" in kept:
        kept["language"] = QUICKTIME_LANGUAGES.get(kept["language"], kept["language"])
    target.metadata.update(kept)
    target.disposition = source.disposition


def cut_chapters(chapters: list[Chapter], start_s: Fraction | None, end_s: Fraction | None) -> list[Chapter]:
    """Return the chapters of a part of a film, with times from its beginning; ``None`` for no limit."""
    if start_s is None and end_s is None:
        return chapters
    cut: list[Chapter] = []
    for chapter in chapters:
        unit_s = chapter["time_base"] or Fraction(1, 1000)
        shift = round((start_s or 0) / unit_s)
        end = chapter["end"] if end_s is None else min(chapter["end"], round(end_s / unit_s))
        start = max(chapter["start"] - shift, 0)
        if start < end - shift:
            cut.append({**chapter, "start": start, "end": end - shift, "time_base": unit_s})
    return cut


def later_timecode(timecode: str, frames: int, fps: Fraction) -> str:
    """Move a timecode such as ``01:00:00:00``, or ``01:00:00;00`` with dropped numbers, by some frames.

    Returns:
        The new timecode, or the old one if it is not valid.
    """
    match = _TIMECODE.fullmatch(timecode)
    if match is None or fps <= 0:
        return timecode
    hours, minutes, seconds, frame = (int(match[group]) for group in (1, 2, 3, 5))
    rate = round(fps)
    dropped = 0 if match[4] == ":" else round(rate / 15)  # numbers left out each minute, except every tenth
    total = ((hours * 60 + minutes) * 60 + seconds) * rate + frame + frames
    minutes += 60 * hours
    total -= dropped * (minutes - minutes // 10)
    tens, rest = divmod(total, 600 * rate - 9 * dropped)
    total += dropped * (9 * tens + max(0, (rest - dropped) // (60 * rate - dropped)))
    total %= 24 * 3600 * rate
    return (
        f"{total // (3600 * rate):02}:{total // (60 * rate) % 60:02}:{total // rate % 60:02}{match[4]}{total % rate:02}"
    )
