"""What `rtstyle doctor` says of engines for a card that this machine has not."""

from __future__ import annotations

from pathlib import Path

import pytest

import engines
from engines.base import Engine
from engines.cuda import driver, proof, torch_build
from engines.errors import EngineError
from engines.install_hint import pip_install
from engines.trt import background_build
from engines.trt.plan_cache import PlanCache
from rtstyle.doctor import Finding, _cards, _extras, examine
from tests.engines.plans import KEY, OTHER
from tests.engines.test_load import Painter

PIP = pip_install("tensorrt")


def findings(style: Path) -> dict[str, Finding]:
    return {finding.topic: finding for finding in examine(str(style))}


def broken(*_: object) -> Engine:
    raise EngineError("the tensorrt engine needs torch_tensorrt", hint=PIP)


def test_it_says_what_auto_takes_and_what_would_be_faster(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "device_count", lambda: 1)
    monkeypatch.setattr(proof, "prove", lambda *_: None)
    monkeypatch.setitem(engines._ENGINES, "cuda", lambda *_: Painter("cuda"))
    monkeypatch.setitem(engines._ENGINES, "tensorrt", broken)
    auto = findings(tiny_style)["engine auto"]
    assert auto.found.startswith("takes cuda") and auto.hint == f"faster: {PIP}"
    monkeypatch.setitem(engines._ENGINES, "tensorrt", lambda *_: Painter("tensorrt"))
    auto = findings(tiny_style)["engine auto"]
    assert auto.found.startswith("takes tensorrt") and "cuda is used" in auto.found and auto.hint == ""


def test_it_says_that_a_card_stylizes_wrongly_and_what_auto_takes(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise EngineError("GTX 1660 does not stylize as the CPU does")

    monkeypatch.setattr(driver, "device_count", lambda: 1)
    monkeypatch.setattr(proof, "prove", refuse)
    painter = Painter("cuda")
    monkeypatch.setitem(engines._ENGINES, "cuda", lambda *_: painter)
    found = findings(tiny_style)
    assert found["engine cuda"] == Finding("engine cuda", False, "GTX 1660 does not stylize as the CPU does")
    assert found["engine auto"].found.startswith("takes cpu") and painter.closed


def test_it_says_what_tensorrt_gains_and_where_cuda_stays(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "device_count", lambda: 1)
    monkeypatch.setattr(proof, "prove", lambda *_: None)
    monkeypatch.setitem(engines._ENGINES, "cuda", lambda *_: Painter("cuda"))
    monkeypatch.setitem(engines._ENGINES, "tensorrt", lambda *_: Painter("tensorrt"))
    monkeypatch.setattr(background_build, "speedups", lambda _: {(360, 640): 1.04, (720, 1280): 1.6})
    auto = findings(tiny_style)["engine auto"]
    assert auto.found.endswith("tensorrt against cuda: 640×360 1.04 × (cuda stays), 1280×720 1.60 ×")


def test_without_a_card_nothing_is_recommended(tiny_style: Path) -> None:
    found = findings(tiny_style)
    assert found["engine auto"].found.startswith("takes cpu") and found["engine auto"].hint == ""
    assert not found["engine cuda"].good and "NVIDIA GPU" in found["engine cuda"].found


def test_it_counts_what_was_built(tiny_style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "engines"))
    assert "built engines" not in findings(tiny_style)
    PlanCache().put(KEY, b"plan", seconds=1, extra={})
    assert findings(tiny_style)["built engines"] == Finding("built engines", True, f"1 in {tmp_path / 'engines'}")
    PlanCache().mark_failed(OTHER, "no kernel for this")
    built = findings(tiny_style)["built engines"]
    assert not built.good and "1 could not be built" in built.found and built.hint == "rtstyle engine list"


def test_it_says_that_torch_is_a_cpu_build_and_how_to_replace_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {finding.topic: finding for finding in _extras()}["extra cuda"]
    build = torch_build.torch_build()
    assert build is not None
    if build.cuda is None:
        assert found == Finding(
            "extra cuda", False, f"torch {build.version} is a CPU build", torch_build.torch_for_cuda("cuda")
        )
    monkeypatch.setattr(torch_build, "torch_build", lambda: torch_build.TorchBuild("2.14.1", "13.0"))
    found = {finding.topic: finding for finding in _extras()}["extra cuda"]
    assert found == Finding("extra cuda", True, "installed, torch 2.14.1 for CUDA 13.0")


def test_it_lists_the_cards_or_why_one_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    cards = (driver.Card("NVIDIA A2", (8, 6), "0000:41:00.0"), driver.Card("GeForce GTX 1660", (7, 5), "0000:01:00.0"))
    monkeypatch.setattr(driver, "driver", lambda: driver._Driver(cards, (13, 0)))
    (found,) = _cards()
    assert found.good
    assert found.found == "0: GeForce GTX 1660 (7.5), 1: NVIDIA A2 (8.6, used); driver for CUDA 13.0"
    monkeypatch.setattr(driver, "driver", lambda: driver._Driver(fault="CUDA error 999, unknown error"))
    (found,) = _cards()
    assert not found.good and "its driver does not start: CUDA error 999" in found.found


def test_doctor_names_the_extras_of_this_system(monkeypatch: pytest.MonkeyPatch) -> None:
    for system, expected in (("linux", set()), ("win32", {"extra spout"}), ("darwin", {"extra syphon"})):
        with monkeypatch.context() as patched:
            patched.setattr("rtstyle.doctor.sys.platform", system)
            topics = {finding.topic for finding in _extras()}
        assert topics & {"extra spout", "extra syphon"} == expected and "extra ndi" in topics
