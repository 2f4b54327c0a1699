"""`rtstyle train`, also `python -m train`: train a style from a painting and a folder of photographs.

torch is imported inside functions, so that ``--help`` and errors in settings come at once.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engines.errors import ConfigError, SettingsError
from rtstyle import style_library
from rtstyle.commands import logs
from rtstyle.commands.help import PlainCommand
from rtstyle.signals import STOPPER
from train.config.recipe import recipes, recorded_painting, recorded_style, resolve, to_toml
from train.config.schema import TrainConfig
from train.progress_bar import show_progress
from train.run_dir import check_run, check_start

if TYPE_CHECKING:
    from train.distributed import ProcessGroup

DATA, RECIPE, SCHEDULE, WEIGHTS, RUN, RECORD = (
    "Training data",
    "Recipe",
    "Schedule and sizes (default: from the recipe)",
    "Loss weights (default: from the recipe)",
    "Run (default: from the recipe)",
    "Metadata of the style",
)
"""Groups of options, in the order of the help."""

logger = logging.getLogger("train")


def _flag(group: str, text: str, *names: str, metavar: str | None = None, default: bool = False) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=group, show_default=default)


def _epilog() -> str:
    listing = "".join(f"\n  {name:<9}{line}" for name, line in recipes().items())
    return f"\b\nRecipes:{listing}"


UNSPECIFIED = "unspecified"
"""Licence of a style if none is given."""

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command(cls=PlainCommand, epilog=_epilog())
def run(
    style_picture: Annotated[
        Path | None, _flag(DATA, "The painting; with --recipe STYLE also the folder that holds it.", metavar="FILE")
    ] = None,
    style_pictures: Annotated[
        Path | None,
        _flag(DATA, "Works of one artist, for the discriminator; with or without --style-picture.", metavar="DIR"),
    ] = None,
    content: Annotated[Path | None, _flag(DATA, "Photographs; a few hundred are enough.", metavar="DIR")] = None,
    clips: Annotated[Path | None, _flag(DATA, "Videos to learn real motion from.", metavar="DIR")] = None,
    init: Annotated[
        str | None, _flag(DATA, "A trained style to start from, by name or folder.", metavar="STYLE")
    ] = None,
    features: Annotated[
        Path | None, _flag(DATA, "Feature networks; by default VGG19 is downloaded once (575 MB).", metavar="DIR")
    ] = None,
    recipe: Annotated[
        str | None,
        _flag(
            RECIPE,
            "Source of all settings that no option gives; default: fast, or default on a GPU. A trained style is also "
            "a recipe: it is trained again.",
            metavar="NAME|FILE|STYLE",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        _flag(RECIPE, "Replace one setting of the recipe. Repeat for more.", "--set", metavar="SECTION.KEY=VALUE"),
    ] = None,
    show: Annotated[bool, _flag(RECIPE, "Check all settings, print them as a recipe, and exit.", "--show")] = False,
    steps: Annotated[int | None, _flag(SCHEDULE, "Number of steps.", metavar="N")] = None,
    minutes: Annotated[
        float | None, _flag(SCHEDULE, "Train for this long instead of a number of steps.", metavar="N")
    ] = None,
    batch: Annotated[int | None, _flag(SCHEDULE, "Pictures per step.", metavar="N")] = None,
    crop: Annotated[int | None, _flag(SCHEDULE, "Side of the training crops, pixels.", metavar="N")] = None,
    style_size: Annotated[
        int | None, _flag(SCHEDULE, "Short side of the painting, pixels: larger means larger strokes.", metavar="N")
    ] = None,
    learning_rate: Annotated[
        float | None, _flag(SCHEDULE, "Initial learning rate; it falls to 1 %.", metavar="N")
    ] = None,
    content_weight: Annotated[
        float | None, _flag(WEIGHTS, "Weight of similarity to the photograph.", metavar="N")
    ] = None,
    style_weight: Annotated[float | None, _flag(WEIGHTS, "Weight of similarity to the painting.", metavar="N")] = None,
    temporal_weight: Annotated[float | None, _flag(WEIGHTS, "Weight of stability under motion.", metavar="N")] = None,
    noise_weight: Annotated[
        float | None, _flag(WEIGHTS, "Weight of stability under sensor noise.", metavar="N")
    ] = None,
    tone_weight: Annotated[float | None, _flag(WEIGHTS, "Weight of keeping bright areas bright.", metavar="N")] = None,
    out: Annotated[
        Path | None, _flag(RUN, "Folder for the checkpoint, contact sheets and finished style.", metavar="DIR")
    ] = None,
    resume: Annotated[bool, _flag(RUN, "Continue from the checkpoint in --out.", "--resume")] = False,
    checkpoint_steps: Annotated[int | None, _flag(RUN, "Steps between checkpoints.", metavar="N")] = None,
    sheet_steps: Annotated[int | None, _flag(RUN, "Steps between contact sheets.", metavar="N")] = None,
    hold_out: Annotated[
        int | None, _flag(RUN, "Photographs kept out of training, for evaluation.", metavar="N")
    ] = None,
    threads: Annotated[int | None, _flag(RUN, "CPU threads; 0 means all.", metavar="N")] = None,
    seed: Annotated[int | None, _flag(RUN, "Seed of all random numbers.", metavar="N")] = None,
    name: Annotated[
        str | None, _flag(RECORD, "Name of the style; default: name of the painting's file.", metavar="TEXT")
    ] = None,
    title: Annotated[str, _flag(RECORD, "Title of the artwork.", metavar="TEXT")] = "",
    artist: Annotated[str, _flag(RECORD, "Artist of the artwork.", metavar="TEXT")] = "",
    licence: Annotated[str, _flag(RECORD, "Licence of the trained style.", metavar="TEXT", default=True)] = UNSPECIFIED,
) -> None:
    """Train a real-time style from one painting, from an artist's works, or from both.

    A recipe holds the settings; --set overrides the recipe, and options override both. Ctrl-C saves a checkpoint and
    stops, a second one stops at once; add --resume to the same command to continue. The finished style is in OUT/style:
    rtstyle webcam --style runs/wave

    Examples:
        rtstyle train --style-picture wave.jpg --content photos/ --out runs/wave
        rtstyle train --style-picture wave.jpg --content photos/ --out runs/wave --minutes 20 --set losses.style=12
        torchrun --nproc-per-node 4 -m train --style-picture wave.jpg …  # one run on four GPUs, which share --batch
    """
    known = recorded_style(recipe) if recipe else None
    if known and style_picture and style_picture.is_dir():
        painting = recorded_painting(known)
        if painting is None:
            raise ConfigError(
                f"{known.name} was not trained on a single painting", hint="give the works with --style-pictures"
            )
        style_picture /= painting
    flags: dict[str, Any] = {
        "data.style_picture": style_picture, "data.style_pictures": style_pictures, "data.content": content,
        "data.clips": clips, "data.features": features, "data.batch": batch, "data.crop": crop,
        "data.style_size": style_size, "data.hold_out": hold_out,
        "generator.init": None if init is None else style_library.find(init),
        "losses.content": content_weight, "losses.style": style_weight, "losses.temporal": temporal_weight,
        "losses.noise": noise_weight, "losses.tone": tone_weight,
        "schedule.steps": steps, "schedule.minutes": minutes, "schedule.learning_rate": learning_rate,
        "run.out": out, "run.name": name, "run.seed": seed, "run.threads": threads,
        "run.checkpoint_steps": checkpoint_steps, "run.sheet_steps": sheet_steps,
    }  # fmt: skip
    if steps is not None and minutes is not None:
        raise ConfigError("--steps and --minutes are both given", hint="give only one of them")
    options = {name: _option(name) for name in flags}
    config = resolve(recipe or _default_recipe(), overrides or (), flags, options=options, unfinished=show)
    if config.generator.init is not None:  # a recipe or --set may also name a style of the gallery
        found = style_library.find(str(config.generator.init))
        config = replace(config, generator=replace(config.generator, init=found))
    if show:
        typer.echo(to_toml(config), nl=False)
    else:
        record = {"title": title, "artist": artist, "licence": licence}
        if known:
            record = {
                "title": title or known.work,
                "artist": artist or known.painter,
                "licence": known.licence if licence == UNSPECIFIED else licence,
            }
        _run(config, resume, record)


def _option(name: str) -> str:
    """Return the command line option of a setting."""
    section, _, member = name.partition(".")
    return f"--{member.replace('_', '-')}{'-weight' * (section == 'losses')}"


def _default_recipe() -> str:
    import torch

    return "default" if torch.cuda.is_available() else "fast"


def _run(config: TrainConfig, resume: bool, record: dict[str, str]) -> None:
    """Raises: StylerError: the run failed. typer.Exit: the run was stopped."""
    check_start(config)
    from train.distributed import ProcessGroup
    from train.export import finish
    from train.loop import train

    group = ProcessGroup.from_environment()
    group.places(config.data.batch)
    if not group.is_main:
        logging.disable(logging.WARNING)
    if not check_run(config, resume):  # before joining the others: the main process may then already write there
        logger.info("the run is already finished; give more --steps or --minutes to train on")
        return
    stop = threading.Event()
    with group.joined(), STOPPER.installed(), _stop_on_signals(group, stop), show_progress(group.is_main) as show:
        trainer = train(config, resume=resume, on_progress=show, stop=stop.is_set, group=group)
    if trainer.share < 1.0:
        logger.info("stopped at step %d; add --resume to the same command to continue", trainer.step)
        raise typer.Exit(130)
    if not group.is_main:
        return
    logger.info("saving the style")
    model = finish(trainer, **record)
    print(f"the style is in {model.folder}: try `rtstyle image photo.jpg stylized.jpg --style {model.folder}`")


def _stop_on_signals(group: ProcessGroup, stop: threading.Event) -> AbstractContextManager[None]:
    return STOPPER.gently(stop.set) if group.is_single else group.stop_on_signals(stop.set)


def main(argv: Sequence[str]) -> int:
    """Run with arguments and return the exit code; the caller prints errors.

    Raises:
        SettingsError: some settings are wrong; it lists all of them.
        StylerError: the run failed.
        click.ClickException: an option is unknown, or a value has the wrong type.
    """
    logs.configure()
    try:
        return int(app(args=list(argv), prog_name="rtstyle train", standalone_mode=False) or 0)
    except SettingsError:
        raise
    except ConfigError as error:
        raise SettingsError([error]) from error


if __name__ == "__main__":
    from rtstyle.cli import main as command_line  # it prints errors

    sys.exit(command_line(["train", *sys.argv[1:]]))
