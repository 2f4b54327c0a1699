"""Progress on standard error, for terminals of every width and for logs."""

from __future__ import annotations

import io
import re
import sys

import pytest

from train.loop import Progress
from train.progress_bar import LINE_STEPS, show_progress

LOSSES = {"content": 2.3, "style": 0.7, "batch_style": 0.3, "tone": 0.01, "lattice": 1e-5, "total": 9.8}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_narrow_terminal_shows_percent_time_left_and_total(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    with show_progress(True) as show:
        show(Progress(120, 0.25, 180.0, LOSSES))
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", terminal.getvalue())
    last = [line for line in re.split(r"[\r\n]", plain) if line.strip()][-1]
    assert len(last) <= 80
    assert re.search(r" 25% +[\d:-]+ +step 120  total 9.8 ", last)


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(True) as show:
        for step in range(1, 2 * LINE_STEPS + 2):
            show(Progress(step, step / 100, 1.5 * step, LOSSES))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("step")[1].split()[0] for line in lines] == ["1", str(LINE_STEPS), str(2 * LINE_STEPS)]
