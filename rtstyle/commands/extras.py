"""Commands that need an extra, whose packages are imported only when they run."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engines.errors import StylerError


def training(module: str) -> Any:
    """Import a module of the training package; raise TrainError if a package of the train extra is missing."""
    from engines.errors import TrainError

    with needs_extra("train", "training", TrainError):
        return importlib.import_module(module)


@contextmanager
def needs_extra(extra: str, who: str, kind: type[StylerError]) -> Iterator[None]:
    """Turn a missing package into an error of this kind that says who needs it, and which extra has it."""
    from engines.install_hint import pip_install

    try:
        yield
    except ModuleNotFoundError as error:
        # The user can install an extra; a missing module of our own is a bug.
        if error.name is None or error.name.split(".")[0] in ("engines", "rtstyle", "train"):
            raise
        raise kind(f"{who} needs {error.name}, which is not installed", hint=pip_install(extra)) from error
