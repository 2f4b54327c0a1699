"""An explanation as one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engines.base import RGB
from train.explain.comparisons import Rival
from train.explain.discriminator_maps import Belief
from train.explain.layer_maps import LayerMap, shares
from train.explain.overlays import PRICE, WARM, framed, heat, pair
from train.explain.patch_match import Match
from train.html import Html, document, element, join, photograph, section, table

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)

HEADINGS: Mapping[str, str] = {
    "maps": "What each layer of the losses did, and where",
    "matches": "Which part of the painting the strokes resemble",
    "beliefs": "Where the discriminator believes, and where it doubts",
    "rivals": "What other weights would do",
}
"""Of the sections that may be left out, by the name that ``Explanation.missing`` has for them."""

LAYERS: Mapping[str, tuple[str, str]] = {
    "relu1_1": ("Colour and grain", "which colours lie side by side"),
    "relu2_1": ("Lines", "edges and how fine they are"),
    "relu3_1": ("Strokes", "how lines bend and repeat"),
    "relu4_1": ("Swirls", "larger shapes made of strokes"),
}
"""What a layer sees, for people."""

SLIDER = """
const [photo, painting] = document.querySelectorAll("[data-blend] img");
const range = document.getElementById("strength"), shown = document.getElementById("shown");
painting.parentNode.style.setProperty("background", "url(" + photo.src + ") center / 100% 100%");
range.oninput = () => { painting.style.opacity = range.value; shown.value = (+range.value).toFixed(2); };
document.getElementById("slider").hidden = false;
range.oninput();
"""
"""The blend of the engines is linear in the stored values, and so is that of a browser."""


@dataclass(frozen=True)
class Explanation:
    """Everything that the page shows; what is empty is left out, and its section says why.

    Attributes:
        title, style: of the style, for people and by name.
        source: file name of the picture.
        photo: before.
        strip: painted with each of ``STRENGTHS``; the last one is the painted picture.
        painting: at the size in which it was learned.
        maps: layers of the losses.
        matches: regions and what they resemble.
        beliefs: of the discriminator, by what it was shown; the painted picture first.
        rivals: other ways to paint the picture.
        head, rows: figures of all of them, as text.
        missing: by section, what it would need: ``maps``, ``matches``, ``beliefs``, ``rivals``.
        notes: what else should be known, by section.
    """

    title: str
    style: str
    source: str
    photo: RGB
    strip: Sequence[RGB]
    painting: RGB | None = None
    maps: Sequence[LayerMap] = ()
    matches: Sequence[Match] = ()
    beliefs: Mapping[str, Belief] = field(default_factory=dict)
    rivals: Sequence[Rival] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def painted(self) -> RGB:
        """After."""
        return self.strip[-1]

    @property
    def left_out(self) -> list[str]:
        """What is not on the page, or not whole, and what it would need, a line for each section."""
        return [f"“{HEADINGS[part]}”: {need}" for part, need in self.missing.items()]


def page(explanation: Explanation) -> str:
    """The whole document."""
    return document(
        f"{explanation.title} · explained",
        element("h1", f"{explanation.title}, explained"),
        element("p", f"What the style {explanation.style} did to {explanation.source}, and why.", class_="lead"),
        _strength(explanation),
        _maps(explanation),
        _matches(explanation),
        _beliefs(explanation),
        _rivals(explanation),
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
    after = _figure("Painting", "", "strength 1", element("div", photograph(e.painted, "the painted picture")))
    strip = [
        element("figure", element("figcaption", f"{strength:g}"), photograph(rgb, f"strength {strength:g}"))
        for strength, rgb in zip(STRENGTHS, e.strip, strict=True)
    ]
    return section(
        "Before, after, and between",
        "Strength fades the painting over the photograph: half the strength is half of each, not smaller strokes.",
        element("div", before, after, class_="grid wide", data_blend=True),
        slider,
        _strip(strip),
    )


def _maps(e: Explanation) -> Html:
    if not e.maps:
        sentence = "Which part of the training goal shaped which part of the picture."
        return section(HEADINGS["maps"], sentence, _missing(e, "maps"))
    styled = e.maps[0].kind == "style"
    sentence = (
        "The style term compares how the features of a layer go together with how they do in the painting. Warm places "
        "brought the picture nearer to the painting, cold ones took it away; a map adds up exactly to the fall of its "
        "layer's error. The last map, violet, is the price: where the scene itself was changed."
        if styled
        else "The more violet a place, the farther its features moved from the photograph; without the painting nobody "
        "can say whether they moved towards it."
    )
    figures = [_map(e, each, share) for each, share in zip(e.maps, shares(e.maps), strict=True)]
    return section(HEADINGS["maps"], sentence, element("div", *figures, class_="grid"), _missing(e, "maps"))


def _map(e: Explanation, each: LayerMap, share: float) -> Html:
    name, meaning = LAYERS[each.layer]
    warm = WARM if each.kind == "style" else PRICE
    if each.kind == "content":
        name, meaning = "The scene", "what is seen, however it is painted"
        figure, words = f"{each.after:.2f}", "is the content error; 0 keeps everything"
    elif each.kind == "moved":
        figure, words = f"{each.after:.2f}", "of the photograph's own energy was changed"
    else:
        fall = f"error {each.before:.2f} → {each.after:.2f}"
        figure = f"{100 * share:.0f} %" if each.after < each.before else "none"
        words = f"of the whole fall; {fall}"
    label = f"heat map of {each.layer} over the picture"
    return _figure(
        name, figure, f"{each.layer}: {meaning}; {words}", photograph(heat(e.photo, each.places, warm), label)
    )


def _matches(e: Explanation) -> Html:
    if not e.matches or e.painting is None:
        sentence = "The nearest piece of the painting for a few regions."
        return section(HEADINGS["matches"], sentence, _missing(e, "matches"))
    sentence = (
        "In each sixth of the picture, the region that changed most, and the piece of the painting whose strokes "
        "(relu3_1) are most like it, no piece twice. Likeness is 1 for the same and 0 for unrelated; in brackets, the "
        "best that the unpainted region finds. A style learns the painting as a whole and copies no piece: likeness is "
        "no origin."
    )
    regions, found = [m.region for m in e.matches], [m.found for m in e.matches]
    whole = [
        _figure("Painted picture", "", "numbered regions", photograph(framed(e.painted, regions), "regions")),
        _figure("The painting", "", "what they resemble", photograph(framed(e.painting, found), "what they resemble")),
    ]
    pairs = [
        _figure(
            str(i + 1), f"{m.likeness:.2f} ({m.photo:.2f})", "", photograph(pair(m, i, e.painted, e.painting), "pair")
        )
        for i, m in enumerate(e.matches)
    ]
    return section(
        HEADINGS["matches"],
        sentence,
        element("div", *whole, class_="grid wide uneven", style="margin-bottom: 1rem"),
        element("div", *pairs, class_="grid"),
    )


def _beliefs(e: Explanation) -> Html:
    if not e.beliefs:
        sentence = "Whether a trained eye takes it for the artist's hand."
        return section(HEADINGS["beliefs"], sentence, _missing(e, "beliefs"))
    shown = {"painted": e.painted, "photograph": e.photo, "painting": e.painting}
    figures = [
        _figure(name.capitalize(), f"{100 * belief.share:.0f} %", "of the patches are taken for the artist's",
                photograph(heat(rgb, belief.margins), f"belief in the {name}"))
        for name, belief in e.beliefs.items() if (rgb := shown[name]) is not None
    ]  # fmt: skip
    sentence = (
        "Warm patches it takes for the artist's, cold ones for a machine's; each map has its own scale. It learned "
        "this against the same generator, so equal doubt everywhere is a draw, and no fault. Photographs it was never "
        "shown: what it says of them is a guess."
    )
    note = element("p", e.notes["beliefs"], class_="note") if "beliefs" in e.notes else ""
    shown_maps = element("div", *figures, class_="grid uneven")
    return section(HEADINGS["beliefs"], sentence, shown_maps, note, _missing(e, "beliefs"))


def _rivals(e: Explanation) -> Html:
    if not e.rivals:
        sentence = "The same picture by a style that was trained otherwise."
        return section(HEADINGS["rivals"], sentence, _missing(e, "rivals"))
    figures = [_figure(e.title, "", "this style", photograph(e.painted, "this style"))]
    for rival in e.rivals:
        figures.append(
            _figure(rival.name, "", _otherwise(rival), photograph(rival.painted, f"painted by {rival.name}"))
        )
    note = element("p", e.notes["rivals"], class_="note") if "rivals" in e.notes else ""
    return section(
        HEADINGS["rivals"],
        "Lower errors are nearer to the painting or to the photograph; a weight moves the balance between the two.",
        element("div", *figures, class_="grid"),
        table(e.rows, e.head),
        note,
    )


def _otherwise(rival: Rival) -> str:
    differs = "; ".join(rival.differs)
    if not rival.learned:
        return differs or "no different setting is on record"
    sentence = f"learned another painting, {rival.learned}, so its style errors against this one would say nothing"
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
