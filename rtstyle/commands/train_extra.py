"""Commands whose body is in the training package, which needs torch and is imported only when they run."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PIP_LINE = 'pip install "rtstyle[train]"'


def training(module: str) -> Any:
    """A module of the training package.

    Raises:
        TrainError: as ``installed``.
    """
    with installed():
        return importlib.import_module(module)


@contextmanager
def installed() -> Iterator[None]:
    """Within, a package that is missing is told.

    Raises:
        TrainError: a package of the train extra is not installed; the hint is the line that adds it.
    """
    from engines.errors import TrainError

    try:
        yield
    except ModuleNotFoundError as error:
        # Only a missing extra is the user's to mend; a missing module of our own is a fault to see.
        if error.name is None or error.name.split(".")[0] in ("engines", "rtstyle"):
            raise
        raise TrainError(f"training needs {error.name}, which is not installed", hint=PIP_LINE) from error
