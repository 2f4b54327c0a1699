"""Styles of the gallery against Johnson's network, trained as they were and judged as they are.

    python -m benchmarks.against [--styles vangogh,udnie,wave] [--steps N] [--device cuda] [--data DIR] [--out DIR]
    python -m benchmarks.against --judge

Trains what is not there yet: for each style one network with the losses of its record, and one without the temporal and
noise losses. Finished ones lie as OUT/NAME.safetensors and are not trained again, stopped ones go on; ``--judge`` takes
them as they are, and so does ``python -m benchmarks.bench --only against``.

The six take 23 200 steps of 0.36 TFLOP, and 0.22 without the two losses: 6.8 PFLOP. On an H200 that is less than two
minutes at a tenth of what it can do in bf16; but four pictures a step are few, and launching their kernels takes
longer: reckon with ten minutes, which is an estimate. Two cores need about 5 and 4 s a step: more than a day.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from torch import nn

from benchmarks.gallery import Figures, Material, figures_of, figures_row
from benchmarks.report import ROOT, Row, Section, at_least, at_most, keep, not_measured, setting, table
from benchmarks.rival import Rival, device_of, stylize
from benchmarks.subject import NotMeasuredError, Subject, opened
from engines.atomic_write import atomic_write
from engines.errors import StylerError
from engines.style_file import StyleModel, sha256
from rtstyle import style_library
from rtstyle.signals import STOPPER
from train.distributed import SINGLE_PROCESS, ProcessGroup
from train.inference import stylize_picture
from train.progress_bar import show_progress

STYLES = ("vangogh", "udnie", "wave")
OUT = ROOT / "runs" / "against"


@dataclass(frozen=True)
class Bar:
    """What a style should reach beside a network.

    Attributes:
        what: is compared.
        value: of the style's figures and the network's.
        judged: which way.
        bar: to reach.
        unit: of both.
        digits: that are shown.
    """

    what: str
    value: Callable[[Figures, Figures], float]
    judged: Callable[..., Row]
    bar: float
    unit: str = " ×"
    digits: int = 2

    def row(self, style: str, how: str, ours: Figures, its: Figures) -> Row:
        """Of what was measured."""
        return self.judged(f"`{style}`: {self.what}", how, self.value(ours, its), self.bar, self.unit, self.digits)

    def without(self, style: str, how: str, reason: str) -> Row:
        """Of what was not."""
        sign = "≤" if self.judged is at_most else "≥"
        return not_measured(f"`{style}`: {self.what}", how, f"{sign} {self.bar:g}{self.unit}", reason)


ALIKE = (
    Bar("style, by that of the network", lambda ours, its: ours.style / its.style, at_most, 1.25),
    Bar("SSIM, by that of the network", lambda ours, its: ours.ssim / its.ssim, at_least, 1.0, digits=3),
)
"""Against the network that was trained with the same losses."""

PLAIN = (
    Bar("Ewarp, by that of the plain network", lambda ours, its: ours.ewarp / its.ewarp, at_most, 0.35),
    Bar(
        "style, off that of the plain network by", lambda ours, its: abs(ours.style / its.style - 1) * 100,
        at_most, 15.0, " %", 0,
    ),
)  # fmt: skip
"""Against the one that was trained without temporal and noise losses."""


def rivals(data: Path, out: Path, names: Sequence[str] = STYLES, steps: int | None = None) -> list[Rival]:
    """Two for each style: with the losses of its record, and plain."""
    found = [StyleModel.open(style_library.find(name)) for name in names]
    return [Rival(style, data, out, plain, steps) for style in found for plain in (False, True)]


def measure(
    subject: Subject, out: Path = OUT, steps: int | None = None, group: ProcessGroup = SINGLE_PROCESS
) -> Section:
    """Judge what is trained; nothing is trained here.

    Args:
        subject: its data.
        out: where the networks are.
        steps: of a short look.
        group: on whose device the networks paint.
    """
    every = rivals(subject.data, out, steps=steps)
    material = Material.read(subject.data) if any(one.file.exists() for one in every) else None
    ours = figures_of(STYLES, material) if material is not None else {}
    rows: list[Row] = []
    for one in every:
        rows += _rows(one, ours.get(one.style.name), material, group)
    notes = [
        f"{'; '.join(_told(one) for one in every[::2])}. The network: Johnson et al. 2016, 1.68 M parameters, as in "
        "`benchmarks/johnson.py`, from nothing, by Adam at 1e-3 (ours by Muon); losses, crops, seed are those of the "
        "style's record. Of a style that was started from another one, the pictures of both count, and the network "
        "spends them all on the one painting. Where a run's losses were changed on the way, it has the last ones.",
        "Plain: without temporal and noise losses. Both are judged like the gallery: same pictures, clips and code.",
    ]
    return Section("against", "Against Johnson's network", ", ".join(f"`{name}`" for name in STYLES), rows, notes)


def _told(rival: Rival) -> str:
    return f"`{rival.style.name}`: {rival.pictures} pictures"


def _rows(rival: Rival, ours: Figures | None, material: Material | None, group: ProcessGroup) -> list[Row]:
    """Those of one network: what is compared with it, and its own figures."""
    bars, name = PLAIN if rival.plain else ALIKE, rival.style.name
    how = f"{rival.pictures} pictures{', no temporal and noise losses' * rival.plain}"
    try:
        network = rival.network()
        assert ours is not None and material is not None  # they are, where one network is
        its = judged(rival, network.to(group.device), material)
    except (NotMeasuredError, StylerError) as error:
        reason = error.problem if isinstance(error, StylerError) else str(error)
        return [bar.without(name, how, reason) for bar in bars]
    own = figures_row(f"`{name}`: the {'plain ' * rival.plain}network", its)
    return [*(bar.row(name, how, ours, its) for bar in bars), own]


def judged(rival: Rival, network: nn.Module, material: Material) -> Figures:
    """Figures of a trained network; they are kept beside it, and not measured again while it stays the same."""
    weights, file = sha256(rival.file), rival.file.with_suffix(".json")
    with suppress(OSError, ValueError, TypeError):
        known = Figures(**json.loads(file.read_text("utf-8")))
        if known.weights == weights:
            return known
    print(f"  judging {rival.name}", file=sys.stderr, flush=True)
    painting = rival.config.data.style_picture
    assert painting is not None  # a rival has one
    found = material.judged(partial(stylize_picture, network, forward=stylize), painting.name, weights)
    with atomic_write(file) as lines:
        lines.write(json.dumps(asdict(found), indent=1).encode())
    return found


def train_all(every: Sequence[Rival], group: ProcessGroup) -> bool:
    """Train what is not there yet, one after the other; whether all are finished."""
    stop = threading.Event()
    with STOPPER.installed(), STOPPER.gently(stop.set):
        for number, rival in enumerate(every, 1):
            print(f"{rival.name}, {number} of {len(every)}, {rival.config.schedule.steps} steps", file=sys.stderr)
            with show_progress(True) as show:
                if not rival.finish(group, stop.is_set, show):
                    return False
    return True


def main() -> None:
    """Train, judge, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--styles", default=",".join(STYLES), help="which ones are trained against, with commas")
    parser.add_argument("--steps", type=int, help="so many for each: a short look, whose table is not kept")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="by default a GPU where there is one")
    parser.add_argument("--data", type=Path, metavar="DIR", help="content, features, styles, video; see RTSTYLE_DATA")
    parser.add_argument("--out", type=Path, metavar="DIR", default=OUT, help="by default runs/against")
    parser.add_argument("--judge", action="store_true", help="train nothing")
    args = parser.parse_args()
    names = args.styles.split(",")
    if unknown := set(names) - set(STYLES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(STYLES)}")
    if args.steps is not None and args.steps < 1:
        parser.error("--steps must be at least 1")
    try:
        _run(args, names)
    except (StylerError, NotMeasuredError, OSError) as error:
        sys.exit(f"benchmarks: {error}")


def _run(args: argparse.Namespace, names: Sequence[str]) -> None:
    """Raises: StylerError, NotMeasuredError, OSError: it cannot be done, and why. SystemExit: it was stopped."""
    told = setting()  # before the start: the load of the machine is without our own
    group = device_of(args.device)
    with opened(None, None) as usual:
        subject = replace(usual, data=(args.data or usual.data).resolve())
        every = [] if args.judge else rivals(subject.data, args.out, names, args.steps)
        if not train_all(every, group):
            sys.exit("stopped; the same command goes on")
        section = replace(measure(subject, args.out, args.steps, group), setting=told)
    if args.steps is None:
        keep(section)
    print(table(section), flush=True)


if __name__ == "__main__":
    main()
