"""Name the environment variable that a wrong value comes from, because it is not on the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rtstyle.commands.option_rules import source_of


def variable_of(ctx: Any, parameter: Any) -> str:
    """Return the variable that a parameter has its value from; empty if it has it from elsewhere."""
    if ctx is None or parameter is None or source_of(ctx, parameter.name) != "ENVIRONMENT":
        return ""
    names = [parameter.envvar] if isinstance(parameter.envvar, str) else list(parameter.envvar or ())
    return next((name for name in names if os.environ.get(name)), "")


def told_variables(variables: Iterable[str], separator: str = "") -> str:
    """Return the part of a hint that names variables; empty if there are none."""
    names = list(filter(None, variables))
    return f"{separator}that comes from the environment variable {' and '.join(names)}" if names else ""


@contextmanager
def naming_variables(ctx: Any) -> Iterator[None]:
    """Add the variables to the hint of an error about their values."""
    try:
        yield
    except Exception as error:
        if isinstance(getattr(error, "problem", None), str):  # not imported here: the help needs no error
            given = ((one, variable_of(ctx, one)) for one in ctx.command.params)
            variables = [name for one, name in given if name and _is_about(error, ctx.params.get(one.name), name)]
            error.hint += told_variables(variables, "; " if error.hint else "")  # type: ignore[attr-defined]
        raise


def _is_about(error: Any, value: object, variable: str) -> bool:
    """Return True if an error names the value of a variable, or, for a secret, which it must not, what it is."""
    if isinstance(value, float):  # it was checked when it was read
        return False
    words = [os.environ[variable], *(["token"] if variable == "RTSTYLE_TOKEN" else [])]
    if variable == "RTSTYLE_STYLE":  # of a mix, the part is named that is wrong
        words += [part for part in re.split(r"[+:]", os.environ[variable]) if len(part) > 1]
    either = "|".join(map(re.escape, words))
    return re.search(rf"(?<![\w.])({either})(?![\w.])", error.problem) is not None
