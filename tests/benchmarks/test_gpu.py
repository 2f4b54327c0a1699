"""The benchmark of the engines for NVIDIA cards, as far as it goes without one."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import gpu, gpu_runs
from benchmarks.subject import NotMeasuredError
from engines.base import RGB, EngineInfo, PendingFrame
from engines.cuda import body_search
from engines.errors import EngineError
from engines.style_file import StyleModel
from rtstyle.style_library import GALLERY


@pytest.fixture(scope="module")
def style() -> StyleModel:
    return StyleModel.open(GALLERY / "vangogh")


class Instant:
    """Notes how many frames it is at, and hands back what it was given."""

    info = EngineInfo("instant", "none", "none", "uint8", "none")

    def __init__(self) -> None:
        self.under_way = self.most = self.frames = 0

    def submit(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> PendingFrame:
        engine = self
        self.under_way += 1
        self.frames += 1
        self.most = max(self.most, self.under_way)

        class Done:
            def result(self) -> RGB:
                engine.under_way -= 1
                return rgb

        return Done()

    def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
        return self.submit(rgb, strength, colours).result()

    def close(self) -> None:
        pass


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card here")
def test_without_a_card_every_row_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "RESULTS", tmp_path / "RESULTS-GPU.md")
    monkeypatch.setattr(sys, "argv", ["gpu"])
    gpu.main()
    text = (tmp_path / "RESULTS-GPU.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| what")]
    assert len(rows) == sum(len(figure.bars) for figure in gpu.FIGURES) == 12
    assert all(row.endswith("| not measured: no GPU here |") for row in rows)
    for bar in ("≥ 1200 fps", "≥ 600 fps", "≥ 15 ×", "≤ 1 ms", "≤ 3 ×", "≥ 1.2 ×", "≤ 16.7 ms", "≤ 600 MB"):
        assert bar in text


def test_a_figure_that_fails_is_told_and_the_others_go_on(style: StyleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: gpu.Bench) -> list[gpu.Row]:
        raise EngineError("the card is too | small", hint="another")

    def good(_: gpu.Bench) -> list[gpu.Row]:
        return [gpu.Row("it", "somehow", "1 ms")]

    figures = (
        gpu.Figure("bad", (("a", "≤ 1"),), fail),
        gpu.Figure("good", (("b", ""),), good),
        gpu.Figure("no", (("c", ""),), good),
    )
    monkeypatch.setattr(gpu, "FIGURES", figures)
    monkeypatch.setattr(gpu, "require", lambda: None)
    rows = gpu.measure(gpu.Bench(style, style, compile=False), ("bad", "good"))
    assert [row.verdict for row in rows] == [
        "not measured: the card is too / small (another)",
        "",
        "not measured: left out",
    ]


def test_unknown_figures_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", "--only", "speed"])
    with pytest.raises(SystemExit):
        gpu.main()
    assert "throughput" in capsys.readouterr().err


def test_frames_are_in_flight_and_all_come_back() -> None:
    engine, frames = Instant(), [np.zeros((16, 16, 3), np.uint8)] * 2
    assert gpu_runs.flown(engine, frames, 10) > 0
    assert (engine.frames, engine.most, engine.under_way) == (10, gpu_runs.IN_FLIGHT, 0)


def test_every_frame_is_another() -> None:
    frames = gpu_runs.pictures((32, 48))
    assert len({frame.tobytes() for frame in frames}) == gpu_runs.PICTURES
    assert all(frame.shape == (32, 48, 3) and frame.std() > 30 for frame in frames)


def test_times_are_of_the_calls() -> None:
    times = gpu_runs.alone_ms(lambda rgb: time.sleep(0.002) or rgb, (16, 16), 5)
    assert len(times) == 5 and min(times) >= 2
    seconds, result = gpu_runs.timed(lambda: 7)
    assert result == 7 and seconds >= 0


def test_bytes_of_the_layers(style: StyleModel) -> None:
    """By hand for the widest layer, and in proportion to the frame for all."""
    small, large = (gpu_runs.layer_bytes(style, size) for size in ((360, 640), (720, 1280)))
    assert 3.5 < large / small < 4.1
    x, weight = torch.empty(1, 16, 10, 20, device="meta"), torch.empty(8, 16, 3, 3, device="meta")
    layers = gpu_runs._Layers()
    with layers:
        y = torch.nn.functional.conv2d(x, weight)
        torch.nn.functional.interpolate(y, scale_factor=2, mode="bilinear")
        torch.relu(y)
    assert layers.bytes == 4 * (16 * 200 + 8 * 16 * 9 + 8 * 8 * 18 + 8 * 8 * 18 * (1 + 4))
    # The head alone reads 16 channels of fp16 at half resolution and writes 12, the enlargement before it writes 16.
    assert large > 720 * 1280 / 4 * 2 * (16 + 16 + 12)


def test_the_tensorrt_engine_is_built_before_it_is_measured(style: StyleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    from engines.cuda import driver
    from engines.trt import background_build
    from engines.trt import engine as trt_engine

    steps: list[str] = []

    def build_plan(style: StyleModel, height: int, width: int) -> str:
        steps.append(f"build for {width}×{height}")
        return "" if height == 16 else "no kernel"

    class Broken(Instant):
        def submit(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> PendingFrame:
            raise EngineError("the memory is too small")

        def close(self) -> None:
            steps.append("closed")

    monkeypatch.setattr(driver, "check", lambda *_: None)
    monkeypatch.setattr(background_build, "build_plan", build_plan)
    monkeypatch.setattr(trt_engine, "TensorRtEngine", lambda style: Instant())
    assert isinstance(gpu_runs.tensorrt(style, (16, 24)), Instant)
    assert steps == ["build for 24×16"]
    with pytest.raises(NotMeasuredError, match="no kernel"):
        gpu_runs.tensorrt(style, (32, 24))
    monkeypatch.setattr(trt_engine, "TensorRtEngine", lambda style: Broken())
    with pytest.raises(EngineError, match="too small"):
        gpu_runs.tensorrt(style, (16, 24))
    assert steps[-1] == "closed"


def test_the_first_frame_is_timed_with_either_search(style: StyleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    times = itertools.count()
    monkeypatch.setattr(body_search, "run_seconds", lambda _: -next(times))
    first_s, none = gpu_runs.first_frame_s(style, (24, 32), "first", "cpu")
    assert first_s > 0 and none is None
    first_s, until_s = gpu_runs.first_frame_s(style, (24, 32), "later", "cpu")
    assert first_s > 0 and until_s is not None and until_s > 0
    monkeypatch.setattr(gpu_runs, "PATIENCE_S", 0.0)
    assert gpu_runs.first_frame_s(style, (24, 32), "later", "cpu")[1] is None
