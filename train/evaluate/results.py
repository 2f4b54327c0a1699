"""Results of an evaluation: metrics, what each means, and which were skipped and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from engines.base import RGB

Better = Literal["lower", "higher", ""]


@dataclass(frozen=True)
class MetricInfo:
    """How to read a metric; ``better`` is empty where that depends on what is wanted."""

    label: str
    text: str
    better: Better
    unit: str = ""


METRICS = {
    "style_distance": MetricInfo(
        "style distance", "distance of colours and strokes to the painting; 0 is a match", "lower"
    ),
    "style_ratio": MetricInfo(
        "style ratio", "the same, relative to the unstylized photographs; 1 is no style", "lower"
    ),
    "strokes_ratio": MetricInfo("strokes ratio", "relu3_1 alone, which recolouring cannot lower", "lower"),
    "own_painting": MetricInfo(
        "distance to its own painting",
        "style distance by that to the nearest other painting; above 1 it looks like another",
        "lower",
        "×",
    ),
    "colour_distance": MetricInfo(
        "colour distance", "histograms of colours against the painting's; 0 is equal, 1 has none in common", "lower"
    ),
    "content_distance": MetricInfo("content distance", "change in deep features; 0 is the photograph", "lower"),
    "ssim": MetricInfo("SSIM", "edges and shading that are kept; 1 is the photograph", "higher"),
    "cfsd": MetricInfo("CFSD", "what looked alike in the photograph looks alike; 0 is the photograph", "lower"),
    "lpips": MetricInfo("LPIPS (squeeze)", "perceptual difference from the photograph; 0 is equal", ""),
    "feature_fid": MetricInfo("feature-FID", "distance of the stylized set to the artist's pictures", "lower"),
    "diversity": MetricInfo(
        "picture diversity", "how different the stylized pictures are from each other; 0 is collapse", "higher"
    ),
    "ewarp": MetricInfo("Ewarp", "flicker that motion does not explain; mean square", "lower"),
    "ewarp_long": MetricInfo("Ewarp, long range", "the same between the first frame and each later one", "lower"),
    "consistency_ratio": MetricInfo(
        "consistency ratio", "Ewarp by the change from frame to frame: a weak style does not win for free", "lower"
    ),
    "e_stab": MetricInfo("e_stab", "flicker that motion does not explain; root mean square", "lower"),
    "noise": MetricInfo("noise amplification", "sensor noise out / sensor noise in; 1 passes it on", "lower", "×"),
    "parameters": MetricInfo("parameters", "numbers stored in the weights", "lower"),
    "multiply_adds": MetricInfo("multiply-adds", "arithmetic for one frame of 640×360", "lower", "G"),
    "latency": MetricInfo("latency, median", "one frame of 640×360 on this machine", "lower", "ms"),
    "latency_p95": MetricInfo("latency, p95", "95 of 100 frames are faster", "lower", "ms"),
}
"""All metrics, in the order in which they are shown."""


@dataclass(frozen=True)
class Metric:
    """One measured value, by its key of ``METRICS``.

    Attributes:
        unpainted: the same of the unstylized input, where that is meaningful.
        of: the clip or engine, where there are several.
    """

    name: str
    value: float
    unpainted: float | None = None
    of: str = ""

    @property
    def meaning(self) -> MetricInfo:
        """How to read it."""
        return METRICS[self.name]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        meaning = self.meaning
        return asdict(self) | {"unit": meaning.unit, "better": meaning.better, "meaning": meaning.text}


@dataclass(frozen=True)
class SkippedMetric:
    """Metrics that could not be computed, why, and the option that adds them, if there is one."""

    figures: str
    why: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.figures}: {self.why}" + (f" → {self.hint}" if self.hint else "")


@dataclass(frozen=True)
class Pair:
    """A photograph and its stylized version, of one size, and the photograph's file name."""

    name: str
    before: RGB
    after: RGB


@dataclass(frozen=True)
class Strip:
    """The same consecutive frames before and after, shown above each other."""

    name: str
    before: Sequence[RGB]
    after: Sequence[RGB]


@dataclass(frozen=True)
class Results:
    """All results of one style: metrics in the order of ``METRICS``, and pictures for the page."""

    style: str
    title: str
    figures: Sequence[Metric]
    left_out: Sequence[SkippedMetric]
    notes: Sequence[str]
    pairs: Sequence[Pair] = ()
    strips: Sequence[Strip] = ()

    @property
    def heading(self) -> str:
        """The title, with the name of the style where that differs."""
        return self.title if self.title == self.style else f"{self.title} ({self.style})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, without the pictures."""
        return {
            "style": self.style,
            "title": self.title,
            "figures": [figure.to_dict() for figure in self.figures],
            "left_out": [asdict(gap) for gap in self.left_out],
            "notes": list(self.notes),
        }
