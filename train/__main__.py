"""`rtstyle train`, also `python -m train`: from a painting and a folder of photographs to a style.

torch is imported where it is needed, so that ``--help`` and a wrong setting are answered at once.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import rich.progress
import typer
import typer.core
from rich.console import Console

from engines.errors import TrainError
from engines.model_file import MANIFEST
from rtstyle import styles
from rtstyle.signals import STOPPER
from train.config import TrainConfig, differences
from train.recipe import recipes, resolve, to_toml

if TYPE_CHECKING:
    from train.loop import Progress
    from train.parallel import World

LEARN, RECIPE, LONG, WEIGH, FOLDER, RECORD = (
    "What it learns from",
    "Recipe",
    "How long, how large (otherwise as in the recipe)",
    "What counts, and how much (otherwise as in the recipe)",
    "The run (numbers otherwise as in the recipe)",
    "The style's record",
)
"""Groups of options, in the order of the help."""


class _Grouped(typer.core.TyperCommand):
    """Plain help with a heading above each group of options; rich's takes longer to import than to read."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            told = parameter.get_help_record(ctx)
            if told is not None:
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or "More", []).append(told)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def _flag(group: str, text: str, *names: str, metavar: str | None = None, default: bool = False) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=group, show_default=default)


def _epilog() -> str:
    listing = "".join(f"\n  {name:<9}{line}" for name, line in recipes().items())
    return f"\b\nRecipes:{listing}"


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(cls=_Grouped, epilog=_epilog())
def run(
    style_picture: Annotated[Path | None, _flag(LEARN, "The painting.", metavar="FILE")] = None,
    style_pictures: Annotated[
        Path | None,
        _flag(LEARN, "Works of the same artist, for the discriminator: beside the painting or alone.", metavar="DIR"),
    ] = None,
    content: Annotated[Path | None, _flag(LEARN, "Photographs; a few hundred are enough.", metavar="DIR")] = None,
    clips: Annotated[Path | None, _flag(LEARN, "Videos, to learn from real motion.", metavar="DIR")] = None,
    init: Annotated[
        str | None, _flag(LEARN, "A trained style to start from, by name or folder.", metavar="STYLE")
    ] = None,
    features: Annotated[
        Path | None, _flag(LEARN, "The feature networks; otherwise VGG19 is downloaded once (575 MB).", metavar="DIR")
    ] = None,
    recipe: Annotated[
        str | None,
        _flag(
            RECIPE,
            "Holds all settings that no option gives. By default fast; with a GPU, default.",
            metavar="NAME|FILE",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        _flag(RECIPE, "Replace one setting of the recipe. Repeat for more.", "--set", metavar="SECTION.KEY=VALUE"),
    ] = None,
    show: Annotated[bool, _flag(RECIPE, "Check the settings, print them all as a recipe, and stop.", "--show")] = False,
    steps: Annotated[int | None, _flag(LONG, "Optimisation steps.", metavar="N")] = None,
    minutes: Annotated[float | None, _flag(LONG, "Train for this long instead of counting steps.", metavar="N")] = None,
    batch: Annotated[int | None, _flag(LONG, "Pictures a step.", metavar="N")] = None,
    crop: Annotated[int | None, _flag(LONG, "Side of the training crops, pixels.", metavar="N")] = None,
    style_size: Annotated[
        int | None, _flag(LONG, "Short side of the painting, pixels: larger means larger strokes.", metavar="N")
    ] = None,
    learning_rate: Annotated[float | None, _flag(LONG, "Of Adam, at the start.", metavar="N")] = None,
    content_weight: Annotated[float | None, _flag(WEIGH, "Likeness to the photograph.", metavar="N")] = None,
    style_weight: Annotated[float | None, _flag(WEIGH, "Likeness to the painting.", metavar="N")] = None,
    temporal_weight: Annotated[float | None, _flag(WEIGH, "Steadiness under motion.", metavar="N")] = None,
    noise_weight: Annotated[float | None, _flag(WEIGH, "Steadiness under sensor noise.", metavar="N")] = None,
    canvas_weight: Annotated[
        float | None, _flag(WEIGH, "Against patches that stand still while the scene moves.", metavar="N")
    ] = None,
    out: Annotated[
        Path | None, _flag(FOLDER, "Receives checkpoint, contact sheets, and the finished style.", metavar="DIR")
    ] = None,
    resume: Annotated[bool, _flag(FOLDER, "Go on from the checkpoint in --out.", "--resume")] = False,
    checkpoint_steps: Annotated[int | None, _flag(FOLDER, "Steps between checkpoints.", metavar="N")] = None,
    sheet_steps: Annotated[int | None, _flag(FOLDER, "Steps between contact sheets.", metavar="N")] = None,
    hold_out: Annotated[
        int | None, _flag(FOLDER, "Photographs left out of training, for judging.", metavar="N")
    ] = None,
    threads: Annotated[int | None, _flag(FOLDER, "CPU threads; 0 means all.", metavar="N")] = None,
    seed: Annotated[int | None, _flag(FOLDER, "Of everything random.", metavar="N")] = None,
    name: Annotated[
        str | None, _flag(RECORD, "Name of the style; by default that of the painting's file.", metavar="TEXT")
    ] = None,
    title: Annotated[str, _flag(RECORD, "The work's title.", metavar="TEXT")] = "",
    artist: Annotated[str, _flag(RECORD, "Who painted it.", metavar="TEXT")] = "",
    licence: Annotated[
        str, _flag(RECORD, "Licence of the trained style.", metavar="TEXT", default=True)
    ] = "unspecified",
) -> None:
    """Train a real-time style from one painting, from an artist's works, or from both.

    \b
    rtstyle train --style-picture wave.jpg --content photos/ --out runs/wave
    rtstyle train --style-picture wave.jpg --content photos/ --out runs/wave --minutes 20 --set losses.style=12
    torchrun --nproc-per-node 4 -m train --style-picture wave.jpg … one run on four GPUs; --batch is that of all

    A recipe holds the settings; --set replaces one of them, and an option wins over both. Ctrl-C saves a checkpoint, a
    second one stops at once; the same command with --resume goes on. At the end the style lies in OUT/style:
    rtstyle webcam --style runs/wave/style
    """
    flags: dict[str, Any] = {
        "data.style_picture": style_picture, "data.style_pictures": style_pictures, "data.content": content,
        "data.clips": clips, "data.features": features, "data.batch": batch, "data.crop": crop,
        "data.style_size": style_size, "data.hold_out": hold_out,
        "generator.init": None if init is None else styles.find(init),
        "losses.content": content_weight, "losses.style": style_weight, "losses.temporal": temporal_weight,
        "losses.noise": noise_weight, "losses.canvas": canvas_weight,
        "schedule.steps": steps, "schedule.minutes": minutes, "schedule.learning_rate": learning_rate,
        "run.out": out, "run.name": name, "run.seed": seed, "run.threads": threads,
        "run.checkpoint_steps": checkpoint_steps, "run.sheet_steps": sheet_steps,
    }  # fmt: skip
    config = resolve(recipe or _usual_recipe(), overrides or (), flags)
    if config.generator.init is not None:  # a recipe or --set may name a style of the gallery, too
        found = styles.find(str(config.generator.init))
        config = replace(config, generator=replace(config.generator, init=found))
    if show:
        typer.echo(to_toml(config), nl=False)
    else:
        _run(config, resume, {"title": title, "artist": artist, "licence": licence})


def _usual_recipe() -> str:
    import torch

    return "default" if torch.cuda.is_available() else "fast"


def _run(config: TrainConfig, resume: bool, record: dict[str, str]) -> None:
    """Raises: StylerError: anything that went wrong on purpose. typer.Exit: the run was stopped."""
    _check_start(config.run.out)
    from train.export import finish
    from train.loop import train
    from train.parallel import World

    world = World.told()
    world.places(config.data.batch)
    _check_folder(config, resume)  # before the others are met: then the first one may already write there
    stop = threading.Event()
    with world.joined(), STOPPER.installed(), _gently(world, stop), _progress(world.writes) as show:
        result = train(config, resume=resume, on_progress=show, stop=stop.is_set, world=world)
    if result.share < 1.0:
        if world.writes:
            print(f"stopped at step {result.step}; the same command with --resume goes on", file=sys.stderr)
        raise typer.Exit(130)
    if not world.writes:
        return
    model = finish(result, **record)
    print(f"the style is in {model.folder}: try `rtstyle image photo.jpg painted.jpg --style {model.folder}`")


def _gently(world: World, stop: threading.Event) -> AbstractContextManager[None]:
    return STOPPER.gently(stop.set) if world.alone else world.stopping(stop.set)


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


def _check_folder(config: TrainConfig, resume: bool) -> None:
    """Nothing of another run is written over, and no run goes on as another.

    Raises: TrainError: the folder holds a run, or a style, and is not to be resumed; or a run with other settings.
    """
    from train import checkpoint
    from train.loop import CHECKPOINT

    out = config.run.out
    saved = out / CHECKPOINT
    if resume:
        settings = checkpoint.load(saved).get("settings") if saved.exists() else None
        other = differences(config, settings) if isinstance(settings, dict) else []
        if other:
            raise TrainError(f"{out} holds another run: {'; '.join(other)}", hint="give the same, or another --out")
    elif saved.exists():
        raise TrainError(f"{out} holds another run", hint="--resume goes on with it; or give another --out")
    elif any((folder / MANIFEST).exists() for folder in (out, out / "style")):
        raise TrainError(f"{out} holds a finished style", hint="give another --out")


@contextmanager
def _progress(shown: bool) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal, a line every 25 steps elsewhere; both on standard error."""
    smooth: dict[str, float] = {}
    bar = rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not (shown and sys.stderr.isatty()),
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
