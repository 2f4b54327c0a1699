"""What a build in another process is made of."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from engines.errors import EngineError, ShapeError
from engines.style_file import StyleModel
from engines.trt.build_worker import build_once, is_transient, load_builder
from engines.trt.plan_cache import PlanCache, PlanKey
from tests.conftest import ROOT
from tests.engines import standin
from tests.engines.site import STANDIN, Site, end_of


def test_building_in_this_process(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    keys: list[PlanKey] = []
    style = StyleModel.open(site.style)
    with caplog.at_level(logging.INFO, "engines"):
        key = build_once(style, 360, 640, standin.SLOWLY, site.cache, keys.append)
    assert key == site.key == keys[0] and caplog.messages[0] == "slowly"
    with pytest.raises(ShapeError):
        build_once(style, 4, 640, standin.SLOWLY, site.cache)
    full = PlanCache(site.folder / "small", limit_bytes=1000)
    (site.folder / "small").mkdir(0o700)
    with pytest.raises(EngineError, match="more than"):
        build_once(style, 360, 640, standin.StandIn(lambda: bytes(2000)), full)
    assert "more than" in full.fault(key)  # it would never fit


class OutOfMemoryError(RuntimeError):
    """As torch's is called."""


def raised(error: BaseException, cause: BaseException | None = None, context: BaseException | None = None) -> object:
    with contextlib.suppress(type(error)):
        if context is not None:
            try:
                raise context
            except type(context):
                raise error  # noqa: B904  # as a careless builder does
        raise error from cause
    return error


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (raised(EngineError("no kernel")), False),
        (raised(AssertionError()), False),
        (raised(EngineError("failed"), cause=ValueError("shape")), False),
        (raised(OutOfMemoryError("x")), True),
        (raised(EngineError("failed"), cause=OutOfMemoryError("x")), True),
        (raised(EngineError("failed"), context=OSError(28, "No space left on device")), True),
        (raised(EngineError("failed"), cause=None), False),
        (raised(KeyboardInterrupt()), True),
        (raised(ImportError("libnvinfer.so.10")), True),
        (raised(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")), True),
    ],
    ids=repr,
)
def test_what_passes(error: BaseException, passing: bool) -> None:
    assert is_transient(error) == passing


@pytest.mark.parametrize("name", ["nowhere.at.all:BUILDER", f"{STANDIN}:ABSENT", STANDIN, "", ":", "engines:", "."])
def test_builders_that_do_not_exist(name: str) -> None:
    with pytest.raises(EngineError, match="there is no builder"):
        load_builder(name)


def test_a_builder_whose_package_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wanting.py").write_text("import a_package_that_is_not_here\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EngineError, match="needs a_package_that_is_not_here") as told:
        load_builder("wanting:BUILDER")
    assert "pip install" in told.value.hint


def test_the_current_folder_is_not_imported(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the folder of downloads runs')\n")
    monkeypatch.chdir(tmp_path)
    assert end_of(site.start()) == ""


@pytest.mark.parametrize("size", ["640", "x", "640x", "-1x5", "640x360x3"])
def test_wrong_usage_ends_with_2(site: Site, size: str) -> None:
    call = [sys.executable, "-m", "engines.trt.build_worker", "--style", str(site.style), f"--size={size}"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "is not a size" in done.stderr
