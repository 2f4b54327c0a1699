"""Ways to share pictures with other programs: NDI in a network, Spout on Windows, Syphon on macOS."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from engines.errors import SourceError, StylerError
from engines.install_hint import pip_install

PLATFORM = sys.platform
"""The system that this runs on."""


@dataclass(frozen=True)
class Sharing:
    """A way to share pictures, whose prefix is also its extra.

    Attributes:
        name: for people.
        sender: what a program that sends is called.
        package: as the package index calls it.
        module: what is imported.
        system: the only ``sys.platform`` it exists on; empty for all.
        elsewhere: what to use on other systems.
    """

    name: str
    sender: str
    package: str
    module: str
    system: str = ""
    elsewhere: str = ""


NO_OPENGL = ("Spout needs OpenGL, which this machine does not offer", "update the driver of its graphics card")
"""Problem and hint."""

SHARINGS = {
    "ndi": Sharing("NDI", "NDI source", "cyndilib", "cyndilib"),
    "spout": Sharing("Spout", "Spout sender", "SpoutGL", "SpoutGL", "win32", "use Syphon on macOS, and NDI elsewhere"),
    "syphon": Sharing(
        "Syphon", "Syphon server", "syphon-python", "syphon", "darwin", "use Spout on Windows, and NDI elsewhere"
    ),
}
"""Prefix of ``--source`` and ``--sink`` → what it stands for."""

_SYSTEMS = {"win32": "Windows", "darwin": "macOS"}


def prefix_of(text: str) -> str:
    """Return the key of ``SHARINGS`` that a text like ``ndi`` or ``ndi:NAME`` begins with; empty for other texts."""
    prefix = text.partition(":")[0]
    return prefix if prefix in SHARINGS else ""


def name_in(text: str) -> str:
    """Return the name in ``ndi:NAME`` or ``ndi://NAME``; empty if there is none."""
    return text.partition(":")[2].removeprefix("//").strip()


def load(prefix: str, kind: type[StylerError], submodule: str = "") -> Any:
    """Import the package of a way to share pictures, or a module inside it.

    Raises:
        StylerError: of this kind: another system, or the package is missing or broken.
    """
    sharing = SHARINGS[prefix]
    if sharing.system and sharing.system != PLATFORM:
        raise kind(f"{sharing.name} exists on {_SYSTEMS[sharing.system]} only", hint=sharing.elsewhere)
    try:
        return importlib.import_module(sharing.module + submodule)
    except ModuleNotFoundError as error:
        raise kind(f"{sharing.name} needs {sharing.package}", hint=pip_install(prefix)) from error
    except (ImportError, OSError, RuntimeError) as error:  # a library that it brings does not fit this machine
        reason = " ".join(str(error).split())
        raise kind(f"{sharing.package} cannot be loaded: {reason}", hint=pip_install(prefix)) from error


def matching(wanted: str, names: Iterable[str]) -> list[str]:
    """Return the names that a text means, ignoring case: the whole name, what stands in its brackets, or a part.

    Args:
        wanted: text; an empty one means all.
        names: such as ``STUDIO (Camera 1)``.
    """
    known, folded = sorted(names), wanted.casefold()
    whole = [name for name in known if name.casefold() == folded]
    inner = [name for name in known if name.casefold().endswith(f"({folded})")]
    return whole or inner or [name for name in known if folded in name.casefold()]


def only_match(prefix: str, wanted: str, names: Iterable[str], none_hint: str = "") -> str:
    """Return the one name that a text means; see ``matching``.

    Args:
        prefix: key of ``SHARINGS``.
        wanted: text of the user.
        names: those that were found.
        none_hint: what to do if nothing at all was found.

    Raises:
        SourceError: no name matches, or several do; the hint lists them.
    """
    known, sender = sorted(names), SHARINGS[prefix].sender
    found = matching(wanted, known)
    if len(found) == 1:
        return found[0]
    if found:
        problem = f"several {sender}s match {wanted!r}" if wanted else f"there are several {sender}s"
        raise SourceError(problem, hint=f"choose one: {', '.join(f'{prefix}:{name}' for name in found)}")
    if known:
        raise SourceError(f"no {sender} is called {wanted!r}", hint=f"there are: {', '.join(known)}")
    problem = f"no {sender} was found" + (f", so none is called {wanted!r}" if wanted else "")
    raise SourceError(problem, hint=none_hint or "start the program that sends")


def gone(prefix: str, name: str) -> SourceError:
    """Return the error for a sender that was there before."""
    return SourceError(f"{SHARINGS[prefix].name} {name} is gone", hint="was its program closed?")
