"""Frames through bodies: order, sizes that are kept, errors. On the CPU, where the same code runs step by step."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from engines.base import RGB
from engines.cuda.body import Body
from engines.cuda.device_errors import as_engine_error
from engines.cuda.graph_capture import capture
from engines.cuda.stream_pipeline import STAGING_BUFFERS, StreamPipeline, _Stream
from engines.errors import EngineError
from tests.engines.test_golden import picture


class Adding:
    """Adds ``amount[0]`` to every value, times strength; a body as simple as one can be."""

    def __init__(self, height: int, width: int, amount: Tensor, device: str = "cpu", bytes_beside: int = 0) -> None:
        self.frame = torch.zeros((1, height, width, 3), dtype=torch.uint8, device=device)
        self.stylized = torch.zeros_like(self.frame)
        self.strength = torch.zeros(1, device=device)
        self.bytes_beside = bytes_beside
        self._amount = amount
        self.run = capture(self._once, device)

    def _once(self) -> None:
        added = self.frame + (self._amount * self.strength).to(torch.uint8)
        self.stylized.copy_(added)


class Made:
    """Makes bodies, and remembers which."""

    def __init__(self, device: str = "cpu", bytes_beside: int = 0) -> None:
        self.amount = torch.ones(1, device=device)
        self.sizes: list[tuple[int, int]] = []
        self._device, self._bytes_beside = device, bytes_beside

    def __call__(self, height: int, width: int) -> Adding:
        self.sizes.append((height, width))
        return Adding(height, width, self.amount, self._device, self._bytes_beside)


class Small(Made):
    """Has memory for small frames alone."""

    def __call__(self, height: int, width: int) -> Adding:
        if height > 20:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().__call__(height, width)


def still(value: int, height: int = 16, width: int = 24) -> RGB:
    return np.full((height, width, 3), value, np.uint8)


def test_results_belong_to_their_frames_in_whatever_order_they_are_asked_for() -> None:
    pipeline = StreamPipeline(Made(), "cpu")
    pending = [pipeline.submit(still(value), 1.0) for value in range(4 * STAGING_BUFFERS)]
    for value in reversed(range(4 * STAGING_BUFFERS)):
        np.testing.assert_array_equal(pending[value].result(), still(value + 1))
    pipeline.close()


def test_results_are_arrays_of_their_own() -> None:
    pipeline, rgb = StreamPipeline(Made(), "cpu"), picture(16, 24)
    kept = rgb.copy()
    first, second = pipeline.submit(rgb, 1.0), pipeline.submit(rgb, 1.0)
    one, two = first.result(), second.result()
    assert not np.shares_memory(one, two) and not np.shares_memory(one, rgb)
    one[:] = 0
    assert two.any() and second.result() is two
    np.testing.assert_array_equal(rgb, kept)
    assert one.flags.c_contiguous and one.flags.writeable


def test_the_frame_may_be_overwritten_after_submit() -> None:
    pipeline, rgb = StreamPipeline(Made(), "cpu"), still(7)
    pending = pipeline.submit(rgb, 1.0)
    rgb[:] = 99
    np.testing.assert_array_equal(pending.result(), still(8))


def test_takes_views_and_read_only_frames() -> None:
    pipeline, rgb = StreamPipeline(Made(), "cpu"), picture(16, 24)
    expected = pipeline.submit(np.ascontiguousarray(rgb[:, ::-1]), 1.0).result()
    np.testing.assert_array_equal(pipeline.submit(rgb[:, ::-1], 1.0).result(), expected)
    rgb.flags.writeable = False
    pipeline.submit(rgb, 1.0).result()


def test_strength_reaches_the_body() -> None:
    made = Made()
    made.amount.fill_(40)
    pipeline = StreamPipeline(made, "cpu")
    values = [pipeline.submit(still(0), strength).result()[0, 0, 0] for strength in (0.0, 0.25, 1.0, 0.5)]
    assert values == [0, 10, 40, 20]


def test_what_comes_before_a_frame_holds_for_it_and_not_for_the_one_before() -> None:
    made = Made()
    pipeline = StreamPipeline(made, "cpu")
    first = pipeline.submit(still(0), 1.0)
    second = pipeline.submit(still(0), 1.0, lambda _: made.amount.fill_(30) and None)
    assert (first.result()[0, 0, 0], second.result()[0, 0, 0]) == (1, 30)


def test_sizes_are_kept_within_the_bound_the_one_used_last_at_the_end() -> None:
    made = Made(bytes_beside=100_000)
    pipeline = StreamPipeline(made, "cpu", bytes_kept=250_000)
    for side in (16, 17, 16, 18, 17, 16):
        pipeline.submit(still(0, side, side), 1.0)
    # Two fit. 16 was used again when 18 came, so 17 had to go, and was made again.
    assert made.sizes == [(16, 16), (17, 17), (18, 18), (17, 17), (16, 16)]
    assert pipeline.sizes == ((17, 17), (16, 16))


def test_one_size_is_kept_however_large() -> None:
    made = Made(bytes_beside=1 << 30)
    pipeline = StreamPipeline(made, "cpu", bytes_kept=1)
    for _ in range(3):
        pipeline.submit(still(0), 1.0)
    assert made.sizes == [(16, 24)]


def test_a_size_that_does_not_fit_beside_the_others_takes_their_place() -> None:
    pipeline: StreamPipeline

    class Tight(Made):
        def __call__(self, height: int, width: int) -> Adding:
            if pipeline.sizes:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nIf reserved …")
            return super().__call__(height, width)

    pipeline = StreamPipeline(Tight(), "cpu")
    for side in (16, 17):
        np.testing.assert_array_equal(pipeline.submit(still(5, side, side), 1.0).result(), still(6, side, side))
        assert pipeline.sizes == ((side, side),)


def test_out_of_memory_names_the_size_and_a_smaller_one_and_spoils_nothing() -> None:
    pipeline = StreamPipeline(Small(), "cpu")
    before = pipeline.submit(still(1), 1.0)
    with pytest.raises(EngineError, match=r"1280×800.*--height 720") as caught:
        pipeline.submit(still(0, 800, 1280), 1.0)
    assert "\n" not in str(caught.value)
    assert caught.value.__context__ is None, "a traceback would hold the tensors of what failed"
    np.testing.assert_array_equal(before.result(), still(2))
    np.testing.assert_array_equal(pipeline.submit(still(3), 1.0).result(), still(4))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "--height 1080"),
        (RuntimeError("FIND was unable to find an engine to execute this computation"), "--height 1080"),
        (MemoryError(), "--height 1080"),
        (RuntimeError("CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA"), "nvidia-smi"),
        (RuntimeError(""), "RuntimeError"),
    ],
)
def test_every_error_is_one_line_with_a_hint(error: BaseException, told: str) -> None:
    fault = str(as_engine_error(error, 2160, 3840))
    assert "3840×2160" in fault and told in fault and "\n" not in fault and "DSA" not in fault


@pytest.mark.parametrize(
    ("free", "told"), [(1 << 30, "too small for a frame"), (4 << 30, "cuDNN has no kernel for a frame")]
)
def test_a_kernel_that_is_missing_is_no_lack_of_memory(monkeypatch: pytest.MonkeyPatch, free: int, told: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free - (100 << 20), 8 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 300 << 20)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 200 << 20)
    error = RuntimeError("GET was unable to find an engine to execute this computation")
    assert told in str(as_engine_error(error, 2160, 3840))
    made: list[tuple[int, int]] = []

    def make(height: int, width: int) -> Body:
        made.append((height, width))
        if height > 1000:
            raise error
        return Adding(height, width, torch.ones(1))

    pipeline = StreamPipeline(make, "cpu")
    pipeline.submit(still(3), 1.0).result()
    with pytest.raises(EngineError, match=told):
        pipeline.submit(np.zeros((2160, 3840, 3), np.uint8), 1.0)
    room_was_made = made.count((2160, 3840)) == 2
    assert room_was_made == (free < 2 << 30), "the other sizes are kept where that does not help"


class Copies(TorchDispatchMode):
    """Counts the copies that torch makes."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += "copy" in str(func)
        return func(*args, **(kwargs or {}))


def test_frames_are_not_copied_by_the_threads_of_torch() -> None:
    pipeline = StreamPipeline(Made(), "cpu")
    frame = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    for rgb in (frame, frame[::2, ::-1], frame[:, :, ::-1]):
        with Copies() as copies:
            buffer = pipeline._to_pinned(rgb)
        np.testing.assert_array_equal(buffer.tensor(rgb.shape).numpy(), rgb)
        assert copies.count == 0
    pipeline.close()


def test_whoever_waits_for_a_frame_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the event that ``result`` waits for: those between streams are never waited for by a thread."""

    class Stream:
        def record_event(self, event: object = None) -> object:
            return event or "another"

    monkeypatch.setattr(torch.cuda, "Event", lambda *, blocking: f"{blocking=}")
    stream = _Stream(Stream())  # type: ignore[arg-type]
    assert stream.mark(awaited=True) == "blocking=True" and stream.mark() == "another"
    events: list[bool] = []
    monkeypatch.setattr(_Stream, "mark", lambda self, *, awaited=False: events.append(awaited))
    pipeline = StreamPipeline(Made(), "cpu")
    pipeline.submit(still(3), 1.0).result()
    assert events == [False, False, False, True]
    pipeline.close()


def test_what_was_prepared_is_not_made_again() -> None:
    made = Small()
    pipeline = StreamPipeline(made, "cpu")
    pipeline.prepare(16, 24)
    np.testing.assert_array_equal(pipeline.submit(still(3), 1.0).result(), still(4))
    assert made.sizes == [(16, 24)]
    with pytest.raises(EngineError, match=r"1280×800.*--height 720"):
        pipeline.prepare(800, 1280)
    np.testing.assert_array_equal(pipeline.submit(still(5), 1.0).result(), still(6))
    pipeline.close()
    with pytest.raises(EngineError, match="closed"):
        pipeline.prepare(16, 24)


def test_no_smaller_size_is_proposed_where_there_is_none() -> None:
    assert "--height" not in str(as_engine_error(MemoryError(), 360, 640))


def test_a_body_that_fails_is_told_and_the_next_frame_is_painted() -> None:
    made = Made()
    pipeline = StreamPipeline(made, "cpu")

    def fail(_: Body) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(EngineError, match="device-side assert"):
        pipeline.submit(still(0), 1.0, fail)
    np.testing.assert_array_equal(pipeline.submit(still(3), 1.0).result(), still(4))


def test_pending_frames_outlive_the_end() -> None:
    pipeline = StreamPipeline(Made(), "cpu")
    pending = pipeline.submit(still(1), 1.0)
    pipeline.close()
    pipeline.close()
    np.testing.assert_array_equal(pending.result(), still(2))
    for _ in range(5):
        with pytest.raises(EngineError, match="closed"):
            pipeline.submit(still(1), 1.0)
    assert pipeline._pinned.held <= 4 * 4096


def test_threads_share_one_and_each_gets_its_own() -> None:
    made = Made()
    pipeline, wrong = StreamPipeline(made, "cpu"), []

    def paint(first: int) -> None:
        for value in range(first, first + 100, 2):
            side = 16 + value % 3
            result = pipeline.submit(still(value, side, side), 1.0).result()
            if not np.array_equal(result, still(value + 1, side, side)):
                wrong.append(value)

    threads = [threading.Thread(target=paint, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(made.sizes) == 3


def test_a_capture_without_a_card_is_the_work_itself() -> None:
    done: list[int] = []
    replay = capture(lambda: done.append(1), "cpu")
    replay()
    assert done == [1, 1], "warmed up once, then run"


def test_the_cpu_starts_no_cuda() -> None:
    """A laptop's card would be woken up."""
    before = torch.cuda.is_initialized()
    StreamPipeline(Made(), "cpu").submit(still(0), 1.0).result()
    assert torch.cuda.is_initialized() == before


def test_memory_is_used_again_only_when_nobody_looks_at_it_any_more() -> None:
    pipeline = StreamPipeline(Made(), "cpu")
    for value in range(30):
        pipeline.submit(still(value), 1.0).result()
    settled = pipeline._pinned.held
    view = pipeline.submit(still(50), 1.0).result()[2:, ::-1, 1]
    for value in range(30):
        pipeline.submit(still(value), 1.0).result()
    assert (view == 51).all(), "a view of a result that is gone itself"
    assert pipeline._pinned.held <= settled + 4096
    kept = [pipeline.submit(still(value), 1.0).result() for value in range(20)]
    assert all((one == value + 1).all() for value, one in enumerate(kept))
    pipeline.close()
    assert all((one == value + 1).all() for value, one in enumerate(kept))


def test_frames_that_nobody_waits_for_cost_no_memory() -> None:
    pipeline = StreamPipeline(Made(), "cpu")
    for value in range(50):
        pipeline.submit(still(value), 1.0)
    assert pipeline._pinned.held <= 4 * 4096


def test_failed_frames_cost_no_memory() -> None:
    def fail(_: Body) -> None:
        raise RuntimeError("broken")

    pipeline = StreamPipeline(Made(), "cpu")
    for _ in range(20):
        with pytest.raises(EngineError, match="broken"):
            pipeline.submit(still(0), 1.0, fail)
    assert pipeline._pinned.held <= 4 * 4096


def test_streams_are_never_those_of_a_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch hands out 32 in turn: here so does a stand-in, without a card."""
    from engines.cuda import graph_capture

    turns = itertools.count()
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: next(turns) % 32)
    graph_capture.streams.cache_clear()
    try:
        pipelines = [StreamPipeline(Made(), "cuda:0") for _ in range(40)]
        taken = {stream._stream for pipeline in pipelines for stream in pipeline._streams}
        assert len(taken) == 3 and graph_capture.streams(torch.device("cuda", 0)).capture not in taken
        assert not taken & set(graph_capture.streams(torch.device("cuda", 1)))
    finally:
        graph_capture.streams.cache_clear()
