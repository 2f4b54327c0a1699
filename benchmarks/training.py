"""What training reaches: by recipe, from another style, by source of motion, with and without a discriminator.

    python -m benchmarks.training [--style NAME|DIR]

Trains what is not there yet, three and a half hours on two cores; runs are kept in ``runs/bench``, finished ones are
not repeated and stopped ones go on. ``make bench`` leaves it out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from benchmarks.quality import CLIPS
from benchmarks.report import ROOT, Row, Section, at_least, at_most, not_measured
from benchmarks.step import step_of
from benchmarks.subject import NotMeasuredError, Subject
from train.data.clips import clip_files
from train.data.pictures import picture_files

RUNS = ROOT / "runs" / "bench"
WAVE, STARRY_NIGHT = "hokusai__great_wave_hi.jpg", "vangogh__starry_night_hi.jpg"
ARTIST = "vangogh_256"
HELD_OUT, EVERY = 80, 4
"""Photographs that the runs on an artist's works do not see, and which of the works they do not see: every fourth."""

BASE_STEPS, MOTION_STEPS, MINUTES = 4600, 700, 15
"""Of the style without temporal loss, of what is trained from it, and of what is trained from the shipped style."""

SOURCES = ("none", "synthetic", "clips", "both")

RATIO, ALIKE, EWARP, SSIM_LOSS, MEMORY_GB, CONVOLUTIONS, WAITING = 0.3, 15.0, 0.5, 0.03, 6.0, 60.0, 3.0
"""The bars, in the order of the table."""


@dataclass(frozen=True)
class Run:
    """One training, in its own process.

    Attributes:
        name: of its folder.
        painting: the picture whose style is learned.
        data: folder of real clips, pictures and feature networks.
        options: of ``rtstyle train``.
        judged_by: options of ``rtstyle evaluate``.
    """

    name: str
    painting: Path
    data: Path
    options: tuple[str, ...] = ()
    judged_by: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Of the run."""
        return RUNS / self.name

    @property
    def style(self) -> Path:
        """What comes out."""
        return self.folder / "style"

    @cached_property
    def figures(self) -> Mapping[str, float]:
        """Of the finished style, measured once.

        Raises: NotMeasuredError: training or judging fails; the text is the last line of it.
        """
        self.finish()
        judged = self.folder / "judged.json"
        if not judged.exists():
            options = [
                "--content", str(self.data / "content"), "--painting", str(self.painting),
                "--features", str(self.data / "features"), *self.judged_by,
            ]  # fmt: skip
            command = [sys.executable, "-m", "rtstyle", "evaluate", str(self.style), *options, "--quiet", "--json"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                raise NotMeasuredError(done.stderr.strip().splitlines()[-1])
            judged.write_text(done.stdout)
        found: list[dict[str, Any]] = json.loads(judged.read_text())["figures"]
        return {one["name"]: one["value"] for one in found if one["of"] in ("", "mean of the clips")}

    @property
    def unpainted_fid(self) -> float:
        """That of the photographs themselves."""
        found = json.loads((self.folder / "judged.json").read_text())["figures"]
        return next(float(one["unpainted"]) for one in found if one["name"] == "feature_fid")

    @property
    def record(self) -> Mapping[str, Any]:
        """What the style tells about its training."""
        training: dict[str, Any] = json.loads((self.style / "style.json").read_text())["training"]
        return training

    @property
    def peak_gb(self) -> float:
        """Most memory that the process held."""
        return float(json.loads((self.folder / "peak.json").read_text())["gb"])

    def finish(self) -> None:
        """Train, or go on, unless it is done.

        Raises: NotMeasuredError: training fails; the text is the last line of it.
        """
        if (self.style / "style.json").exists():
            return
        print(f"training {self.name}: see {self.folder / 'report.html'}", file=sys.stderr, flush=True)
        options = [
            "--recipe", "fast", "--style-picture", str(self.painting), "--content", str(self.data / "content"),
            "--features", str(self.data / "features"), "--out", str(self.folder), "--name", self.name, *self.options,
        ]  # fmt: skip
        resumed = ["--resume"] if (self.folder / "checkpoint.pt").exists() else []
        log = RUNS / f"{self.name}.log"
        with log.open("w") as lines:
            process = subprocess.Popen(
                [sys.executable, "-m", "train", *options, *resumed], cwd=ROOT, stdout=lines, stderr=lines
            )
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise NotMeasuredError(log.read_text().strip().splitlines()[-1])
        (self.folder / "peak.json").write_text(json.dumps({"gb": usage.ru_maxrss * 1024 / 1e9}))


def measure(subject: Subject) -> Section:
    """Train and judge everything."""
    data = subject.data
    if not (data / "content").is_dir():
        raise NotMeasuredError(f"no pictures, clips and feature networks in {data}; set RTSTYLE_DATA")
    if not subject.trained:
        raise NotMeasuredError("there is no trained style to start from")
    RUNS.mkdir(parents=True, exist_ok=True)
    rows = [*_recipe_rows(data, subject), *_motion_rows(data), *_artist_rows(data, subject), *_gpu_rows(subject)]
    notes = [
        "Each run is `rtstyle train --recipe fast` with what the row names; each style is judged by `rtstyle evaluate` "
        "on 20 held-out photographs (80 for the artist's works) and three clips not trained on.",
        f"Motion: the style that the four start from was trained for {BASE_STEPS} steps without temporal and noise "
        f"losses; each trains {MOTION_STEPS} steps more, with the noise loss and the temporal loss of its source.",
        f"Works: `{ARTIST}`, every {EVERY}th of which is not trained on; FID over relu3_1 of VGG19, no Inception-FID.",
    ]
    return Section("training", "Training", "trained for this table", rows, notes)


def _recipe_rows(data: Path, subject: Subject) -> list[Row]:
    painting = data / "styles" / WAVE
    fresh = Run("wave-fresh", painting, data)
    started = Run("wave-from-another", painting, data, ("--init", str(subject.style.folder)))
    ratios = [run.figures["style_ratio"] for run in (fresh, started)]
    how = f"Hokusai's wave, {fresh.record['minutes']:.0f} minutes, {fresh.record['steps_done']} steps"
    less = f"from {subject.label}, {started.record['minutes']:.0f} minutes, {started.record['steps_done']} steps"
    return [
        at_most("`fast`, from nothing: style", how, ratios[0], RATIO, " ×", 3),
        Row("the same: strokes, SSIM", how, _shown(fresh, "strokes_ratio", "ssim")),
        at_most("the same: memory", "largest resident set of the process", fresh.peak_gb, MEMORY_GB, " GB", 1),
        Row("`fast --init`: style", less, f"{ratios[1]:.3f} ×"),
        Row("the same: strokes, SSIM", less, _shown(started, "strokes_ratio", "ssim")),
        at_most("`--init` against from nothing", "style / style", ratios[1] / ratios[0], 1.0, " ×", 2),
    ]


def _motion_rows(data: Path) -> list[Row]:
    painting = data / "styles" / STARRY_NIGHT
    none = ("--set", "motion.source=none")
    base = Run("motion-base", painting, data, (*none, "--noise-weight", "0", "--steps", str(BASE_STEPS)))
    clips = _linked("clips", [file for file in clip_files(data / "video") if file.name not in CLIPS])
    judged_by = [option for name in CLIPS for option in ("--clip", str(data / "video" / name))]
    base.finish()
    runs = {}
    for source in SOURCES:
        real = ["--clips", str(clips)] if source in ("clips", "both") else []
        options = ["--init", str(base.style), "--steps", str(MOTION_STEPS), "--set", f"motion.source={source}", *real]
        runs[source] = Run(f"motion-{source}", painting, data, tuple(options), tuple(judged_by))
    rows = [
        Row(f"temporal loss on {source}", "style, strokes, SSIM, Ewarp", _shown(run, *SHOWN))
        for source, run in runs.items()
    ]
    both, none_at_all = runs["both"].figures, runs["none"].figures
    off = abs(both["style_ratio"] / none_at_all["style_ratio"] - 1) * 100
    return [
        *rows,
        at_most("both against none", "Ewarp / Ewarp", both["ewarp"] / none_at_all["ewarp"], EWARP, " ×", 2),
        at_most("both against none", "style, off by", off, ALIKE, " %", 1),
    ]


SHOWN = ("style_ratio", "strokes_ratio", "ssim", "ewarp")


def _artist_rows(data: Path, subject: Subject) -> list[Row]:
    works = picture_files(data / "styles" / ARTIST)
    held = works[EVERY - 1 :: EVERY]
    seen = _linked("works", [work for work in works if work not in held])
    judged_by = ("--style-pictures", str(_linked("works-held-out", held)), "--pictures", str(HELD_OUT))
    options = (
        "--style-pictures", str(seen), "--init", str(subject.style.folder), "--minutes", str(MINUTES),
        "--hold-out", str(HELD_OUT), "--set", "data.in_memory=true",
    )  # fmt: skip
    alone = ("--set", "losses.adversarial=0", "--set", "losses.feature_matching=0")
    painting = data / "styles" / STARRY_NIGHT
    perceptual = Run("artist-perceptual", painting, data, (*options, *alone), judged_by)
    adversarial = Run("artist-adversarial", painting, data, options, judged_by)
    shown = ("feature_fid", "style_ratio", "strokes_ratio", "ssim")
    rows = [
        Row(f"{len(works)} works, {name}", "feature-FID, style, strokes, SSIM", _shown(run, *shown))
        for name, run in (("perceptual losses alone", perceptual), ("adversarial losses as well", adversarial))
    ]
    lost = perceptual.figures["ssim"] - adversarial.figures["ssim"]
    ratio = adversarial.figures["feature_fid"] / perceptual.figures["feature_fid"]
    return [
        *rows,
        Row(
            "feature-FID of the photographs", f"to {len(held)} works not trained on", f"{perceptual.unpainted_fid:.4g}"
        ),
        at_most("adversarial against perceptual alone", "feature-FID / feature-FID", ratio, 1.0, " ×", 3),
        at_most("adversarial against perceptual alone", "SSIM lost", lost, SSIM_LOSS, "", 3),
    ]


def _gpu_rows(subject: Subject) -> list[Row]:
    what, how = "a step of `default` on a GPU", "`python -m benchmarks.step --recipe default`"
    if not torch.cuda.is_available():
        return [not_measured(f"{what}: convolutions, wait for data", how, "≥ 60 %, ≤ 3 %", "no GPU here")]
    found = step_of(subject, "default")
    return [
        at_least(f"{what}: convolutions", how, found.convolutions * 100, CONVOLUTIONS, " %"),
        at_most(f"{what}: wait for data", how, found.waiting * 100, WAITING, " %"),
    ]


def _shown(run: Run, *names: str) -> str:
    return ", ".join(format(run.figures[name], ".4g" if name in ("ewarp", "feature_fid") else ".3f") for name in names)


def _linked(name: str, files: Sequence[Path]) -> Path:
    """A folder of links, because training takes folders."""
    folder = RUNS / name
    folder.mkdir(exist_ok=True)
    for file in files:
        link = folder / file.name
        if not link.exists():
            link.symlink_to(file.resolve())
    return folder


if __name__ == "__main__":
    from benchmarks.bench import main

    main("training")
