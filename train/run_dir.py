"""Whether a run may have its folder: looked at before anything is read, because it would fail after hours."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from engines.errors import ConfigError, TrainError
from engines.style_file import MANIFEST
from train.config.diff import differences
from train.config.schema import TrainConfig


def check_start(config: TrainConfig) -> None:
    """What would fail only at the end fails now.

    Raises:
        ConfigError: the folder of the run lies in one that is learned from.
        TrainError: a package that the export needs is missing, or the folder cannot be made or written.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise TrainError(
            f"{' and '.join(missing)} must be installed to save a style", hint='pip install "rtstyle[train]"'
        )
    _check_apart(config)
    _check_writable(config.run.out)


def _check_apart(config: TrainConfig) -> None:
    data, out = config.data, config.run.out.absolute().resolve()
    sources = {"--content": data.content, "--style-pictures": data.style_pictures, "--clips": data.clips}
    for option, folder in sources.items():
        if folder is not None and out.is_relative_to(folder.absolute().resolve()):
            problem = f"--out {config.run.out} lies in {option} {folder}: the run would learn from its own pictures"
            raise ConfigError(problem, hint="give an --out elsewhere")


def _check_writable(out: Path) -> None:
    hint = "give another --out"
    try:
        there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
        if not there.is_dir():
            raise TrainError(f"--out {out} takes a folder, and {there} is a file", hint=hint)
        with tempfile.TemporaryDirectory(dir=there, prefix=".rtstyle-"):
            pass  # permissions do not tell: in /proc even root can make nothing
    except OSError as error:
        raise TrainError(f"the folder {out} cannot be written: {error.strerror}", hint=hint) from error


def check_run(config: TrainConfig, resume: bool) -> bool:
    """Nothing of another run is written over, and no run goes on as another.

    Returns:
        whether there is something to do: not where a finished run is resumed.

    Raises:
        TrainError: the folder holds a run, or a style, and is not to be resumed; or a run with other settings.
    """
    from train import checkpoint
    from train.loop import CHECKPOINT

    out = config.run.out
    saved, has_style = out / CHECKPOINT, (out / "style" / MANIFEST).exists()
    if resume:
        state = checkpoint.load(saved) if saved.exists() else {}
        other = differences(config, state.get("settings", {}))
        if other:
            raise TrainError(f"{out} holds another run: {'; '.join(other)}", hint="give the same, or another --out")
        return not has_style or config.schedule.share(state.get("step", 0), state.get("seconds", 0.0)) < 1.0
    if saved.exists():
        on = "it is finished: --resume with more --steps or --minutes trains on" if has_style else "--resume goes on"
        raise TrainError(f"{out} holds another run", hint=f"{on}; or give another --out")
    if has_style or (out / MANIFEST).exists():
        raise TrainError(f"{out} holds a finished style", hint="give another --out")
    return True
