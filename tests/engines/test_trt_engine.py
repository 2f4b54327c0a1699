"""The TensorRT engine as far as a machine without a card can tell: stand-ins for TensorRT and for its versions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from engines.base import PipelinedEngine
from engines.errors import EngineError
from engines.model import generator
from engines.model.own_colours import LUMA
from engines.parity import mismatch
from engines.style_file import StyleModel
from engines.torch_eager import EagerEngine
from engines.trt import engine as trt_engine
from engines.trt.background_build import BackgroundBuild
from engines.trt.compat import Flavour
from engines.trt.plan_cache import PlanCache
from engines.trt.runtime import REFIT
from tests.engines import fake_tensorrt
from tests.engines.fake_builders import HIGH, WIDE, FakeBuilders, on_cpu, photograph
from tests.engines.fake_tensorrt import plan_of


def test_a_plan_of_the_cache_paints_the_picture_of_its_style(
    style: StyleModel, cache: PlanCache, fakes: FakeBuilders
) -> None:
    cache.put(fakes.own.key(style, HIGH, WIDE), plan_of(style, HIGH, WIDE), seconds=1.0, extra={})
    engine = on_cpu(style, cache)
    assert isinstance(engine, PipelinedEngine)
    for strength in (1.0, 0.3, 0.0):
        assert not mismatch(EagerEngine(style, device="cpu")(photograph(), strength), engine(photograph(), strength))
    assert engine.info.name == "tensorrt" and engine.info.runtime == "tensorrt 11.0.0"
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine(photograph())


def test_own_colours_are_mixed_into_the_picture(style: StyleModel, cache: PlanCache, fakes: FakeBuilders) -> None:
    cache.put(fakes.own.key(style, HIGH, WIDE), plan_of(style, HIGH, WIDE), seconds=1.0, extra={})
    engine = on_cpu(style, cache)
    x = photograph().astype(float)
    for strength, colours in ((1.0, 1.0), (0.3, 0.5), (1.0, 0.0), (1.0, 0.4)):
        y = engine(photograph(), strength).astype(float)
        own = x + ((y - x) @ np.array(LUMA))[..., None]
        expected = np.clip((1 - colours) * y + colours * own, 0, 255)
        assert np.abs(engine(photograph(), strength, colours) - expected).max() <= 1.6
    engine.close()


def test_a_tensorrt_that_does_not_load_is_told_before_anything_is_built(
    style: StyleModel, cache: PlanCache, fakes: FakeBuilders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Flavour) -> None:
        raise EngineError("tensorrt 11.0.0 does not load: libnvinfer.so.11 is not here")

    monkeypatch.setattr(trt_engine, "import_tensorrt", broken)
    with pytest.raises(EngineError, match="does not load"):
        on_cpu(style, cache)
    with pytest.raises(EngineError, match="does not load"):
        BackgroundBuild(style, HIGH, WIDE, cache)


def test_a_plan_is_proved_without_what_some_cards_cannot_do(
    style: StyleModel, cache: PlanCache, fakes: FakeBuilders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch on a card reflects bytes in its newer versions only."""
    kinds: list[torch.dtype] = []
    pad = generator.F.pad

    def watched(x: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        kinds.append(x.dtype)
        return pad(x, *arguments, **named)

    monkeypatch.setattr(generator.F, "pad", watched)
    cache.put(fakes.own.key(style, HIGH, WIDE), plan_of(style, HIGH, WIDE), seconds=1.0, extra={})
    engine = on_cpu(style, cache)
    engine(photograph())
    engine.close()
    assert kinds and all(kind.is_floating_point for kind in kinds)


def test_a_shared_plan_takes_the_weights_of_the_style(style: StyleModel, cache: PlanCache, fakes: FakeBuilders) -> None:
    plan = plan_of(None, HIGH, WIDE, arch=dict(style.arch))
    cache.put(fakes.shared.key(style, HIGH, WIDE), plan, seconds=1.0, extra=fakes.extra(style, HIGH, WIDE))
    engine = on_cpu(style, cache)
    assert not mismatch(EagerEngine(style, device="cpu")(photograph()), engine(photograph()))
    engine.close()


def test_a_plan_that_paints_another_picture_is_remembered_and_not_used(
    style: StyleModel, cache: PlanCache, fakes: FakeBuilders
) -> None:
    shared = fakes.shared.key(style, HIGH, WIDE)
    plan = plan_of(None, HIGH, WIDE, arch=dict(style.arch))
    extra = fakes.extra(style, HIGH, WIDE)
    names = extra[REFIT]["weights"]
    one, other = (fake_tensorrt.PREFIX + f"body.0.{name}.conv.weight" for name in ("first", "second"))
    names[one], names[other] = names[other], names[one]
    cache.put(shared, plan, seconds=1.0, extra=extra)
    engine = on_cpu(style, cache)
    with pytest.raises(EngineError, match="no TensorRT engine is built for 64×48") as error:
        engine(photograph())
    assert "rtstyle engine build tiny --size 64x48" in error.value.hint
    assert "differs from the network" in cache.fault(shared)
    cache.put(fakes.own.key(style, HIGH, WIDE), plan_of(style, HIGH, WIDE), seconds=1.0, extra={})
    assert not mismatch(EagerEngine(style, device="cpu")(photograph()), engine(photograph()))
    engine.close()


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ({"output": "UINT8"}, "not a frame graph"),
        ({"height": HIGH + 16}, "not a frame graph"),
        ({"broken": True}, "cannot start"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(
    style: StyleModel, cache: PlanCache, fakes: FakeBuilders, plan: dict[str, Any], told: str
) -> None:
    built = plan_of(style, **{"height": HIGH, "width": WIDE, **plan})
    cache.put(fakes.own.key(style, HIGH, WIDE), built, seconds=1.0, extra={})
    engine = on_cpu(style, cache)
    with pytest.raises(EngineError, match=told):
        engine(photograph())
    engine.close()


def test_a_plan_that_tensorrt_does_not_load_is_told(style: StyleModel, cache: PlanCache, fakes: FakeBuilders) -> None:
    cache.put(fakes.own.key(style, HIGH, WIDE), b"rubbish", seconds=1.0, extra={})
    with pytest.raises(EngineError, match="cannot load the engine"):
        on_cpu(style, cache)(photograph())


def test_an_engine_that_cannot_be_refitted_is_not_used_for_all(
    style: StyleModel, cache: PlanCache, fakes: FakeBuilders
) -> None:
    plan = plan_of(None, HIGH, WIDE, arch=dict(style.arch)).replace(b'"refit": true', b'"refit": false')
    shared = fakes.shared.key(style, HIGH, WIDE)
    cache.put(shared, plan, seconds=1.0, extra=fakes.extra(style, HIGH, WIDE))
    with pytest.raises(EngineError, match="no TensorRT engine is built"):
        on_cpu(style, cache)(photograph())
    assert "cannot be refitted" in cache.fault(shared)
