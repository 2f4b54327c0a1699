"""How long the tests take: `make test` should not be a reason for not running it.

python -m benchmarks.suite
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.report import ROOT, Section, at_most
from benchmarks.subject import NotMeasuredError, Subject

SECONDS = 360.0
"""Bar for two idle cores."""


def measure(subject: Subject) -> Section:
    """Run the tests once."""
    begin_s = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "pytest", "-q"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasuredError(f"the tests fail: {done.stdout.strip().splitlines()[-1:]}")
    return section(subject.label, time.monotonic() - begin_s, done.stdout.strip().splitlines()[-1])


def section(subject: str, seconds: float, summary: str) -> Section:
    """Describe a run of the tests: its time, and pytest's last line."""
    return Section("suite", "Tests", subject, [at_most("make test", summary, seconds, SECONDS, " s", 0)])


if __name__ == "__main__":
    from benchmarks.bench import main

    main("suite")
