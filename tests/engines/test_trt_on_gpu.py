"""The TensorRT engine on a real card: `make test-gpu`. Skipped where there is no card or no Torch-TensorRT."""

from __future__ import annotations

import logging
import time
import warnings

import numpy as np
import pytest

from engines.base import RGB
from engines.errors import EngineError
from engines.parity import mismatch
from engines.style_file import StyleModel
from engines.trt.plan_cache import PlanCache
from tests.conftest import ROOT
from tests.engines.test_golden import picture

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a driver that is too old warns; here it means that there is none
    import torch

    THERE = torch.cuda.is_available()

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not THERE, reason="torch finds no CUDA device here"),
    pytest.mark.filterwarnings("ignore"),  # TensorRT's and Torch-TensorRT's own
]

HIGH, WIDE = 180, 320
GALLERY = ROOT / "rtstyle" / "gallery"
STRENGTHS = (0.0, 0.4, 1.0)


@pytest.fixture(scope="module")
def styles() -> list[StyleModel]:
    return [StyleModel.open(GALLERY / name) for name in ("vangogh", "mosaic")]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, styles: list[StyleModel]) -> PlanCache:
    """A cache with what the first style needs, built in a process of its own."""
    from engines.trt.background_build import build_plan
    from engines.trt.builder import SHARED

    cache = PlanCache(tmp_path_factory.mktemp("engines"))
    try:
        SHARED.key(styles[0], HIGH, WIDE)
    except EngineError as error:
        pytest.skip(str(error))
    start_s = time.monotonic()
    fault = build_plan(styles[0], HIGH, WIDE, cache)
    assert not fault, fault
    print(f"built in {time.monotonic() - start_s:.1f} s")
    return cache


def golden(style: StyleModel, rgb: RGB, strength: float) -> RGB:
    from engines.torch_eager import EagerEngine

    return EagerEngine(style, device="cpu")(rgb, strength)


def frame() -> RGB:
    return np.ascontiguousarray(picture(HIGH, WIDE))


def test_plans_paint_what_eager_fp32_paints(styles: list[StyleModel], cache: PlanCache) -> None:
    from engines.trt.engine import TensorRtEngine

    engine = TensorRtEngine(styles[0], cache=cache)
    for strength in STRENGTHS:
        assert not mismatch(golden(styles[0], frame(), strength), engine(frame(), strength))
    engine.close()


def test_another_style_takes_the_same_plan_or_the_cache_says_why_not(
    styles: list[StyleModel], cache: PlanCache
) -> None:
    from engines.trt.background_build import build_plan
    from engines.trt.builder import SHARED
    from engines.trt.engine import TensorRtEngine

    shared = SHARED.key(styles[0], HIGH, WIDE)
    if fault := cache.fault(shared):
        print(f"each style has its own engine: {fault}")
        assert not build_plan(styles[1], HIGH, WIDE, cache)
    else:
        assert cache.get(SHARED.key(styles[1], HIGH, WIDE)) is not None
    engine = TensorRtEngine(styles[1], cache=cache)
    start_s = time.monotonic()
    painting = engine(frame())
    print(f"loaded, refitted, proved and captured in {time.monotonic() - start_s:.2f} s")
    assert not mismatch(golden(styles[1], frame(), 1.0), painting)
    engine.close()


def test_the_time_of_a_refit_alone(styles: list[StyleModel], cache: PlanCache) -> None:
    from engines.model.generator import load_generator
    from engines.trt.builder import SHARED
    from engines.trt.compat import import_tensorrt, installed
    from engines.trt.refit import refit, refittable_weights
    from engines.trt.runtime import REFIT, _runtime

    plan = cache.get(SHARED.key(styles[0], HIGH, WIDE))
    if plan is None:
        pytest.skip("no plan is shared here")
    trt = import_tensorrt(installed())
    logger, runtime = _runtime(trt)
    engine = runtime.deserialize_cuda_engine(plan.data)
    weights = [refittable_weights(load_generator(style), HIGH, WIDE) for style in styles]
    times = []
    for number in range(10):
        start_s = time.monotonic()
        refit(trt, engine, logger, plan.extra[REFIT], weights[number % 2])
        times.append(time.monotonic() - start_s)
    print(f"a refit takes {1000 * float(np.median(times)):.1f} ms")


def test_it_takes_over_from_cuda_without_a_drop_or_a_jump(
    styles: list[StyleModel], cache: PlanCache, caplog: pytest.LogCaptureFixture
) -> None:
    from engines.cuda.engine import CudaEngine
    from engines.hot_swap import HotSwapEngine
    from engines.trt.background_build import BackgroundBuild

    style = styles[0]
    caplog.set_level(logging.INFO, "engines")
    expected = golden(style, frame(), 1.0)
    engine = HotSwapEngine(
        CudaEngine(style),
        lambda high, wide: BackgroundBuild(style, high, wide, cache),
        settled_s=0.0,
    )
    slowest_s, end_s = 0.0, time.monotonic() + 120
    engine(frame())
    while engine.info.name != "tensorrt":
        start_s = time.monotonic()
        painting = engine(frame())
        slowest_s = max(slowest_s, time.monotonic() - start_s)
        assert not mismatch(expected, painting)
        assert "is not used" not in caplog.text and time.monotonic() < end_s, caplog.text
    assert not mismatch(expected, engine(frame()))
    print(f"the slowest frame before the change took {1000 * slowest_s:.1f} ms")
    engine.close()
