"""Whether two records, each of a style or of a run's checkpoint, tell of the same training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Record = Mapping[str, Any]
"""Has ``settings``, by section, and ``data``, hashes by setting; either may be missing, as in old records."""

PAINTINGS = ("style_picture", "style_pictures")
"""Settings that name what a style learns from, the one that counts first."""

DECISIVE = (*(("data", name) for name in PAINTINGS), ("generator", "init"))
"""Settings that a run and its style share, beside all of ``losses`` and ``style_layers``."""


def sections(record: Record) -> dict[str, dict[str, Any]]:
    """The settings of a record; what is not in sections is left out."""
    settings = record.get("settings")
    found = settings.items() if isinstance(settings, Mapping) else ()
    return {str(section): dict(members) for section, members in found if isinstance(members, Mapping)}


def another_painting(one: Record, other: Record) -> bool:
    """Whether two records tell of different paintings, by content, or else by name; False where they do not tell."""
    for key in PAINTINGS:
        a, b = (_hashes(record).get(key) for record in (one, other))
        if not (a and b):
            a, b = (painting_name(record, key) for record in (one, other))
        if a and b:
            return bool(a != b)
    return False


def painting_name(record: Record, key: str = PAINTINGS[0]) -> str:
    """Name of the file, or of the folder, that was learned from; empty where the record does not say."""
    return str(sections(record).get("data", {}).get(key) or "")


def contradictions(style: Record, run: Record) -> list[str]:
    """Why a run cannot be the one that trained a style, as texts; empty where nothing speaks against it."""
    if another_painting(style, run):
        names = (painting_name(record) or "one painting" for record in (style, run))
        return ["the style learned {}, the run another painting ({})".format(*names)]
    return [f"{name} is {mine} for the style and {theirs} for the run" for name, mine, theirs in _differing(style, run)]


def _differing(style: Record, run: Record) -> Iterator[tuple[str, object, object]]:
    mine, theirs = sections(style), sections(run)
    weights = [(section, key) for section in ("losses", "style_layers") for key in mine.get(section, {})]
    for section, key in (*DECISIVE, *weights):
        a, b = mine.get(section, {}), theirs.get(section, {})
        if key in a and key in b and a[key] != b[key]:
            yield f"{section}.{key}", a[key], b[key]


def _hashes(record: Record) -> Record:
    data = record.get("data")
    return data if isinstance(data, Mapping) else {PAINTINGS[0]: record.get("style_picture_sha256")}
