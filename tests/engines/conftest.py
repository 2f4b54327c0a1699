"""What several tests of engines begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engines.style_file import StyleModel
from engines.trt import builder, runtime
from engines.trt import engine as trt_engine
from engines.trt.plan_cache import PlanCache
from tests.engines import fake_tensorrt
from tests.engines.fake_builders import ANY, FakeBuilders
from tests.engines.site import Site


@pytest.fixture
def style(tiny_style: Path) -> StyleModel:
    """A narrow generator that visibly changes a picture."""
    return StyleModel.open(tiny_style)


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    """Of built engines, empty."""
    return PlanCache(tmp_path / "engines")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBuilders]:
    """Builders of plans, and a TensorRT that runs them without a card."""
    fakes = FakeBuilders()
    monkeypatch.setattr(trt_engine, "installed", lambda: ANY)
    monkeypatch.setattr(builder, "DEVICE", torch.device("cpu"))
    monkeypatch.setattr(builder, "BUILDERS", {"shared": fakes.shared, "own": fakes.own})
    for module in (trt_engine, runtime):
        monkeypatch.setattr(module, "import_tensorrt", lambda flavour: fake_tensorrt)
    yield fakes
    runtime._runtime.cache_clear()


@pytest.fixture
def site(tiny_style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A cache to build into, and a count of builds."""
    site = Site(tiny_style, tmp_path)
    monkeypatch.setenv("RTSTYLE_BUILDS", str(site.builds_file))
    return site
