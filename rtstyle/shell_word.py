"""Words of commands that are shown to be copied into a shell."""

from __future__ import annotations

import os
import shlex
from pathlib import Path


def shell_word(text: str | Path) -> str:
    """Return a file name as this system's shell takes it: in quotes where it needs them."""
    word = str(text)
    if os.name == "posix":
        return shlex.quote(word)
    return f'"{word}"' if " " in word else word
