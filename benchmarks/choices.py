"""What eyes chose, blindly, when a style of the gallery took the place of an older one.

    python -m benchmarks.choices

The counts are those of benchmarks/candidates: ``choices.json`` holds the last round of each style that was replaced, as
new, old, ties. A judge sees 20 held-out photographs in both styles, sides at random, beside the painting.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Row, Section, at_least
from benchmarks.subject import Subject

ROUNDS = Path(__file__).parent / "choices.json"

WEAK = ("udnie", "scream", "wave", "klimt", "monet")
"""Styles that lost beside larger networks; each is to be replaced by one that people prefer."""

PREFERRED, SCENE, STYLE = 80.0, 80.0, 50.0
"""Least share of the pictures for which the new style is preferred, shows scene and faces better, and of those that
were decided for which it has more of the painting's style, percent."""

Counts = tuple[int, int, int]
"""Pictures for the new style, for the old one, and ties."""


@dataclass(frozen=True)
class Round:
    """One blind comparison.

    Attributes:
        style: of the gallery.
        what: is new in it.
        preferred, scene, style_seen: counts of which picture is preferred, of which shows scene and faces better, and
            of which has more of the painting's style.
    """

    style: str
    what: str
    preferred: Counts
    scene: Counts
    style_seen: Counts


def rounds() -> list[Round]:
    """Read the last round of each style that was replaced."""
    return [Round(**one) for one in json.loads(ROUNDS.read_text("utf-8"))]


def measure(subject: Subject) -> Section:  # noqa: ARG001  # every script takes it
    """Show the counts against their bars."""
    known = {one.style: one for one in rounds()}
    rows = [_preferred(name, known.get(name)) for name in dict.fromkeys((*WEAK, *known))]
    scenes, styles = (
        _sum(counts) for counts in zip(*((one.scene, one.style_seen) for one in known.values()), strict=True)
    )
    how = f"new : old, {len(known)} styles that were replaced; "
    rows.append(at_least("scene and faces recognized better", how + _told(scenes), _percent(scenes), SCENE, " %", 0))
    decided = _percent((*styles[:2], 0))
    rows.append(at_least("more style, of those decided", how + _told(styles), decided, STYLE, " %", 0))
    rows += [Row(f"`{name}`, more style", "new : old", _told(one.style_seen)) for name, one in known.items()]
    notes = [
        "Counted by hand, not measured here. One judge for each style, 20 held-out photographs, sides at random, the "
        "painting and the photograph in sight; ties count for neither.",
    ]
    return Section("choices", "Blind choices, new style against old", "styles that were replaced", rows, notes)


def _preferred(name: str, one: Round | None) -> Row:
    if one is None:
        return Row(f"`{name}`, preferred", "no version of it was preferred", "–", f"≥ {PREFERRED:.0f} %", "not reached")
    bar = PREFERRED if name in WEAK else 50.0
    return at_least(
        f"`{name}`, preferred", f"{one.what}; {_told(one.preferred)}", _percent(one.preferred), bar, " %", 0
    )


def _sum(counts: Iterable[Counts]) -> Counts:
    new, old, ties = (sum(part) for part in zip(*counts, strict=True))
    return new, old, ties


def _percent(counts: Counts) -> float:
    return 100.0 * counts[0] / sum(counts)


def _told(counts: Counts) -> str:
    new, old, ties = counts
    return f"{new} : {old}" + (f", {ties} tie{'s' * (ties > 1)}" if ties else "")


if __name__ == "__main__":
    from benchmarks.bench import main

    main("choices")
