"""How long the tests take: `make test` should not be a reason for not running it.

python -m benchmarks.suite
"""

from __future__ import annotations

import subprocess
import time

from benchmarks.report import ROOT, Section, at_most
from benchmarks.subject import NotMeasuredError, Subject

SECONDS = 360.0
"""Bar for two idle cores."""


def measure(subject: Subject) -> Section:
    """Run the tests once."""
    begin_s = time.monotonic()
    done = subprocess.run(["make", "test", "ARGS=-q"], cwd=ROOT, capture_output=True, text=True, check=False)
    summary = done.stdout.strip().splitlines()[-1:]
    if done.returncode or not summary:
        raise NotMeasuredError(f"the tests fail: {summary}")
    return section(subject.label, time.monotonic() - begin_s, summary[0])


def section(subject: str, seconds: float, summary: str) -> Section:
    """Describe a run of the tests: its time, and pytest's last line."""
    return Section("suite", "Tests", subject, [at_most("make test", summary, seconds, SECONDS, " s", 0)])


if __name__ == "__main__":
    from benchmarks.bench import main

    main("suite")
