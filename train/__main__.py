"""`rtstyle train`, also `python -m train`: train a style from a painting and a folder of photographs.

torch is imported inside functions, so that ``--help`` and errors in settings come at once.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engines.errors import ConfigError, SettingsError
from rtstyle import style_library
from rtstyle.commands import logs
from rtstyle.commands.help import PlainCommand
from rtstyle.shell_word import shell_word
from rtstyle.signals import STOPPER
from train.config.recipe import recipes, recorded_painting, recorded_settings, recorded_style, resolve, to_toml
from train.config.schema import DataConfig, TrainConfig
from train.live_preview import live_preview, with_preview
from train.progress_bar import show_progress
from train.run_dir import check_run, check_start

if TYPE_CHECKING:
    from engines.style_file import StyleModel
    from train.distributed import ProcessGroup

logger = logging.getLogger("train")

PHOTOGRAPHS = Path(__file__).parent / "photographs"
"""A few photographs that come with rtstyle."""

BASE = "base"
"""Name of the start that comes with rtstyle, see ``train.warm_start``."""

FEW, FEW_FROM_START = 1000, 150
"""Fewest steps after which a style can be seen: from nothing, and from a start."""

UNSPECIFIED = "unspecified"
"""Licence of a style if none is given."""

CONTEXT = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    add_completion=False,
    context_settings=CONTEXT,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _group(heading: str) -> Callable[..., Any]:
    """Return a function that declares an option under this heading of the help."""

    def option(text: str, metavar: str | None = None, name: str = "", default: bool = False) -> Any:
        names = (name,) if name else ()
        return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=heading, show_default=default)

    return option


DATA = _group("Training data")
StylePicture = Annotated[
    list[Path] | None, DATA("The painting; with --recipe STYLE also the folder that holds it.", "FILE")
]
StylePictures = Annotated[
    Path | None, DATA("Works of one artist, for the discriminator; with or without --style-picture.", "DIR")
]
Content = Annotated[
    Path | None,
    DATA("Photographs; a few hundred are enough. Default: ten that come with rtstyle, enough for a first look.", "DIR"),
]
Clips = Annotated[Path | None, DATA("Videos to learn real motion from.", "DIR")]
Init = Annotated[
    str | None,
    DATA("A trained style to start from, by name or folder; `base` has seen many paintings and is none.", "STYLE"),
]
Features = Annotated[Path | None, DATA("Feature networks; by default VGG19 is downloaded once (575 MB).", "DIR")]

RECIPE = _group("Recipe")
Recipe = Annotated[
    str | None,
    RECIPE(
        "Source of all settings that no option gives; default: quick, or default on a GPU. A trained style is also "
        "a recipe: it is trained again.",
        "NAME|FILE|STYLE",
    ),
]
Overrides = Annotated[
    list[str] | None, RECIPE("Replace one setting of the recipe. Repeat for more.", "SECTION.KEY=VALUE", "--set")
]
Show = Annotated[bool, RECIPE("Check all settings, print them as a recipe, and exit.", name="--show")]

SCHEDULE = _group("Schedule and sizes (default: from the recipe)")
Steps = Annotated[int | None, SCHEDULE("Number of steps.", "N")]
Minutes = Annotated[float | None, SCHEDULE("Train for this long instead of a number of steps.", "N")]
Batch = Annotated[int | None, SCHEDULE("Pictures per step.", "N")]
Crop = Annotated[int | None, SCHEDULE("Side of the training crops, pixels.", "N")]
StyleSize = Annotated[int | None, SCHEDULE("Short side of the painting, pixels: larger means larger strokes.", "N")]
LearningRate = Annotated[float | None, SCHEDULE("Initial learning rate; it falls to 1 %.", "N")]

WEIGHTS = _group("Loss weights (default: from the recipe)")
ContentWeight = Annotated[float | None, WEIGHTS("Weight of similarity to the photograph.", "N")]
StyleWeight = Annotated[float | None, WEIGHTS("Weight of similarity to the painting.", "N")]
TemporalWeight = Annotated[float | None, WEIGHTS("Weight of stability under motion.", "N")]
NoiseWeight = Annotated[float | None, WEIGHTS("Weight of stability under sensor noise.", "N")]
ToneWeight = Annotated[float | None, WEIGHTS("Weight of keeping bright areas bright.", "N")]

RUN = _group("Run (default: from the recipe)")
Out = Annotated[
    Path | None, RUN("Folder for the checkpoint, contact sheets and finished style; default: runs/NAME.", "DIR")
]
PreviewSource = Annotated[
    str | None,
    RUN("Show the style while it is trained, in a window, on a camera or clip: as --source of webcam.", "SOURCE"),
]
Resume = Annotated[bool, RUN("Continue from the checkpoint in --out.", name="--resume")]
CheckpointSteps = Annotated[int | None, RUN("Steps between checkpoints.", "N")]
SheetSteps = Annotated[int | None, RUN("Steps between contact sheets.", "N")]
HoldOut = Annotated[int | None, RUN("Photographs kept out of training, for evaluation.", "N")]
Threads = Annotated[int | None, RUN("CPU threads; 0 means all.", "N")]
Seed = Annotated[int | None, RUN("Seed of all random numbers.", "N")]

RECORD = _group("Metadata of the style")
Name = Annotated[str | None, RECORD("Name of the style; default: name of the painting's file.", "TEXT")]
Title = Annotated[str, RECORD("Title of the artwork.", "TEXT")]
Artist = Annotated[str, RECORD("Artist of the artwork.", "TEXT")]
Licence = Annotated[str, RECORD("Licence of the trained style.", "TEXT", default=True)]


EPILOG = "\b\nRecipes:" + "".join(f"\n  {name:<9}{line}" for name, line in recipes().items())


@app.command(cls=PlainCommand, epilog=EPILOG, context_settings={**CONTEXT, "allow_extra_args": True})
def run(
    context: typer.Context,
    style_picture: StylePicture = None,
    style_pictures: StylePictures = None,
    content: Content = None,
    clips: Clips = None,
    init: Init = None,
    features: Features = None,
    recipe: Recipe = None,
    overrides: Overrides = None,
    show: Show = False,
    steps: Steps = None,
    minutes: Minutes = None,
    batch: Batch = None,
    crop: Crop = None,
    style_size: StyleSize = None,
    learning_rate: LearningRate = None,
    content_weight: ContentWeight = None,
    style_weight: StyleWeight = None,
    temporal_weight: TemporalWeight = None,
    noise_weight: NoiseWeight = None,
    tone_weight: ToneWeight = None,
    out: Out = None,
    preview_source: PreviewSource = None,
    resume: Resume = False,
    checkpoint_steps: CheckpointSteps = None,
    sheet_steps: SheetSteps = None,
    hold_out: HoldOut = None,
    threads: Threads = None,
    seed: Seed = None,
    name: Name = None,
    title: Title = "",
    artist: Artist = "",
    licence: Licence = UNSPECIFIED,
) -> None:
    """Train a real-time style from one painting, from an artist's works, or from both.

    A recipe holds the settings; --set overrides the recipe, and options override both. Ctrl-C saves a checkpoint and
    stops, a second one stops at once; add --resume to the same command to continue. The finished style is in OUT/style:
    rtstyle webcam --style runs/wave

    Examples:
        rtstyle train --style-picture wave.jpg                       # three minutes, a first look
        rtstyle train --style-picture wave.jpg --content photos/ --recipe fast --out runs/wave
        rtstyle train --style-picture wave.jpg --content photos/ --minutes 20 --set losses.style=12
        torchrun --nproc-per-node 4 -m train --style-picture wave.jpg …  # one run on four GPUs, which share --batch
    """
    painting = _painting(style_picture or [], context.args)
    flags = {
        "data.style_picture": painting, "data.style_pictures": style_pictures, "data.content": content,
        "data.clips": clips, "data.features": features, "data.batch": batch, "data.crop": crop,
        "data.style_size": style_size, "data.hold_out": hold_out, "generator.init": init,
        "losses.content": content_weight, "losses.style": style_weight, "losses.temporal": temporal_weight,
        "losses.noise": noise_weight, "losses.tone": tone_weight, "schedule.steps": steps, "schedule.minutes": minutes,
        "schedule.learning_rate": learning_rate, "run.out": out, "run.name": name, "run.seed": seed,
        "run.threads": threads, "run.checkpoint_steps": checkpoint_steps, "run.sheet_steps": sheet_steps,
    }  # fmt: skip
    known = recorded_style(recipe) if recipe else None
    config = _settings(recipe, known, overrides or (), flags, show)
    again = known if known and _is_trained_again(known, config.data) else None
    if show:
        typer.echo(to_toml(config), nl=False)
    else:
        if preview_source is not None:
            config = with_preview(config)
        with live_preview(config, preview_source):
            _run(config, resume, _record(again, title, artist, licence))


def _painting(given: list[Path], more: list[str]) -> Path | None:
    """Return the painting; ``more`` are arguments without an option, as the shell makes them of ``*.jpg``."""
    if more and not given:
        raise ConfigError(f"unexpected argument {more[0]}", hint="a painting is given as --style-picture FILE")
    if len(given) + len(more) > 1:
        hint = "give one; --style-pictures DIR learns from a folder of one artist's works"
        raise ConfigError(f"--style-picture takes one painting, got {len(given) + len(more)}", hint=hint)
    return given[0] if given else None


def _settings(
    recipe: str | None, known: StyleModel | None, overrides: Sequence[str], flags: dict[str, Any], show: bool
) -> TrainConfig:
    """Combine recipe, overrides and flags; ``known`` is the style that the recipe names, if it names one."""
    if flags["schedule.steps"] is not None and flags["schedule.minutes"] is not None:
        raise ConfigError("--steps and --minutes are both given", hint="give only one of them")
    folder = flags["data.style_picture"]
    if known and folder and folder.is_dir():
        painting = recorded_painting(known)
        if painting is None:
            problem = f"{known.name} was not trained on a single painting"
            raise ConfigError(problem, hint="give the works with --style-pictures")
        flags["data.style_picture"] = folder / painting
    options = {name: _option(name) for name in flags}
    defaults = {} if show else _defaults(flags)
    config = resolve(recipe or _default_recipe(), overrides, flags, options=options, defaults=defaults, unfinished=show)
    named = flags["run.name"] or any(text.startswith("run.name=") for text in overrides)
    if known and not named and not _is_trained_again(known, config.data):
        config = replace(config, run=replace(config.run, name=""))
    if config.data.content == PHOTOGRAPHS:
        config = replace(config, data=replace(config.data, hold_out=0))
    if config.generator.init is None or str(config.generator.init) == BASE:
        return config
    found = style_library.find(str(config.generator.init))  # it may be the name of a style of the gallery
    return replace(config, generator=replace(config.generator, init=found))


def _defaults(flags: dict[str, Any]) -> dict[str, Any]:
    """Return what a run has if nobody says otherwise: the photographs that come with rtstyle, and its own folder."""
    painting = flags["data.style_picture"] or flags["data.style_pictures"]
    name = flags["run.name"] or (painting.stem if painting else "style")
    return {"data.content": PHOTOGRAPHS, "run.out": Path("runs") / name}


def _is_trained_again(known: StyleModel, data: DataConfig) -> bool:
    """Tell whether the recipe's style learns its own painting or works again, by their name, and not others."""
    given, recorded = data.style_picture or data.style_pictures, recorded_settings(known.training).get("data", {})
    key = "style_picture" if data.style_picture else "style_pictures"
    return (given.name if given else None) == recorded.get(key)


def _record(known: StyleModel | None, title: str, artist: str, licence: str) -> dict[str, str]:
    """Return the metadata of the style: as given, or those of the style that is trained again."""
    if known:
        title, artist = title or known.work, artist or known.painter
        licence = known.licence if licence == UNSPECIFIED else licence
    return {"title": title, "artist": artist, "licence": licence}


def _option(name: str) -> str:
    """Return the command line option of a setting."""
    section, _, member = name.partition(".")
    return f"--{member.replace('_', '-')}{'-weight' * (section == 'losses')}"


def _default_recipe() -> str:
    import torch

    return "default" if torch.cuda.is_available() else "quick"


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
    group.say_if_gpu_is_unused()
    if config.data.content == PHOTOGRAPHS:
        logger.info(
            "learning on the photographs that come with rtstyle; --content DIR, a few hundred like those that you will "
            "film, gives a better style"
        )
    stop = threading.Event()
    with group.joined(), STOPPER.installed(), _stop_on_signals(group, stop), show_progress(group.is_main) as show:
        trainer = train(config, resume=resume, on_progress=show, stop=stop.is_set, group=group)
    if trainer.share < 1.0:
        logger.info("stopped at step %d; add --resume to the same command to continue", trainer.step)
        raise typer.Exit(130)
    if not group.is_main:
        return
    if trainer.step < (few := FEW_FROM_START if config.generator.init else FEW):
        advice = "add --resume and more --minutes"
        logger.warning("%d steps are far too few: a style needs at least %d; %s", trainer.step, few, advice)
    logger.info("saving the style")
    model = finish(trainer, **record)
    _tell(model, config.run.out)


def _tell(model: StyleModel, out: Path) -> None:
    """Print where the style is, and what can be done with it."""
    style = shell_word(model.folder)
    print(f"the style is in {model.folder}: try `rtstyle image photo.jpg stylized.jpg --style {style}`")
    print(f"{model.preview} shows it")
    if model.texture:
        print(f"too busy in flat parts? `--style {style}@0.3` paints less of its texture there")
    print(f"`rtstyle styles add {shell_word(out)} --name {model.name}` lists it beside the others")


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
