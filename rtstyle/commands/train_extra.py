"""Commands whose code is in the training package, which needs torch and is imported only when they run."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def training(module: str) -> Any:
    """Import a module of the training package.

    Raises:
        TrainError: a package of the train extra is missing.
    """
    with needs_train_extra():
        return importlib.import_module(module)


@contextmanager
def needs_train_extra() -> Iterator[None]:
    """Turn a missing package into an error that names the extra.

    Raises:
        TrainError: a package of the train extra is missing.
    """
    from engines.errors import TrainError
    from engines.install_hint import pip_install

    try:
        yield
    except ModuleNotFoundError as error:
        # The user can install an extra; a missing module of our own is a bug.
        if error.name is None or error.name.split(".")[0] in ("engines", "rtstyle", "train"):
            raise
        raise TrainError(f"training needs {error.name}, which is not installed", hint=pip_install("train")) from error
