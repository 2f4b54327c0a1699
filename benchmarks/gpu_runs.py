"""The timing loops of ``benchmarks.gpu``."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from benchmarks.subject import NotMeasuredError
from engines.base import MIN_SIDE, RGB, PendingFrame, PipelinedEngine
from engines.cuda.engine import CudaEngine
from engines.cuda.shared_graphs import Search
from engines.errors import EngineError
from engines.style_file import StyleModel

T = TypeVar("T")

IN_FLIGHT = 3
"""Frames that are submitted to an engine before the first result is awaited."""

ROUNDS, FRAMES, FRAMES_JOHNSON = 7, 300, 20
"""Rounds, and frames in each."""

PICTURES = 8
"""Different frames, in turn, so that no cache holds the next one."""

CALLS = 300
"""Frames that are timed one at a time."""

PATIENCE_S = 20.0
"""How long faster kernels are waited for, seconds."""


def pictures(size: tuple[int, int]) -> list[RGB]:
    """Return noisy waves, which no cache or GPU finds easy."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([127 + 90 * np.sin(x / a + y / b) for a, b in ((9, 31), (23, -7), (3, 5))], axis=-1)
    noise = np.random.default_rng(0)
    frames = (np.clip(waves + noise.normal(0, 12, waves.shape), 0, 255).astype(np.uint8) for _ in range(PICTURES))
    return list(frames)


def flown(engine: PipelinedEngine, frames: Sequence[RGB], count: int) -> float:
    """Return frames per second with ``IN_FLIGHT`` frames under way."""
    flight: deque[PendingFrame] = deque()
    began_s = time.perf_counter()
    for n in range(count):
        flight.append(engine.submit(frames[n % len(frames)]))
        if len(flight) >= IN_FLIGHT:
            flight.popleft().result()
    while flight:
        flight.popleft().result()
    return count / (time.perf_counter() - began_s)


def in_turns(engine: PipelinedEngine, size: tuple[int, int]) -> tuple[float, float]:
    """Return the median frames per second of an engine and of Johnson's network, alternating."""
    frames, johnson = pictures(size), johnson_loop()
    ours, theirs = [], []
    for turn in range(ROUNDS + 1):
        fps = flown(engine, frames, FRAMES)
        began_s = time.perf_counter()
        for n in range(FRAMES_JOHNSON):
            johnson(frames[n % PICTURES])
        if turn:  # the first one warms up
            ours.append(fps)
            theirs.append(FRAMES_JOHNSON / (time.perf_counter() - began_s))
    return statistics.median(ours), statistics.median(theirs)


def both_fps(first: PipelinedEngine, second: PipelinedEngine, size: tuple[int, int]) -> tuple[float, float]:
    """Return the median frames per second of two engines, alternating."""
    frames = pictures(size)
    turns = [(flown(first, frames, FRAMES), flown(second, frames, FRAMES)) for _ in range(ROUNDS + 1)][1:]
    return statistics.median(one for one, _ in turns), statistics.median(two for _, two in turns)


def johnson_loop() -> Callable[[RGB], RGB]:
    """Return Johnson's network as most programs run it: torch eager in fp16, upload, stylize, download."""
    from benchmarks.johnson import Johnson

    torch.manual_seed(0)
    net = Johnson().eval().half().to("cuda")

    def run(rgb: RGB) -> RGB:
        flags = torch.backends.cudnn.flags(enabled=True, benchmark=True)
        with torch.inference_mode(), flags:
            x = torch.from_numpy(rgb).to("cuda").permute(2, 0, 1)[None].half()
            y = torch.clamp(net(x), 0.0, 255.0)
            stylized: RGB = y[0].permute(1, 2, 0).to(torch.uint8).cpu().numpy()
        return stylized

    return run


def alone_ms(stylize: Callable[[RGB], RGB], size: tuple[int, int], calls: int = CALLS) -> list[float]:
    """Return the time of each frame with nothing else under way."""
    frames, times = pictures(size), []
    for n in range(calls + 20):
        began_s = time.perf_counter()
        stylize(frames[n % PICTURES])
        if n >= 20:
            times.append((time.perf_counter() - began_s) * 1e3)
    return times


def change_ms(first: PipelinedEngine, second: PipelinedEngine, size: tuple[int, int]) -> tuple[float, float]:
    """Return the median latency of a frame in one style, and when alternating between two."""
    styles = (first, second)
    steady: list[float] = []
    changed: list[float] = []
    for _ in range(5):
        steady += alone_ms(first, size, 60)
        turn = iter(range(1_000_000))
        changed += alone_ms(lambda rgb, turn=turn: styles[next(turn) % 2](rgb), size, 60)  # type: ignore[misc]
    return statistics.median(steady), statistics.median(changed)


def first_frame_s(
    style: StyleModel, size: tuple[int, int], search: Search, device: str = "cuda"
) -> tuple[float, float | None]:
    """Return what the first frame of a size takes, and after how long other kernels are in use, in seconds.

    The second is ``None`` if they are still those of the first frame after ``PATIENCE_S``.
    """

    def run() -> tuple[float, float | None]:
        with closing(CudaEngine(style, device=device, search=search)) as engine:
            engine(np.zeros((MIN_SIDE, MIN_SIDE, 3), np.uint8))  # CUDA and its libraries load
            rgb = pictures(size)[0]
            first_s, _ = timed(lambda: engine(rgb))
            began_s, body = time.perf_counter(), engine.pipeline.body(*size)
            while search == "later" and (passed_s := time.perf_counter() - began_s) < PATIENCE_S:
                if engine.pipeline.body(*size) is not body:
                    return first_s, passed_s
                engine(rgb)
            return first_s, None

    with ThreadPoolExecutor(1) as fresh:  # torch remembers in each thread which kernels it has chosen
        return fresh.submit(run).result()


def compute_ms(engine: CudaEngine, size: tuple[int, int]) -> float:
    """Return the time of one run of the body, without transfers: median of means over 50."""
    pipeline = engine.pipeline
    engine(pictures(size)[0])
    body = pipeline.body(*size)
    with pipeline.on_compute():
        return device_ms(body.run, 50)


def device_ms(work: Callable[[], object], runs: int, repeats: int = 9) -> float:
    """Return the time of ``work`` on the current stream by the GPU's clock: median of means over ``runs``."""
    means: list[float] = []
    for _ in range(repeats + 1):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        for _ in range(runs):
            work()
        end.record()
        end.synchronize()
        means.append(begin.elapsed_time(end) / runs)
    return statistics.median(means[1:])


def steps_ms(engine: CudaEngine, size: tuple[int, int]) -> Mapping[str, float]:
    """Return the time of each step of a frame alone."""
    frame = torch.from_numpy(pictures(size)[0])
    held = frame.pin_memory()
    there = held.to("cuda")
    copies = []
    for _ in range(50):
        began_s = time.perf_counter()
        held.copy_(frame)
        copies.append((time.perf_counter() - began_s) * 1e3)
    return {
        "copy on the host": statistics.median(copies),
        "up": device_ms(lambda: there.copy_(held, non_blocking=True), 20),
        "compute": compute_ms(engine, size),
        "down": device_ms(lambda: held.copy_(there, non_blocking=True), 20),
    }


def copy_bytes_per_s(size: int = 1 << 30) -> float:
    """Return the bytes that a copy on the GPU reads plus writes per second."""
    source = torch.randint(0, 256, (size,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    ms = device_ms(lambda: target.copy_(source), 10)
    return 2 * size / ms * 1e3


class _Layers(TorchFunctionMode):
    """Adds up what convolutions, poolings and interpolations must read and write."""

    COUNTED = (torch.conv2d, F.conv2d, F.avg_pool2d, F.interpolate)

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if any(func is counted for counted in self.COUNTED):
            self.bytes += sum(value.nbytes for value in (*args, output) if isinstance(value, Tensor))
        return output


def layer_bytes(style: StyleModel, size: tuple[int, int]) -> int:
    """Return the fewest bytes that the layers of one frame can move, including the frames in and out."""
    from engines.cuda.fp16 import Fp16Graph, reflect_index
    from engines.model.generator import load_generator

    meta = torch.device("meta")
    graph = Fp16Graph(load_generator(style), meta)
    frame = torch.empty((1, *size, 3), dtype=torch.uint8, device=meta)
    places = [reflect_index(side).to(meta) for side in size]
    layers = _Layers()
    with torch.no_grad(), layers:
        stylized: Tensor = graph(frame, torch.empty(1, device=meta), *places)
    return layers.bytes + frame.nbytes + stylized.nbytes


def tensorrt(style: StyleModel, size: tuple[int, int]) -> PipelinedEngine:
    """Return the TensorRT engine, warm; its plan is built first if it is not in the cache, which takes minutes.

    Args:
        style: the style.
        size: height and width of a frame, pixels.

    Raises:
        EngineError: it cannot run here.
        NotMeasuredError: its plan cannot be built.
    """
    from engines.cuda import driver

    driver.check("tensorrt", ("torch", "torch_tensorrt"))
    from engines.trt.background_build import build_plan
    from engines.trt.engine import TensorRtEngine

    if fault := build_plan(style, *size):
        raise NotMeasuredError(fault)
    engine = TensorRtEngine(style)
    try:
        engine(pictures(size)[0])
    except EngineError:
        engine.close()
        raise
    return engine


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return the seconds that ``work`` took, and its result."""
    began_s = time.perf_counter()
    result = work()
    return time.perf_counter() - began_s, result
