"""What `rtstyle doctor` says of engines for a card that this machine has not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import engines
from engines import nvidia
from engines.base import Engine, EngineInfo
from engines.cache import PlanCache
from engines.errors import EngineError
from engines.record import GAIN
from rtstyle.doctor import Finding, examine
from tests.engines.plans import KEY, OTHER
from tests.engines.test_load import Painter

PIP = 'pip install "rtstyle[tensorrt]"'


def findings(style: Path) -> dict[str, Finding]:
    return {finding.topic: finding for finding in examine(str(style))}


def broken(*_: object) -> Engine:
    raise EngineError("the tensorrt engine needs torch_tensorrt", hint=PIP)


def test_it_says_what_auto_takes_and_what_would_be_faster(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "cards", lambda: 1)
    monkeypatch.setitem(engines._ENGINES, "cuda", lambda *_: Painter("cuda"))
    monkeypatch.setitem(engines._ENGINES, "tensorrt", broken)
    auto = findings(tiny_style)["engine auto"]
    assert auto.found.startswith("takes cuda") and auto.hint == f"faster: {PIP}"
    monkeypatch.setitem(engines._ENGINES, "tensorrt", lambda *_: Painter("tensorrt"))
    auto = findings(tiny_style)["engine auto"]
    assert auto.found.startswith("takes tensorrt") and "cuda paints" in auto.found and auto.hint == ""


def test_it_says_where_tensorrt_gains_too_little(
    tiny_style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "engines"))
    monkeypatch.setattr(nvidia, "cards", lambda: 1)
    monkeypatch.setitem(engines._ENGINES, "cuda", lambda *_: Painter("cuda"))
    painter = Painter("tensorrt")
    painter.info = EngineInfo("tensorrt", KEY.tensorrt, KEY.gpu, "fp16", "tiny")
    monkeypatch.setitem(engines._ENGINES, "tensorrt", lambda *_: painter)
    PlanCache().put(KEY, b"plan", seconds=1, extra={GAIN: 1.04})
    PlanCache().put(replace(KEY, height=90, gpu="Another card"), b"plan", seconds=1, extra={GAIN: 3.0})
    auto = findings(tiny_style)["engine auto"]
    assert auto.found.startswith("takes cuda: tensorrt is only 1.04 × (640×360) as fast") and auto.hint == ""
    PlanCache().put(OTHER, b"plan", seconds=1, extra={GAIN: 1.6})
    auto = findings(tiny_style)["engine auto"]
    assert auto.found.startswith("takes tensorrt") and "1.04 × (640×360)" in auto.found and "1.6" not in auto.found


def test_without_a_card_nothing_is_recommended(tiny_style: Path) -> None:
    found = findings(tiny_style)
    assert found["engine auto"].found.startswith("takes cpu") and found["engine auto"].hint == ""
    assert not found["engine cuda"].good and "NVIDIA card" in found["engine cuda"].found


def test_it_counts_what_was_built(tiny_style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "engines"))
    assert "built engines" not in findings(tiny_style)
    PlanCache().put(KEY, b"plan", seconds=1, extra={})
    assert findings(tiny_style)["built engines"] == Finding("built engines", True, f"1 in {tmp_path / 'engines'}")
    PlanCache().refuse(OTHER, "no kernel for this")
    built = findings(tiny_style)["built engines"]
    assert not built.good and "1 could not be built" in built.found and built.hint == "rtstyle engine list"
