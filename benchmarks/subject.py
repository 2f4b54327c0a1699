"""What is measured: a style, with the data and the scratch folder to measure it with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import ROOT
from engines.style_file import StyleModel
from rtstyle import style_library

DEFAULT = "vangogh"


class NotMeasuredError(Exception):
    """A program that was to be measured failed; the text is its last line."""


@dataclass(frozen=True)
class Subject:
    """Everything that a benchmark needs.

    Attributes:
        style: the style.
        trained: False for an untrained generator, whose arithmetic and speed are the same.
        control: a style of the same shape, trained without the temporal and noise losses.
        data: folder of real clips, pictures and feature networks; it may not exist.
        scratch: for what the benchmark writes.
    """

    style: StyleModel
    trained: bool
    control: StyleModel | None
    data: Path
    scratch: Path

    @property
    def label(self) -> str:
        """For people."""
        return f"`{self.style.name}`" if self.trained else "an untrained generator of the same shape"


@contextmanager
def opened(style: str | None, control: str | None) -> Iterator[Subject]:
    """Open the styles, and remove the scratch folder at the end.

    Args:
        style: name or folder; ``None`` takes ``DEFAULT`` or, where it is not there, an untrained generator.
        control: name or folder.
    Raises: StyleError: a style that was named cannot be used.
    """
    data = Path(os.environ.get("RTSTYLE_DATA", ROOT / ".." / "shared" / "data")).resolve()
    with tempfile.TemporaryDirectory(prefix="rtstyle-bench-") as folder:
        scratch = Path(folder)
        trained = style is not None or any(entry.name == DEFAULT for entry in style_library.installed())
        model = StyleModel.open(style_library.find(style or DEFAULT)) if trained else untrained(scratch / "untrained")
        of_control = StyleModel.open(style_library.find(control)) if control else None
        yield Subject(model, trained, of_control, data, scratch)


def untrained(folder: Path) -> StyleModel:
    """A style of the default shape: the arithmetic, and so the time, does not depend on the weights."""
    import torch

    from engines.export import save_style
    from engines.model.generator import Arch, Generator
    from engines.style_file import StyleMeta

    torch.manual_seed(0)
    generator = Generator(Arch())
    with torch.no_grad():
        for value in generator.parameters():
            value.add_(0.03 * torch.randn_like(value))
    return save_style(folder, generator, StyleMeta("untrained", "Untrained", "", "", "CC0-1.0", {}))


def run_json(
    *arguments: str, driven: bool = False, timeout_s: float = 3600.0, env: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run ``rtstyle`` as a user does and read the JSON object that it prints last.

    Args:
        arguments: of the command line.
        driven: run it through ``benchmarks.driven`` and read that program's object instead.
        timeout_s: when to give up, seconds.
        env: variables of the environment that are added.
    Raises: NotMeasuredError: it failed or took too long.
    """
    command = [sys.executable, "-m", "benchmarks.driven" if driven else "rtstyle", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=os.environ | dict(env or {}),
        )
    except subprocess.TimeoutExpired as error:
        raise NotMeasuredError(f"`rtstyle {arguments[0]}` took more than {timeout_s:.0f} s") from error
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        told = done.stderr.strip().splitlines() or ["no word"]
        raise NotMeasuredError(f"`rtstyle {arguments[0]}` ended with {done.returncode}: {told[-1]}")
    result: dict[str, Any] = json.loads(lines[-1])
    return result
