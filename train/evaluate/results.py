"""What was found out about a style: figures, what each means, and what was left out and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from engines.base import RGB

Better = Literal["lower", "higher", ""]


@dataclass(frozen=True)
class Meaning:
    """How a figure is to be read.

    Attributes:
        label: its name for people.
        text: what it says, in a few plain words.
        better: the direction; empty where it depends on what is wanted.
        unit: of the value.
    """

    label: str
    text: str
    better: Better
    unit: str = ""


MEANINGS = {
    "style_distance": Meaning("style distance", "colours and strokes against the painting's; 0 is a match", "lower"),
    "style_ratio": Meaning("style ratio", "the same, by that of the unpainted photographs; 1 is no style", "lower"),
    "strokes_ratio": Meaning("strokes ratio", "the coarsest layer alone, which recolouring cannot win", "lower"),
    "content_distance": Meaning("content distance", "what a network sees change; 0 is the photograph", "lower"),
    "ssim": Meaning("SSIM", "edges and shading that are still there; 1 is the photograph", "higher"),
    "lpips": Meaning("LPIPS (squeeze)", "how different a person finds painting and photograph; 0 is equal", ""),
    "feature_fid": Meaning("feature-FID", "the paintings as a set against the artist's pictures", "lower"),
    "diversity": Meaning("picture diversity", "how unlike each other the paintings are; 0 is collapse", "higher"),
    "ewarp": Meaning("Ewarp", "flicker that motion does not explain; squared, of 1", "lower"),
    "e_stab": Meaning("e_stab", "flicker that motion does not explain; root, of 1", "lower"),
    "noise": Meaning("noise amplification", "sensor noise out, by sensor noise in; 1 passes it on", "lower", "×"),
    "parameters": Meaning("parameters", "numbers that are stored", "lower"),
    "multiply_adds": Meaning("multiply-adds", "arithmetic for one frame of 640×360", "lower", "G"),
    "latency": Meaning("latency, median", "one frame of 640×360 on this machine", "lower", "ms"),
    "latency_p95": Meaning("latency, p95", "95 of 100 frames are faster", "lower", "ms"),
}
"""Every figure that there is, in the order in which they are shown."""


@dataclass(frozen=True)
class Figure:
    """One measured value.

    Attributes:
        name: a key of ``MEANINGS``.
        value: in the meaning's unit.
        unpainted: the same of the material before it was painted, where that says something.
        of: which clip or engine, where there are several.
    """

    name: str
    value: float
    unpainted: float | None = None
    of: str = ""

    @property
    def meaning(self) -> Meaning:
        """How it is to be read."""
        return MEANINGS[self.name]

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON."""
        meaning = self.meaning
        return {
            "name": self.name, "of": self.of, "value": self.value, "unpainted": self.unpainted, "unit": meaning.unit,
            "better": meaning.better, "meaning": meaning.text,
        }  # fmt: skip


@dataclass(frozen=True)
class LeftOut:
    """Figures that could not be measured.

    Attributes:
        figures: their names for people.
        why: what was missing.
        hint: what adds them; empty where nothing can.
    """

    figures: str
    why: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.figures}: {self.why}" + (f" → {self.hint}" if self.hint else "")


@dataclass(frozen=True)
class Pair:
    """A photograph and its painting, of one size.

    Attributes:
        name: of the photograph's file.
        before, after: (height, width, 3).
    """

    name: str
    before: RGB
    after: RGB


@dataclass(frozen=True)
class Strip:
    """The same consecutive frames before and after, to be shown above each other."""

    name: str
    before: Sequence[RGB]
    after: Sequence[RGB]


@dataclass(frozen=True)
class Verdict:
    """All of it.

    Attributes:
        style, title: of the style.
        figures: in the order of ``MEANINGS``.
        left_out: what could not be measured.
        notes: what a reader must know to compare the figures with others.
        pairs: photographs and their paintings, side by side, to be shown.
        strips: of the clips, to be shown.
    """

    style: str
    title: str
    figures: Sequence[Figure]
    left_out: Sequence[LeftOut]
    notes: Sequence[str]
    pairs: Sequence[Pair] = ()
    strips: Sequence[Strip] = ()

    @property
    def heading(self) -> str:
        """The title, and the name that the style is chosen by, where that is another."""
        return self.title if self.title == self.style else f"{self.title} ({self.style})"

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON, without the pictures."""
        return {
            "style": self.style,
            "title": self.title,
            "figures": [figure.to_dict() for figure in self.figures],
            "left_out": [{"figures": x.figures, "why": x.why, "hint": x.hint} for x in self.left_out],
            "notes": list(self.notes),
        }
