"""Checks of the run folder, made before anything else: later they would fail after hours."""

from __future__ import annotations

import importlib.util
import tempfile
import zipfile
from pathlib import Path

from engines.errors import ConfigError, TrainError
from engines.install_hint import pip_install
from engines.style_file import MANIFEST
from rtstyle.shell_word import shell_word
from train.config.diff import blocking_changes
from train.config.schema import TrainConfig


def check_start(config: TrainConfig) -> None:
    """Check what would otherwise fail only at the end of a run.

    Raises:
        ConfigError: the run folder lies in a folder of training data.
        TrainError: training data or a package needed for the export is missing, or the run folder cannot be written.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise TrainError(f"saving a style needs {' and '.join(missing)}", hint=pip_install("train"))
    _check_apart(config)
    check_writable(config.run.out)
    _check_inputs(config)


def _check_inputs(config: TrainConfig) -> None:
    """Check that all training data exist, before networks of hundreds of megabytes are fetched."""
    data = config.data
    inputs = {
        "--style-picture": data.style_picture,
        "--style-pictures": data.style_pictures,
        "--content": data.content,
        "--clips": data.clips,
    }
    missing = [f"{option} {path}" for option, path in inputs.items() if path is not None and not path.exists()]
    if missing:
        raise TrainError(f"there is no {' and no '.join(missing)}", hint="check the names and the current folder")
    for option, path in inputs.items():
        if path is not None and path.is_file() and option != "--style-picture":
            _refuse_file(option, path)
    if data.style_picture is not None:
        _check_painting(data.style_picture)


def _refuse_file(option: str, file: Path) -> None:
    """Raise TrainError for a file where a folder is needed."""
    hint = f"{option} takes a folder"
    if zipfile.is_zipfile(file):
        hint = f"unpack it first; {hint}"
    elif option == "--style-pictures":
        hint = f"--style-picture {shell_word(file)} learns from one painting; {hint}"
    raise TrainError(f"{option} {file} is a file", hint=hint)


def _check_painting(file: Path) -> None:
    """Raise TrainError if no style can be learned from a file: it is not one picture, or shows nothing."""
    if file.is_dir():
        hint = f"give one of its pictures; `--style-pictures {shell_word(file)}` learns from all works of one artist"
        raise TrainError(f"--style-picture takes one painting, and {file} is a folder", hint=hint)
    from train.data.painting import read_painting  # which imports torch

    try:
        read_painting(file)
    except TrainError as error:
        if not zipfile.is_zipfile(file):
            raise
        hint = "unpack it and give one of its pictures, or with --style-pictures the folder of one artist's works"
        raise TrainError(f"--style-picture takes one painting, and {file} is an archive", hint=hint) from error


def _check_apart(config: TrainConfig) -> None:
    data, out = config.data, config.run.out.absolute().resolve()
    sources = {"--content": data.content, "--style-pictures": data.style_pictures, "--clips": data.clips}
    for option, folder in sources.items():
        if folder is not None and out.is_relative_to(folder.absolute().resolve()):
            problem = f"--out {config.run.out} lies in {option} {folder}: the run would learn from its own pictures"
            raise ConfigError(problem, hint="choose another --out")


def check_writable(out: Path) -> None:
    """Raise TrainError unless a folder can be made there."""
    hint = "choose another --out"
    try:
        parent = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
        if not parent.is_dir():
            raise TrainError(f"--out {out} must be a folder, but {parent} is a file", hint=hint)
        with tempfile.TemporaryDirectory(dir=parent, prefix=".rtstyle-"):
            pass  # permissions are not enough: in /proc even root cannot create files
    except OSError as error:
        raise TrainError(f"cannot write the folder {out}: {error.strerror}", hint=hint) from error


def check_run(config: TrainConfig, resume: bool) -> bool:
    """Check that a run neither overwrites another one nor continues it with other settings.

    Returns:
        False if the run is already finished.

    Raises:
        TrainError: the folder holds a run with other settings; or, without ``resume``, any run or style.
    """
    from train import checkpoint
    from train.checkpoint import CHECKPOINT

    out = config.run.out
    saved, has_style = out / CHECKPOINT, (out / "style" / MANIFEST).exists()
    if resume:
        state = checkpoint.load(saved) if saved.exists() else {}
        other = blocking_changes(config, state.get("settings", {}))
        if other:
            raise TrainError(
                f"{out} holds another run: {'; '.join(other)}", hint="use the same settings, or another --out"
            )
        return not has_style or config.schedule.share(state.get("step", 0), state.get("seconds", 0.0)) < 1.0
    if saved.exists():
        on = "add --resume and more --steps or --minutes to train on" if has_style else "add --resume to continue it"
        raise TrainError(f"{out} already holds a run", hint=f"{on}; or choose another --out")
    if has_style or (out / MANIFEST).exists():
        raise TrainError(f"{out} already holds a finished style", hint="choose another --out")
    return True
