"""A card is tried before it is taken. Without one, the CUDA engine on the CPU stands in: the same code in fp16."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engines.base import RGB
from engines.cuda import proof
from engines.cuda.engine import CudaEngine
from engines.errors import EngineError
from engines.style_file import StyleModel
from engines.wrapper import EngineWrapper


@pytest.fixture(autouse=True)
def _new_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(proof, "LARGE", (90, 160))
    new_process(monkeypatch)


def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "_tried", {})


class Card(EngineWrapper):
    """The engine of a card: remembers the sizes that it has stylized; some are wrong, or fail."""

    def __init__(self, style: StyleModel) -> None:
        super().__init__(CudaEngine(style, device="cpu"))
        self.sizes: list[tuple[int, int]] = []
        self.wrong = self.broken = (0, 0)

    def __call__(self, rgb: RGB, strength: object = 1.0, colours: float = 0.0) -> RGB:
        size = (rgb.shape[0], rgb.shape[1])
        self.sizes.append(size)
        if size == self.broken:
            raise EngineError("cuDNN has no kernel", hint="another version of torch may have one")
        return np.zeros_like(rgb) if size == self.wrong else super().__call__(rgb)


@pytest.fixture
def card(style: StyleModel) -> Iterator[Card]:
    engine = Card(style)
    yield engine
    engine.close()


def test_the_picture_is_compared_once_and_each_process_tries_a_small_frame(
    style: StyleModel, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof.prove(card, style)
    assert card.sizes == [proof.SMALL, proof.SMALL, (90, 160)]
    proof.prove(card, style)
    assert len(card.sizes) == 3
    new_process(monkeypatch)
    proof.prove(card, style)
    assert card.sizes[3:] == [proof.SMALL]
    (key,) = json.loads(proof._file().read_text())
    assert "torch" in key and "cuDNN" in key


@pytest.mark.parametrize("wrong", ["SMALL", "LARGE"])
def test_a_card_that_stylizes_wrongly_is_refused_until_something_changes(
    style: StyleModel, card: Card, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    card.wrong = getattr(proof, wrong)
    for _ in range(2):
        with pytest.raises(EngineError, match="cpu does not stylize as the CPU does: .*of the values are within 2"):
            proof.prove(card, style)
    new_process(monkeypatch)
    count = len(card.sizes)
    with pytest.raises(EngineError, match="does not stylize"):
        proof.prove(card, style)
    assert len(card.sizes) == count + 1, "it is known"
    new_process(monkeypatch)
    card.wrong = (0, 0)
    monkeypatch.setattr("torch.backends.cudnn.version", lambda: 99999)
    proof.prove(card, style)


def test_a_card_that_fails_is_refused_and_tried_again_by_the_next_process(
    style: StyleModel, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    card.broken = proof.SMALL
    for _ in range(2):
        with pytest.raises(EngineError, match="no kernel") as caught:
            proof.prove(card, style)
        assert caught.value.hint == "another version of torch may have one"
    assert card.sizes == [proof.SMALL]
    new_process(monkeypatch)
    card.broken = (0, 0)
    proof.prove(card, style)


def test_a_damaged_file_is_replaced(style: StyleModel, card: Card) -> None:
    proof.prove(card, style)
    proof._file().write_text("[1, 2")
    assert proof._stored() == {}
    proof._file().write_text("[1, 2]")
    assert proof._stored() == {}
