"""The explanation as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engines.base import RGB
from train.explain.comparisons import Comparison
from train.explain.discriminator_maps import DiscriminatorMap
from train.explain.layer_maps import LayerMap, shares
from train.explain.overlays import CHANGE, WARM, draw_frames, heat_map, side_by_side
from train.explain.patch_match import Match
from train.html import Html, document, element, join, photograph, section, table

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)

HEADINGS: Mapping[str, str] = {
    "maps": "What each loss layer changed, and where",
    "matches": "Which parts of the painting the strokes resemble",
    "discriminator": "Which parts the discriminator takes for the artist's",
    "comparisons": "The same picture by other styles",
}
"""Headings of the optional sections, by the keys of ``Explanation.missing``."""

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
        title: title of the style.
        style: name of the style.
        source: file name of the picture.
        photo: the photograph.
        strip: the picture stylized at each of ``STRENGTHS``; the last one is full strength.
        painting: the painting, at the size the style was trained on.
        maps: one map for each loss layer.
        matches: regions and the pieces of the painting they resemble.
        discriminator: maps by the name of the picture, the stylized one first.
        comparisons: the picture stylized by other styles.
        head: column names of the table of errors.
        rows: its rows, as text.
        missing: options that a section needs, by section: ``maps``, ``matches``, ``discriminator``, ``comparisons``.
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
        _maps(explanation),
        _matches(explanation),
        _discriminator(explanation),
        _comparisons(explanation),
        script=SLIDER,
    )


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
    before = _figure("Photograph", "", f"{width}×{height} pixels", photograph(e.photo, "the photograph"))
    after = _figure("Stylized", "", "strength 1", element("div", photograph(e.stylized, "the stylized picture")))
    strip = [
        element("figure", element("figcaption", f"{strength:g}"), photograph(rgb, f"strength {strength:g}"))
        for strength, rgb in zip(STRENGTHS, e.strip, strict=True)
    ]
    return section(
        "Before, after and in between",
        "Strength blends the stylized picture with the photograph: at 0.5 it shows half of each, not smaller strokes.",
        element("div", before, after, class_="grid wide", data_blend=True),
        slider,
        _strip(strip),
    )


def _maps(e: Explanation) -> Html:
    if not e.maps:
        sentence = "Which loss term shaped which part of the picture."
        return section(HEADINGS["maps"], sentence, _missing(e, "maps"))
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
    return section(HEADINGS["maps"], sentence, element("div", *figures, class_="grid"), _missing(e, "maps"))


def _map(e: Explanation, each: LayerMap, share: float) -> Html:
    name, meaning = LAYERS[each.layer]
    warm = WARM if each.kind == "style" else CHANGE
    if each.kind == "content":
        name, meaning = "The scene", "the objects, however they are stylized"
        figure, words = f"{each.after:.2f}", "is the content error; 0 means unchanged"
    elif each.kind == "change":
        figure, words = f"{each.after:.2f}", "of the photograph's feature energy changed"
    else:
        drop = f"error {each.before:.2f} → {each.after:.2f}"
        figure = f"{100 * share:.0f} %" if each.after < each.before else "none"
        words = f"of the total drop; {drop}"
    label = f"heat map of {each.layer} over the picture"
    return _figure(
        name, figure, f"{each.layer}: {meaning}; {words}", photograph(heat_map(e.photo, each.values, warm), label)
    )


def _matches(e: Explanation) -> Html:
    if not e.matches or e.painting is None:
        sentence = "The most similar piece of the painting for a few regions."
        return section(HEADINGS["matches"], sentence, _missing(e, "matches"))
    sentence = (
        "For each sixth of the picture: the region that changed most, and the piece of the painting with the most "
        "similar strokes (relu3_1); no piece appears twice. Similarity is 1 for identical and 0 for unrelated strokes; "
        "in parentheses, the best match of the same region of the photograph. A style learns from the whole painting "
        "and copies no piece, so a match does not show where a stroke came from."
    )
    regions, found = [m.region for m in e.matches], [m.found for m in e.matches]
    whole = [
        _figure("Stylized picture", "", "numbered regions", photograph(draw_frames(e.stylized, regions), "regions")),
        _figure("The painting", "", "matching pieces", photograph(draw_frames(e.painting, found), "matching pieces")),
    ]
    pairs = [
        _figure(
            str(i + 1),
            f"{m.similarity:.2f} ({m.photo_similarity:.2f})",
            "",
            photograph(side_by_side(m, i, e.stylized, e.painting), "pair"),
        )
        for i, m in enumerate(e.matches)
    ]
    return section(
        HEADINGS["matches"],
        sentence,
        element("div", *whole, class_="grid wide uneven", style="margin-bottom: 1rem"),
        element("div", *pairs, class_="grid"),
    )


def _discriminator(e: Explanation) -> Html:
    if not e.discriminator:
        sentence = "Which patches the discriminator takes for the artist's."
        return section(HEADINGS["discriminator"], sentence, _missing(e, "discriminator"))
    shown = {"stylized": e.stylized, "photograph": e.photo, "painting": e.painting}
    figures = [
        _figure(name.capitalize(), f"{100 * found.share:.0f} %", "of the patches look like the artist's",
                photograph(heat_map(rgb, found.margins), f"discriminator map of the {name}"))
        for name, found in e.discriminator.items() if (rgb := shown[name]) is not None
    ]  # fmt: skip
    sentence = (
        "Warm patches look like the artist's to the discriminator, cold ones look generated; each map has its own "
        "scale. It was trained against this generator, so uncertainty everywhere is normal. It never saw photographs "
        "in training, so its answer for them is a guess."
    )
    note = element("p", e.notes["discriminator"], class_="note") if "discriminator" in e.notes else ""
    shown_maps = element("div", *figures, class_="grid uneven")
    return section(HEADINGS["discriminator"], sentence, shown_maps, note, _missing(e, "discriminator"))


def _comparisons(e: Explanation) -> Html:
    if not e.comparisons:
        sentence = "The same picture by styles that were trained differently."
        return section(HEADINGS["comparisons"], sentence, _missing(e, "comparisons"))
    figures = [_figure(e.title, "", "this style", photograph(e.stylized, "this style"))]
    for comparison in e.comparisons:
        figures.append(
            _figure(
                comparison.name,
                "",
                _description(comparison),
                photograph(comparison.stylized, f"stylized by {comparison.name}"),
            )
        )
    note = element("p", e.notes["comparisons"], class_="note") if "comparisons" in e.notes else ""
    return section(
        HEADINGS["comparisons"],
        "A lower error means closer to the painting or to the photograph; the loss weights trade one for the other.",
        element("div", *figures, class_="grid"),
        table(e.rows, e.head),
        note,
    )


def _description(comparison: Comparison) -> str:
    differs = "; ".join(comparison.differs)
    if not comparison.other_painting:
        return differs or "no recorded setting differs"
    sentence = f"trained on another painting, {comparison.other_painting}, so style errors do not apply"
    return f"{sentence}; {differs}" if differs else sentence


def _figure(name: str, value: str, words: str, shown: Html) -> Html:
    heading = element("h3", name, element("b", value) if value else "")
    return element("figure", element("figcaption", heading, words), shown)


def _strip(figures: Sequence[Html]) -> Html:
    columns = "repeat(auto-fit, minmax(9rem, 1fr))"
    return element(
        "div", *figures, style=f"display: grid; gap: 1rem; margin-top: 1rem; grid-template-columns: {columns}"
    )


def _missing(e: Explanation, part: str) -> Html:
    return element("p", e.missing[part], class_="note") if part in e.missing else join(())
