"""Every style of the gallery on pictures and clips that training never saw, and ``docs/styles.md`` that shows them.

python -m benchmarks.gallery            the table
python -m benchmarks.gallery --page     docs/styles.md and the model cards, with the figures of the last table
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, median

import numpy as np

import engines
from benchmarks.clips import read_frames
from benchmarks.quality import CLIPS, FRAMES, HELD_OUT, NOISY, SIGMA, START, STILLS
from benchmarks.report import ROOT, Row, Section, at_least, at_most
from benchmarks.subject import NotMeasuredError, Subject
from engines.base import RGB
from engines.openvino.engine import CpuEngine
from engines.style_card import CARD, model_card
from engines.style_file import GRAPH, WEIGHTS, StyleModel, sha256
from rtstyle import style_library
from rtstyle.style_previews import jpeg
from train import evaluate
from train.config.recipe import recorded_painting
from train.data.pictures import picture_files, read_picture, split
from train.evaluate import StyleDistance
from train.evaluate.photographs import photographs
from train.losses.vgg_features import Vgg19, load_features

DOCS = ROOT / "docs"
PICTURES = DOCS / "styles"
FIGURES = Path(__file__).parent / "gallery.json"
POSTER = DOCS / "styles.jpg"
SIDE, LIMIT, POSTER_LIMIT = 256, 90_000, 250_000
"""Side of each photograph, pixels; largest picture of one style and of all, bytes."""

POSTER_ROW = 6
"""Styles beside each other on the poster."""


WEAK = {
    "udnie": (0.06, 0.10, 0.62, 0.0048, 0.5),
    "wave": (0.09, 0.13, 0.428, 0.0055, 0.6),
    "scream": (0.09, 0.13, 0.565, 0.0022, 0.6),
    "klimt": (0.09, 0.13, 0.506, 0.0030, 0.6),
}
"""Styles that lost beside larger networks, and their own bars: style, strokes, SSIM, Ewarp of the style that each
replaced, and how much of that is allowed."""


@dataclass(frozen=True)
class Figures:
    """Of one style.

    Attributes:
        weights: sha256 of its weights; while they stay the same, the figures are not measured again.
        style, strokes: distance to the painting, all layers and relu3_1, by that of the unstyled pictures.
        ssim: with the unstyled pictures, mean.
        noise: temporal standard deviation out / in.
        ewarp: mean of the clips, and of the unpainted clips.
    """

    weights: str
    style: float
    strokes: float
    ssim: float
    noise: float
    ewarp: float
    ewarp_unpainted: float


BARS: Sequence[tuple[str, str, Callable[..., Row], float, float]] = (
    ("style", " ×", at_most, 0.10, 0.2),
    ("strokes", " ×", at_most, 0.11, 0.2),
    ("ssim", "", at_least, 0.45, 0.30),
    ("noise", " ×", at_most, 0.7, 1.2),
)
"""Figure, unit, which way, and the bars of the median and of the worst."""


@dataclass(frozen=True)
class Material:
    """Pictures, clips and networks, read once for all that are judged.

    Attributes:
        pictures: that training never saw.
        clips: frames of each, likewise.
        network: in whose features styles are compared.
        paintings: folder.
    """

    pictures: Sequence[RGB]
    clips: Sequence[Sequence[RGB]]
    network: Vgg19
    paintings: Path

    @classmethod
    def read(cls, data: Path) -> Material:
        """That of the data folder.

        Raises: NotMeasuredError: it is not there.
        """
        if not (data / "content").is_dir():
            raise NotMeasuredError(f"no pictures, clips and feature networks in {data}; set RTSTYLE_DATA")
        return cls(
            evaluate.read_pictures(split(picture_files(data / "content"), HELD_OUT)[1]),
            [read_frames(data / "video" / name, FRAMES, START) for name in CLIPS],
            load_features(data / "features").style_network,
            data / "styles",
        )

    @cached_property
    def ewarp(self) -> float:
        """Of the unpainted clips."""
        return mean(evaluate.warping_error(frames, frames) for frames in self.clips)

    def judged(self, paint: Callable[[RGB], RGB], painting: str, weights: str) -> Figures:
        """All figures of one style, whatever paints it.

        Args:
            paint: picture in, picture out.
            painting: file name of the picture whose style it is.
            weights: sha256 of what paints.
        """
        judge = StyleDistance(self.network, read_picture(self.paintings / painting))
        painted = [paint(rgb) for rgb in self.pictures]
        its, unstyled = judge(painted), judge(self.pictures)
        stills = self.pictures[:: HELD_OUT // STILLS]
        return Figures(
            weights=weights,
            style=its.mean / unstyled.mean,
            strokes=its.strokes / unstyled.strokes,
            ssim=mean(evaluate.ssim(a, b) for a, b in zip(painted, self.pictures, strict=True)),
            noise=mean(evaluate.noise_amplification(paint, still, SIGMA, NOISY) for still in stills),
            ewarp=mean(evaluate.warping_error([paint(rgb) for rgb in c], c) for c in self.clips),
            ewarp_unpainted=self.ewarp,
        )

    def judged_style(self, style: StyleModel) -> Figures:
        """Those of a style of rtstyle, painted by the cpu engine."""
        painting = recorded_painting(style)
        if painting is None:
            raise NotMeasuredError(f"{style.name} does not say which painting it was trained on")
        engine = CpuEngine(style)
        try:
            return self.judged(engine, painting, sha256(style.weights))
        finally:
            engine.close()


def figures_of(names: Sequence[str], material: Material) -> dict[str, Figures]:
    """Of styles of the gallery: those whose weights are new are judged, and what was found for one is kept at once."""
    found = kept()
    for name in names:
        style = StyleModel.open(style_library.find(name))
        if name not in found or found[name].weights != sha256(style.weights):
            print(f"  {name}", file=sys.stderr, flush=True)
            found[name] = material.judged_style(style)
            FIGURES.write_text(json.dumps({key: asdict(one) for key, one in found.items()}, indent=1) + "\n", "utf-8")
    return {name: found[name] for name in names}


def measure(subject: Subject) -> Section:
    """Judge every style of the gallery."""
    material = Material.read(subject.data)
    found = figures_of([entry.name for entry in style_library.installed()], material)
    rows = []
    for what, unit, judged, of_median, of_worst in BARS:
        values = {name: getattr(figures, what) for name, figures in found.items()}
        worst = (max if judged is at_most else min)(values, key=lambda name: values[name])
        rows.append(judged(f"{what}, median", f"of {len(values)} styles", median(values.values()), of_median, unit, 3))
        rows.append(judged(f"{what}, worst", f"`{worst}`", values[worst], of_worst, unit, 3))
    sizes = [sum((style_library.GALLERY / name / file).stat().st_size for file in (GRAPH, WEIGHTS)) for name in found]
    told = f"weights and graphs of {len(found)} styles, {max(sizes) / 1e6:.2f} MB the largest"
    rows.append(at_most("size", told, sum(sizes) / 1e6, 8, " MB", 2))
    for name, (style, strokes, ssim, old_ewarp, ewarp) in WEAK.items():
        rows.append(at_most(f"`{name}`, style", "", found[name].style, style, " ×", 3))
        rows.append(at_most(f"`{name}`, strokes", "", found[name].strokes, strokes, " ×", 3))
        rows.append(at_least(f"`{name}`, SSIM", "", found[name].ssim, ssim, "", 3))
        of_old = f"by that of the style it replaced, {old_ewarp:.4f}"
        rows.append(at_most(f"`{name}`, Ewarp", of_old, found[name].ewarp / old_ewarp, ewarp, " ×", 2))
    rows += [figures_row(f"`{name}`", one) for name, one in found.items()]
    notes = [
        "Size: the bar was set for the ten that were there first; further styles come on top.",
        f"{len(material.pictures)} photographs held out, short side {evaluate.PICTURE_SIDE}; style: distance of the "
        "Gram matrices of relu1_1, 2_1, 3_1 to the painting's, by that of the unstyled photographs; strokes: relu3_1.",
        f"Noise: {STILLS} stills, σ {SIGMA:g}/255, temporal standard deviation out / in. Ewarp: mean of {len(CLIPS)} "
        f"clips; unpainted they have {material.ewarp:.5f}.",
    ]
    return Section("gallery", "Styles of the gallery", f"all {len(found)}", rows, notes)


def figures_row(what: str, one: Figures) -> Row:
    """All figures of one, to compare with."""
    told = f"{one.style:.3f} ×, {one.strokes:.3f} ×, {one.ssim:.3f}, {one.noise:.2f} ×, {one.ewarp:.5f}"
    return Row(what, "style, strokes, SSIM, noise, Ewarp", told)


def kept() -> dict[str, Figures]:
    """What was measured before, by style."""
    if not FIGURES.is_file():
        return {}
    return {name: Figures(**one) for name, one in json.loads(FIGURES.read_text("utf-8")).items()}


def page() -> None:
    """Write ``docs/styles.md`` with its pictures, the poster above them, and the model cards."""
    figures = kept()
    originals = photographs(4, SIDE)
    missing = [entry.name for entry in style_library.installed() if entry.name not in figures]
    if missing or not originals:
        sys.exit(f"benchmarks: {f'measure {missing[0]} first' if missing else 'scikit-image is not installed'}")
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "photographs.jpg").write_bytes(jpeg(np.hstack(originals), LIMIT))
    parts, tiles = [HEAD], list[RGB]()
    for entry in style_library.installed():
        style = StyleModel.open(style_library.find(entry.name))
        card = model_card(style, asdict(figures[entry.name]), preview=style.preview is not None)
        (style.folder / CARD).write_text(card, "utf-8")
        engine = engines.load(style)
        painted = [engine(rgb) for rgb in originals]
        engine.close()
        (PICTURES / f"{entry.name}.jpg").write_bytes(jpeg(np.hstack(painted), LIMIT))
        parts.append(_entry(entry, figures[entry.name]))
        tiles.append(painted[len(tiles) % len(painted)])
    tiles += [originals[at % len(originals)] for at in range(-len(tiles) % POSTER_ROW)]
    rows = [np.hstack(tiles[at : at + POSTER_ROW]) for at in range(0, len(tiles), POSTER_ROW)]
    POSTER.write_bytes(jpeg(np.vstack(rows), POSTER_LIMIT))
    (DOCS / "styles.md").write_text("\n".join(parts), "utf-8")
    sheets(originals[0])


def sheets(photograph: RGB) -> None:
    """Write the pictures of the page on mixes."""
    for name, rows in SHEETS.items():
        painted = [[_painted(text, photograph) for text in row] for row in rows]
        sheet = np.vstack([np.hstack(row) for row in painted])
        (DOCS / name).write_bytes(jpeg(sheet, LIMIT))


def _painted(style: str, photograph: RGB) -> RGB:
    engine = engines.load(style_library.open_style(style))
    try:
        return engine(photograph)
    finally:
        engine.close()


QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)

SHEETS: Mapping[str, Sequence[Sequence[str]]] = {
    "mixes.jpg": [
        [f"{one}:{1 - share}+{other}:{share}" for share in QUARTERS]
        for one, other in (("vangogh", "wave"), ("composition", "scream"), ("mosaic", "klimt"))
    ],
    "texture.jpg": [[f"{name}@{share}" for share in QUARTERS] for name in ("wave", "vangogh", "scream")],
}
"""Pictures of docs/mixing.md: rows of styles and mixes."""

HEAD = """# Styles

`rtstyle styles` lists the styles that come with rtstyle, and `--style NAME` uses one. `make style NAME=wave DATA=dir`
trains it again from its own record. This page is written by `python -m benchmarks.gallery --page`.

![All styles](styles.jpg)

What the figures mean, for 20 photographs and 3 clips that training never saw ([more](figures.md)):

- **Style** and **strokes**: distance to the painting, relative to that of the photographs; smaller is closer.
- **SSIM**: how much of the photograph is left.
- **Noise**: how much of a camera's noise comes through; 1 means all of it.
- **Ewarp**: flicker that the motion of the scene does not explain.

The photographs are from scikit-image: astronaut and rocket (public domain), cat and coffee (CC0).

![Astronaut, cat, cup of coffee, rocket at night](styles/photographs.jpg)
"""


def _entry(entry: style_library.StyleEntry, figures: Figures) -> str:
    told = (
        f"style {figures.style:.3f} ×, strokes {figures.strokes:.3f} ×, SSIM {figures.ssim:.3f}, "
        f"noise {figures.noise:.2f} ×, Ewarp {figures.ewarp:.5f}"
    )
    return (
        f"## {entry.name}\n\n{entry.painter}, *{entry.work}*. Weights: {entry.licence}.\n\n"
        f"![{entry.title}](styles/{entry.name}.jpg)\n\n{told}\n"
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["--page"]:
        page()
    else:
        from benchmarks.bench import main

        main("gallery")
