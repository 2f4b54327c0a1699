"""What a program beside the live video tells the server: lines of JSON on its standard output."""

from __future__ import annotations

import json
import os
import threading
from typing import Any


class Reports:
    """Standard output, for reports only; what libraries print goes to standard error. Any thread may call it."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def __call__(self, line: dict[str, Any]) -> None:
        """Write one report."""
        with self._lock:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
