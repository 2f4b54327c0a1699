"""The explanation as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from engines.base import RGB
from train.explain.comparisons import Comparison
from train.explain.discriminator_maps import DiscriminatorMap
from train.explain.layer_maps import LayerMap, shares
from train.explain.overlays import CHANGE, WARM, draw_frames, heat_map, side_by_side
from train.explain.patch_match import Match
from train.html import Html, document, element, figure, photograph, section, table

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)

HEADINGS: Mapping[str, str] = {
    "maps": "What each loss layer changed, and where",
    "matches": "Which parts of the painting the strokes resemble",
    "discriminator": "Which parts the discriminator takes for the artist's",
    "comparisons": "The same picture by other styles",
}
"""Headings of the optional sections, by the keys of ``Explanation.missing``."""

ABSENT: Mapping[str, str] = {
    "maps": "Which loss term shaped which part of the picture.",
    "matches": "The most similar piece of the painting for a few regions.",
    "discriminator": "Which patches the discriminator takes for the artist's.",
    "comparisons": "The same picture by styles that were trained differently.",
}
"""What each of them would show, where it has no contents."""

LAYERS: Mapping[str, tuple[str, str]] = {
    "relu1_1": ("Colour and grain", "which colours lie side by side"),
    "relu2_1": ("Lines", "edges and how fine they are"),
    "relu3_1": ("Strokes", "how lines bend and repeat"),
    "relu4_1": ("Swirls", "larger shapes made of strokes"),
}
"""What each layer responds to: heading and description."""

SLIDER = """
const [photo, painting] = document.querySelectorAll("[data-blend] img");
const range = document.getElementById("strength"), shown = document.getElementById("shown");
painting.parentNode.style.setProperty("background", "url(" + photo.src + ") center / 100% 100%");
range.oninput = () => { painting.style.opacity = range.value; shown.value = (+range.value).toFixed(2); };
document.getElementById("slider").hidden = false;
range.oninput();
"""
"""Browsers and engines both blend stored values linearly, so the slider shows the true strength."""


@dataclass(frozen=True)
class Explanation:
    """Contents of the page. Empty parts are left out, and their sections say why.

    Attributes:
        source: file name of the picture.
        strip: the picture stylized at each of ``STRENGTHS``; the last one is full strength.
        painting: the painting, at the size the style was trained on.
        discriminator: maps by the name of the picture, the stylized one first.
        head, rows: the table of errors of the comparisons.
        missing: options that a section needs, by the keys of ``HEADINGS``.
        notes: remarks, by section.
    """

    title: str
    style: str
    source: str
    photo: RGB
    strip: Sequence[RGB]
    painting: RGB | None = None
    maps: Sequence[LayerMap] = ()
    matches: Sequence[Match] = ()
    discriminator: Mapping[str, DiscriminatorMap] = field(default_factory=dict)
    comparisons: Sequence[Comparison] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def stylized(self) -> RGB:
        """The picture at full strength."""
        return self.strip[-1]

    @property
    def left_out(self) -> list[str]:
        """One line for each missing or incomplete section, naming the options it needs."""
        return [f"“{HEADINGS[part]}”: {need}" for part, need in self.missing.items()]


def page(explanation: Explanation) -> str:
    """Build the HTML document."""
    return document(
        f"{explanation.title} · explained",
        element("h1", f"{explanation.title}, explained"),
        element("p", f"What the style {explanation.style} did to {explanation.source}, and why.", class_="lead"),
        _strength(explanation),
        _part(explanation, "maps", _maps),
        _part(explanation, "matches", _matches),
        _part(explanation, "discriminator", _discriminator),
        _part(explanation, "comparisons", _comparisons),
        script=SLIDER,
    )


def _part(e: Explanation, part: str, build: Callable[[Explanation], tuple[str, Sequence[Html]]]) -> Html:
    """Build an optional section: its contents, a remark on them, and what is missing."""
    sentence, contents = build(e) if getattr(e, part) else (ABSENT[part], ())
    notes = [e.notes.get(part) if contents else None, e.missing.get(part)]
    return section(HEADINGS[part], sentence, *contents, *(element("p", note, class_="note") for note in notes if note))


def _strength(e: Explanation) -> Html:
    height, width = e.photo.shape[:2]
    slider = element(
        "p",
        element("label", "Strength ", for_="strength"),
        element("input", type="range", id="strength", min=0, max=1, step=0.01, value=1, style="width: 14rem"),
        " ",
        element("output", "1.00", id="shown", for_="strength"),
        id="slider", hidden=True,
    )  # fmt: skip
    before = figure(photograph(e.photo, "the photograph"), "Photograph", words=f"{width}×{height} pixels")
    after = figure(element("div", photograph(e.stylized, "the stylized picture")), "Stylized", words="strength 1")
    strip = [
        element("figure", element("figcaption", f"{strength:g}"), photograph(rgb, f"strength {strength:g}"))
        for strength, rgb in zip(STRENGTHS, e.strip, strict=True)
    ]
    columns = "repeat(auto-fit, minmax(9rem, 1fr))"
    return section(
        "Before, after and in between",
        "Strength blends the stylized picture with the photograph: at 0.5 it shows half of each, not smaller strokes.",
        element("div", before, after, class_="grid wide", data_blend=True),
        slider,
        element("div", *strip, style=f"display: grid; gap: 1rem; margin-top: 1rem; grid-template-columns: {columns}"),
    )


def _maps(e: Explanation) -> tuple[str, Sequence[Html]]:
    styled = e.maps[0].kind == "style"
    sentence = (
        "The style loss compares correlations between a layer's features with those of the painting. Warm areas moved "
        "closer to the painting, cold areas moved away; each map sums exactly to the drop in its layer's error. The "
        "last map, in violet, shows the cost: where the scene itself was changed."
        if styled
        else "The more violet an area, the more its features differ from the photograph. Whether they moved towards "
        "the painting can only be shown if the painting is given."
    )
    figures = [_map(e, each, share) for each, share in zip(e.maps, shares(e.maps), strict=True)]
    return sentence, [element("div", *figures, class_="grid")]


def _map(e: Explanation, each: LayerMap, share: float) -> Html:
    name, meaning = LAYERS[each.layer]
    warm = WARM if each.kind == "style" else CHANGE
    if each.kind == "content":
        name, meaning = "The scene", "the objects, however they are stylized"
        value, words = f"{each.after:.2f}", "is the content error; 0 means unchanged"
    elif each.kind == "change":
        value, words = f"{each.after:.2f}", "of the photograph's feature energy changed"
    else:
        drop = f"error {each.before:.2f} → {each.after:.2f}"
        value = f"{100 * share:.0f} %" if each.after < each.before else "none"
        words = f"of the total drop; {drop}"
    shown = photograph(heat_map(e.photo, each.values, warm), f"heat map of {each.layer} over the picture")
    return figure(shown, name, value, f"{each.layer}: {meaning}; {words}")


def _matches(e: Explanation) -> tuple[str, Sequence[Html]]:
    assert e.painting is not None  # the matches are pieces of it
    sentence = (
        "For each sixth of the picture: the region that changed most, and the piece of the painting with the most "
        "similar strokes (relu3_1); no piece appears twice. Similarity is 1 for identical and 0 for unrelated strokes; "
        "in parentheses, the best match of the same region of the photograph. A style learns from the whole painting "
        "and copies no piece, so a match does not show where a stroke came from."
    )
    regions, found = [m.region for m in e.matches], [m.found for m in e.matches]
    whole = [
        figure(photograph(draw_frames(e.stylized, regions), "regions"), "Stylized picture", words="numbered regions"),
        figure(photograph(draw_frames(e.painting, found), "matching pieces"), "The painting", words="matching pieces"),
    ]
    pairs = [
        figure(
            photograph(side_by_side(m, i, e.stylized, e.painting), "pair"),
            str(i + 1),
            f"{m.similarity:.2f} ({m.photo_similarity:.2f})",
        )
        for i, m in enumerate(e.matches)
    ]
    paintings = element("div", *whole, class_="grid wide uneven", style="margin-bottom: 1rem")
    return sentence, [paintings, element("div", *pairs, class_="grid")]


def _discriminator(e: Explanation) -> tuple[str, Sequence[Html]]:
    shown = {"stylized": e.stylized, "photograph": e.photo, "painting": e.painting}
    figures = [
        figure(photograph(heat_map(rgb, found.margins), f"discriminator map of the {name}"),
               name.capitalize(), f"{100 * found.share:.0f} %", "of the patches look like the artist's")
        for name, found in e.discriminator.items() if (rgb := shown[name]) is not None
    ]  # fmt: skip
    sentence = (
        "Warm patches look like the artist's to the discriminator, cold ones look generated; each map has its own "
        "scale. It was trained against this generator, so uncertainty everywhere is normal. It never saw photographs "
        "in training, so its answer for them is a guess."
    )
    return sentence, [element("div", *figures, class_="grid uneven")]


def _comparisons(e: Explanation) -> tuple[str, Sequence[Html]]:
    figures = [figure(photograph(e.stylized, "this style"), e.title, words="this style")]
    for other in e.comparisons:
        shown = photograph(other.stylized, f"stylized by {other.name}")
        figures.append(figure(shown, other.name, words=_description(other)))
    sentence = (
        "A lower error means closer to the painting or to the photograph; the loss weights trade one for the other."
    )
    return sentence, [element("div", *figures, class_="grid"), table(e.rows, e.head)]


def _description(comparison: Comparison) -> str:
    differs = "; ".join(comparison.differs)
    if not comparison.other_painting:
        return differs or "no recorded setting differs"
    sentence = f"trained on another painting, {comparison.other_painting}, so style errors do not apply"
    return f"{sentence}; {differs}" if differs else sentence
