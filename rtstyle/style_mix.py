"""Mixes of styles as text: ``vangogh:0.6+wave:0.4``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from engines.errors import StyleError

MOST = 8
"""Most styles of one mix."""

DIGITS = 4
"""Digits of a share after the point."""

EXAMPLE = "for example vangogh:0.6+wave:0.4, or vangogh+wave for equal parts"

_WORD = re.compile(r"[\w-]{2,}")


@dataclass(frozen=True)
class Mix:
    """Styles and their shares. A single style is a mix of one.

    Attributes:
        parts: name or folder of each style, and its share; the shares are positive and sum to 1.
    """

    parts: tuple[tuple[str, float], ...]

    @classmethod
    def parse(cls, text: str, spelled: Callable[[str], str] = str) -> Mix:
        """Read a mix, or the name of one style. Weights need not sum to 1, and styles named twice are merged.

        Args:
            text: styles with ``:WEIGHT`` after each or none, joined by ``+``.
            spelled: returns a style's name as it is written elsewhere.

        Raises:
            StyleError: a weight is missing, negative or not a number, all are zero, or there are too many styles.
        """
        return cls.of([(spelled(name), weight) for name, weight in _weights(text)])

    @classmethod
    def of(cls, weights: list[tuple[str, float]]) -> Mix:
        """Return the mix of styles by weights that need not sum to 1. Raises as ``parse``."""
        merged: dict[str, float] = {}
        for name, weight in weights:
            if not (math.isfinite(weight) and weight >= 0.0):
                raise StyleError(f"the weight of {name} is {weight:g}", hint=f"give 0 or more, {EXAMPLE}")
            merged[name] = merged.get(name, 0.0) + weight
        total = sum(merged.values())
        if not 0.0 < total < math.inf:
            raise StyleError("the weights of the mix sum to 0", hint=f"give one of them more, {EXAMPLE}")
        shares = {name: round(weight / total, DIGITS) for name, weight in merged.items()}
        shares = {name: share for name, share in shares.items() if share}
        if len(shares) > MOST:
            raise StyleError(f"a mix of {len(shares)} styles is too many", hint=f"mix {MOST} at most")
        largest = max(shares, key=lambda name: shares[name])
        shares[largest] += 1.0 - sum(shares.values())  # what rounding took
        return cls(tuple(shares.items()))

    @property
    def names(self) -> tuple[str, ...]:
        """The styles."""
        return tuple(name for name, _ in self.parts)

    @property
    def main(self) -> str:
        """The style with the largest share."""
        return max(self.parts, key=lambda part: part[1])[0]

    @property
    def caption(self) -> str:
        """The mix for people: ``vangogh 60 % + wave 40 %``."""
        if len(self.parts) == 1:
            return self.main
        return " + ".join(f"{name} {100 * share:.3g} %" for name, share in self.parts)

    def __str__(self) -> str:
        """Return the text that ``parse`` reads."""
        if len(self.parts) == 1:
            return self.main
        return "+".join(f"{name}:{round(share, DIGITS):g}" for name, share in self.parts)

    def share(self, name: str) -> float:
        """Return the share of a style, 0 if it is not part of the mix."""
        return dict(self.parts).get(name, 0.0)

    def toward(self, other: Mix, way: float) -> Mix:
        """Return the mix after a part of the way to another, 0 … 1."""
        mine = [(name, (1.0 - way) * share) for name, share in self.parts]
        return Mix.of(mine + [(name, way * share) for name, share in other.parts])

    def distance(self, other: Mix) -> float:
        """Return how much of the mix changes on the way to another: 0 for none, 1 for all."""
        names = {*self.names, *other.names}
        return sum(abs(self.share(name) - other.share(name)) for name in names) / 2


def caption_of(style: str) -> str:
    """Return a style or mix as it is shown to people; a text that is neither stays as it is."""
    try:
        return Mix.parse(style).caption
    except StyleError:
        return style


def is_normal(text: str) -> bool:
    """Return True if the weights of a mix sum to 1, or none has one."""
    weights = [weight for _, weight in _weights(text)]
    return math.isclose(sum(weights), 1.0, abs_tol=len(weights) / 10.0**DIGITS)


def _weights(text: str) -> list[tuple[str, float]]:
    """Return styles and weights as they stand in a text; without weights, equal ones that sum to 1."""
    parts = [_part(part.strip()) for part in text.split("+")]
    given = [weight for _, weight in parts if weight is not None]
    if not given:
        return [(name, 1.0 / len(parts)) for name, _ in parts]
    if len(given) < len(parts):
        without = next(name for name, weight in parts if weight is None)
        raise StyleError(
            f"{without} has no weight in {text!r}", hint=f"give all styles of a mix one, or none: {EXAMPLE}"
        )
    return [(name, weight) for name, weight in parts if weight is not None]


def _part(text: str) -> tuple[str, float | None]:
    name, colon, weight = text.rpartition(":")
    if not colon:
        return text, None
    try:
        return name, float(weight)
    except ValueError:
        if _WORD.fullmatch(name):  # not the drive of a path
            raise StyleError(f"the weight of {name} is not a number: {weight!r}", hint=EXAMPLE) from None
        return text, None
