"""The folders in which rtstyle caches files that it can build or download again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

CacheKind = Literal["engines", "features"]

FOLDER_VARIABLES: dict[CacheKind, str] = {"engines": "RTSTYLE_CACHE", "features": "RTSTYLE_FEATURES"}
"""Environment variables that name other folders."""


def cache_folder(kind: CacheKind) -> Path:
    """Return the cache folder for one kind of file; it may not exist yet.

    Args:
        kind: ``engines`` for built engines, ``features`` for the networks that training compares images with.

    Returns:
        the folder that the environment variable names, or one in the user's cache folder of this operating system.
    """
    named = os.environ.get(FOLDER_VARIABLES[kind])
    if named:
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("rtstyle", appauthor=False) / kind
