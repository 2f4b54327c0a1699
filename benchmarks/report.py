"""What a benchmark found: rows against their bars, kept in ``results.json`` and shown in ``RESULTS.md``."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import machine

ROOT = Path(__file__).resolve().parent.parent
STORE = Path(__file__).parent / "results.json"
RESULTS = Path(__file__).parent / "RESULTS.md"

QUICK = ("speed", "job", "delay", "start", "memory", "quality")
"""Sections that are measured where nothing else is asked for."""

ORDER = (
    *QUICK,
    "int8",
    "masks",
    "faces",
    "plain",
    "sync",
    "resume",
    "cluster",
    "page",
    "osc",
    "suite",
    "soak",
    "gallery",
    "choices",
    "against",
    "training",
    "starts",
)
"""All sections, as they are shown."""

PACKAGES = ("rtstyle", "numpy", "openvino", "av", "opencv-python-headless", "torch")
HEAD = """# What rtstyle reaches

Written by `make bench`; a section that a run did not measure again is kept, with its own date and machine.
"Missed by" is relative to the bar.
"""


@dataclass(frozen=True)
class Row:
    """One figure against its bar.

    Attributes:
        what: is measured.
        how: in a few words.
        measured: with its unit.
        bar: what it should reach; empty for a figure that is there to compare with.
        verdict: ``met``, ``missed by …``, ``not measured: …``, or empty.
    """

    what: str
    how: str
    measured: str
    bar: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class Section:
    """What one script found.

    Attributes:
        name: of the script.
        title: for people.
        subject: the style that was measured.
        rows: figures.
        notes: what one must know to read them, one sentence or two each.
        setting: machine, versions, date, commit.
    """

    name: str
    title: str
    subject: str
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    setting: str = ""


def at_least(what: str, how: str, value: float, bar: float, unit: str, digits: int = 1) -> Row:
    """A row for a figure that should be large."""
    verdict = "met" if value >= bar else f"missed by {1 - value / bar:.0%}"
    return Row(what, how, f"{value:.{digits}f}{unit}", f"≥ {bar:g}{unit}", verdict)


def at_most(what: str, how: str, value: float, bar: float, unit: str, digits: int = 1) -> Row:
    """A row for a figure that should be small."""
    verdict = "met" if value <= bar else f"missed by {value / bar - 1:.0%}"
    return Row(what, how, f"{value:.{digits}f}{unit}", f"≤ {bar:g}{unit}", verdict)


def not_measured(what: str, how: str, bar: str, reason: str) -> Row:
    """A row for a figure that cannot be had here."""
    return Row(what, how, "–", bar, f"not measured: {reason}")


def setting() -> str:
    """Machine, memory, versions, date and commit, in one line."""
    versions = ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name)))
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{machine()}, {_memory_gb():.0f} GB; {versions}; {when}, commit {_commit()}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9 if hasattr(os, "sysconf") else float("nan")


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty=, with changes"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:  # a machine without git
        return "unknown"
    return done.stdout.strip() or "unknown"


def table(section: Section) -> str:
    """A section in Markdown."""
    lines = [
        f"## {section.title}", "",
        f"Style: {section.subject}. {section.setting}.", "",
        "| what | how | measured | bar | |", "|---|---|---|---|---|",
    ]  # fmt: skip
    lines += [f"| {row.what} | {row.how} | {row.measured} | {row.bar} | {row.verdict} |" for row in section.rows]
    lines += ["", *(f"- {note}" for note in section.notes)] if section.notes else []
    return "\n".join(lines) + "\n"


def keep(section: Section) -> None:
    """Put a section in the place of its older self, and write ``RESULTS.md`` anew."""
    sections = _stored()
    sections[section.name] = asdict(section)
    write(STORE, json.dumps(sections, indent=1, ensure_ascii=False) + "\n")
    known = [_section(sections[name]) for name in ORDER if name in sections]
    write(RESULTS, "\n".join([HEAD, *(table(one) for one in known)]))


def _stored() -> dict[str, Any]:
    if not STORE.is_file():
        return {}
    sections: dict[str, Any] = json.loads(STORE.read_text(encoding="utf-8"))
    return sections


def _section(values: dict[str, Any]) -> Section:
    return Section(**(values | {"rows": [Row(**row) for row in values["rows"]]}))


def write(path: Path, text: str) -> None:
    """Put a text in the place of an older one, all or nothing."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
