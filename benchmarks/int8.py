"""int8 against fp32 on the CPU: time of a frame, and what it changes in pictures and clips, in every style.

python -m benchmarks.int8
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median

import cv2
import numpy as np

from benchmarks.clips import read_frames
from benchmarks.quality import CLIPS, FRAMES, HELD_OUT, NOISY, SIGMA, START, STILLS
from benchmarks.report import Row, Section, at_least, at_most
from benchmarks.speed import HEIGHT, WIDTH, times_ms
from benchmarks.subject import NotMeasuredError, Subject
from engines.base import RGB
from engines.openvino.engine import CpuEngine, Precision
from engines.openvino.runtime import shared_core
from engines.openvino.shared_weights import SharedCpuEngine
from engines.style_file import StyleModel
from rtstyle import style_library
from train import evaluate
from train.data.pictures import picture_files, split
from train.evaluate.lpips import Lpips, load_lpips

FASTER_VNNI, FASTER = 2.0, 1.3
"""How many times as fast as fp32, on CPUs with and without VNNI."""

MEAN, HIGH, LPIPS, BOILING = 2.0, 8.0, 0.02, 1.03
"""Largest mean difference and 99th percentile, of 255; largest LPIPS; largest flicker, relative to fp32."""


@dataclass(frozen=True)
class Change:
    """What int8 changes in one style; flicker is relative to fp32."""

    mean: float
    high: float
    lpips: float
    ewarp: float
    noise: float


@dataclass(frozen=True)
class Material:
    """Pictures and clips that training never saw, and what judges them."""

    pictures: Sequence[RGB]
    clips: Sequence[Sequence[RGB]]
    lpips: Lpips


def measure(subject: Subject) -> Section:
    """Compare the two in every style of the gallery."""
    if not (subject.data / "content").is_dir():
        raise NotMeasuredError(f"no pictures, clips and feature networks in {subject.data}; set RTSTYLE_DATA")
    lpips = load_lpips(subject.data / "features")
    assert lpips is not None
    material = Material(
        evaluate.read_pictures(split(picture_files(subject.data / "content"), HELD_OUT)[1]),
        [read_frames(subject.data / "video" / name, FRAMES, START) for name in CLIPS],
        lpips,
    )
    frame = np.asarray(cv2.resize(material.pictures[0], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
    rows = list(_speed(subject.style, frame))
    names = [entry.name for entry in style_library.installed()]
    changes = {name: _change(StyleModel.open(style_library.find(name)), material) for name in names}
    return Section("int8", "int8 on the CPU", "all styles", [*rows, *_rows(changes)], _notes())


def _speed(style: StyleModel, frame: RGB) -> Sequence[Row]:
    kinds: dict[Precision, dict[str, CpuEngine]] = {
        kind: {"one style": CpuEngine(style, precision=kind), "shared": SharedCpuEngine(style, precision=kind)}
        for kind in ("fp32", "int8")
    }
    runs = {f"{kind} {name}": engine for kind, engines in kinds.items() for name, engine in engines.items()}
    ms = {name: median(values) for name, values in times_ms(runs, frame).items()}
    for engine in runs.values():
        engine.close()
    bar = FASTER_VNNI if has_vnni() else FASTER
    return [
        at_least(
            f"faster than fp32, {title}",
            f"{WIDTH}×{HEIGHT}, {ms[f'fp32 {name}']:.1f} / {ms[f'int8 {name}']:.1f} ms, medians of calls in turns",
            ms[f"fp32 {name}"] / ms[f"int8 {name}"],
            bar,
            " ×",
            2,
        )
        for name, title in (("one style", "graph of one style"), ("shared", "graph shared by styles"))
    ]


def has_vnni() -> bool:
    """Return True if the CPU multiplies four bytes at once."""
    with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as file:  # noqa: PTH123  # not a file of ours
        return "vnni" in file.read()


def _change(style: StyleModel, material: Material) -> Change:
    precise, fast = CpuEngine(style), CpuEngine(style, precision="int8")
    pairs = [(precise(picture), fast(picture)) for picture in material.pictures]
    differences = np.concatenate([np.abs(a.astype(np.int16) - b).ravel() for a, b in pairs])
    ewarp, noise = [], []
    stills = material.pictures[:: HELD_OUT // STILLS]
    for engine in (precise, fast):
        clips = [evaluate.warping_error([engine(rgb) for rgb in frames], frames) for frames in material.clips]
        ewarp.append(mean(clips))
        noise.append(mean(evaluate.noise_amplification(engine, still, SIGMA, NOISY) for still in stills))
        engine.close()
    return Change(
        float(differences.mean()),
        float(np.quantile(differences, 0.99)),
        mean(material.lpips.distance(a, b) for a, b in pairs),
        ewarp[1] / ewarp[0],
        noise[1] / noise[0],
    )


def _rows(changes: Mapping[str, Change]) -> Sequence[Row]:
    def worst(what: str, field: str, bar: float, unit: str, digits: int) -> Row:
        values = {name: float(getattr(change, field)) for name, change in changes.items()}
        name = max(values, key=values.__getitem__)
        how = f"worst of {len(values)} styles, {name}; median {median(values.values()):.{digits}f}"
        return at_most(what, how, values[name], bar, unit, digits)

    return [
        worst("difference from fp32, mean", "mean", MEAN, " of 255", 2),
        worst("difference from fp32, 99th percentile", "high", HIGH, " of 255", 0),
        worst("LPIPS between the two", "lpips", LPIPS, "", 3),
        worst("Ewarp, relative to fp32", "ewarp", BOILING, " ×", 3),
        worst("sensor noise passed on, relative to fp32", "noise", BOILING, " ×", 3),
    ]


def _notes() -> list[str]:
    capabilities = ", ".join(shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    return [
        f"{HELD_OUT} pictures and {len(CLIPS)} clips that training never saw. The CPU has "
        f"{'VNNI' if has_vnni() else 'no VNNI'}; OpenVINO reports {capabilities}.",
    ]


if __name__ == "__main__":
    from benchmarks.bench import main

    main("int8")
