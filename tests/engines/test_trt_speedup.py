"""How many times as fast one body is as another."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from engines.cuda.fp16 import Fp16Body, Fp16Graph
from engines.model.generator import load_generator
from engines.style_file import StyleModel
from engines.trt import builder
from engines.trt.plan_record import MIN_SPEEDUP, SPEEDUP, speedup_of, too_slow


class Card:
    """Paints in a time of its own; frames that were begun take it only when they are waited for."""

    def __init__(self) -> None:
        self.now_s = self.begun_s = 0.0
        self.calls = 0

    def clock(self) -> float:
        return self.now_s

    def runner(self, seconds: float, slow_at: int = 0) -> Callable[[], None]:
        def run() -> None:
            self.calls += 1
            self.begun_s += 100 * seconds if self.calls == slow_at else seconds

        return run

    def wait(self) -> None:
        self.now_s += self.begun_s
        self.begun_s = 0.0


@pytest.mark.parametrize("slow_at", [0, 1, 3 * builder.FRAMES])
def test_the_ratio_is_that_of_the_times_whatever_happens_once(slow_at: int) -> None:
    card = Card()
    one, other = card.runner(0.002, slow_at), card.runner(0.005)
    assert builder.median_speedup(one, other, card.wait, card.clock) == pytest.approx(2.5)
    assert card.calls == 2 * builder.FRAMES * (builder.ROUNDS + 1)


def test_it_is_compared_with_the_cuda_engine(style: StyleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cpu")
    bodies = [Fp16Body(Fp16Graph(load_generator(style), device), 48, 64, device) for _ in range(2)]
    monkeypatch.setattr(builder, "Fp16Body", lambda *_: bodies[1])

    def timed(one: Callable[[], None], other: Callable[[], None], wait: Callable[[], None]) -> float:
        assert (one, other) == (bodies[0].run, bodies[1].run)
        wait()
        return 1.23456

    monkeypatch.setattr(builder, "median_speedup", timed)
    assert builder.measure_speedup(bodies[0], style) == {SPEEDUP: 1.235}


def test_a_card_without_room_for_both_is_no_fault_and_a_lost_one_is(
    style: StyleModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = torch.device("cpu")
    body = Fp16Body(Fp16Graph(load_generator(style), device), 48, 64, device)
    errors: list[RuntimeError] = [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("illegal memory access")]

    def failing(*_: object) -> None:
        raise errors.pop(0)

    monkeypatch.setattr(builder, "Fp16Body", failing)
    assert builder.measure_speedup(body, style) == {}
    with pytest.raises(RuntimeError, match="illegal"):
        builder.measure_speedup(body, style)


@pytest.mark.parametrize("extra", [{}, {SPEEDUP: "2"}, {SPEEDUP: MIN_SPEEDUP}, {SPEEDUP: 3.5}])
def test_what_nobody_knows_is_fast(extra: dict[str, object]) -> None:
    assert too_slow(extra, MIN_SPEEDUP) == ""


def test_too_slow() -> None:
    assert speedup_of({SPEEDUP: 1.1}) == 1.1 and speedup_of({}) is None
    assert too_slow({SPEEDUP: 1.1}, MIN_SPEEDUP) == "it is only 1.10 × as fast as cuda; a switch needs 1.2 ×"
