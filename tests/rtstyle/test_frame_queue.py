from __future__ import annotations

from threading import Event, Thread

import pytest

from rtstyle.frame_queue import FrameQueue, QueueClosedError

WAIT_S = 5.0


def test_lossless_keeps_order_and_everything() -> None:
    queue: FrameQueue[int] = FrameQueue(2)

    def send() -> None:
        for i in range(200):
            assert queue.put(i)
        queue.close()

    sender = Thread(target=send)
    sender.start()
    assert list(queue.receive()) == list(range(200))
    sender.join(WAIT_S)
    assert queue.dropped == 0


def test_lossless_put_waits_for_room() -> None:
    queue: FrameQueue[int] = FrameQueue(1)
    queue.put(0)
    done = Event()

    def send() -> None:
        queue.put(1)
        done.set()

    sender = Thread(target=send)
    sender.start()
    items = queue.receive()
    assert not done.is_set()
    assert next(items) == 0
    assert done.wait(WAIT_S)
    assert next(items) == 1


def test_newest_wins_and_counts_what_it_replaced() -> None:
    queue: FrameQueue[int] = FrameQueue(1, newest_wins=True)
    assert queue.put(0)
    assert not queue.put(1)
    assert not queue.put(2)
    assert next(queue.receive()) == 2
    assert queue.dropped == 2


def test_receiver_drains_then_sees_the_cause() -> None:
    queue: FrameQueue[int] = FrameQueue(3)
    queue.put(0)
    queue.put(1)
    queue.close(ValueError("broken"))
    items = queue.receive()
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_close_without_draining_throws_away() -> None:
    queue: FrameQueue[int] = FrameQueue(3)
    queue.put(0)
    queue.close(drain=False)
    assert list(queue.receive()) == []


def test_close_wakes_a_waiting_receiver() -> None:
    queue: FrameQueue[int] = FrameQueue(1)
    got: list[list[int]] = []
    receiver = Thread(target=lambda: got.append(list(queue.receive())))
    receiver.start()
    queue.close()
    receiver.join(WAIT_S)
    assert got == [[]]


def test_close_wakes_a_waiting_sender() -> None:
    queue: FrameQueue[int] = FrameQueue(1)
    queue.put(0)
    refused = Event()

    def send() -> None:
        try:
            queue.put(1)
        except QueueClosedError:
            refused.set()

    sender = Thread(target=send)
    sender.start()
    queue.close()
    assert refused.wait(WAIT_S)
    sender.join(WAIT_S)


def test_the_first_cause_stays() -> None:
    queue: FrameQueue[int] = FrameQueue(1)
    queue.close()
    queue.close(ValueError("late"))
    assert list(queue.receive()) == []


def test_receiver_may_give_up() -> None:
    assert list(FrameQueue[int](1).receive(lambda: True)) == []


def test_capacity_is_positive() -> None:
    with pytest.raises(ValueError, match="at least one"):
        FrameQueue(0)


def test_get_waits_for_an_item_the_timeout_or_the_end() -> None:
    queue: FrameQueue[int] = FrameQueue(2, newest_wins=True)
    assert queue.get(0.0) is None
    queue.put(1)
    assert queue.get() == 1
    got: list[int | None] = []
    receiver = Thread(target=lambda: got.append(queue.get()))
    receiver.start()
    queue.close()
    receiver.join(WAIT_S)
    assert got == [None] and queue.closed
