"""What a run writes while it goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from train import run_log
from train.config.schema import TrainConfig
from train.loop import Progress, train
from train.report import REPORT


@pytest.mark.parametrize("refresh_s", [0.0, 1000.0])
def test_the_report_follows_the_clock_where_steps_are_slow(
    config: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch, refresh_s: float
) -> None:
    monkeypatch.setattr(run_log, "REFRESH_S", refresh_s)
    settings = config(run={"report_steps": 1000, "sheet_steps": 1000}, schedule={"steps": 4})
    pages: list[str] = []

    def look(_: Progress) -> None:
        pages.append((settings.run.out / REPORT).read_text("utf-8"))

    train(settings, on_progress=look)
    assert len(set(pages[:3])) == (3 if refresh_s == 0 else 1)
