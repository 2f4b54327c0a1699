"""`rtstyle train`, also `python -m train`: from a painting and a folder of photographs to a style.

torch is imported where it is needed, so that ``--help`` and a wrong setting are answered at once.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from engines.errors import ConfigError, SettingsError
from rtstyle import styles
from rtstyle.signals import STOPPER
from train.config.recipe import painting_of, recipes, recorded_style, resolve, to_toml
from train.config.schema import TrainConfig
from train.progress_bar import progress_shown
from train.run_dir import check_run, check_start

if TYPE_CHECKING:
    from train.distributed import World

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


UNSPECIFIED = "unspecified"
"""The licence of a style whose maker gives none."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(cls=_Grouped, epilog=_epilog())
def run(
    style_picture: Annotated[
        Path | None, _flag(LEARN, "The painting; for --recipe STYLE also the folder that has it.", metavar="FILE")
    ] = None,
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
            "Holds all settings that no option gives. By default fast; with a GPU, default. A trained style is one, "
            "too: it is trained again.",
            metavar="NAME|FILE|STYLE",
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
    learning_rate: Annotated[float | None, _flag(LONG, "At the start; it falls to 1 %.", metavar="N")] = None,
    content_weight: Annotated[float | None, _flag(WEIGH, "Likeness to the photograph.", metavar="N")] = None,
    style_weight: Annotated[float | None, _flag(WEIGH, "Likeness to the painting.", metavar="N")] = None,
    temporal_weight: Annotated[float | None, _flag(WEIGH, "Steadiness under motion.", metavar="N")] = None,
    noise_weight: Annotated[float | None, _flag(WEIGH, "Steadiness under sensor noise.", metavar="N")] = None,
    tone_weight: Annotated[float | None, _flag(WEIGH, "Light where the photograph is light.", metavar="N")] = None,
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
    licence: Annotated[str, _flag(RECORD, "Licence of the trained style.", metavar="TEXT", default=True)] = UNSPECIFIED,
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
    known = recorded_style(recipe) if recipe else None
    if known and style_picture and style_picture.is_dir():
        painting = painting_of(known)
        if painting is None:
            raise ConfigError(f"{known.name} learned from no single painting", hint="give its works: --style-pictures")
        style_picture /= painting
    flags: dict[str, Any] = {
        "data.style_picture": style_picture, "data.style_pictures": style_pictures, "data.content": content,
        "data.clips": clips, "data.features": features, "data.batch": batch, "data.crop": crop,
        "data.style_size": style_size, "data.hold_out": hold_out,
        "generator.init": None if init is None else styles.find(init),
        "losses.content": content_weight, "losses.style": style_weight, "losses.temporal": temporal_weight,
        "losses.noise": noise_weight, "losses.tone": tone_weight,
        "schedule.steps": steps, "schedule.minutes": minutes, "schedule.learning_rate": learning_rate,
        "run.out": out, "run.name": name, "run.seed": seed, "run.threads": threads,
        "run.checkpoint_steps": checkpoint_steps, "run.sheet_steps": sheet_steps,
    }  # fmt: skip
    if steps is not None and minutes is not None:
        raise ConfigError("--steps and --minutes are both given", hint="a run counts one of them")
    options = {name: _option(name) for name in flags}
    config = resolve(recipe or _usual_recipe(), overrides or (), flags, options=options, unfinished=show)
    if config.generator.init is not None:  # a recipe or --set may name a style of the gallery, too
        found = styles.find(str(config.generator.init))
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
    """The option that gives a setting."""
    section, _, member = name.partition(".")
    return f"--{member.replace('_', '-')}{'-weight' * (section == 'losses')}"


def _usual_recipe() -> str:
    import torch

    return "default" if torch.cuda.is_available() else "fast"


def _run(config: TrainConfig, resume: bool, record: dict[str, str]) -> None:
    """Raises: StylerError: anything that went wrong on purpose. typer.Exit: the run was stopped."""
    check_start(config)
    from train.distributed import World
    from train.export import finish
    from train.loop import train

    world = World.told()
    world.places(config.data.batch)
    tell = _tell if world.writes else _keep_silent
    if not check_run(config, resume):  # before the others are met: then the first one may already write there
        tell("the run is already finished; more --steps or --minutes trains on")
        return
    stop = threading.Event()
    with world.joined(), STOPPER.installed(), _gently(world, stop), progress_shown(world.writes) as show:
        result = train(config, resume=resume, on_progress=show, on_news=_tell, stop=stop.is_set, world=world)
    if result.share < 1.0:
        tell(f"stopped at step {result.step}; the same command with --resume goes on")
        raise typer.Exit(130)
    if not world.writes:
        return
    tell("saving the style")
    model = finish(result, **record)
    print(f"the style is in {model.folder}: try `rtstyle image photo.jpg painted.jpg --style {model.folder}`")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _keep_silent(_text: str) -> None:
    """Of several processes one talks."""


def _gently(world: World, stop: threading.Event) -> AbstractContextManager[None]:
    return STOPPER.gently(stop.set) if world.alone else world.stopping(stop.set)


def main(argv: Sequence[str]) -> int:
    """Run with arguments and return the exit code; errors are the caller's to print.

    Raises:
        SettingsError: wrong settings, with every fault. StylerError: anything else that went wrong on purpose.
        click.ClickException: an unknown option, or a value of the wrong type.
    """
    try:
        return int(app(args=list(argv), prog_name="rtstyle train", standalone_mode=False) or 0)
    except SettingsError:
        raise
    except ConfigError as error:
        raise SettingsError([error]) from error


if __name__ == "__main__":
    from rtstyle.cli import main as command_line  # the one place where errors are printed

    sys.exit(command_line(["train", *sys.argv[1:]]))
