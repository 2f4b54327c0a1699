"""The engines for Intel's GPU and NPU, with the CPU in their place: no such device is at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import engines
from engines.base import RGB
from engines.cache_dirs import FOLDER_VARIABLES
from engines.errors import EngineError
from engines.openvino import intel, precision
from engines.openvino.engine import CpuEngine
from engines.openvino.intel import DRIVERS, IntelEngine
from engines.openvino.runtime import shared_core
from engines.style_file import StyleModel
from tests.engines.test_golden import picture

HAS_DEVICE = any(name.startswith(("GPU", "NPU")) for name in shared_core().available_devices)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLES["engines"], str(tmp_path / "cache"))
    monkeypatch.setattr(precision, "_known", {})


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The CPU takes the place of every Intel device; return the hints that it was compiled with."""
    hints: list[str] = []
    real = intel.compile_graph

    def compiling(
        core: object, graph: object, height: int, width: int, options: dict[str, str], device: str = "CPU"
    ) -> object:
        if device != "CPU":
            hints.append(options["INFERENCE_PRECISION_HINT"])
        return real(core, graph, height, width, {"INFERENCE_PRECISION_HINT": "f32"})  # type: ignore[arg-type]

    monkeypatch.setattr(intel, "device_name", lambda device: f"Intel {device}")
    monkeypatch.setattr(precision, "device_name", lambda device: f"Intel {device}")
    monkeypatch.setattr(intel, "compile_graph", compiling)
    return hints


@pytest.mark.skipif(HAS_DEVICE, reason="this machine has such a device")
@pytest.mark.parametrize(("name", "device"), [("intel-gpu", "GPU"), ("intel-npu", "NPU")])
def test_without_the_device_one_line_says_so(name: str, device: intel.Device, tiny_style: Path) -> None:
    with pytest.raises(EngineError, match=f"the {name} engine finds no such processor") as told:
        engines.load(tiny_style, name)
    assert told.value.hint == DRIVERS[device] and "\n" not in str(told.value)


@pytest.mark.skipif(not HAS_DEVICE, reason="there is no Intel GPU or NPU")
def test_on_the_device(tiny_style: Path) -> None:
    engine = engines.load(tiny_style, "intel-gpu")
    rgb = picture(90, 160)
    assert np.abs(engine(rgb).astype(np.int16) - CpuEngine(StyleModel.open(tiny_style))(rgb)).max() <= 6


def test_stylizes_as_the_cpu(tiny_style: Path, stand_in: list[str]) -> None:
    style, rgb = StyleModel.open(tiny_style), picture(61, 90)
    for strength, colours in ((1.0, 0.0), (0.5, 0.0), (1.0, 0.7)):
        engine = IntelEngine(style)
        np.testing.assert_array_equal(
            engine(rgb, strength, colours), CpuEngine(style)(rgb, strength, colours), strict=True
        )
    assert engine.info.name == "intel-gpu" and engine.info.device == "Intel GPU" and engine.info.precision == "fp16"
    assert set(stand_in) == {"f16"}


def test_a_device_that_is_too_coarse_runs_in_fp32(
    tiny_style: Path, stand_in: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[RGB] = []

    def coarse(_: RGB, actual: RGB) -> str:
        compared.append(actual)
        return "far off" if len(compared) == 1 else ""

    monkeypatch.setattr(intel, "mismatch", coarse)
    engine = IntelEngine(StyleModel.open(tiny_style))
    engine(picture(32, 40))
    assert engine.info.precision == "fp32" and stand_in == ["f16", "f32"]
    engine(picture(40, 48))  # fp16 is not tried again
    assert stand_in == ["f16", "f32", "f32"]


def test_a_device_that_is_always_too_coarse_is_refused(
    tiny_style: Path, stand_in: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intel, "mismatch", lambda *_: "far off")
    engine = IntelEngine(StyleModel.open(tiny_style), device="NPU")
    with pytest.raises(EngineError, match="intel-npu cannot stylize frames of 40×32 as the CPU does: far off") as told:
        engine(picture(32, 40))
    assert told.value.hint == "use --engine cpu (in Python: engine='cpu')"


def test_auto_leaves_such_frames_to_the_cpu(
    tiny_style: Path, stand_in: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        precision, "_measured", lambda makers: {name: 10.0 if name == "cpu" else 1.0 for name in makers}
    )
    engine, rgb = engines.load(tiny_style), picture(32, 40)
    assert engine.info.name == "intel-gpu"
    monkeypatch.setattr(intel, "mismatch", lambda *_: "far off")
    np.testing.assert_array_equal(engine(rgb), CpuEngine(StyleModel.open(tiny_style))(rgb))
    assert "the CPU stylizes them" in caplog.text


@pytest.mark.parametrize(("gpu_ms", "npu_ms", "expected"), [(5, 20, "intel-gpu"), (5, 4, "intel-npu"), (9, 9, "cpu")])
def test_auto_takes_the_fastest(
    gpu_ms: float, npu_ms: float, expected: str, tiny_style: Path, stand_in: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ms = {"cpu": 10.0, "intel-gpu": gpu_ms, "intel-npu": npu_ms}
    monkeypatch.setattr(precision, "_measured", lambda makers: {name: ms[name] for name in makers})
    assert engines.load(tiny_style).info.name == expected


def test_auto_without_a_device_measures_nothing(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> dict[str, float]:
        raise AssertionError("measured")

    monkeypatch.setattr(precision, "_measured", never)
    if not HAS_DEVICE:
        assert engines.load(tiny_style).info.name == "cpu"


def test_a_device_that_fails_while_it_is_measured_is_passed_over(
    tiny_style: Path, stand_in: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intel, "mismatch", lambda *_: "far off")
    monkeypatch.setattr(precision, "SIZE", (32, 40))
    assert engines.load(tiny_style).info.name == "cpu"
    tried = len(stand_in)
    monkeypatch.setattr(precision, "_known", {})  # another process
    assert engines.load(tiny_style).info.name == "cpu"
    assert len(stand_in) == tried > 0, "it was remembered"
