"""Choosing an engine."""

from __future__ import annotations

import builtins
import logging
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines
from engines.base import RGB, Engine, EngineInfo
from engines.cuda import driver
from engines.cuda.engine import CudaEngine
from engines.cuda.shared_graphs import Search
from engines.errors import EngineError, StyleError
from engines.hot_swap import HotSwapEngine
from engines.install_hint import pip_install
from engines.style_file import StyleModel
from tests.conftest import ROOT


def test_auto_is_the_cpu_engine(tiny_style: Path) -> None:
    assert engines.load(tiny_style).info.name == "cpu"
    assert engines.load(StyleModel.open(tiny_style)).info.name == "cpu"
    assert engines.load(str(tiny_style), threads=1).info.name == "cpu"


def test_unknown_name_lists_the_known_ones(tiny_style: Path) -> None:
    with pytest.raises(EngineError, match=r"'gpu'.*auto, tensorrt, cuda, intel-gpu, intel-npu, cpu, torch"):
        engines.load(tiny_style, "gpu")


def test_missing_style(tmp_path: Path) -> None:
    with pytest.raises(StyleError, match="no style in"):
        engines.load(tmp_path / "nowhere")


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Importing ``packages`` fails, as where they are not installed."""
    real = builtins.__import__

    def importing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] in packages:
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", importing)


def test_missing_torch_names_the_pip_line(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import engines.torch_eager

    without(monkeypatch, "torch")
    with pytest.raises(EngineError, match=re.escape(f"needs torch ({pip_install('train')})")):
        engines.load(tiny_style, "torch")


def test_auto_falls_back_to_torch(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "openvino")
    assert engines.load(tiny_style).info.name == "torch"
    with pytest.raises(EngineError, match="needs OpenVINO"):
        engines.load(tiny_style, "cpu")


def test_auto_without_any_runtime_tells_of_the_best(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import engines.openvino.engine
    import engines.torch_eager

    without(monkeypatch, "openvino", "torch")
    with pytest.raises(EngineError, match="needs OpenVINO"):
        engines.load(tiny_style)


class Painter:
    """An engine that paints everything in one shade."""

    def __init__(self, name: str) -> None:
        self.info = EngineInfo(name, "", "", "", "")
        self.closed = False

    def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
        return np.full_like(rgb, 7)

    def close(self) -> None:
        self.closed = True


def card(monkeypatch: pytest.MonkeyPatch, *working: str) -> None:
    """A machine with a card, and which of its engines work."""

    def start(name: str) -> Engine:
        if name not in working:
            raise EngineError(f"the {name} engine does not work")
        return Painter(name)

    monkeypatch.setattr(driver, "device_count", lambda: 1)
    monkeypatch.setattr("engines.cuda.proof.prove", lambda *_: None)
    for name in engines._ENGINES:
        monkeypatch.setitem(engines._ENGINES, name, lambda *_, name=name: start(name))


def test_auto_takes_the_card_where_there_is_one(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card(monkeypatch, "cuda", "cpu", "torch")
    assert engines.load(tiny_style).info.name == "cuda"
    card(monkeypatch, "cpu", "torch")
    assert engines.load(tiny_style).info.name == "cpu"
    card(monkeypatch)
    with pytest.raises(EngineError, match="the cpu engine does not work"):
        engines.load(tiny_style)


def test_only_live_frames_begin_with_guessed_kernels(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.cuda.engine.require", lambda *_: None)
    searches = []

    class Engine(CudaEngine):
        def __init__(self, style: StyleModel, threads: int | None = None, *, search: Search = "first") -> None:
            super().__init__(style, threads, device="cpu", search=search)
            searches.append(self.search)

    monkeypatch.setattr("engines.cuda.engine.CudaEngine", Engine)
    monkeypatch.setattr(driver, "device_count", lambda: 1)
    monkeypatch.setattr("engines.cuda.proof.prove", lambda *_: None)
    for live in (False, True):
        for name in ("cuda", "auto"):
            engines.load(tiny_style, name, live=live, shared=True).close()
    assert searches == ["first", "first", "later", "later"]
    assert engines.load(tiny_style, "cpu", live=True).info.name == "cpu"


def test_auto_says_once_that_it_leaves_the_card_unused(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engines._warn_without_gpu.cache_clear()
    card(monkeypatch, "cpu")
    for _ in range(2):
        engines.load(tiny_style)
    assert caplog.messages == ["the NVIDIA GPU is not used, and cpu is slower: the cuda engine does not work"]
    monkeypatch.setattr(driver, "device_count", lambda: 0)
    engines._warn_without_gpu.cache_clear()
    engines.load(tiny_style)
    assert len(caplog.messages) == 1


def test_auto_says_why_a_card_in_the_machine_cannot_be_used(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engines._warn_without_gpu.cache_clear()
    card(monkeypatch, "cpu")
    monkeypatch.setattr(driver, "device_count", lambda: 0)
    monkeypatch.setattr(driver, "why_unavailable", lambda: "its driver does not start: CUDA error 999")
    engines.load(tiny_style)
    assert caplog.messages == [
        "the NVIDIA GPU is not used, and cpu is slower: its driver does not start: CUDA error 999"
    ]


def test_auto_leaves_a_card_that_stylizes_wrongly(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engines._warn_without_gpu.cache_clear()
    card(monkeypatch, "cuda", "cpu")
    started: list[Painter] = []

    def refuse(engine: Painter, style: StyleModel) -> None:
        started.append(engine)
        raise EngineError("GTX 1660 does not stylize as the CPU does")

    monkeypatch.setattr("engines.cuda.proof.prove", refuse)
    assert engines.load(tiny_style).info.name == "cpu"
    assert [engine.closed for engine in started] == [True]
    assert caplog.messages == [
        "the NVIDIA GPU is not used, and cpu is slower: GTX 1660 does not stylize as the CPU does"
    ]


def test_auto_continues_on_the_cpu_where_the_first_frame_fails(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    card(monkeypatch, "cuda", "cpu")

    class Small(Painter):
        def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
            raise EngineError("the GPU memory is too small for a frame of 64×48")

    monkeypatch.setitem(engines._ENGINES, "cuda", lambda *_: Small("cuda"))
    engine = engines.load(tiny_style)
    assert engine.info.name == "cuda"
    assert engine(np.zeros((48, 64, 3), np.uint8)).max() == 7
    assert engine.info.name == "cpu"
    assert caplog.messages == ["cuda failed, and cpu continues: the GPU memory is too small for a frame of 64×48"]
    named = engines.load(tiny_style, "cuda")
    with pytest.raises(EngineError, match="too small"):
        named(np.zeros((48, 64, 3), np.uint8))


def test_auto_does_not_try_a_card_that_is_not_there(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card(monkeypatch, "cuda", "cpu")
    monkeypatch.setattr(driver, "device_count", lambda: 0)
    assert engines.load(tiny_style).info.name == "cpu"


def test_without_a_card_both_say_so_at_once(tiny_style: Path) -> None:
    for name in ("cuda", "tensorrt"):
        with pytest.raises(EngineError, match=f"the {name} engine needs an NVIDIA GPU"):
            engines.load(tiny_style, name)
    script = f"import sys, engines; engines.load({str(tiny_style)!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False", "auto does not import torch for nothing"


class Ahead:
    """A TensorRT engine that is there after two looks."""

    def __init__(self, style: StyleModel, height: int, width: int, *, min_speedup: float) -> None:
        assert min_speedup > 1, "one that is hardly faster is not worth a switch"
        self.looks, self.progress = 0, "builds"

    def poll(self) -> str | None:
        self.looks += 1
        return "" if self.looks > 2 else None

    def load(self) -> Engine:
        return Painter("tensorrt")

    def close(self) -> None:
        pass


@pytest.mark.real_time
def test_auto_switches_to_tensorrt_with_build_ahead(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    card(monkeypatch, "cuda", "cpu")
    assert not isinstance(engines.load(tiny_style, build_ahead=True), HotSwapEngine), "Torch-TensorRT is not installed"
    monkeypatch.setattr(driver, "check", lambda *_: None)
    monkeypatch.setattr("engines.trt.background_build.BackgroundBuild", Ahead)
    assert not isinstance(engines.load(tiny_style), HotSwapEngine), "not asked for"
    engine = engines.load(tiny_style, build_ahead=True)
    frame = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    end_s = time.monotonic() + 20
    while engine.info.name != "tensorrt":
        assert time.monotonic() < end_s
        assert engine(frame).max() == 7
        time.sleep(0.01)
    engine.close()
    lines = (": builds", ": loading", " is in use from now on")
    assert caplog.messages == [f"the faster engine for 48×32{line}" for line in lines]


def test_importing_engines_loads_no_runtime() -> None:
    script = "import sys, engines; print(*{'torch', 'openvino', 'onnx', 'safetensors'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
