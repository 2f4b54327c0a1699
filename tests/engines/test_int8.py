"""int8 on the CPU: close to fp32, for plain, shared, mixed and recoloured styles; and the choice of the faster one."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data

import engines
from engines.base import RGB
from engines.cache_dirs import FOLDER_VARIABLES
from engines.errors import EngineError, StyleError
from engines.mixing.mixed_style import mix_styles
from engines.openvino import precision, quantized_graph
from engines.openvino.engine import CpuEngine
from engines.openvino.quantized_graph import (
    BLUR,
    LARGEST,
    LARGEST_UNSAFE,
    LEAST,
    PIXELS,
    REST,
    SCALE,
    largest_weight,
    measure_ranges,
    quantized_weights,
)
from engines.openvino.shared_weights import SharedCpuEngine
from engines.style_file import MANIFEST, StyleModel
from rtstyle import style_library
from tests.conftest import ROOT

MEAN, HIGH = 2.0, 8.0 if largest_weight() == LARGEST else 16.0
"""Largest mean difference and 99th percentile, of 255: promised in ``benchmarks/int8.py`` for CPUs with VNNI. Without
it, weights have one bit less."""


def gallery_style(name: str) -> StyleModel:
    return StyleModel.open(style_library.find(name))


@pytest.fixture(scope="module")
def photograph() -> RGB:
    return np.ascontiguousarray(data.astronaut()[:250, :403])


def assert_close(actual: RGB, expected: RGB, mean: float = MEAN, high: float = HIGH) -> None:
    difference = np.abs(actual.astype(np.int16) - expected)
    assert difference.mean() <= mean and np.quantile(difference, 0.99) <= high, difference.mean()
    assert difference.any()  # it was in int8


@pytest.mark.parametrize("name", ["mosaic", "udnie", "vangogh"])
@pytest.mark.parametrize("kind", [CpuEngine, SharedCpuEngine])
def test_is_close_to_fp32(name: str, kind: type[CpuEngine], photograph: RGB) -> None:
    style = gallery_style(name)
    fast = kind(style, precision="int8")
    assert_close(fast(photograph), CpuEngine(style)(photograph))
    assert fast.info.precision == "int8"


@pytest.mark.parametrize("kind", [CpuEngine, SharedCpuEngine])
@pytest.mark.parametrize("colours", [0.4, 1.0])
def test_with_own_colours(kind: type[CpuEngine], colours: float, photograph: RGB) -> None:
    style = gallery_style("wave")
    assert_close(
        kind(style, precision="int8")(photograph, colours=colours), CpuEngine(style)(photograph, colours=colours)
    )


@pytest.mark.parametrize("kind", [CpuEngine, SharedCpuEngine])
def test_of_a_mix(kind: type[CpuEngine], photograph: RGB) -> None:
    mix = mix_styles([gallery_style("vangogh"), gallery_style("mosaic")], [0.5, 0.5])
    assert_close(kind(mix, precision="int8")(photograph), CpuEngine(mix)(photograph))


def test_takes_one_style_after_the_other(photograph: RGB) -> None:
    engine = SharedCpuEngine(gallery_style("vangogh"), precision="int8")
    engine(photograph)
    wave = gallery_style("wave")
    engine.take_style(wave)
    np.testing.assert_array_equal(engine(photograph), SharedCpuEngine(wave, precision="int8")(photograph))


def test_takes_a_style_without_ranges_in_fp32(photograph: RGB) -> None:
    engine = SharedCpuEngine(gallery_style("vangogh"), precision="int8")
    engine(photograph)
    old = replace(gallery_style("wave"), ranges={})
    engine.take_style(old)
    np.testing.assert_array_equal(engine(photograph), SharedCpuEngine(old)(photograph))
    assert engine.info.precision == "fp32"


@pytest.mark.parametrize("picture", ["noise", "black and white", "black", "checkerboard"])
def test_pictures_beyond_the_measured_ranges(picture: str) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :160]
    made = {
        "noise": rng.integers(0, 256, (96, 160, 3)),
        "black and white": np.repeat(255 * rng.integers(0, 2, (96, 160, 1)), 3, 2),
        "black": np.zeros((96, 160, 3)),
        "checkerboard": np.repeat(255 * ((x // 8 + y // 8) % 2)[..., None], 3, 2),
    }
    style, rgb = gallery_style("udnie"), made[picture].astype(np.uint8)
    difference = np.abs(CpuEngine(style, precision="int8")(rgb).astype(np.int16) - CpuEngine(style)(rgb))
    assert difference.mean() <= 4.0


def test_the_blur_of_the_frame_is_nearly_exact() -> None:
    style = gallery_style("vangogh")
    weights = {name: value.astype(np.float32) for name, value in style.tensors().items()}
    found = quantized_weights(weights, style.ranges)
    steps = largest_weight()
    parts = [
        np.rint(steps * found[name]) / steps * found[name + SCALE].reshape(-1, 1, 1, 1) for name in (BLUR, BLUR + REST)
    ]
    np.testing.assert_allclose(parts[0] + parts[1], weights[BLUR], atol=2e-4)


WITHOUT_VNNI = """
import sys
import numpy as np
from skimage import data
from engines.openvino import quantized_graph
from engines.openvino.engine import CpuEngine
from engines.style_file import StyleModel

quantized_graph.largest_weight = lambda: int(sys.argv[2])
style, rgb = StyleModel.open(sys.argv[1]), np.ascontiguousarray(data.astronaut()[:250, :403])
difference = np.abs(CpuEngine(style, precision="int8")(rgb).astype(np.int16) - CpuEngine(style)(rgb))
print(difference.mean(), np.quantile(difference, 0.99))
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the fault is one of x86")
def test_nothing_is_cut_off_without_vnni() -> None:
    """oneDNN can be told to leave newer instructions alone."""

    def differences(largest: int) -> tuple[float, float]:
        command = [sys.executable, "-c", WITHOUT_VNNI, str(style_library.find("vangogh")), str(largest)]
        environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
        mean, high = (float(word) for word in done.stdout.split())
        return mean, high

    mean, high = differences(LARGEST_UNSAFE)
    assert mean <= MEAN and high <= HIGH
    assert differences(LARGEST)[1] > high, "sums are exact here: then larger weights are better"


def test_the_steps_suit_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {cv2.getHardwareFeatureName(number): number for number in range(512)}

    def found(machine: str, *features: str) -> int:
        monkeypatch.setattr(platform, "machine", lambda: machine)
        monkeypatch.setattr(cv2, "checkHardwareSupport", lambda number: number in [numbers[one] for one in features])
        largest_weight.cache_clear()
        return largest_weight()

    assert found("x86_64", "AVX2") == found("AMD64") == LARGEST_UNSAFE
    assert found("x86_64", "AVX2", "AVX512VNNI") == LARGEST
    assert found("aarch64") == LARGEST
    largest_weight.cache_clear()


def test_the_offset_of_a_range_is_taken_from_the_bias(photograph: RGB) -> None:
    """Wider ranges are coarser, but shift nothing."""
    style = gallery_style("vangogh")
    wide = dict(style.ranges)
    for name, (low, high) in style.ranges.items():
        if name not in PIXELS:
            wide[name] = (min(low) - 0.3 * max(high),), (1.3 * max(high),)
    shifted = CpuEngine(replace(style, ranges=wide), precision="int8")(photograph)
    plain = CpuEngine(style)(photograph)
    assert abs(float(shifted.mean()) - float(plain.mean())) < 1.0
    assert_close(shifted, plain)


def test_measured_ranges_are_those_of_the_style() -> None:
    style = gallery_style("vangogh")
    found = measure_ranges(style, [np.ascontiguousarray(data.coffee()[:256, :384])])
    assert found.keys() == style.ranges.keys()
    for name, (low, high) in found.items():
        known_low, known_high = style.ranges[name]
        assert min(known_low) <= 0.7 * min(low) and 0.3 * max(known_high) <= max(high), name
        if name not in PIXELS:
            assert len(set(high)) > 8, "each channel has its own"
            spans = np.subtract(high, low)
            assert spans.min() >= LEAST * spans.max() - 1e-4


def test_a_channel_that_is_never_above_0_has_a_range(tmp_path: Path) -> None:
    folder = tmp_path / "style"
    shutil.copytree(style_library.find("vangogh"), folder)
    low, high = quantized_graph._narrowed(np.array([-5.0, -10.0], np.float32), np.array([0.0, 10.0], np.float32))
    assert high[0] <= 0.0
    assert StyleModel.open(folder).with_ranges({"up.conv.weight": (low, high)}).ranges["up.conv.weight"] == (low, high)


def test_a_style_without_ranges_is_refused(tiny_style: Path) -> None:
    with pytest.raises(EngineError, match="tiny cannot run in int8") as told:
        engines.load(tiny_style, "cpu:int8")
    assert "fp32" in str(told.value.hint)


def test_engine_names_with_a_precision(tiny_style: Path) -> None:
    assert engines.load(tiny_style, "cpu:fp32").info.precision == "fp32"
    assert engines.load(tiny_style, "cpu:fp32", shared=True).info.precision == "fp32"
    for name in ("cpu:int4", "torch:int8", "cpu:"):
        with pytest.raises(EngineError, match=f"no engine '{name}'") as told:
            engines.load(tiny_style, name)
        assert "cpu:int8" in str(told.value.hint)


@pytest.mark.parametrize(
    "stored",
    [
        {"stem": [0]}, {"stem": [1, 0]}, {"stem": [0, 1e9]}, {"stem": ["0", 1]}, {"stem": [0, []]},
        {"stem": [0, [1, 0]]}, {"stem": [[0, 0, 0], [1, 1]]}, {"stem": [[[0]], 1]}, [1, 2], "wide",
    ],
)  # fmt: skip
def test_a_damaged_range_is_named(stored: object, tmp_path: Path) -> None:
    folder = tmp_path / "style"
    shutil.copytree(style_library.find("vangogh"), folder)
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    (folder / MANIFEST).write_text(json.dumps(manifest | {"ranges": stored}), "utf-8")
    with pytest.raises(StyleError, match="range"):
        StyleModel.open(folder)


def test_ranges_of_other_weights_are_refused() -> None:
    vangogh = gallery_style("vangogh")
    style = replace(vangogh, ranges={"none.conv.weight": ((0.0,), (1.0,))})
    narrow = replace(vangogh, ranges={"up.conv.weight": ((0.0,), (1.0, 2.0, 3.0))})
    for kind in (CpuEngine, SharedCpuEngine):
        with pytest.raises(StyleError, match="ranges of other weights"):
            kind(style, precision="int8")
        with pytest.raises(EngineError, match="another number of channels"):
            kind(narrow, precision="int8")


def test_the_times_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLES["engines"], str(tmp_path))
    monkeypatch.setattr(precision, "_known", {})
    monkeypatch.setattr(precision, "SIZE", (48, 64))
    style = gallery_style("vangogh")
    first = precision.choose(style)
    assert set(first.milliseconds) == {"fp32", "int8"}

    def never(*_: object) -> dict[str, float]:
        raise AssertionError("measured again")

    monkeypatch.setattr(precision, "_measured", never)
    assert precision.choose(style) == first
    monkeypatch.setattr(precision, "_known", {})  # another process
    assert precision.choose(style) == first


class _Clock:
    """The time that engines say they took."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def perf_counter(self) -> float:
        return self.now_s


class _Timed:
    """An engine whose frames take the given times, then the last one again, seconds."""

    def __init__(self, clock: _Clock, *seconds: float) -> None:
        self._clock, self._seconds = clock, seconds
        self.frames = 0

    def __call__(self, frame: RGB) -> RGB:
        self._clock.now_s += self._seconds[min(self.frames, len(self._seconds) - 1)]
        self.frames += 1
        return frame

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("fp32_s", "int8_s", "frames", "expected"),
    [
        ((1.0, 0.02), (1.0, 0.01), precision.RUNS + 1, {"fp32": 20, "int8": 10}),
        ((9.0, 0.3), (9.0, 0.25), 7, {"fp32": 300, "int8": 250}),  # six rounds of 0.55 s; what compiles is not timed
        ((90.0, 20.0), (90.0, 30.0), precision.LEAST_RUNS + 1, {"fp32": 20000, "int8": 30000}),
        ((1.0, 0.02), (1.0, 3.5, 0.01), precision.LEAST_RUNS + 1, {"fp32": 20, "int8": 10}),  # a hiccup
    ],
)
def test_a_slow_processor_times_fewer_frames(
    fp32_s: tuple[float, ...],
    int8_s: tuple[float, ...],
    frames: int,
    expected: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = _Clock()
    monkeypatch.setattr(precision, "time", clock)
    timed = {"fp32": _Timed(clock, *fp32_s), "int8": _Timed(clock, *int8_s)}
    makers: dict[str, Any] = {name: partial(timed.__getitem__, name) for name in timed}
    assert precision._measured(makers) == pytest.approx(expected)
    assert [engine.frames for engine in timed.values()] == [frames, frames]


@pytest.mark.parametrize(("int8_ms", "expected"), [(5.0, "int8"), (9.5, "fp32"), (20.0, "fp32")])
def test_int8_must_be_clearly_faster(
    int8_ms: float, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLES["engines"], str(tmp_path))
    monkeypatch.setattr(precision, "_known", {})
    monkeypatch.setattr(precision, "_measured", lambda *_: {"fp32": 10.0, "int8": int8_ms})
    assert precision.choose(gallery_style("vangogh")).precision == expected


@pytest.mark.parametrize("content", ["{", "[]", '{"x": 1}', '{"x": {"fp32": null}}'])
def test_a_damaged_record_is_measured_again(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLES["engines"], str(tmp_path))
    monkeypatch.setattr(precision, "_known", {})
    monkeypatch.setattr(precision, "_measured", lambda *_: {"fp32": 10.0, "int8": 5.0})
    (tmp_path / precision.FILE).write_text(content, "utf-8")
    assert precision.choose(gallery_style("vangogh")).precision == "int8"
    assert len(json.loads((tmp_path / precision.FILE).read_text("utf-8"))) == 1


def test_a_style_without_ranges_is_not_measured(tiny_style: Path) -> None:
    assert precision.choose(StyleModel.open(tiny_style)) == precision.Choice("fp32", {})
