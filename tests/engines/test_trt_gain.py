"""How many times as fast one body is as another."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from engines.cuda.fp16 import HalfBody, HalfGraph
from engines.model.generator import load_generator
from engines.style_file import StyleModel
from engines.trt import trt_gain
from engines.trt.plan_record import GAIN, WORTH, gain_of, too_slow


class Card:
    """Paints in a time of its own; frames that were begun take it only when they are waited for."""

    def __init__(self) -> None:
        self.now_s = self.begun_s = 0.0
        self.calls = 0

    def clock(self) -> float:
        return self.now_s

    def painter(self, seconds: float, slow_at: int = 0) -> Callable[[], None]:
        def paint() -> None:
            self.calls += 1
            self.begun_s += 100 * seconds if self.calls == slow_at else seconds

        return paint

    def wait(self) -> None:
        self.now_s += self.begun_s
        self.begun_s = 0.0


@pytest.mark.parametrize("slow_at", [0, 1, 3 * trt_gain.FRAMES])
def test_the_ratio_is_that_of_the_times_whatever_happens_once(slow_at: int) -> None:
    card = Card()
    one, other = card.painter(0.002, slow_at), card.painter(0.005)
    assert trt_gain.times_as_fast(one, other, card.wait, card.clock) == pytest.approx(2.5)
    assert card.calls == 2 * trt_gain.FRAMES * (trt_gain.ROUNDS + 1)


def test_the_rival_is_the_cuda_engine(style: StyleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cpu")
    bodies = [HalfBody(HalfGraph(load_generator(style), device), 48, 64, device) for _ in range(2)]
    monkeypatch.setattr(trt_gain, "HalfBody", lambda *_: bodies[1])

    def timed(one: Callable[[], None], other: Callable[[], None], wait: Callable[[], None]) -> float:
        assert (one, other) == (bodies[0].run, bodies[1].run)
        wait()
        return 1.23456

    monkeypatch.setattr(trt_gain, "times_as_fast", timed)
    assert trt_gain.measured(bodies[0], style) == {GAIN: 1.235}


def test_a_card_without_room_for_both_is_no_fault_and_a_lost_one_is(
    style: StyleModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = torch.device("cpu")
    body = HalfBody(HalfGraph(load_generator(style), device), 48, 64, device)
    errors: list[RuntimeError] = [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("illegal memory access")]

    def failing(*_: object) -> None:
        raise errors.pop(0)

    monkeypatch.setattr(trt_gain, "HalfBody", failing)
    assert trt_gain.measured(body, style) == {}
    with pytest.raises(RuntimeError, match="illegal"):
        trt_gain.measured(body, style)


@pytest.mark.parametrize("extra", [{}, {GAIN: "2"}, {GAIN: WORTH}, {GAIN: 3.5}])
def test_what_nobody_knows_is_fast(extra: dict[str, object]) -> None:
    assert too_slow(extra) == ""


def test_too_slow() -> None:
    assert gain_of({GAIN: 1.1}) == 1.1 and gain_of({}) is None
    assert too_slow({GAIN: 1.1}) == "it is only 1.10 × as fast as cuda, and 1.2 × would be worth a change"
