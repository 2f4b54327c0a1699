"""Mixes of styles as text: ``vangogh:0.6+wave:0.4``, each with the texture that follows it: ``wave@0.5``.

A texture is a share of the pattern that a style was trained to paint over everything, see ``engines.mixing.texture``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engines.errors import StyleError

MOST = 8
"""Most styles of one mix."""

DIGITS = 4
"""Digits of a share after the point."""

TEXTURE_DIGITS = 2
"""Digits of a texture after the point."""

EXAMPLE = "for example vangogh:0.6+wave:0.4, or vangogh+wave for equal parts"

_WORD = re.compile(r"[\w-]{2,}")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|nan|inf", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Mix:
    """Styles and their shares. A single style is a mix of one.

    Attributes:
        parts: name or folder of each style, with ``@TEXTURE`` if it has one, and its share; the shares are positive and
            sum to 1.
    """

    parts: tuple[tuple[str, float], ...]

    @classmethod
    def parse(cls, text: str, spelled: Callable[[str], str] = str) -> Mix:
        """Read a mix, or the name of one style. Weights need not sum to 1, and styles named twice are merged.

        Args:
            text: styles with ``:WEIGHT`` after each or none, joined by ``+``.
            spelled: returns a style's name, without a texture, as it is written elsewhere.

        Raises:
            StyleError: a weight is missing, negative or not a number, all are zero, there are too many styles, or a
                texture is out of range.
        """
        parts = [(*split_texture(name), weight) for name, weight in _weights(text)]
        return cls.of([(join_texture(spelled(name), texture), weight) for name, texture, weight in parts])

    @classmethod
    def of(cls, weights: list[tuple[str, float]]) -> Mix:
        """Return the mix of styles by weights that need not sum to 1. Raises as ``parse``."""
        merged: dict[str, float] = {}
        named: dict[str, str] = {}
        for name, weight in weights:
            if named.setdefault(split_texture(name)[0], name) != name:
                problem = f"{split_texture(name)[0]} is named with two textures"
                raise StyleError(problem, hint="give all its parts the same")
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
        """The styles, each with its texture."""
        return tuple(name for name, _ in self.parts)

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles without textures, in the order of ``names``; each is there once."""
        return tuple(split_texture(name)[0] for name in self.names)

    @property
    def main(self) -> str:
        """The style with the largest share, without its texture."""
        return split_texture(max(self.parts, key=lambda part: part[1])[0])[0]

    @property
    def caption(self) -> str:
        """The mix for people: ``vangogh 60 % + wave 40 %``, or ``wave (texture 50 %)``."""
        shown = [(_caption(name), share) for name, share in self.parts]
        if len(shown) == 1:
            return shown[0][0]
        return " + ".join(f"{name} {100 * share:.3g} %" for name, share in shown)

    def __str__(self) -> str:
        """Return the text that ``parse`` reads."""
        if len(self.parts) == 1:
            return self.names[0]
        return "+".join(f"{name}:{round(share, DIGITS):g}" for name, share in self.parts)

    def share(self, name: str) -> float:
        """Return the share of a style, 0 if it is not part of the mix."""
        return dict(self.parts).get(name, 0.0)

    @property
    def textures(self) -> dict[str, float | None]:
        """The texture of each style; ``None`` for its own."""
        return dict(split_texture(name) for name in self.names)

    @property
    def plain(self) -> Mix:
        """The mix of the same shares without textures."""
        return Mix(tuple(zip(self.styles, (share for _, share in self.parts), strict=True)))

    def toward(self, other: Mix, way: float) -> Mix:
        """Return the mix after a part of the way to another, 0 … 1.

        A texture that only one of the two names changes half-way: the other one's is not known here.
        """
        textures = {**self.textures, **other.textures}
        for style, first in self.textures.items():
            second = other.textures.get(style, first)
            if first is not None and second is not None:
                textures[style] = (1.0 - way) * first + way * second
            else:
                textures[style] = second if way >= 0.5 else first
        shares = [(name, (1.0 - way) * share) for name, share in self.plain.parts]
        shares += [(name, way * share) for name, share in other.plain.parts]
        return Mix.of([(join_texture(name, textures[name]), share) for name, share in shares])

    def distance(self, other: Mix) -> float:
        """Return how much the shares change on the way to another: 0 for not at all, 1 for all."""
        mine, others = dict(self.plain.parts), dict(other.plain.parts)
        return sum(abs(mine.get(name, 0.0) - others.get(name, 0.0)) for name in {*mine, *others}) / 2


def split_texture(name: str) -> tuple[str, float | None]:
    """Return a style without the texture that follows its name, and that texture; ``None`` if it names none.

    An existing folder of that very name names none.

    Raises:
        StyleError: the texture is out of range, or not a number.
    """
    style, sign, text = name.rpartition("@")
    if not sign or Path(name).expanduser().is_dir():
        return name, None
    if not _NUMBER.fullmatch(text):
        if _WORD.fullmatch(style.partition("@")[0]):  # not a path
            raise StyleError(f"the texture of {style} is not a number: {text!r}", hint=f"for example {style}@0.5")
        return name, None
    texture = float(text)
    if not 0.0 <= texture <= 1.0:
        raise StyleError(f"the texture of {style} is {text}", hint=f"give a value from 0 to 1, for example {style}@0.5")
    return style, round(texture, TEXTURE_DIGITS) + 0.0  # not -0


def join_texture(style: str, texture: float | None) -> str:
    """Return the name of a style with a texture; ``None`` for its own."""
    return style if texture is None else f"{style}@{round(texture, TEXTURE_DIGITS) + 0.0:g}"


def caption_of(style: str) -> str:
    """Return a style or mix as it is shown to people; a text that is neither stays as it is."""
    try:
        return Mix.parse(style).caption
    except StyleError:
        return style


def without_textures(style: str) -> str:
    """Return a style or mix without its textures; a text that is neither stays as it is."""
    try:
        return str(Mix.parse(style).plain)
    except StyleError:
        return style


def is_single(text: str) -> bool:
    """Return True unless a text is a mix, or a style with a texture."""
    try:
        return without_textures(text) == str(Mix.parse(text)) and len(Mix.parse(text).parts) == 1
    except StyleError:
        return False


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


def _caption(name: str) -> str:
    style, texture = split_texture(name)
    return style if texture is None else f"{style} (texture {100 * texture:.0f} %)"


def _part(text: str) -> tuple[str, float | None]:
    name, colon, weight = text.rpartition(":")
    if not colon:
        return text, None
    try:
        return name, float(weight)
    except ValueError:
        if _WORD.fullmatch(name.partition("@")[0]):  # not the drive of a path
            raise StyleError(f"the weight of {name} is not a number: {weight!r}", hint=EXAMPLE) from None
        return text, None
