"""Show log messages of rtstyle on the command line."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

LOGGERS = ("engines", "rtstyle", "train")

ERASE_LINE = "\r\x1b[2K"
"""Clears the status line of a live run, which is rewritten within a second."""


class _Lines(logging.Handler):
    """Print one line for each record to standard error: warnings with a prefix, news plainly.

    ``sys.stderr`` is looked up each time, because a rich progress bar replaces it to print above itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if record.levelno >= logging.WARNING:
            line = f"{record.levelname.lower()}: {line}"
        elif record.name.startswith("engines"):
            if line in self.seen:  # several engines may wait for one build
                return
            self.seen.add(line)
        with suppress(OSError, ValueError):  # the terminal may be gone
            start = ERASE_LINE if sys.stderr.isatty() else ""
            print(f"{start}{line}", file=sys.stderr, flush=True)


_HANDLER = _Lines()


def configure(*, quiet: bool = False) -> None:
    """Print the messages of rtstyle's loggers, or warnings only; calling it again changes the level."""
    _HANDLER.seen.clear()
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING if quiet else logging.INFO)
        if _HANDLER not in logger.handlers:
            logger.addHandler(_HANDLER)
