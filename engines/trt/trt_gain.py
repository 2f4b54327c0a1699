"""What a built TensorRT engine gains over the cuda engine: measured once, in the process that built it."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch

from engines.cuda.fp16 import HalfBody, HalfGraph
from engines.cuda.stream_pipeline import Body, lacks_memory
from engines.model.generator import load_generator
from engines.style_file import StyleModel
from engines.trt.plan_record import GAIN

ROUNDS, FRAMES = 15, 8
"""Both paint so many frames in turn, so many times: what else the card does meanwhile slows both."""


def measured(body: Body, style: StyleModel) -> dict[str, float]:
    """What is kept beside an engine about its speed; nothing where the card has no room for both.

    Args:
        body: the built engine, loaded.
        style: of the same shape.
    """
    _, height, width, _ = body.frame.shape
    device = body.frame.device
    try:
        rival = HalfBody(HalfGraph(load_generator(style), device), height, width, device)
        return {GAIN: round(times_as_fast(body.run, rival.run, lambda: _wait(device)), 3)}
    except RuntimeError as error:
        if lacks_memory(error):  # for both; the engine is built, and paints
            return {}
        raise


def times_as_fast(
    one: Callable[[], None],
    other: Callable[[], None],
    wait: Callable[[], None],
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """How many times as fast as ``other`` is ``one``: the median over ``ROUNDS``, of which each times both.

    Args:
        one, other: begin with a frame.
        wait: returns when all frames are painted.
        clock: seconds.
    """

    def seconds(paint: Callable[[], None]) -> float:
        start_s = clock()
        for _ in range(FRAMES):
            paint()
        wait()
        return clock() - start_s

    seconds(one), seconds(other)
    return median(seconds(other) / seconds(one) for _ in range(ROUNDS))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
