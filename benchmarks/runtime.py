"""Which runtime, and how much faster than the network that others use: one table, one run.

    python -m benchmarks.runtime [STYLE_FOLDER] [--size 640x360] [--rounds 30]

Every row takes the same frame, uint8 in → uint8 out, in turns, so that a busy moment of the machine hits all alike.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.johnson import JohnsonGraph
from benchmarks.machine import machine
from engines.base import RGB
from engines.errors import EngineError
from engines.export import save_style
from engines.frame_size import parse_size
from engines.model.generator import Arch, Generator
from engines.openvino.engine import CpuEngine
from engines.openvino.runtime import shared_core
from engines.style_file import StyleMeta, StyleModel
from engines.torch_eager import EagerEngine

Run = Callable[[RGB], RGB]
ROOT = Path(__file__).resolve().parent.parent

# What a process does from its start to its first frame; the time of the interpreter itself is left out.
COLD = """
import sys, time
start = time.perf_counter()
import numpy as np
frame = np.zeros(({height}, {width}, 3), np.uint8)
{run}
print(time.perf_counter() - start)
"""
COLD_RUNS = {
    "OpenVINO": "import engines; engines.load({folder!r}, 'cpu')(frame)",
    "ONNX Runtime": "import onnxruntime; onnxruntime.InferenceSession({folder!r} + '/graph.onnx')"
    ".run(None, {{'frame': frame[None], 'strength': np.ones(1, np.float32)}})",
    "torch eager": "import engines; engines.load({folder!r}, 'torch')(frame)",
}
PACKAGES = {"OpenVINO": "openvino", "ONNX Runtime": "onnxruntime", "torch eager": "torch"}


@dataclass
class Row:
    """One line of the table.

    Attributes:
        network, runtime, precision: what is measured.
        run: one frame.
        times_s: of each call, seconds.
    """

    network: str
    runtime: str
    precision: str
    run: Run
    times_s: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        """Of all calls."""
        return statistics.median(self.times_s) * 1e3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("style", nargs="?", help="folder of a style; otherwise an untrained generator")
    parser.add_argument("--size", default="640x360", help="width x height")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    args = parser.parse_args()
    width, height = parse_size(args.size)
    with tempfile.TemporaryDirectory() as scratch:
        style = StyleModel.open(args.style) if args.style else _untrained(Path(scratch) / "untrained")
        rows = _rows(style, Path(scratch), height, width)
        frame = _picture(height, width)
        _measure(rows, frame, args.rounds)
        golden = rows[0].run(frame)
        cold = {runtime: _cold_start_s(runtime, style, height, width) for runtime in COLD_RUNS}
    (_print_json if args.json else _print_table)(rows, frame, golden, cold)


def _rows(style: StyleModel, scratch: Path, height: int, width: int) -> list[Row]:
    """Ours on every runtime, Johnson's on the same; the first is the golden one."""
    eager = EagerEngine(style, device="cpu")
    rows = [Row("rtstyle", "torch eager", "fp32", eager), Row("rtstyle", "OpenVINO", "fp32", CpuEngine(style))]
    with contextlib.suppress(EngineError):  # the chip has no bf16
        rows.append(Row("rtstyle", "OpenVINO", "bf16", CpuEngine(style, precision="bf16")))
    rows.append(Row("rtstyle", "ONNX Runtime", "fp32", _onnxruntime(style.graph)))
    torch.manual_seed(0)
    johnson = JohnsonGraph().eval()
    graph = _export_johnson(johnson, scratch / "johnson.onnx", height, width)
    rows += [
        Row("Johnson", "torch eager", "fp32", _torch(johnson)),
        Row("Johnson", "OpenVINO", "fp32", _openvino(graph)),
        Row("Johnson", "ONNX Runtime", "fp32", _onnxruntime(graph)),
    ]
    return rows


def _untrained(folder: Path) -> StyleModel:
    """The default shape; the arithmetic, and so the time, does not depend on the weights."""
    torch.manual_seed(0)
    generator = Generator(Arch())
    with torch.no_grad():
        for value in generator.parameters():
            value.add_(0.03 * torch.randn_like(value))
    return save_style(folder, generator, StyleMeta("untrained", "Untrained", "", "", "CC0-1.0", {}))


def _export_johnson(net: torch.nn.Module, path: Path, height: int, width: int) -> Path:
    """Its ONNX graph for one frame size, which favours it: nothing is left to be worked out while running."""
    example = (torch.zeros(1, height, width, 3, dtype=torch.uint8), torch.ones(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, example, path, input_names=["frame", "strength"], dynamo=True, verbose=False)
    return path


def _torch(net: torch.nn.Module) -> Run:
    def run(rgb: RGB) -> RGB:
        with torch.inference_mode():
            result: RGB = net(torch.from_numpy(rgb)[None], torch.ones(1))[0].contiguous().numpy()
        return result

    return run


def _openvino(graph: Path) -> Run:
    core = shared_core()
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(graph), "CPU", options).create_infer_request()

    def run(rgb: RGB) -> RGB:
        inputs = {0: rgb[None], 1: np.ones(1, np.float32)}
        result: RGB = request.infer(inputs, share_inputs=True, share_outputs=True)[0][0].copy()
        return result

    return run


def _onnxruntime(graph: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    def run(rgb: RGB) -> RGB:
        result: RGB = session.run(None, {"frame": rgb[None], "strength": np.ones(1, np.float32)})[0][0]
        return result

    return run


def _picture(height: int, width: int) -> RGB:
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 100 * np.sin(x / a + y / b) for a, b in ((9, 31), (23, -7), (3, 5))]
    return np.stack(waves, axis=-1).astype(np.uint8)


def _measure(rows: list[Row], frame: RGB, rounds: int) -> None:
    for row in rows:
        for _ in range(3):
            row.run(frame)
    for _ in range(rounds):
        for row in rows:
            start = time.perf_counter()
            row.run(frame)
            row.times_s.append(time.perf_counter() - start)


def _cold_start_s(runtime: str, style: StyleModel, height: int, width: int) -> float:
    """Seconds from the first import to the first frame, the least of three processes (files are in memory then)."""
    run = COLD_RUNS[runtime].format(folder=str(style.folder.resolve()))
    script = COLD.format(height=height, width=width, run=run)
    results = [
        subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    return min(float(result.stdout.split()[-1]) for result in results)


def _size_mb(runtime: str) -> float:
    """Of the installed package without what it depends on, MB."""
    files = importlib.metadata.files(PACKAGES[runtime]) or []
    paths = (Path(str(file.locate())) for file in files)
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def _difference(row: Row, frame: RGB, golden: RGB) -> tuple[int, float] | None:
    """Largest and mean difference from the golden picture, 8-bit steps; ``None`` for another network."""
    if row.network != "rtstyle":
        return None
    difference = np.abs(row.run(frame).astype(np.int16) - golden)
    return int(difference.max()), float(difference.mean())


def _print_table(rows: list[Row], frame: RGB, golden: RGB, cold: dict[str, float]) -> None:
    slow = {row.runtime: row.median_ms for row in rows if row.network == "Johnson"}
    print(f"{frame.shape[1]}×{frame.shape[0]}, uint8 in → uint8 out, median of {len(rows[0].times_s)} calls")
    print(f"{machine()}\n")
    print("| network | runtime | precision | ms | × Johnson, same runtime | × Johnson, torch eager | max, mean off |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        ratios = f"{slow[row.runtime] / row.median_ms:.1f} | {slow['torch eager'] / row.median_ms:.1f}"
        difference = _difference(row, frame, golden)
        told = f"{difference[0]}, {difference[1]:.4f}" if difference else ""
        print(f"| {row.network} | {row.runtime} | {row.precision} | {row.median_ms:.1f} | {ratios} | {told} |")
    print("\n| runtime | version | installed, MB | first import to first frame, s |\n|---|---|---|---|")
    for runtime, seconds in cold.items():
        version = importlib.metadata.version(PACKAGES[runtime])
        print(f"| {runtime} | {version} | {_size_mb(runtime):.0f} | {seconds:.2f} |")


def _print_json(rows: list[Row], frame: RGB, golden: RGB, cold: dict[str, float]) -> None:
    table = [
        {
            "network": row.network,
            "runtime": row.runtime,
            "precision": row.precision,
            "median_ms": row.median_ms,
            "difference": _difference(row, frame, golden),
        }
        for row in rows
    ]
    print(json.dumps({"machine": machine(), "rows": table, "first_frame_s": cold}))


if __name__ == "__main__":
    main()
