"""What benchmarks write: verdicts, and sections that a partial run keeps."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from benchmarks import report
from benchmarks.johnson import Johnson, JohnsonGraph
from benchmarks.report import Row, Section, at_least, at_most, not_measured

SPEED = Section("speed", "Engine speed", "`tiny`", [at_least("faster", "ratio", 25.0, 20.0, " ×")], ["A note."], "here")
START = Section("start", "Start", "`tiny`", [Row("Python", "alone", "0.02 s")], setting="there")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``RESULTS.md`` in a folder of its own."""
    monkeypatch.setattr(report, "STORE", tmp_path / "results.json")
    monkeypatch.setattr(report, "RESULTS", tmp_path / "RESULTS.md")
    return tmp_path / "RESULTS.md"


def test_a_bar_is_met_or_missed_by_a_share_of_itself() -> None:
    assert at_least("a", "", 20.0, 20.0, "").verdict == "met"
    assert at_least("a", "", 15.0, 20.0, "").verdict == "missed by 25%"
    assert at_most("a", "", 60.0, 60.0, "").verdict == "met"
    assert at_most("a", "", 66.0, 60.0, "").verdict == "missed by 10%"
    assert not_measured("a", "", "≤ 1", "no data").verdict == "not measured: no data"


@pytest.mark.parametrize("make", [at_least, at_most])
def test_what_is_not_a_number_is_never_met(make: object) -> None:
    assert make("a", "", float("nan"), 1.0, "").verdict != "met"  # type: ignore[operator]


def test_a_partial_run_keeps_the_other_sections(results: Path) -> None:
    report.keep(START)
    report.keep(SPEED)
    newer = dataclasses.replace(SPEED, rows=[at_least("faster", "ratio", 30.0, 20.0, " ×")])
    report.keep(newer)
    text = results.read_text(encoding="utf-8")
    assert text.index("## Engine speed") < text.index("## Start"), "in the order of measuring"
    assert "30.0 ×" in text and "25.0 ×" not in text
    assert text.count("## ") == 2 and "0.02 s" in text and "A note." in text


def test_the_setting_names_the_machine() -> None:
    assert "Python" in report.setting() and "commit" in report.setting()


def test_johnson_is_the_network_of_the_paper() -> None:
    assert sum(value.numel() for value in Johnson().parameters()) == pytest.approx(1.68e6, rel=0.005)
    frame = torch.randint(0, 256, (1, 32, 48, 3), dtype=torch.uint8)
    graph = JohnsonGraph().eval()
    with torch.no_grad():
        painted = graph(frame, torch.ones(1))
        assert painted.shape == frame.shape and painted.dtype == torch.uint8
        assert torch.equal(graph(frame, torch.zeros(1)), frame)
