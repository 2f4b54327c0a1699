"""`rtstyle train`, also `python -m train`: from a painting and a folder of photographs to a style."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import rich.progress
import typer
from rich.console import Console

from engines.errors import TrainError
from rtstyle.signals import STOPPER
from train.config import DataConfig, GeneratorConfig, LossWeights, RunConfig, ScheduleConfig, TrainConfig
from train.export import finish
from train.loop import CHECKPOINT, Progress, train

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

DATA, WEIGHTS, SCHEDULE, RUN = DataConfig(content=Path()), LossWeights(), ScheduleConfig(), RunConfig(out=Path())


@app.command()
def run(
    style_picture: Annotated[Path, typer.Option(help="The painting.")],
    content: Annotated[Path, typer.Option(help="Folder of photographs; a few hundred are enough.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoint, contact sheets, and the finished style.")],
    name: Annotated[str, typer.Option(help="Name of the style; by default that of the painting's file.")] = "",
    title: Annotated[str, typer.Option(help="The work's title, for the style's record.")] = "",
    artist: Annotated[str, typer.Option(help="Who painted it, for the style's record.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the trained style.")] = "unspecified",
    features: Annotated[
        Path | None, typer.Option(help="Folder with the feature networks; otherwise VGG19 is downloaded once (575 MB).")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="Folder of a trained style to start from.")] = None,
    steps: Annotated[int, typer.Option(help="Optimisation steps.")] = SCHEDULE.steps,
    minutes: Annotated[float | None, typer.Option(help="Train for this long instead of counting steps.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    batch: Annotated[int, typer.Option(help="Pictures a step.")] = DATA.batch,
    crop: Annotated[int, typer.Option(help="Side of the training crops, pixels.")] = DATA.crop,
    style_size: Annotated[
        int, typer.Option(help="Short side of the painting, pixels: larger means larger strokes.")
    ] = DATA.style_size,
    learning_rate: Annotated[float, typer.Option(help="Of Adam, at the start.")] = SCHEDULE.learning_rate,
    content_weight: Annotated[float, typer.Option(help="Likeness to the photograph.")] = WEIGHTS.content,
    style_weight: Annotated[float, typer.Option(help="Likeness to the painting.")] = WEIGHTS.style,
    temporal_weight: Annotated[float, typer.Option(help="Steadiness under motion.")] = WEIGHTS.temporal,
    noise_weight: Annotated[float, typer.Option(help="Steadiness under sensor noise.")] = WEIGHTS.noise,
    canvas_weight: Annotated[
        float, typer.Option(help="Against patches that stand still while the scene moves.")
    ] = WEIGHTS.canvas,
    hold_out: Annotated[int, typer.Option(help="Photographs left out of training, for judging.")] = DATA.hold_out,
    checkpoint_steps: Annotated[int, typer.Option(help="Steps between checkpoints.")] = RUN.checkpoint_steps,
    sheet_steps: Annotated[int, typer.Option(help="Steps between contact sheets.")] = RUN.sheet_steps,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 means all.")] = RUN.threads,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = RUN.seed,
) -> None:
    """Train a real-time style from one painting.

    Example: rtstyle train --style-picture wave.jpg --content photos/ --out runs/wave --minutes 60

    Ctrl-C saves a checkpoint, a second one stops at once; the same command with --resume goes on. At the end the style
    lies in OUT/style: rtstyle webcam --style runs/wave/style
    """
    config = TrainConfig(
        data=DataConfig(
            style_picture=style_picture, content=content, features=features, batch=batch, crop=crop,
            style_size=style_size, hold_out=hold_out,
        ),
        generator=GeneratorConfig(init=init),
        losses=LossWeights(
            content=content_weight, style=style_weight, temporal=temporal_weight, noise=noise_weight,
            canvas=canvas_weight,
        ),
        schedule=ScheduleConfig(steps=steps, minutes=minutes, learning_rate=learning_rate),
        run=RunConfig(
            out=out, name=name, checkpoint_steps=checkpoint_steps, sheet_steps=sheet_steps, threads=threads, seed=seed,
        ),
    )  # fmt: skip
    if not resume and (out / CHECKPOINT).exists():
        raise TrainError(f"{out} holds another run", hint="--resume goes on with it; or give another --out")
    _check_start(out)
    stop = threading.Event()
    with STOPPER.installed(), STOPPER.gently(stop.set), _progress() as show:
        result = train(config, resume=resume, on_progress=show, stop=stop.is_set)
    if stop.is_set() and result.share < 1.0:
        print(f"stopped at step {result.step}; the same command with --resume goes on", file=sys.stderr)
        raise typer.Exit(130)
    model = finish(result, title=title, artist=artist, licence=licence)
    print(f"the style is in {model.folder}: try `rtstyle image photo.jpg painted.jpg --style {model.folder}`")


def _check_start(out: Path) -> None:
    """What would fail only after hours fails now.

    Raises: TrainError: a package that the export needs is missing, or the folder of the run cannot be written.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise TrainError(
            f"{' and '.join(missing)} must be installed to save a style", hint='pip install "rtstyle[train]"'
        )
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise TrainError(f"the folder {out} cannot be written: see {there}", hint="give another --out")


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal, a line every 25 steps elsewhere; both on standard error."""
    smooth: dict[str, float] = {}
    bar = rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    task = bar.add_task("training", total=1.0)

    def show(progress: Progress) -> None:
        for name, value in progress.losses.items():
            smooth[name] = value if name not in smooth else 0.95 * smooth[name] + 0.05 * value
        text = f"step {progress.step}  " + "  ".join(f"{name} {value:.4f}" for name, value in smooth.items())
        bar.update(task, completed=progress.share, description=text)
        if bar.disable and progress.step % 25 == 0:
            print(f"{progress.share:6.1%}  {progress.seconds:6.0f} s  {text}", file=sys.stderr, flush=True)

    with bar:
        yield show


def main(argv: Sequence[str]) -> int:
    """Run with arguments and return the exit code; errors are the caller's to print.

    Raises: StylerError: anything that went wrong on purpose. click.ClickException: wrong usage.
    """
    return int(app(args=list(argv), prog_name="rtstyle train", standalone_mode=False) or 0)


if __name__ == "__main__":
    from rtstyle.cli import main as command_line  # the one place where errors are printed

    sys.exit(command_line(["train", *sys.argv[1:]]))
