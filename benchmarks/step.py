"""Where the time of a training step goes: convolutions, everything else, waiting for pictures.

    python -m benchmarks.step [--recipe default] [--steps 40] [--set SECTION.KEY=VALUE …]

On a GPU, kernels are counted; on a CPU, operators.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from benchmarks.machine import machine
from benchmarks.quality import PAINTING
from benchmarks.subject import Subject, opened
from engines.errors import StylerError
from train.config.recipe import resolve
from train.config.schema import TrainConfig
from train.loop import Progress, train
from train.report.history import HISTORY, read_history

WARM_UP = 20
"""Steps that are not counted: memory is being allocated and algorithms are being chosen."""

CONVOLUTIONS = ("aten::convolution", "aten::convolution_backward")
"""The operators under which all forward and backward convolutions are launched, whatever computes them."""


@dataclass(frozen=True)
class StepTime:
    """Of the counted steps.

    Attributes:
        step_ms: from step to step, median.
        convolutions: their share of the time of all kernels, or of all operators on a CPU.
        waiting: share of the time spent waiting for pictures.
    """

    step_ms: float
    convolutions: float
    waiting: float


def measure(config: TrainConfig) -> StepTime:
    """Train for ``config.schedule.steps`` steps, of which the first ``WARM_UP`` are not counted."""
    on_gpu = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    counted = config.schedule.steps - WARM_UP
    plan = schedule(wait=WARM_UP - 1, warmup=1, active=counted)
    seconds: list[float] = []

    with profile(activities=activities, schedule=plan, acc_events=True) as profiler:

        def after(progress: Progress) -> None:
            seconds.append(progress.seconds)
            profiler.step()

        train(config, on_progress=after)
    steps = [b - a for a, b in zip(seconds[WARM_UP:], seconds[WARM_UP + 1 :], strict=False)]
    waits = [entry.data_wait or 0.0 for entry in read_history(config.run.out / HISTORY) if entry.step > WARM_UP]
    return StepTime(
        statistics.median(steps) * 1e3, _convolutions(profiler.key_averages(), on_gpu), statistics.mean(waits)
    )


def _convolutions(events: Iterable[Any], on_gpu: bool) -> float:
    """Share of the convolutions in the time of all kernels or operators."""
    own, whole = (
        ("self_device_time_total", "device_time_total") if on_gpu else ("self_cpu_time_total", "cpu_time_total")
    )
    listed = [event for event in events if not event.key.startswith(("ProfilerStep", "Optimizer.", "cuda", "Memcpy"))]
    # A kernel is listed by itself and as the time of the operator that launched it.
    kernels = [event for event in listed if str(event.device_type).endswith("CUDA") == on_gpu]
    spent = sum(getattr(event, whole) for event in listed if event.key in CONVOLUTIONS)
    return float(spent / sum(getattr(event, own) for event in kernels))


def step_of(subject: Subject, recipe: str, steps: int = 40, overrides: Sequence[str] = ()) -> StepTime:
    """Measure so many steps of a recipe on the pictures that are there."""
    data = subject.data
    flags = {
        "data.style_picture": data / "styles" / PAINTING, "data.content": data / "content",
        "data.features": data / "features", "schedule.steps": WARM_UP + steps,
        "run.out": subject.scratch / "run", "run.report_steps": 10, "run.sheet_steps": 1_000_000,
    }  # fmt: skip
    return measure(resolve(recipe, overrides, flags))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="default", help="name or file")
    parser.add_argument("--steps", type=int, default=40, help="that are counted")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="replace a setting")
    args = parser.parse_args()
    try:
        with opened(None, None) as subject:
            found = step_of(subject, args.recipe, args.steps, args.set)
    except StylerError as error:
        sys.exit(f"benchmarks: {error}")
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else machine()
    print(f"recipe {args.recipe}, {where}, torch {torch.__version__}")
    print(f"step {found.step_ms:.1f} ms; convolutions {found.convolutions:.0%}; waiting {found.waiting:.1%}")


if __name__ == "__main__":
    main()
