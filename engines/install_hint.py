"""The pip command that adds an extra to this installation."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname


def pip_install(extra: str) -> str:
    """Return the command that installs an extra of rtstyle, for hints.

    An installation from a folder names that folder, because the package index may hold another version or none.
    """
    source = _source_folder()
    return f'pip install "{"rtstyle" if source is None else source}[{extra}]"'


def _source_folder() -> Path | None:
    """Return the folder that rtstyle was installed from, or runs from; ``None`` for a package index."""
    try:
        text = metadata.distribution("rtstyle").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        folder = Path(__file__).resolve().parent.parent
    else:
        url = urlsplit(json.loads(text)["url"]) if text else urlsplit("")
        if url.scheme != "file":
            return None
        folder = Path(url2pathname(url.path))
    return folder if (folder / "pyproject.toml").is_file() else None
