"""Processes that work beside the live video: of low priority, and ended with their children."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
from contextlib import suppress
from typing import Any

LOG_BYTES = 4096
"""How much of what a process printed last is kept, to explain its end."""

# Ctrl-C in the terminal is for the server. A session of its own would undo the niceness on Linux (autogroups).
BACKGROUND: dict[str, Any] = (
    {"process_group": 0}
    if os.name == "posix"
    else {
        "creationflags": getattr(subprocess, "IDLE_PRIORITY_CLASS", 0)
        | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    }
)
"""How such a process is started; on POSIX it lowers its priority itself."""

logger = logging.getLogger(__name__)


async def tail(stream: asyncio.StreamReader) -> str:
    """Read a stream to its end, and return the last of it."""
    kept = b""
    while data := await stream.read(LOG_BYTES):
        kept = (kept + data)[-LOG_BYTES:]
    return kept.decode(errors="replace")


async def end_process(process: asyncio.subprocess.Process) -> None:
    """Kill the process with its children, if it still runs: whatever it has finished is on the disk."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            if os.name == "posix":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
    await process.wait()


def explain_end(code: int, said: str, process: str) -> tuple[str, str]:
    """Return problem and hint for a process that ended without a word; ``process`` says which."""
    logger.debug("a process ended with %d: %s", code, said)
    if code == -9:
        return f"{process} was killed", "was there not enough memory?"
    lines = said.strip().splitlines()
    how = f"signal {-code}" if code < 0 else f"code {code}"
    return f"{process} crashed ({how}{': ' + lines[-1][:200] if lines else ''})", ""
