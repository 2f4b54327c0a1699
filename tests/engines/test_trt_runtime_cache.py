"""Kernels that TensorRT for RTX has compiled, beside their plan."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from engines.errors import EngineError
from engines.parity import mismatch
from engines.style_file import StyleModel
from engines.torch_eager import EagerEngine
from engines.trt import engine as trt_engine
from engines.trt import plan_cache, runtime
from engines.trt.plan_cache import BusyError, PlanCache
from engines.trt.plan_record import PlanKey
from engines.trt.runtime import PlanBody
from engines.trt.runtime_cache import RuntimeCache
from tests.engines import fake_tensorrt_rtx
from tests.engines.fake_builders import HIGH, WIDE, FakeBuilders, on_cpu, photograph
from tests.engines.fake_tensorrt import plan_of
from tests.engines.fake_tensorrt_rtx import KERNELS, WRONG
from tests.engines.plans import KEY, OTHER, PLAN, file, names, start


@pytest.fixture
def rtx(fakes: FakeBuilders, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """TensorRT for RTX instead of the other, and how each of its contexts got its kernels."""
    for module in (trt_engine, runtime):
        monkeypatch.setattr(module, "import_tensorrt", lambda flavour: fake_tensorrt_rtx)
    fake_tensorrt_rtx.compiled.clear()
    yield fake_tensorrt_rtx.compiled
    runtime._runtime.cache_clear()


@pytest.fixture
def key(style: StyleModel, cache: PlanCache, fakes: FakeBuilders) -> PlanKey:
    """Of a plan that is in the cache."""
    key: PlanKey = fakes.own.key(style, HIGH, WIDE)
    cache.put(key, plan_of(style, HIGH, WIDE), seconds=1.0, extra={})
    return key


def check_painting(style: StyleModel, cache: PlanCache) -> None:
    engine = on_cpu(style, cache)
    assert not mismatch(EagerEngine(style, device="cpu")(photograph()), engine(photograph()))
    engine.close()


def test_kernels_are_compiled_once(style: StyleModel, cache: PlanCache, rtx: list[str], key: PlanKey) -> None:
    for _ in range(3):
        check_painting(style, cache)
    assert rtx == ["compiled", "cached", "cached"]
    assert cache.runtime_cache(key) == KERNELS


def test_the_other_tensorrt_has_no_such_cache(
    style: StyleModel, cache: PlanCache, fakes: FakeBuilders, key: PlanKey
) -> None:
    check_painting(style, cache)
    assert names(cache.folder) == {"plan", "json"}


@pytest.mark.parametrize("data", [b"of another version", WRONG])
def test_kernels_that_tensorrt_refuses_or_that_are_wrong_are_compiled_again(
    style: StyleModel, cache: PlanCache, rtx: list[str], key: PlanKey, data: bytes
) -> None:
    cache.put_runtime_cache(key, data)
    check_painting(style, cache)
    assert rtx == (["cached", "compiled"] if data == WRONG else ["compiled"])
    assert cache.runtime_cache(key) == KERNELS and not cache.fault(key)


def test_a_plan_that_is_wrong_with_its_own_kernels_is_still_refused(
    style: StyleModel, cache: PlanCache, rtx: list[str], key: PlanKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_tensorrt_rtx, "KERNELS", WRONG)
    with pytest.raises(EngineError, match="no TensorRT engine is built"):
        on_cpu(style, cache)(photograph())
    assert rtx == ["compiled"]
    assert "differs from the network" in cache.fault(key) and not cache.runtime_cache(key)


def test_damaged_kernels_are_removed(cache: PlanCache) -> None:
    cache.put(KEY, PLAN, seconds=1, extra={})
    assert cache.runtime_cache(KEY) == b""
    for damage in (lambda data: data[:-1], lambda data: data + b"x", lambda data: b"x" + data[1:], lambda data: b""):
        cache.put_runtime_cache(KEY, KERNELS)
        path = file(cache, "runtime")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 or os.name != "posix"
        assert cache.runtime_cache(KEY) == KERNELS
        path.write_bytes(damage(path.read_bytes()))
        assert cache.runtime_cache(KEY) == b"" and not path.exists()


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such bits")
def test_kernels_that_others_may_write_to_are_refused(cache: PlanCache) -> None:
    cache.put(KEY, PLAN, seconds=1, extra={})
    cache.put_runtime_cache(KEY, KERNELS)
    file(cache, "runtime").chmod(0o622)
    assert cache.runtime_cache(KEY) == b""


def test_kernels_go_with_their_plan(cache: PlanCache) -> None:
    cache.put_runtime_cache(KEY, KERNELS)
    assert names(cache.folder) == set()  # there is no plan that they could be beside
    ways = (
        lambda: cache.put(KEY, PLAN, seconds=1, extra={}),
        lambda: cache.mark_failed(KEY, "wrong"),
        cache.clear,
        lambda: cache.remove_runtime_cache(KEY),
    )
    for way in ways:
        cache.put(KEY, PLAN, seconds=1, extra={})
        cache.put_runtime_cache(KEY, KERNELS)
        way()
        assert not file(cache, "runtime").exists()


def test_kernels_count_as_part_of_a_plan(cache: PlanCache) -> None:
    cache.put(KEY, PLAN, seconds=1, extra={})
    before = cache.entries()[0].bytes
    cache.put_runtime_cache(KEY, bytes(1000))
    assert cache.entries()[0].bytes == before + 1032
    cache.limit_bytes = before + 2000
    cache.put(OTHER, PLAN, seconds=1, extra={})
    cache.put_runtime_cache(OTHER, bytes(1000))
    assert cache.get(KEY) is None and not file(cache, "runtime").exists()
    assert cache.runtime_cache(OTHER) == bytes(1000)


def test_what_cannot_be_stored_costs_time_alone(
    cache: PlanCache, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_cache, "RUNTIME_LIMIT", 10)
    cache.put(KEY, PLAN, seconds=1, extra={})
    kernels = RuntimeCache(cache, KEY)
    context, _ = kernels.create_context(fake_tensorrt_rtx, SimpleNamespace(
        create_runtime_config=fake_tensorrt_rtx.RuntimeConfig, create_execution_context=lambda config: config,
    ))  # fmt: skip
    context.cache.data = KERNELS
    kernels.save()
    assert not file(cache, "runtime").exists()
    with pytest.raises(EngineError, match="kernels are more than"):
        cache.put_runtime_cache(KEY, KERNELS)


def test_kernels_are_not_written_while_the_plan_is_built(cache: PlanCache) -> None:
    cache.put(KEY, PLAN, seconds=1, extra={})
    builder = start(
        """
        import sys
        from pathlib import Path
        from engines.trt.plan_cache import PlanCache
        from tests.engines.plans import KEY

        with PlanCache(Path(sys.argv[1])).lock(KEY, 5):
            print("locked", flush=True)
            sys.stdin.read()
        """,
        cache.folder,
    )
    assert builder.stdout is not None and builder.stdout.readline() == "locked\n"
    with pytest.raises(BusyError):
        cache.put_runtime_cache(KEY, KERNELS)
    builder.communicate()
    cache.put_runtime_cache(KEY, KERNELS)
    assert cache.runtime_cache(KEY) == KERNELS


def test_tensorrt_is_asked_whether_it_can_be_captured(style: StyleModel, rtx: list[str]) -> None:
    engine = fake_tensorrt_rtx.Runtime(fake_tensorrt_rtx.Logger(1)).deserialize_cuda_engine(plan_of(style, HIGH, WIDE))
    body = PlanBody(fake_tensorrt_rtx, engine, HIGH, WIDE, torch.device("cpu"))
    able, unable = (SimpleNamespace(cuda_stream=number) for number in (7, 0))
    assert body._can_capture(able) and not body._can_capture(unable)  # type: ignore[arg-type]
    body._context = SimpleNamespace()  # the other TensorRT has no such call, and can always be captured
    assert body._can_capture(unable)  # type: ignore[arg-type]
