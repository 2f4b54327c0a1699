"""What CPU engines share, and what they do not."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import engines
from engines.base import SharedGraphEngine
from engines.errors import EngineError, ShapeError, StyleError
from engines.export import save_style
from engines.openvino import shared_weights
from engines.openvino.engine import KEPT_SIZES, CpuEngine
from engines.openvino.shared_weights import SharedCpuEngine
from engines.style_file import StyleMeta, StyleModel
from tests.engines.test_golden import picture
from tests.generators import narrow, unlike_identity


@pytest.fixture(scope="module")
def other_style(tmp_path_factory: pytest.TempPathFactory) -> StyleModel:
    """Of the same shape, with other weights."""
    meta = StyleMeta("other", "Other", "nobody", "noise", "CC0-1.0", {})
    generator = unlike_identity(narrow())
    with torch.no_grad():
        for weight in generator.parameters():
            weight.mul_(1.25)
    return save_style(tmp_path_factory.mktemp("styles") / "other", generator, meta)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    gc.collect()
    assert not shared_weights._graphs


def test_each_paints_its_own_style_with_one_graph(
    style: StyleModel, other_style: StyleModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []
    compiled = shared_weights.compile_graph

    def counted(core: object, graph: object, height: int, width: int, options: dict[str, object]) -> object:
        sizes.append((height, width))
        return compiled(core, graph, height, width, options)  # type: ignore[arg-type]

    monkeypatch.setattr(shared_weights, "compile_graph", counted)
    rgb = picture(90, 160)
    sharing = [SharedCpuEngine(one) for one in (style, other_style)]
    alone = [CpuEngine(one) for one in (style, other_style)]
    for _ in range(2):
        for one, other in zip(sharing, alone, strict=True):
            assert np.abs(one(rgb).astype(int) - other(rgb)).max() <= 1
            assert one.info == other.info
    assert np.abs(alone[0](rgb).astype(int) - alone[1](rgb)).max() > 8, "they are not alike"
    assert sizes == [(90, 160)]
    for one in (*sharing, *alone):
        one.close()


def test_what_was_prepared_compiles_nothing_more(style: StyleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SharedCpuEngine(style)
    assert isinstance(engine, SharedGraphEngine)
    engine.prepare(32, 40)
    monkeypatch.setattr(shared_weights, "compile_graph", None)
    engine(picture(32, 40))
    engine.close()


def test_keeps_a_few_sizes_only(style: StyleModel) -> None:
    engine = SharedCpuEngine(style)
    for side in range(24, 24 + 2 * KEPT_SIZES):
        engine.prepare(side, side)
    assert engine._shared is not None
    assert len(engine._sized) == len(engine._shared._compiled) == KEPT_SIZES
    engine.close()


def test_a_size_in_use_is_not_compiled_again_whatever_others_do(
    style: StyleModel, other_style: StyleModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = SharedCpuEngine(style), SharedCpuEngine(other_style)
    one.prepare(32, 40)
    for side in range(24, 24 + 2 * KEPT_SIZES):
        other.prepare(side, side)
    monkeypatch.setattr(shared_weights, "compile_graph", None)
    other.prepare(32, 40)
    one.close()
    other.close()


def test_one_that_nobody_closes_goes_with_its_last_user(style: StyleModel) -> None:
    engine = SharedCpuEngine(style)
    engine.prepare(32, 40)
    assert len(shared_weights._graphs) == 1
    del engine
    gc.collect()
    assert not shared_weights._graphs


def test_one_that_is_closed_holds_nothing(style: StyleModel) -> None:
    engine = SharedCpuEngine(style)
    engine.prepare(32, 40)
    engine.close()
    gc.collect()
    assert not shared_weights._graphs


def test_one_that_is_closed_leaves_the_other(style: StyleModel, other_style: StyleModel) -> None:
    one, other = SharedCpuEngine(style), SharedCpuEngine(other_style)
    expected = other(picture(32, 40))
    one.close()
    one.close()
    np.testing.assert_array_equal(other(picture(32, 40)), expected)
    with pytest.raises(EngineError, match="closed"):
        one.prepare(32, 40)
    again = SharedCpuEngine(style)
    again(picture(32, 40))
    again.close()
    other.close()


def test_other_options_are_another_graph(style: StyleModel) -> None:
    sharing = [SharedCpuEngine(style, threads) for threads in (1, 2)]
    assert len(shared_weights._graphs) == 2
    paintings = [engine(picture(48, 64)) for engine in sharing]
    np.testing.assert_array_equal(*paintings)
    for engine in sharing:
        engine.close()


def test_threads_paint_their_own_styles(style: StyleModel, other_style: StyleModel) -> None:
    sharing = [SharedCpuEngine(one) for one in (style, other_style)]
    rgb = picture(48, 64)
    expected = [engine(rgb) for engine in sharing]
    faults: list[int] = []

    def paint(index: int) -> None:
        faults.extend(index for _ in range(50) if not np.array_equal(sharing[index](rgb), expected[index]))

    threads = [threading.Thread(target=paint, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    for engine in sharing:
        engine.close()


def test_refuses_what_does_not_fit(style: StyleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SharedCpuEngine(style)
    for size in ((8, 64), (5000, 5000)):
        with pytest.raises(ShapeError):
            engine.prepare(*size)
    engine.close()
    tensors = style.tensors()
    weights = {name: tensor for name, tensor in tensors.items() if not name.endswith("bias")}
    monkeypatch.setattr(StyleModel, "tensors", lambda _: weights)
    with pytest.raises(StyleError, match=r"weights\.safetensors does not fit"):
        SharedCpuEngine(style)
    monkeypatch.setattr(StyleModel, "tensors", lambda _: {**tensors, "one that the graph has itself": np.ones(1)})
    SharedCpuEngine(style).close()


def test_too_little_memory_is_told(style: StyleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: object) -> None:
        raise RuntimeError("Exception from src/x.cpp:1:\nout of memory\n")

    monkeypatch.setattr(shared_weights, "compile_graph", lacking)
    engine = SharedCpuEngine(style)
    with pytest.raises(EngineError, match="frame of 40×32: out of memory$"):
        engine.prepare(32, 40)
    engine.close()


def test_it_is_what_many_styles_get(tiny_style: Path) -> None:
    for name in ("cpu", "auto"):
        engine = engines.load(tiny_style, name, shared=True)
        assert isinstance(engine, SharedCpuEngine) and engine.info.name == "cpu"
        engine.close()
        assert not isinstance(engines.load(tiny_style, name), SharedGraphEngine)
    engine = engines.load(tiny_style, "torch", shared=True)
    assert engine.info.name == "torch"
    engine.close()
