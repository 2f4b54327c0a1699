"""Buffers that are used again. Without a card nothing is locked; all else is the same."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
import torch

from engines.cuda import pinned_memory
from engines.cuda.graph_capture import capture_lock
from engines.cuda.pinned_memory import PAGE, PinnedPool


class Event:
    """Comes when it is told to."""

    def __init__(self) -> None:
        self.come = False

    def query(self) -> bool:
        return self.come


@pytest.fixture
def pool() -> PinnedPool:
    return PinnedPool(locked=False)


def test_buffers_lie_on_pages_and_share_none(pool: PinnedPool) -> None:
    buffers = [pool.take((1 + n,)) for n in range(5)]
    places = [buffer.tensor((1,)).data_ptr() for buffer in buffers]
    assert all(place % PAGE == 0 for place in places) and len(set(places)) == 5
    assert {buffer.size for buffer in buffers} == {PAGE}
    assert pool.take((PAGE + 1, 3)).size == 4 * PAGE


def test_a_buffer_is_used_again_when_its_event_has_come(pool: PinnedPool) -> None:
    buffer, event = pool.take((100,)), Event()
    pool.give_back(buffer, event)
    other = pool.take((100,))
    assert other is not buffer
    event.come = True
    assert pool.take((100,)) is buffer


def test_a_buffer_that_is_far_too_large_waits_for_its_like(pool: PinnedPool) -> None:
    large = pool.take((100 * PAGE,))
    pool.give_back(large)
    assert pool.take((PAGE,)) is not large
    assert pool.take((60 * PAGE,)) is large


def test_what_is_lent_comes_back_with_the_last_view(pool: PinnedPool) -> None:
    buffer = pool.take((4, 6, 3))
    array = pool.lend(buffer, (4, 6, 3), None)
    array[:] = 7
    view = array[1:].reshape(-1)[3::2]
    del array
    gc.collect()
    other = pool.take((4, 6, 3))
    assert other is not buffer
    memory = memoryview(view)
    del view
    gc.collect()
    assert pool.take((4, 6, 3)) is not buffer
    memory.release()
    del memory
    gc.collect()
    assert pool.take((4, 6, 3)) is buffer


def test_idle_memory_is_given_back_beyond_a_bound(pool: PinnedPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinned_memory, "IDLE_BYTES", 10 * PAGE)
    for buffer in [pool.take((4 * PAGE,)) for _ in range(8)]:
        pool.give_back(buffer)
    assert pool.held == 32 * PAGE
    pool.take((100 * PAGE,))
    assert pool.held == (8 + 100) * PAGE
    pool.trim()
    assert pool.held == 100 * PAGE


def test_what_is_under_way_is_not_given_back(pool: PinnedPool) -> None:
    buffer, event = pool.take((PAGE,)), Event()
    pool.give_back(buffer, event)
    pool.trim()
    assert pool.held == PAGE
    event.come = True
    pool.trim()
    assert pool.held == 0


def test_a_lost_card_is_told_and_its_buffers_are_never_used_again(pool: PinnedPool) -> None:
    class Lost:
        def query(self) -> bool:
            raise RuntimeError("CUDA error: device lost")

    buffer = pool.take((PAGE,))
    pool.give_back(buffer, Lost())
    with pytest.raises(RuntimeError, match="lost"):
        pool.take((PAGE,))
    pool.trim()
    assert pool.held == PAGE


def test_locks_no_more_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    unlocked = []
    monkeypatch.setattr(pinned_memory, "_register", lambda tensor, size: True)
    monkeypatch.setattr(pinned_memory.Buffer, "unlock", lambda self: unlocked.append(self.locked) or True)
    monkeypatch.setattr(pinned_memory, "LOCKED_BYTES", 5 * PAGE)
    pool = PinnedPool(locked=True)
    buffers = [pool.take((2 * PAGE,)) for _ in range(4)]
    assert [buffer.locked for buffer in buffers] == [True, True, False, False]
    for buffer in buffers:
        pool.give_back(buffer)
    pool.trim()
    assert pool.held == 0 and unlocked == [True, True]


def test_a_makeshift_is_kept_until_its_copy_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinned_memory, "LOCKED_BYTES", 0)
    pool, event = PinnedPool(locked=True), Event()
    pool.give_back(pool.take((PAGE,)), event)
    pool.trim()
    pool.give_back(pool.take((PAGE,)))
    pool.trim()
    assert pool.held == PAGE
    event.come = True
    pool.trim()
    assert pool.held == 0


def test_nobody_waits_for_a_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be locked meanwhile is ordinary memory, for one frame; what is locked stays."""
    calls: list[str] = []

    class Runtime:
        def cudaHostRegister(  # noqa: N802 - CUDA's name
            self, place: int, size: int, flags: int
        ) -> int:
            calls.append("lock")
            return 0

        def cudaHostUnregister(self, place: int) -> int:  # noqa: N802 - CUDA's name
            calls.append("unlock")
            return 0

    monkeypatch.setattr(torch.cuda, "cudart", Runtime)
    pool, held, over = PinnedPool(locked=True), threading.Event(), threading.Event()
    locked = pool.take((PAGE,))
    pool.give_back(locked)

    def capture() -> None:
        with capture_lock:
            held.set()
            over.wait(10)

    thread = threading.Thread(target=capture)
    thread.start()
    try:
        assert held.wait(10)
        makeshift = pool.take((10 * PAGE,))
        assert not makeshift.locked
        pool.give_back(makeshift)
        pool.trim()
        assert calls == ["lock"] and pool.held == PAGE
    finally:
        over.set()
        thread.join()
    assert pool.take((10 * PAGE,)).locked
    pool.trim()
    assert calls == ["lock", "lock", "unlock"] and pool.held == 10 * PAGE


@pytest.mark.parametrize("allowed", [0, 3])
def test_memory_that_cannot_be_locked_is_asked_for_twice_and_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, allowed: int
) -> None:
    """As in WSL2 and in containers, which allow none or little."""
    caplog.set_level("INFO")
    calls: list[str] = []

    class Runtime:
        def cudaHostRegister(  # noqa: N802 - CUDA's name
            self, place: int, size: int, flags: int
        ) -> int:
            calls.append("lock")
            return 0 if len(calls) <= allowed else 1

        def cudaHostUnregister(self, place: int) -> int:  # noqa: N802 - CUDA's name
            calls.append("unlock")
            return 0

    monkeypatch.setattr(torch.cuda, "cudart", Runtime)
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: None)  # what takes the error from CUDA
    pool = PinnedPool(locked=True)
    buffers = [pool.take((PAGE,)) for _ in range(20)]
    assert calls.count("lock") == allowed + 2 and sum(buffer.locked for buffer in buffers) == allowed
    assert [record.getMessage() for record in caplog.records] == [
        "this system does not allow page-locked memory: copies to and from the GPU take longer"
    ]
    event = Event()
    for buffer in buffers:
        pool.give_back(buffer, event)
    assert pool.take((PAGE,)) not in buffers, "its copy is still running"
    event.come = True
    assert pool.take((PAGE,)) in buffers, "ordinary memory is reused from now on"
    assert calls.count("lock") == allowed + 2
    pool.trim()
    assert calls.count("unlock") in {allowed, allowed - 1}


def test_threads_never_share_a_buffer(pool: PinnedPool) -> None:
    wrong = []

    def work(value: int) -> None:
        for n in range(300):
            buffer = pool.take((8, 8, 3))
            array = pool.lend(buffer, (8, 8, 3), None)
            array[:] = value
            if not np.all(array == value):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert pool.held <= 8 * PAGE
