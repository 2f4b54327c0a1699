"""The command that adds an extra to this installation."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname


def pip_install(extra: str) -> str:
    """Return the command that installs an extra of rtstyle, for hints.

    An installation from a folder names that folder, because the package index may hold another version or none.
    """
    source = _source_folder()
    return f'{_installer()} "{"rtstyle" if source is None else source}[{extra}]"'


def _installer() -> str:
    """Return the command that changes this environment: pipx and uv own theirs, and pip would change another one."""
    parts = Path(sys.prefix).parts
    if "pipx" in parts:
        return "pipx install --force"
    if "uv" in parts:
        return "uv tool install --force" if "tools" in parts else "uvx --from"
    return "pip install"


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
