"""A wrapped engine keeps what it can do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engines.base import Engine, PipelinedEngine, SharedGraphEngine
from engines.cuda.engine import CudaEngine
from engines.hot_swap import EngineBuild, HotSwapEngine
from engines.openvino.engine import CpuEngine
from engines.openvino.shared_weights import SharedCpuEngine
from engines.style_file import StyleModel
from engines.torch_eager import EagerEngine
from engines.wrapper import EngineWrapper
from rtstyle.live.engine_pool import EnginePool

ENGINES: dict[str, Callable[[StyleModel], Engine]] = {
    "cpu": lambda style: CpuEngine(style, threads=1),
    "cpu shared": lambda style: SharedCpuEngine(style, threads=1),
    "cuda": lambda style: CudaEngine(style, device="cpu"),
    "torch": lambda style: EagerEngine(style, device="cpu"),
}
CAN = {"cpu": "submit", "cpu shared": "prepare submit", "cuda": "prepare submit", "torch": ""}


def never_built(height: int, width: int) -> EngineBuild:
    raise AssertionError("a build was started")


class Lent(EngineWrapper):
    """An engine that outlives those who close it: a pool closes what it has only compiled with."""

    def close(self) -> None:
        """Nothing to free."""


WRAPPERS: dict[str, Callable[[Engine], Engine]] = {
    "wrapper": EngineWrapper,
    "hot swap": lambda engine: HotSwapEngine(engine, never_built, settled_s=3600.0),
    "pool": lambda engine: EnginePool(lambda _: Lent(engine)).load("tiny"),
    "all": lambda engine: EnginePool(
        lambda _: HotSwapEngine(EngineWrapper(Lent(engine)), never_built, settled_s=3600.0)
    ).load("tiny"),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("kind", ENGINES)
def test_a_wrapped_engine_keeps_prepare_and_submit(tiny_style: Path, kind: str, wrapper: str) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    plain = ENGINES[kind](StyleModel.open(tiny_style))
    expected = plain(rgb)
    engine = WRAPPERS[wrapper](plain)
    assert engine.info == plain.info
    assert isinstance(engine, SharedGraphEngine) == isinstance(plain, SharedGraphEngine) == ("prepare" in CAN[kind])
    assert isinstance(engine, PipelinedEngine) == isinstance(plain, PipelinedEngine) == ("submit" in CAN[kind])
    if isinstance(engine, SharedGraphEngine):
        engine.prepare(24, 40)
    if isinstance(engine, PipelinedEngine):
        assert np.array_equal(engine.submit(rgb).result(), expected)
    assert np.array_equal(engine(rgb), expected)
    assert np.array_equal(engine(rgb, 0.0), rgb)
    engine.close()
    engine.close()
