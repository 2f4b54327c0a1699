"""The commands that add an extra to this installation, or another build of torch."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

_INSTALLERS = {
    "pip": "pip install",
    "pipx": "pipx install --force",
    "uv tool": "uv tool install --force",
    "uvx": "uvx --from",
}


def pip_install(extra: str) -> str:
    """Return the command that installs an extra of rtstyle, for hints.

    An installation from a folder names that folder, because the package index may hold another version or none.
    """
    source = _source_folder()
    return f'{_INSTALLERS[_owner()]} "{"rtstyle" if source is None else source}[{extra}]"'


def pip_upgrade(requirement: str, index: str, *, replace: bool = False) -> str:
    """Return the command that installs or upgrades a package from one of PyTorch's indexes, like ``cu130``.

    With ``replace``, another build is removed first, which pip may take for a newer version.
    """
    runner = {"pip": "pip", "pipx": "pipx runpip rtstyle"}.get(_owner(), "uv pip")
    python = f' --python "{sys.executable}"' if runner == "uv pip" else ""
    yes = "" if runner == "uv pip" else " -y"
    first = f"{runner} uninstall{python}{yes} {requirement.partition('>')[0]}, then " if replace else ""
    option = "" if replace else " --upgrade"
    return (
        f'{first}{runner} install{python}{option} "{requirement}" --index-url https://download.pytorch.org/whl/{index}'
    )


def _owner() -> str:
    """Return what made this environment: pipx and uv own theirs, and pip would change another one."""
    parts = Path(sys.prefix).parts
    if "pipx" in parts:
        return "pipx"
    if "uv" in parts:
        return "uv tool" if "tools" in parts else "uvx"
    return "pip"


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
