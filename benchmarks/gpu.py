"""Measure the engines for NVIDIA GPUs on this machine and write ``benchmarks/RESULTS-GPU.md``.

    python -m benchmarks.gpu [--style NAME|DIR] [--no-compile]

Host array in, host array out. Without a GPU, every row says so.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import statistics
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import gpu_memory, gpu_runs
from benchmarks.report import Row, Section, at_least, at_most, not_measured, setting, table, write
from benchmarks.subject import NotMeasuredError, Subject, opened
from engines.base import Engine, PipelinedEngine
from engines.cuda.engine import CudaEngine, require
from engines.cuda.shared_graphs import BodyName
from engines.errors import EngineError, StylerError
from engines.style_file import StyleModel
from rtstyle import style_library

RESULTS = Path(__file__).parent / "RESULTS-GPU.md"
HEAD = """# What rtstyle reaches on an NVIDIA GPU

Written by `make bench-gpu`. "Missed by" is relative to the bar.
"""

NO_GPU = "no GPU here"

HD, FULL_HD = (720, 1280), (1080, 1920)
"""Height and width, pixels."""

BAR_FPS = {HD: 1200.0, FULL_HD: 600.0}
TIMES_JOHNSON, ALONE_MS, TIMES_FLOOR, TIMES_CUDA = 15.0, 1.0, 3.0, 1.2
CHANGE_MS, MEMORY_MB = 1000 / 60, 600.0
"""The bars."""


@dataclass(frozen=True)
class Figure:
    """One kind of measurement, its bars for machines that cannot take it, and the function that takes it."""

    name: str
    bars: tuple[tuple[str, str], ...]
    take: Callable[[Bench], list[Row]]


@dataclass(frozen=True)
class Bench:
    """The subject of the measurements.

    Attributes:
        style: the style.
        other: another style of the same architecture, to switch to.
        compile: also measure the body that torch.compile makes, which takes minutes.
    """

    style: StyleModel
    other: StyleModel
    compile: bool


def throughput(bench: Bench) -> list[Row]:
    """Measure frames per second, alternating with Johnson's network."""
    rows = []
    for size, bar in BAR_FPS.items():
        engine = CudaEngine(bench.style)
        ours, theirs = gpu_runs.in_turns(engine, size)
        engine.close()
        how = f"{_name(size)}, {gpu_runs.IN_FLIGHT} frames in flight, median of {gpu_runs.ROUNDS} turns"
        rows += [
            at_least("`cuda`", how, ours, bar, " fps", 0),
            Row("Johnson network, torch eager, fp16", f"{_name(size)}, upload, stylize, download", f"{theirs:.1f} fps"),
        ]
        ratio = ours / theirs
        what = "`cuda` against the Johnson network"
        if size == HD:
            rows.append(at_least(what, "ratio, in one run", ratio, TIMES_JOHNSON, " ×"))
        else:
            rows.append(Row(what, "ratio, in one run", f"{ratio:.1f} ×"))
    return rows


def alone(bench: Bench) -> list[Row]:
    """Measure the latency of single frames, and of their steps."""
    engine = CudaEngine(bench.style)
    times = gpu_runs.alone_ms(lambda rgb: engine.submit(rgb).result(), HD)
    steps = gpu_runs.steps_ms(engine, HD)
    engine.close()
    how = f"{_name(HD)}, submit to result, median of {len(times)}"
    worst = sorted(times)[int(len(times) * 0.99)]
    return [
        at_most("one frame alone", how, statistics.median(times), ALONE_MS, " ms", 2),
        Row("one frame alone, 99 %", how, f"{worst:.2f} ms"),
        Row("its steps alone", _name(HD), ", ".join(f"{step} {ms:.3f} ms" for step, ms in steps.items())),
    ]


def floor(bench: Bench) -> list[Row]:
    """Compare the compute time with the time in which a copy moves the bytes that the layers must move."""
    bytes_per_s = gpu_runs.copy_bytes_per_s()
    rows = [Row("copy bandwidth", "1 GiB on the GPU, read + written, median", f"{bytes_per_s / 1e12:.2f} TB/s")]
    for size in BAR_FPS:
        engine = CudaEngine(bench.style)
        ms = gpu_runs.compute_ms(engine, size)
        engine.close()
        moved = gpu_runs.layer_bytes(bench.style, size)
        floor_ms = moved / bytes_per_s * 1e3
        how = f"{_name(size)}, {ms:.3f} ms against {floor_ms:.3f} ms for {moved / 1e6:.0f} MB"
        rows.append(at_most("compute against the floor", how, ms / floor_ms, TIMES_FLOOR, " ×", 2))
    return rows


def tensorrt(bench: Bench) -> list[Row]:
    """Compare the TensorRT engine with the cuda engine, alternating."""
    rows = []
    for size in BAR_FPS:
        what, how = "`tensorrt` against `cuda`", f"{_name(size)}, frames a second, in turns"
        try:
            better = gpu_runs.tensorrt(bench.style, size)
        except (EngineError, NotMeasuredError) as error:
            rows.append(not_measured(what, how, f"≥ {TIMES_CUDA:g} ×", _reason(error)))
            continue
        cuda = CudaEngine(bench.style)
        ours, theirs = gpu_runs.both_fps(cuda, better, size)
        _close(cuda, better)
        rows.append(at_least(what, f"{how}, {theirs:.0f} / {ours:.0f}", theirs / ours, TIMES_CUDA, " ×", 2))
    return rows


def change(bench: Bench) -> list[Row]:
    """Measure what a switch of styles costs."""
    first = CudaEngine(bench.style)
    loading, second = gpu_runs.timed(lambda: CudaEngine(bench.other))
    steady, changed = gpu_runs.change_ms(first, second, HD)
    _close(first, second)
    how = f"{_name(HD)}, another style for each frame {changed:.2f} ms, one style {steady:.2f} ms"
    return [
        at_most("change of style", how, max(0.0, changed - steady), CHANGE_MS, " ms", 2),
        Row("loading another style", "from its folder to the GPU, beside one that runs", f"{loading * 1e3:.0f} ms"),
    ]


def first_frame(bench: Bench) -> list[Row]:
    """Measure what the first frame of a size takes, with cuDNN's search before it and with the search beside frames."""
    rows = []
    for size in BAR_FPS:
        searched_s, _ = gpu_runs.first_frame_s(bench.style, size, "first")
        guessed_s, until_s = gpu_runs.first_frame_s(bench.style, size, "later")
        later = "the guessed kernels stay" if until_s is None else f"faster ones after {until_s:.1f} s of frames"
        how = f"{_name(size)}, kernels guessed, then {later}; if they are searched for first, {searched_s:.2f} s"
        rows.append(Row("first frame of a size", how, f"{guessed_s * 1e3:.0f} ms"))
    return rows


def memory(bench: Bench) -> list[Row]:
    """Measure the GPU memory of a process."""
    held = gpu_memory.measured(bench.style.folder, FULL_HD)
    how = f"{_name(FULL_HD)}, of the whole GPU, after 100 frames"
    parts = f"of it torch {held['torch_mb']:.0f} MB, at most {held['torch_peak_mb']:.0f} MB while capturing"
    return [at_most("GPU memory beyond the context", f"{how}; {parts}", held["beyond_mb"], MEMORY_MB, " MB", 0)]


BODIES: Mapping[BodyName, str] = {
    "eager": "body of torch's own kernels",
    "compile": "body of torch.compile",
    "triton": "body with Triton kernels",
}
"""The kinds of body, and the names of their rows."""


def bodies(bench: Bench) -> list[Row]:
    """Compare the three kinds of body."""
    rows = []
    for size, (body, what) in itertools.product(BAR_FPS, BODIES.items()):
        how = f"{_name(size)}, compute, without the way up and down"
        if body == "compile" and not bench.compile:
            rows.append(not_measured(what, how, "", "left out"))
            continue
        try:
            seconds, ms = gpu_runs.timed(lambda body=body, size=size: _body_ms(bench.style, body, size))  # type: ignore[misc]
        except EngineError as error:  # Triton, or its C compiler, may be missing
            rows.append(not_measured(what, how, "", _reason(error)))
            continue
        rows.append(Row(what, f"{how}, ready and measured after {seconds:.0f} s", f"{ms:.3f} ms"))
    return rows


def _body_ms(style: StyleModel, body: BodyName, size: tuple[int, int]) -> float:
    engine = CudaEngine(style, body=body)
    try:
        return gpu_runs.compute_ms(engine, size)
    finally:
        engine.close()


FIGURES = (
    Figure(
        "throughput",
        (
            (f"`cuda`, {HD[1]}×{HD[0]}", "≥ 1200 fps"),
            (f"`cuda`, {FULL_HD[1]}×{FULL_HD[0]}", "≥ 600 fps"),
            ("`cuda` against the Johnson network in torch eager, fp16", "≥ 15 ×"),
        ),
        throughput,
    ),
    Figure("alone", (("one frame alone", "≤ 1 ms"),), alone),
    Figure("floor", (("compute against the floor", "≤ 3 ×"),), floor),
    Figure("tensorrt", (("`tensorrt` against `cuda`", "≥ 1.2 ×"),), tensorrt),
    Figure("change", (("change of style", "≤ 16.7 ms"),), change),
    Figure("first", (("first frame of a size", ""),), first_frame),
    Figure("memory", (("GPU memory beyond the context", "≤ 600 MB"),), memory),
    Figure("bodies", tuple((what, "") for what in BODIES.values()), bodies),
)
"""All figures, in the order of the report."""

NOTES = [
    "Frames go in and come out as NumPy arrays; nothing of a frame stays on the GPU.",
    "The Johnson network is the one of `benchmarks/johnson.py` in fp16 with cuDNN's kernels chosen by measuring, in "
    "the loop that most programs have: upload, stylize, download, one frame after the other.",
    "The floor: each convolution, pooling and enlargement reads its input and its weights once and writes its output "
    "once, all else costs nothing; divided by the bandwidth of a copy that was measured in the same run.",
    "Beyond the context: the memory in use on the whole GPU, less that after starting CUDA. It includes cuDNN's code.",
    "Triton kernels: the whole frame, from compute capability 8.0 on; on older GPUs torch's own layers between a first "
    "and a last kernel.",
]


def measure(bench: Bench, only: tuple[str, ...]) -> list[Row]:
    """Return the rows of all figures, measured or with the reason why not."""
    reason = "left out"
    try:
        require()
    except EngineError:
        reason, only = NO_GPU, ()
    rows: list[Row] = []
    for figure in FIGURES:
        fault = reason
        if figure.name in only:
            print(f"measuring {figure.name} …", file=sys.stderr, flush=True)
            try:
                rows += figure.take(bench)
                continue
            except (StylerError, NotMeasuredError, RuntimeError) as error:
                fault = _reason(error)
        rows += [not_measured(what, "host to host", bar, fault) for what, bar in figure.bars]
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = tuple(figure.name for figure in FIGURES)
    parser.add_argument("--style", metavar="NAME|DIR", help="the style to measure; by default vangogh")
    parser.add_argument("--only", default=",".join(names), help=f"some of {', '.join(names)}, with commas")
    parser.add_argument(
        "--no-compile", action="store_true", help="leave out the body of torch.compile, which takes minutes"
    )
    args = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("engines").setLevel(logging.INFO)  # the progress of TensorRT builds
    only = tuple(args.only.split(","))
    if unknown := set(only) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    try:
        with opened(args.style, None) as subject:
            machine = setting() + gpu_setting()
            rows = measure(Bench(subject.style, _other(subject), not args.no_compile), only)
            section = Section("gpu", "Engines for NVIDIA GPUs", subject.label, rows, NOTES, machine)
    except StylerError as error:
        sys.exit(f"benchmarks: {error}")
    print(table(section), flush=True)
    write(RESULTS, f"{HEAD}\n{table(section)}")


def gpu_setting() -> str:
    """Return GPU, driver and libraries, for the line that names the machine."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not torch.cuda.is_available():
            return f"; {NO_GPU}"
    gpu = torch.cuda.get_device_properties(0)
    libraries = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"  # type: ignore[no-untyped-call]
    return (
        f"; {gpu.name}, capability {gpu.major}.{gpu.minor}, {gpu.total_memory / 1e9:.0f} GB, "
        f"driver {gpu_memory.driver()}, {libraries}"
    )


def _other(subject: Subject) -> StyleModel:
    """Return another style of the same architecture, or the same one again."""
    for entry in style_library.installed():
        if not entry.fault and entry.name != subject.style.name:
            other = StyleModel.open(entry.path)
            if other.arch == subject.style.arch:
                return other
    return StyleModel.open(subject.style.folder)


def _close(*engines: Engine | PipelinedEngine) -> None:
    for engine in engines:
        engine.close()


def _name(size: tuple[int, int]) -> str:
    return f"{size[1]}×{size[0]}"


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].replace("|", "/")


if __name__ == "__main__":
    main()
