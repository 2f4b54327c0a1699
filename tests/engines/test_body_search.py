"""A frame size begins with kernels that are guessed, and gets faster ones between two frames. On the CPU.

The bodies add 1, and 2 once they are exchanged, so each frame tells which one stylized it.
"""

from __future__ import annotations

import gc
import itertools
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from engines.base import RGB
from engines.cuda import body_search, driver, fp16, graph_capture, proof
from engines.cuda.body_search import SETTLED_FRAMES, BodySearch
from engines.cuda.engine import CudaEngine
from engines.cuda.graph_capture import CaptureLock, capture_lock
from engines.cuda.stream_pipeline import StreamPipeline
from engines.errors import EngineError
from engines.style_file import StyleModel
from tests.engines.test_golden import picture
from tests.engines.test_stream_pipeline import Adding, Made, still

LONG_S = 20.0
"""As long as a test waits for what must come."""


class Searched(Made):
    """Makes the faster bodies; ``work`` is what a search does before."""

    def __init__(self, amount: float = 2.0, work: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.amount.fill_(amount)
        self.work, self.bodies = work, weakref.WeakSet[Adding]()

    def __call__(self, height: int, width: int) -> Adding:
        self.sizes.append((height, width))
        self.work()
        body = Adding(height, width, self.amount)
        self.bodies.add(body)
        return body


@pytest.fixture(autouse=True)
def times(monkeypatch: pytest.MonkeyPatch) -> dict[float, float]:
    """Seconds that bodies take, by what they add."""
    seconds = {1.0: 0.02, 2.0: 0.01, 40.0: 0.01}
    monkeypatch.setattr(body_search, "run_seconds", lambda body: seconds[float(body._amount)])
    monkeypatch.setattr(body_search, "REST_S", 0.0)
    monkeypatch.setattr(body_search, "AGAIN_S", 0.0)
    return seconds


@pytest.fixture
def opened() -> Iterator[Callable[..., StreamPipeline]]:
    pipelines: list[StreamPipeline] = []

    def open_one(faster: Searched, **settings: int) -> StreamPipeline:
        pipelines.append(StreamPipeline(Made(), "cpu", faster=faster, **settings))
        return pipelines[-1]

    yield open_one
    for pipeline in pipelines:
        pipeline.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "kernel search"]


def added(pipeline: StreamPipeline, height: int = 16, width: int = 24) -> int:
    """Stylize a frame, and return what was added to it."""
    rgb = pipeline.submit(still(10, height, width), 1.0).result()
    assert rgb.min() == rgb.max()
    return int(rgb[0, 0, 0]) - 10


def play(pipeline: StreamPipeline, frames: int = SETTLED_FRAMES, height: int = 16, width: int = 24) -> list[int]:
    return [added(pipeline, height, width) for _ in range(frames)]


def play_until(pipeline: StreamPipeline, condition: Callable[[], bool], height: int = 16, width: int = 24) -> None:
    """Stylize frames until something has happened."""
    wait_until(lambda: condition() or not added(pipeline, height, width))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline_s


def test_the_first_frame_waits_for_no_search_and_the_result_takes_over(opened: Callable[..., StreamPipeline]) -> None:
    gate = threading.Event()
    faster = Searched(work=lambda: gate.wait(LONG_S))
    pipeline = opened(faster)
    assert set(play(pipeline, 3 * SETTLED_FRAMES)) == {1}, "frames go on"
    gate.set()
    play_until(pipeline, lambda: added(pipeline) == 2)
    assert set(play(pipeline, 3 * SETTLED_FRAMES)) == {2}
    assert faster.sizes == [(16, 24)] and pipeline.sizes == ((16, 24),)


def test_the_first_body_is_freed(opened: Callable[..., StreamPipeline]) -> None:
    pipeline = opened(Searched())
    first = weakref.ref(pipeline.body(16, 24))
    play_until(pipeline, lambda: added(pipeline) == 2)
    pipeline.close()
    gc.collect()
    assert first() is None


def test_sizes_in_passing_are_not_searched_for(opened: Callable[..., StreamPipeline]) -> None:
    faster = Searched()
    pipeline = opened(faster)
    for side in range(16, 24):
        play(pipeline, SETTLED_FRAMES - 1, side, side)
    pipeline.prepare(30, 30)
    assert pipeline._search is not None and pipeline._search._thread is None
    play(pipeline, 1, 20, 20)
    play_until(pipeline, lambda: bool(faster.sizes), 20, 20)
    assert faster.sizes == [(20, 20)]


def test_kernels_that_are_no_faster_do_not_take_over(
    opened: Callable[..., StreamPipeline], times: dict[float, float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    times[2.0] = times[1.0]
    pipeline = opened(faster := Searched())
    play_until(pipeline, lambda: bool(caplog.messages))
    assert set(play(pipeline, 3 * SETTLED_FRAMES)) == {1} and len(faster.sizes) == 1
    assert caplog.messages == ["the kernels for frames of 24×16 stay: cuDNN found none that are faster"]


def test_kernels_that_stylize_otherwise_do_not_take_over(
    opened: Callable[..., StreamPipeline], caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = opened(Searched(40.0))
    play_until(pipeline, lambda: bool(caplog.messages))
    assert set(play(pipeline)) == {1}
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "their image differs" in record.message and "24×16" in record.message


def test_frames_after_the_trial_do_not_change_what_it_compares() -> None:
    first, other = Adding(16, 24, torch.ones(1)), Adding(16, 24, torch.ones(1))

    @contextmanager
    def turn() -> Iterator[None]:
        yield
        first.stylized.fill_(0)  # the next frame

    assert not body_search._difference(first, other, turn)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nIf reserved …"), "GPU memory is too"),
        (MemoryError("not enough memory"), "the GPU memory is too small for both"),
        (RuntimeError("CUDA error: unspecified launch failure\nCompile with"), "unspecified launch failure"),
        (EngineError("no kernel"), "no kernel"),
    ],
)
def test_a_search_that_fails_changes_nothing_and_warns_nobody(
    opened: Callable[..., StreamPipeline], caplog: pytest.LogCaptureFixture, error: Exception, told: str
) -> None:
    caplog.set_level(logging.INFO)

    def fail() -> None:
        raise error

    pipeline = opened(faster := Searched(work=fail))
    play_until(pipeline, lambda: bool(caplog.messages))
    assert set(play(pipeline, 3 * SETTLED_FRAMES)) == {1} and len(faster.sizes) == 1
    (record,) = caplog.records
    assert record.levelno == logging.INFO and told in record.message and "\n" not in record.message
    play_until(pipeline, lambda: faster.sizes == [(16, 24)])
    faster.work = lambda: None
    play(pipeline, SETTLED_FRAMES, 20, 20)
    play_until(pipeline, lambda: added(pipeline, 20, 20) == 2, 20, 20)
    assert faster.sizes == [(16, 24), (20, 20)], "the thread has survived"


def searching(until: Callable[[], bool] = lambda: False) -> Callable[[], None]:
    """A search that goes on, layer after layer, until a condition is true."""

    def work() -> None:
        while not until():
            torch.ones(1) + 1

    return work


def test_a_new_size_waits_for_one_layer_and_the_search_goes_on_later(opened: Callable[..., StreamPipeline]) -> None:
    new_size_is_there = threading.Event()
    faster = Searched(work=searching(new_size_is_there.is_set))
    pipeline = opened(faster)
    play(pipeline)
    play_until(pipeline, lambda: bool(faster.sizes))
    assert added(pipeline, 30, 40) == 1, "comes although the search of the other size never ends by itself"
    new_size_is_there.set()
    play_until(pipeline, lambda: added(pipeline) == 2)
    assert len(faster.sizes) >= 2 and set(faster.sizes) == {(16, 24)}


def test_closing_ends_a_search(opened: Callable[..., StreamPipeline]) -> None:
    pipeline = opened(faster := Searched(work=searching()))
    play(pipeline)
    play_until(pipeline, lambda: bool(faster.sizes))
    pending = pipeline.submit(still(5), 1.0)
    pipeline.close()
    pipeline.close()
    np.testing.assert_array_equal(pending.result(), still(6))
    gc.collect()
    assert not list(faster.bodies)
    with pytest.raises(EngineError, match="closed"):
        added(pipeline)


def test_closing_during_the_trial(opened: Callable[..., StreamPipeline], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_search, "REST_S", LONG_S)
    pipeline = opened(faster := Searched())
    play(pipeline)
    play_until(pipeline, lambda: bool(list(faster.bodies)))
    pipeline.close()
    gc.collect()
    assert not list(faster.bodies)


def test_a_size_that_is_forgotten_meanwhile_stays_forgotten(opened: Callable[..., StreamPipeline]) -> None:
    gate, done = threading.Event(), threading.Event()
    faster = Searched(work=lambda: gate.wait(LONG_S))
    pipeline = opened(faster, bytes_kept=1)
    assert pipeline._search is not None
    exchange = pipeline._search._exchange
    pipeline._search._exchange = lambda height, width: [exchange(height, width), done.set()][0]
    play(pipeline)
    play_until(pipeline, lambda: bool(faster.sizes))
    reached = threading.Event()

    def other_size() -> None:
        added(pipeline, 30, 40)
        reached.set()

    thread = threading.Thread(target=other_size)
    thread.start()
    gate.set()
    thread.join(LONG_S)
    assert reached.is_set() and done.wait(LONG_S)
    assert pipeline.sizes == ((30, 40),)
    gc.collect()
    assert not list(faster.bodies)


def test_a_capture_lock_tells_who_holds_it_that_it_is_wanted() -> None:
    lock, inside = CaptureLock(), threading.Event()
    with lock, lock:
        assert not lock.wanted
        assert lock.acquire(timeout=0.0)
        lock.release()
        answers: list[bool] = []
        thread = threading.Thread(target=lambda: answers.append(lock.acquire(timeout=0.01)))
        thread.start()
        thread.join()
        assert answers == [False] and not lock.wanted

        def enter() -> None:
            with lock:
                inside.set()

        thread = threading.Thread(target=enter)
        thread.start()
        wait_until(lambda: lock.wanted)
        assert not inside.is_set()
    thread.join()
    assert inside.is_set() and not lock.wanted


def test_one_thread_at_a_time_changes_cudnns_settings() -> None:
    seen: list[bool] = []

    def look() -> None:
        with fp16.without_tf32(benchmark=False):
            seen.append(torch.backends.cudnn.benchmark)

    before = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    thread = threading.Thread(target=look)
    with fp16.without_tf32(benchmark=True):
        thread.start()
        wait_until(lambda: capture_lock.wanted)
        assert torch.backends.cudnn.benchmark and torch.backends.cudnn.deterministic and not seen
    thread.join()
    assert seen == [False] and (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == before


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, str]]:
    """Whether cuDNN was told to time its kernels, and in which thread, for each capture."""
    found: list[tuple[bool, str]] = []

    def record(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
        assert torch.backends.cudnn.deterministic
        found.append((torch.backends.cudnn.benchmark, threading.current_thread().name))
        return graph_capture.capture(work, device)

    monkeypatch.setattr(fp16, "capture", record)
    turns = itertools.count()
    monkeypatch.setattr(body_search, "run_seconds", lambda _: -next(turns))
    return found


def test_an_engine_guesses_first_and_searches_later(style: StyleModel, captures: list[tuple[bool, str]]) -> None:
    engine, rgb = CudaEngine(style, device="cpu", search="later"), picture(24, 32)
    first = engine(rgb)
    guessed = engine.pipeline.body(24, 32)
    assert captures == [(False, threading.current_thread().name)]
    other: RGB = engine(rgb, 1.0, 0.5)

    def exchanged() -> bool:
        np.testing.assert_array_equal(engine(rgb), first)
        return engine.pipeline.body(24, 32) is not guessed

    wait_until(exchanged)
    assert captures[1:] == [(True, "kernel search")]
    np.testing.assert_array_equal(engine(rgb), first)
    np.testing.assert_array_equal(engine(rgb, 1.0, 0.5), other, "both read the same weights")
    fork = engine.fork()
    assert isinstance(fork, CudaEngine) and fork._graphs is engine._graphs
    fork.close()
    engine.close()


def test_a_job_searches_first(style: StyleModel, captures: list[tuple[bool, str]]) -> None:
    live, job = CudaEngine(style, device="cpu", search="later"), CudaEngine(style, device="cpu")
    assert live._graphs is not job._graphs and (live.search, job.search) == ("later", "first")
    for _ in range(2 * SETTLED_FRAMES):
        job(picture(24, 32))
    assert captures == [(True, threading.current_thread().name)]
    job.close()
    live.close()
    compiled = CudaEngine(style, device="cpu", body="compile", search="later")
    assert compiled.search == "first", "there is nothing to guess"
    compiled.close()


def test_what_was_proved_is_what_was_guessed(style: StyleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that are searched for later are compared with the guessed ones, and those with the CPU's."""
    monkeypatch.setattr(driver, "device_count", lambda: 0)
    keys = []
    for search in ("first", "later"):
        engine = CudaEngine(style, device="cpu", search=search)  # type: ignore[arg-type]
        keys.append(proof._key(engine, style))
        engine.close()
    assert "guessed" not in keys[0] and "guessed" in keys[1]


def test_nothing_is_asked_of_a_search_that_is_closed() -> None:
    search = BodySearch(lambda height, width: pytest.fail("never"))
    search.close()
    search.ask(16, 16)
    assert search._thread is None
