"""Captures of CUDA graphs, with a stand-in for torch's."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from engines.cuda import graph_capture
from engines.cuda.graph_capture import WARM_UPS, capture


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done on a stand-in for a card, in order."""
    events: list[str] = []
    stream = SimpleNamespace(wait_stream=lambda other: None, synchronize=lambda: events.append("wait"))
    monkeypatch.setattr(graph_capture, "streams", lambda device: SimpleNamespace(capture=stream))
    monkeypatch.setattr(graph_capture, "_record", lambda *_: events.append("record"))
    for name in ("device", "stream"):
        monkeypatch.setattr(torch.cuda, name, lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: events.append("replay")))
    return events


@pytest.mark.parametrize("can", [True, False])
def test_a_library_is_asked_after_the_warm_up_whether_it_can_be_captured(events: list[str], can: bool) -> None:
    def can_capture(stream: Any) -> bool:
        events.append("ask")
        return can

    run = capture(lambda: events.append("work"), "cuda:0", can_capture)
    run()
    warm = ["work"] * WARM_UPS + ["wait", "ask"]
    assert events == warm + (["record", "replay"] if can else ["work"])


def test_work_that_can_always_be_captured_is(events: list[str]) -> None:
    capture(lambda: events.append("work"), "cuda:0")
    assert events[-1] == "record"
