"""A window that shows the style while it is trained."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from engines.style_file import MANIFEST
from train.config.schema import TrainConfig

logger = logging.getLogger(__name__)

EVERY_S = 5.0
"""Time between two looks of the style, seconds, unless the settings say otherwise."""

POLL_S = 0.5

PATIENCE_S = 5.0
"""How long a window may take to close, seconds."""

# Ctrl-C stops the training, which then closes the window.
_APART: dict[str, Any] = (
    {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)} if os.name == "nt" else {"process_group": 0}
)

SNAPSHOT = "preview"
"""Folder of the unfinished style within a run, see ``train.export.snapshot``."""


def with_preview(config: TrainConfig) -> TrainConfig:
    """Return settings that write unfinished styles, and leave a CPU core to the window."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = config.run.threads or max(1, cores - 1)
    return replace(
        config, run=replace(config.run, threads=threads, snapshot_seconds=config.run.snapshot_seconds or EVERY_S)
    )


@contextlib.contextmanager
def live_preview(config: TrainConfig, source: str | None) -> Iterator[None]:
    """Open a window on a source as soon as there is an unfinished style, and close it at the end.

    A window that is closed, or cannot open, does not end the training; what it says is shown. ``None`` opens none.
    """
    if source is None or os.environ.get("RANK", "0") != "0":  # one window for all processes of a run
        yield
        return
    ended = threading.Event()
    style = config.run.out / SNAPSHOT
    before = _written(style)  # a resumed run has an old one
    window = threading.Thread(target=_show, args=(style, before, source, ended), daemon=True)
    window.start()
    try:
        yield
    finally:
        ended.set()
        window.join()


def _show(style: Path, before: int, source: str, ended: threading.Event) -> None:
    while _written(style) == before:
        if ended.wait(POLL_S):
            return
    # -P: files in the current folder must not be imported as packages.
    command = [
        sys.executable,
        "-P",
        "-m",
        "rtstyle",
        "webcam",
        "--source",
        source,
        "--style",
        str(style),
        "--threads",
        "1",
    ]
    if Path(source).is_file():
        command.append("--loop")
    window = subprocess.Popen([*command, "--quiet"], **_APART)
    while window.poll() is None and not ended.wait(POLL_S):
        pass
    if window.poll() is None:
        window.terminate()
        try:
            window.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:  # stuck in a camera
            window.kill()
            window.wait()
    elif window.returncode:
        logger.warning("the preview window could not be shown; the training goes on")


def _written(style: Path) -> int:
    try:
        return (style / MANIFEST).stat().st_mtime_ns
    except OSError:
        return 0
