"""Compare training records of styles and runs: do they come from the same training?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from train.config.recipe import recorded_settings

Record = Mapping[str, Any]
"""Holds ``settings``, by section, and ``data``, hashes by setting; old records may lack either."""

PAINTINGS = ("style_picture", "style_pictures")
"""Settings that name what a style learns from, the most important first."""

DECISIVE = (*(("data", name) for name in PAINTINGS), ("generator", "init"))
"""Settings that a run and its style share, in addition to ``losses`` and ``style_layers``."""


def different_painting(one: Record, other: Record) -> bool:
    """Return True if two records name different paintings, by hash or else by name."""
    for key in PAINTINGS:
        a, b = (_hashes(record).get(key) for record in (one, other))
        if not (a and b):
            a, b = (painting_name(record, key) for record in (one, other))
        if a and b:
            return bool(a != b)
    return False


def painting_name(record: Record, key: str = PAINTINGS[0]) -> str:
    """Return the name of the file or folder learned from; empty if it is not recorded."""
    return str(recorded_settings(record).get("data", {}).get(key) or "")


def contradictions(style: Record, run: Record) -> list[str]:
    """List the reasons why a run cannot have trained a style; empty if there are none."""
    if different_painting(style, run):
        names = (painting_name(record) or "one painting" for record in (style, run))
        return ["the style was trained on {}, the run on another painting ({})".format(*names)]
    return [f"{name} is {mine} for the style and {theirs} for the run" for name, mine, theirs in _differing(style, run)]


def _differing(style: Record, run: Record) -> Iterator[tuple[str, object, object]]:
    mine, theirs = recorded_settings(style), recorded_settings(run)
    weights = [(section, key) for section in ("losses", "style_layers") for key in mine.get(section, {})]
    for section, key in (*DECISIVE, *weights):
        a, b = mine.get(section, {}), theirs.get(section, {})
        if key in a and key in b and a[key] != b[key]:
            yield f"{section}.{key}", a[key], b[key]


def _hashes(record: Record) -> Record:
    data = record.get("data")
    return data if isinstance(data, Mapping) else {PAINTINGS[0]: record.get("style_picture_sha256")}
