"""The folders in which rtstyle caches files that it can build or download again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

CacheKind = Literal["engines", "features"]

FOLDER_VARIABLES: dict[CacheKind, str] = {"engines": "RTSTYLE_CACHE", "features": "RTSTYLE_FEATURES"}
"""Environment variables that name other folders."""


def cache_folder(kind: CacheKind) -> Path:
    """Return the folder for built engines or feature networks, by environment variable or in the user's cache folder.

    It may not exist yet.
    """
    named = os.environ.get(FOLDER_VARIABLES[kind])
    if named:
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("rtstyle", appauthor=False) / kind
