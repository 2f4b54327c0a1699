"""What the CUDA engine promises, as far as it can be seen without a card: the same code runs on the CPU."""

from __future__ import annotations

import gc
import threading
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from engines.base import MIN_SIDE, RGB, PipelinedEngine, SharedGraphEngine
from engines.cuda import driver, fp16, shared_graphs
from engines.cuda.engine import CudaEngine
from engines.cuda.fp16 import Fp16Graph, reflect_index
from engines.cuda.torch_build import TorchBuild
from engines.errors import EngineError, ShapeError, StyleError
from engines.export import save_style
from engines.mixing.mixed_style import with_weights
from engines.model.cells import pad_reflect
from engines.model.generator import FrameGraph, load_generator
from engines.style_file import StyleMeta, StyleModel
from engines.torch_eager import EagerEngine
from tests.engines.test_golden import picture
from tests.generators import narrow, unlike_identity

SIZES = [(24, 24), (25, 39), (31, 24), (90, 160), (127, 129), (24, 400)]


@pytest.fixture(scope="module")
def other_style(tmp_path_factory: pytest.TempPathFactory) -> StyleModel:
    """Another style of the same shape."""
    meta = StyleMeta("other", "Other", "nobody", "noise", "CC0-1.0", {})
    return save_style(tmp_path_factory.mktemp("styles") / "other", unlike_identity(narrow(), seed=1), meta)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert not shared_graphs.pool.values()


def close_to(actual: RGB, expected: RGB) -> bool:
    """99.9 % of the values within 2 of 255, none beyond 6; a small picture may have one value beyond 2."""
    off = np.abs(actual.astype(np.int16) - expected)
    return bool(off.max() <= 6 and (off > 2).sum() <= max(1, 0.001 * off.size))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[1]}x{size[0]}")
def test_agrees_with_the_golden_picture(style: StyleModel, size: tuple[int, int]) -> None:
    golden, engine, rgb = EagerEngine(style, device="cpu"), CudaEngine(style, device="cpu"), picture(*size)
    for strength in (0.0, 0.3, 1.0):
        actual = engine(rgb, strength)
        assert actual.shape == rgb.shape and actual.dtype == np.uint8
        assert close_to(actual, golden(rgb, strength))
        assert close_to(engine(rgb, strength, 0.75), golden(rgb, strength, 0.75))
    np.testing.assert_array_equal(engine(rgb, 0.0), rgb)
    engine.close()


def test_strength_0_gives_every_value_back(style: StyleModel) -> None:
    ramp = np.arange(256, dtype=np.uint8)
    rgb = np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (24, 256, 3)))
    engine = CudaEngine(style, device="cpu")
    np.testing.assert_array_equal(engine(rgb, 0.0), rgb)
    engine.close()


def test_the_arrangement_changes_nothing_but_roundings(style: StyleModel) -> None:
    rgb = torch.from_numpy(picture(50, 70))[None]
    plain = FrameGraph(load_generator(style).half()).eval()
    arranged = Fp16Graph(load_generator(style), torch.device("cpu"))
    with torch.no_grad():
        expected = plain(rgb, torch.ones(1))
        assert torch.equal(
            arranged(rgb, torch.ones(1)), arranged(rgb, torch.ones(1), reflect_index(50), reflect_index(70))
        )
        off = (arranged(rgb, torch.ones(1)).int() - expected.int()).abs()
    assert off.max() <= 2 and (off > 0).float().mean() < 0.2


@pytest.mark.parametrize("size", [(16, 17), (31, 16), (40, 64)])
def test_reflection_by_index(size: tuple[int, int]) -> None:
    rgb = torch.from_numpy(picture(*size))[None]
    by_index = rgb.index_select(1, reflect_index(size[0])).index_select(2, reflect_index(size[1]))
    assert torch.equal(by_index, pad_reflect(rgb))


def test_channels_stay_innermost_where_the_time_goes(style: StyleModel) -> None:
    graph, seen = Fp16Graph(load_generator(style), torch.device("cpu")), []

    def look(module: Any, inputs: Any, output: torch.Tensor) -> None:
        seen.append(output.is_contiguous(memory_format=torch.channels_last) and output.dtype == torch.float16)

    for residual in graph.generator.body:
        residual.register_forward_hook(look)
        residual.first.register_forward_hook(look)
    with torch.no_grad():
        graph(torch.from_numpy(picture(64, 96))[None], torch.ones(1))
    assert len(seen) == 2 * len(graph.generator.body) and all(seen)


def test_contrasts_keep_exact_constants(style: StyleModel) -> None:
    generator = Fp16Graph(load_generator(style), torch.device("cpu")).generator
    assert generator.contrast_fine.thirds.dtype == torch.float32
    assert generator.contrast_fine.thirds[0, 0, 0, 0] == torch.tensor(1 / 3)
    assert {value.dtype for value in generator.state_dict().values()} == {torch.float16}


def test_torch_compile_takes_the_whole_graph(style: StyleModel) -> None:
    graph = Fp16Graph(load_generator(style), torch.device("cpu"))
    frame, places = torch.from_numpy(picture(24, 40))[None], (reflect_index(24), reflect_index(40))
    compiled = torch.compile(graph, backend="aot_eager", dynamic=False, fullgraph=True)
    with torch.no_grad():
        assert torch.equal(compiled(frame, torch.ones(1), *places), graph(frame, torch.ones(1), *places))
    torch.compiler.reset()


def test_styles_of_one_shape_share_graphs_and_exchange_weights(style: StyleModel, other_style: StyleModel) -> None:
    alone = {}
    rgb = picture(40, 56)
    for one in (style, other_style):
        engine = CudaEngine(one, device="cpu")
        alone[one.name] = engine(rgb)
        engine.close()
    assert not np.array_equal(alone["tiny"], alone["other"])
    first, second = CudaEngine(style, device="cpu"), CudaEngine(other_style, device="cpu")
    assert first._graphs is second._graphs
    for engine in (first, second, second, first, second):
        np.testing.assert_array_equal(engine(rgb), alone[engine.info.style])
    assert first._graphs is not None and len(first._graphs.pipeline.sizes) == 1
    pending = [engine.submit(rgb) for engine in (first, second, first, second)]
    for engine, one in zip((first, second, first, second), pending, strict=True):
        np.testing.assert_array_equal(one.result(), alone[engine.info.style])
    first.close()
    second.close()


def test_a_change_of_style_makes_nothing_new(
    style: StyleModel, other_style: StyleModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    original = fp16.capture
    monkeypatch.setattr(fp16, "capture", lambda work, device: made.append(1) or original(work, device))
    engines = [CudaEngine(one, device="cpu") for one in (style, other_style)]
    for size in ((24, 24), (32, 32), (24, 24)):
        for engine in engines:
            engine(picture(*size))
    assert len(made) == 2
    for engine in engines:
        engine.close()


def test_closing_one_of_two_leaves_the_other(style: StyleModel, other_style: StyleModel) -> None:
    first, second = CudaEngine(style, device="cpu"), CudaEngine(other_style, device="cpu")
    rgb = picture(32, 32)
    expected = second(rgb)
    pending = first.submit(rgb)
    first.close()
    first.close()
    pending.result()
    with pytest.raises(EngineError, match="closed"):
        first(rgb)
    np.testing.assert_array_equal(second(rgb), expected)
    second.close()


def test_the_last_one_frees_the_graphs(style: StyleModel) -> None:
    first, second = CudaEngine(style, device="cpu"), CudaEngine(style, device="cpu")
    first(picture(24, 24))
    assert first._graphs is not None and first._graphs._graph is not None
    graph = weakref.ref(first._graphs._graph)
    first.close()
    assert graph() is not None
    second.close()
    gc.collect()
    assert graph() is None
    again = CudaEngine(style, device="cpu")
    again(picture(24, 24))
    again.close()


def test_two_threads_paint_their_own_styles(style: StyleModel, other_style: StyleModel) -> None:
    engines = [CudaEngine(one, device="cpu") for one in (style, other_style)]
    rgb = picture(24, 32)
    expected, wrong = [engine(rgb) for engine in engines], []

    def paint(which: int) -> None:
        for _ in range(20):
            if not np.array_equal(engines[which](rgb), expected[which]):
                wrong.append(which)

    threads = [threading.Thread(target=paint, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    for engine in engines:
        engine.close()


def test_is_an_overlapped_engine_that_shares(style: StyleModel) -> None:
    engine = CudaEngine(style, device="cpu")
    assert isinstance(engine, PipelinedEngine) and isinstance(engine, SharedGraphEngine)
    engine.prepare(32, 48)
    assert engine.pipeline.sizes == ((32, 48),)
    with pytest.raises(ShapeError):
        engine.prepare(32, 8)
    assert not isinstance(EagerEngine(style, device="cpu"), PipelinedEngine)
    assert engine.info.name == "cuda" and engine.info.precision == "fp16" and engine.info.style == "tiny"
    engine.close()


@pytest.mark.parametrize("size", [(MIN_SIDE, MIN_SIDE - 1), (2305, 2305)])
def test_refuses_sizes(style: StyleModel, size: tuple[int, int]) -> None:
    engine = CudaEngine(style, device="cpu")
    with pytest.raises(ShapeError, match=f"{size[1]}×{size[0]}"):
        engine.submit(np.zeros((*size, 3), np.uint8))
    with pytest.raises(ShapeError, match="out of range"):
        engine.submit(picture(24, 24), 1.5)
    engine.close()


def test_weights_that_do_not_fit_leave_nothing_behind(style: StyleModel) -> None:
    few = dict(list(style.tensors().items())[1:])
    with pytest.raises(StyleError, match="do not fit"):
        CudaEngine(with_weights(style, few), device="cpu")
    assert not shared_graphs.pool.values()


def test_refuses_no_threads(style: StyleModel) -> None:
    with pytest.raises(EngineError, match="0 threads"):
        CudaEngine(style, 0)


@pytest.mark.parametrize(
    ("cards", "built", "told"),
    [
        (0, None, "needs an NVIDIA GPU"),
        (1, None, "needs torch with CUDA.*is a CPU build.*pytorch.org"),
        (1, "13.0", "driver on your system is too old.*nvidia-smi"),
    ],
)
def test_says_why_there_is_no_cuda(
    style: StyleModel, monkeypatch: pytest.MonkeyPatch, cards: int, built: str | None, told: str
) -> None:
    def absent() -> bool:
        if built is not None:
            warnings.warn("CUDA initialization: The NVIDIA driver on your system is too old\nmore", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", absent)
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(driver, "device_count", lambda: cards)
    monkeypatch.setattr(driver, "torch_build", lambda: TorchBuild("2.13.0", built))
    with pytest.raises(EngineError, match=told) as caught:
        CudaEngine(style)
    assert "\n" not in str(caught.value)
