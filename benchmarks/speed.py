"""Speed of one frame against the Johnson network, on the same runtime and in torch, in one run.

python -m benchmarks.speed [--style NAME|DIR]
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from benchmarks.johnson import JohnsonGraph
from benchmarks.report import Row, Section, at_least
from benchmarks.subject import Subject
from engines.base import RGB
from engines.openvino.engine import CpuEngine
from engines.openvino.runtime import shared_core

WIDTH, HEIGHT = 640, 360
THREADS = 2
ROUNDS, CALLS = 8, 5
"""Turns that each network gets, and calls in a turn that are counted; one before them is not: the caches still
hold the last network, while in a stream of frames they hold one's own."""

LIMIT_S = 120.0
"""No further turn begins after this long, seconds: a machine that is so slow is busy with something else."""

SAME_RUNTIME, TORCH, INT8 = 20.0, 30.0, 30.0
"""The bars: how many times faster than Johnson's network, in fp32 on the same runtime and in torch, and in int8."""

FIRST_GENERATOR = 19.2
"""What the generator before contrast reached on the same runtime; later ones shall not be slower."""

Run = Callable[[RGB], RGB]


def measure(subject: Subject) -> Section:
    """Time the cpu engine and Johnson's network in turns."""
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    johnson = JohnsonGraph().eval()
    parameters = sum(value.numel() for value in johnson.parameters())
    engine, fast = CpuEngine(subject.style, THREADS), CpuEngine(subject.style, THREADS, "int8")
    runs: dict[str, Run] = {
        "ours": engine,
        "int8": fast,
        "openvino": _openvino(_export(johnson, subject.scratch)),
        "torch": _torch(johnson),
    }
    times = times_ms(runs, _picture())
    ms = {name: statistics.median(values) for name, values in times.items()}
    counted = len(times["ours"])
    ratio = ms["openvino"] / ms["ours"]
    how = f"{WIDTH}×{HEIGHT}, uint8 in → uint8 out, {THREADS} threads, median of {counted} calls in turns"
    rows = [
        Row("one frame, cpu engine, fp32", how, f"{ms['ours']:.1f} ms"),
        Row("one frame, cpu engine, int8", how, f"{ms['int8']:.1f} ms"),
        Row("one frame, Johnson network, OpenVINO", how, f"{ms['openvino']:.0f} ms"),
        Row("one frame, Johnson network, torch eager", how, f"{ms['torch']:.0f} ms"),
        at_least("faster than Johnson on the same runtime", "ratio", ratio, SAME_RUNTIME, " ×"),
        at_least(
            "latency, by that of the first generator", "the same ratio: it had 19.2 ×", ratio, FIRST_GENERATOR, " ×"
        ),
        at_least("faster than Johnson in torch eager", "ratio", ms["torch"] / ms["ours"], TORCH, " ×"),
        at_least(
            "int8, faster than Johnson in fp32 on the same runtime", "ratio", ms["openvino"] / ms["int8"], INT8, " ×"
        ),
    ]
    runtime = engine.info.runtime
    engine.close()
    fast.close()
    notes = [
        f"Johnson et al. 2016 as written in `benchmarks/johnson.py`: {parameters / 1e6:.2f} M parameters. Its graph is "
        f"exported for this one frame size and compiled with the same options as ours ({runtime}, fp32, latency hint)."
    ]
    return Section("speed", "Engine speed", subject.label, rows, notes)


def _picture() -> RGB:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = [127 + 100 * np.sin(x / a + y / b) for a, b in ((9, 31), (23, -7), (3, 5))]
    return np.stack(waves, axis=-1).astype(np.uint8)


def times_ms(runs: Mapping[str, Run], frame: RGB) -> dict[str, list[float]]:
    """Every call's time; the networks take turns, so that a busy moment of the machine hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(frame)
    began_s = time.perf_counter()
    for turn in range(ROUNDS):
        if turn and time.perf_counter() - began_s > LIMIT_S:
            break
        for name, run in runs.items():
            run(frame)
            for _ in range(CALLS):
                start_s = time.perf_counter()
                run(frame)
                times[name].append((time.perf_counter() - start_s) * 1e3)
    return times


def _export(johnson: JohnsonGraph, folder: Path) -> Path:
    """ONNX for one frame size, which favours it: nothing is left to be worked out while running."""
    import torch

    path = folder / "johnson.onnx"
    example = (torch.zeros(1, HEIGHT, WIDTH, 3, dtype=torch.uint8), torch.ones(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(johnson, example, path, input_names=["frame", "strength"], dynamo=True, verbose=False)
    return path


def _openvino(graph: Path) -> Run:
    core = shared_core()
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": THREADS}
    request = core.compile_model(core.read_model(graph), "CPU", options).create_infer_request()

    def run(rgb: RGB) -> RGB:
        inputs = {0: rgb[None], 1: np.ones(1, np.float32)}
        painting: RGB = request.infer(inputs, share_inputs=True, share_outputs=True)[0][0].copy()
        return painting

    return run


def _torch(johnson: JohnsonGraph) -> Run:
    import torch

    def run(rgb: RGB) -> RGB:
        with torch.inference_mode():
            painting: RGB = johnson(torch.from_numpy(rgb)[None], torch.ones(1))[0].contiguous().numpy()
        return painting

    return run


if __name__ == "__main__":
    from benchmarks.bench import main

    main("speed")
