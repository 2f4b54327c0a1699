"""Engines, sources and sinks that other packages add through entry points.

A package that adds the sink ``decklink`` declares a function in its ``pyproject.toml``::

    [project.entry-points."rtstyle.sinks"]
    decklink = "rtstyle_decklink:open_sink"

``rtstyle webcam --sink decklink:NAME`` then calls ``open_sink("decklink:NAME", options)``. The functions are:

- ``rtstyle.engines``: ``(style: StyleModel, threads: int | None) -> Engine``
- ``rtstyle.sources``: ``(text: str, options: SourceOptions) -> Source``
- ``rtstyle.sinks``: ``(text: str, options: SinkOptions) -> Sink``

Built-in names take precedence. Entry points are read only for a name that is not built in.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Any

from engines.errors import StylerError


def names(group: str) -> list[str]:
    """Return the names that other packages add to a group, e.g. ``rtstyle.sinks``."""
    return sorted({entry.name for entry in metadata.entry_points(group=group)})


def find(group: str, name: str, error: type[StylerError]) -> Callable[..., Any] | None:
    """Return the function that a package registered under a name, or ``None`` if there is none.

    ``error`` is raised if the package cannot be imported, and by the returned function if the package's code fails.
    """
    entry = next(iter(metadata.entry_points(group=group, name=name)), None)
    if entry is None:
        return None
    package = entry.dist.name if entry.dist is not None else entry.value
    try:
        function = entry.load()
    except Exception as cause:
        raise _failure(error, package, name, cause) from cause

    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except StylerError:
            raise
        except Exception as cause:
            raise _failure(error, package, name, cause) from cause

    return call


def _failure(error: type[StylerError], package: str, name: str, cause: Exception) -> StylerError:
    text = " ".join(f"{type(cause).__name__}: {cause}".split())
    return error(f"{name!r} of the package {package} failed: {text}", hint=f"update or uninstall {package}")
