"""Another engine continues if the first frame fails."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engines.base import ForkableEngine, PipelinedEngine, RestylableEngine, SharedGraphEngine
from engines.cuda.engine import CudaEngine
from engines.errors import EngineError, ShapeError
from engines.fallback import FallbackEngine
from engines.openvino.engine import CpuEngine
from engines.openvino.shared_weights import SharedCpuEngine
from engines.style_file import StyleModel
from tests.engines.fake_engines import FakeEngine, FakePipelinedEngine
from tests.engines.test_cuda_engine import close_to
from tests.engines.test_golden import picture

FRAME = picture(24, 40)


def never(style: StyleModel) -> FakeEngine:
    raise AssertionError("another engine was started")


def test_the_first_frame_may_fail(style: StyleModel, caplog: pytest.LogCaptureFixture) -> None:
    first, second = FakePipelinedEngine("cuda"), FakeEngine("cpu", add=1)
    engine = FallbackEngine(first, style, lambda _: second)
    first.fault = "cuDNN has no kernel"
    assert isinstance(engine, PipelinedEngine)
    pending = [engine.submit(FRAME), engine.submit(FRAME)]
    for one in pending:
        np.testing.assert_array_equal(one.result(), FRAME + 1)
    np.testing.assert_array_equal(engine(FRAME), FRAME + 1)
    assert first.closed == 1 and second.calls == 3 and engine.info.name == "cpu"
    assert caplog.messages == ["cuda failed, and cpu continues: cuDNN has no kernel"]
    engine.close()
    assert second.closed == 1 and first.closed == 1


def test_later_frames_may_not(style: StyleModel) -> None:
    first = FakePipelinedEngine("cuda")
    engine = FallbackEngine(first, style, never)
    np.testing.assert_array_equal(engine.submit(FRAME).result(), FRAME)
    first.fault = "the device is lost"
    with pytest.raises(EngineError, match="lost"):
        engine(FRAME)
    pending = engine.submit(FRAME)
    with pytest.raises(EngineError, match="lost"):
        pending.result()


def test_bad_frames_and_an_engine_that_is_closed_start_nothing(style: StyleModel) -> None:
    engine = FallbackEngine(CudaEngine(style, device="cpu"), style, never)
    with pytest.raises(ShapeError):
        engine(FRAME[:8])
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine(FRAME)


def test_if_the_other_one_fails_too_its_error_is_told(style: StyleModel) -> None:
    first, second = FakeEngine("cuda"), FakeEngine("cpu")
    first.fault, second.fault = "no kernel", "no memory"
    with pytest.raises(EngineError, match="no memory"):
        FallbackEngine(first, style, lambda _: second)(FRAME)


NEXT: dict[str, Callable[[StyleModel], CpuEngine]] = {
    "cpu": lambda style: CpuEngine(style, 1, "fp32"),
    "shared": lambda style: SharedCpuEngine(style, 1, "fp32"),
}


@pytest.mark.parametrize("kind", NEXT)
def test_whatever_the_first_one_can_goes_on(style: StyleModel, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A real CUDA engine, without a card, that fails at the size of the camera, and a real CPU engine."""
    cuda, started = CudaEngine(style, device="cpu"), []

    def prepare(self: CudaEngine, height: int, width: int) -> None:
        raise EngineError("the GPU memory is too small")

    monkeypatch.setattr(CudaEngine, "prepare", prepare)

    def start(wanted: StyleModel) -> CpuEngine:
        started.append(NEXT[kind](wanted))
        return started[-1]

    engine = FallbackEngine(cuda, style, start)
    assert isinstance(engine, SharedGraphEngine) and isinstance(engine, ForkableEngine)
    assert isinstance(engine, RestylableEngine)
    engine.prepare(24, 40)
    assert engine.info.name == "cpu"
    assert close_to(engine.submit(FRAME).result(), NEXT["cpu"](style)(FRAME))
    engine.take_style(style)
    assert close_to(engine(FRAME), NEXT["cpu"](style)(FRAME))
    if kind == "shared":
        fork = engine.fork()
        assert close_to(fork(FRAME), engine(FRAME))
        fork.close()
        assert len(started) == 1
    else:
        with pytest.raises(EngineError, match="cannot change its style"):
            engine.fork()
        assert len(started) == 2, "one that cannot change its style is started again"
    engine.close()


def test_it_promises_what_its_first_engine_promises(style: StyleModel) -> None:
    for kind, start in NEXT.items():
        plain = start(style)
        engine = FallbackEngine(plain, style, never)
        for protocol in (SharedGraphEngine, ForkableEngine, RestylableEngine, PipelinedEngine):
            assert isinstance(engine, protocol) == isinstance(plain, protocol), kind
        engine.close()
