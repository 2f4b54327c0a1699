from __future__ import annotations

from threading import Event, Thread

import pytest

from rtstyle.frame_queue import Link, LinkClosedError

WAIT_S = 5.0


def test_lossless_keeps_order_and_everything() -> None:
    link: Link[int] = Link(2)

    def send() -> None:
        for i in range(200):
            assert link.put(i)
        link.close()

    sender = Thread(target=send)
    sender.start()
    assert list(link.receive()) == list(range(200))
    sender.join(WAIT_S)
    assert link.dropped == 0


def test_lossless_put_waits_for_room() -> None:
    link: Link[int] = Link(1)
    link.put(0)
    done = Event()

    def send() -> None:
        link.put(1)
        done.set()

    sender = Thread(target=send)
    sender.start()
    items = link.receive()
    assert not done.is_set()
    assert next(items) == 0
    assert done.wait(WAIT_S)
    assert next(items) == 1


def test_newest_wins_and_counts_what_it_replaced() -> None:
    link: Link[int] = Link(1, newest_wins=True)
    assert link.put(0)
    assert not link.put(1)
    assert not link.put(2)
    assert next(link.receive()) == 2
    assert link.dropped == 2


def test_receiver_drains_then_sees_the_cause() -> None:
    link: Link[int] = Link(3)
    link.put(0)
    link.put(1)
    link.close(ValueError("broken"))
    items = link.receive()
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_close_without_draining_throws_away() -> None:
    link: Link[int] = Link(3)
    link.put(0)
    link.close(drain=False)
    assert list(link.receive()) == []


def test_close_wakes_a_waiting_receiver() -> None:
    link: Link[int] = Link(1)
    got: list[list[int]] = []
    receiver = Thread(target=lambda: got.append(list(link.receive())))
    receiver.start()
    link.close()
    receiver.join(WAIT_S)
    assert got == [[]]


def test_close_wakes_a_waiting_sender() -> None:
    link: Link[int] = Link(1)
    link.put(0)
    refused = Event()

    def send() -> None:
        try:
            link.put(1)
        except LinkClosedError:
            refused.set()

    sender = Thread(target=send)
    sender.start()
    link.close()
    assert refused.wait(WAIT_S)
    sender.join(WAIT_S)


def test_the_first_cause_stays() -> None:
    link: Link[int] = Link(1)
    link.close()
    link.close(ValueError("late"))
    assert list(link.receive()) == []


def test_receiver_may_give_up() -> None:
    assert list(Link[int](1).receive(lambda: True)) == []


def test_capacity_is_positive() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Link(0)
