"""How many times as fast one body is as another."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from engines import trt_gain
from engines.generator import load_generator
from engines.half import HalfBody, HalfGraph
from engines.model_file import StyleModel
from engines.record import GAIN, WORTH, gain_of, too_slow


def test_the_ratio_is_that_of_the_times() -> None:
    gain = trt_gain.times_as_fast(lambda: time.sleep(0.002), lambda: time.sleep(0.006), lambda: None)
    assert gain == pytest.approx(3.0, rel=0.25)


def test_a_slow_moment_changes_nothing() -> None:
    calls = 0

    def jerky() -> None:
        nonlocal calls
        calls += 1
        time.sleep(0.1 if calls == 3 * trt_gain.FRAMES else 0.002)

    assert trt_gain.times_as_fast(jerky, lambda: time.sleep(0.002), lambda: None) == pytest.approx(1.0, rel=0.25)


def test_the_end_of_the_work_is_waited_for() -> None:
    """What a card has begun is not done: the wait is a part of both times."""
    work = 0.0

    def begin(seconds: float) -> None:
        nonlocal work
        work += seconds

    def wait() -> None:
        nonlocal work
        time.sleep(work)
        work = 0.0

    assert trt_gain.times_as_fast(lambda: begin(0.001), lambda: begin(0.002), wait) == pytest.approx(2.0, rel=0.25)


def test_the_rival_is_the_cuda_engine(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    style = StyleModel.open(tiny_style)
    device = torch.device("cpu")
    body = HalfBody(HalfGraph(load_generator(style), device), 48, 64, device)
    found = trt_gain.measured(body, style)
    assert set(found) == {GAIN} and found[GAIN] == pytest.approx(1.0, rel=0.5)

    def lacking(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(trt_gain, "HalfBody", lacking)
    assert trt_gain.measured(body, style) == {}


@pytest.mark.parametrize("extra", [{}, {GAIN: "2"}, {GAIN: WORTH}, {GAIN: 3.5}])
def test_what_nobody_knows_is_fast(extra: dict[str, object]) -> None:
    assert too_slow(extra) == ""


def test_too_slow() -> None:
    assert gain_of({GAIN: 1.1}) == 1.1 and gain_of({}) is None
    assert too_slow({GAIN: 1.1}) == "it is only 1.10 × as fast as cuda, and 1.2 × would be worth a change"
