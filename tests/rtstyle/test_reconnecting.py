"""Sources that fail, hang, come back and come back as something else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice, pairwise

import numpy as np
import pytest

from engines.errors import SourceError
from rtstyle.backoff import Backoff
from rtstyle.frame import Frame, SourceInfo
from rtstyle.sources.base import Source, notice_of
from rtstyle.sources.pattern import PatternSource
from rtstyle.sources.reconnecting import REPEAT_S, STABLE_S, ReconnectingSource
from tests.rtstyle.clips import number_of, numbered

pytestmark = pytest.mark.real_time

SOON = Backoff(0.01, 0.01)


class Scripted:
    """Gives numbered pictures, then does what the script says.

    Args:
        first: number of the first picture.
        count: how many.
        then: called afterwards: raises, waits or returns.
    """

    def __init__(self, first: int, count: int, then: Callable[[], None] = lambda: None, width: int = 64) -> None:
        self.first, self.count, self.then, self.width = first, count, then, width
        self.closed = threading.Event()

    @property
    def info(self) -> SourceInfo:
        return SourceInfo("scripted", self.width, 48, Fraction(100), None, True)

    def frames(self) -> Iterator[Frame]:
        for number in range(self.first, self.first + self.count):
            if self.closed.wait(0.01):
                return
            yield Frame(numbered(number, 48, self.width), number - self.first, 0, Fraction(1, 100), time.monotonic())
        self.then()

    def close(self) -> None:
        self.closed.set()


def broken() -> None:
    raise SourceError("camera 0 stopped sending pictures", hint="plug it in")


def connections(*sources: Source | SourceError) -> Callable[[], Source]:
    """Hands out one after the other."""
    rest = iter(sources)

    def connect() -> Source:
        found = next(rest)
        if isinstance(found, SourceError):
            raise found
        return found

    return connect


def forever() -> None:
    threading.Event().wait(30.0)


def test_it_reconnects_and_repeats_the_last_picture_meanwhile() -> None:
    gone = [SourceError("camera 0 is not plugged in") for _ in range(3)]
    connect = connections(Scripted(0, 5, broken), *gone, Scripted(100, 5, width=128))
    source = ReconnectingSource(connect, backoff=Backoff(0.3, 0.3))
    frames = list(source.frames())
    source.close()
    numbers = [number_of(frame.rgb) for frame in frames]
    lost = [frame for frame in frames if frame.notice]
    assert {number_of(frame.rgb) for frame in lost} == {4} and len(lost) >= 2
    assert lost[-1].notice == "camera 0 is not plugged in; waiting for it"
    assert numbers[0] < 5 and numbers[-1] == 104 and not frames[-1].notice
    assert frames[-1].rgb.shape == (48, 128, 3)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert all(a.pts < b.pts and a.captured_s < b.captured_s for a, b in pairwise(frames))
    assert {frame.time_base for frame in frames} == {Fraction(1, 90_000)}


def test_repetitions_are_fresh_and_come_at_their_pace() -> None:
    source = ReconnectingSource(connections(Scripted(0, 3, broken)), backoff=Backoff(30.0, 30.0))
    repeated = list(islice((frame for frame in source.frames() if frame.notice), 3))
    assert time.monotonic() - repeated[-1].captured_s < 1.0
    assert all(b.captured_s - a.captured_s >= 0.9 * REPEAT_S for a, b in pairwise(repeated))
    source.close()


def test_a_source_that_hangs_is_noticed_and_recovers() -> None:
    go, hung = threading.Event(), threading.Event()

    def hang() -> None:
        hung.set()
        go.wait(30.0)
        raise SourceError("scripted broke off")

    source = ReconnectingSource(connections(Scripted(0, 3, hang), Scripted(9, 1, forever)), backoff=SOON, stall_s=0.1)
    frames = source.frames()
    lost = next(frame for frame in frames if frame.notice)
    assert hung.is_set() and lost.notice == "scripted sends no pictures; waiting for it"
    assert notice_of(source) == lost.notice
    go.set()
    found = next(frame for frame in frames if not frame.notice)
    assert number_of(found.rgb) == 9
    source.close()
    assert next(frames, None) is None


def test_a_source_of_few_pictures_is_not_taken_for_lost() -> None:
    class Slow(Scripted):
        @property
        def info(self) -> SourceInfo:
            return replace(super().info, fps=Fraction(1, 10))

    source = ReconnectingSource(connections(Slow(0, 1, forever)), stall_s=0.0)
    next(source.frames())
    assert notice_of(source) == ""
    source.close()


def test_the_first_failure_is_an_error() -> None:
    before = threading.active_count()
    with pytest.raises(SourceError, match="no camera 0"):
        ReconnectingSource(connections(SourceError("no camera 0")))
    assert threading.active_count() == before


def test_without_reconnect_a_loss_is_the_end() -> None:
    source = ReconnectingSource(connections(Scripted(0, 3, broken)), reconnect=False)
    frames = source.frames()
    with pytest.raises(SourceError, match="stopped sending"):
        list(frames)
    source.close()


def test_a_source_that_ends_is_not_opened_again() -> None:
    source = ReconnectingSource(connections(Scripted(0, 3)))
    frames = list(source.frames())
    assert number_of(frames[-1].rgb) == 2 and not any(frame.notice for frame in frames)
    assert notice_of(source) == ""


def test_a_fault_of_ours_reaches_the_reader() -> None:
    def fault() -> None:
        raise ZeroDivisionError("ours")

    source = ReconnectingSource(connections(Scripted(0, 2, fault)))
    with pytest.raises(ZeroDivisionError, match="ours"):
        list(source.frames())


def test_a_slow_reader_gets_the_newest() -> None:
    done = threading.Event()
    source = ReconnectingSource(connections(Scripted(0, 40, done.set)))
    frames = source.frames()
    next(frames)
    assert done.wait(10.0)
    assert [number_of(frame.rgb) for frame in frames] == [39]


def test_close_ends_a_reader_while_connecting_hangs() -> None:
    release, connecting = threading.Event(), threading.Event()
    late = Scripted(0, 1000)
    first = iter([Scripted(0, 2, broken)])

    def connect() -> Source:
        source = next(first, None)
        if source is not None:
            return source
        connecting.set()
        release.wait(30.0)
        return late

    source = ReconnectingSource(connect, backoff=SOON)
    ended = threading.Event()

    def read() -> None:
        for _ in source.frames():
            pass
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    assert connecting.wait(10.0)
    closing = threading.Thread(target=source.close, daemon=True)
    closing.start()
    assert ended.wait(0.9)  # before close gives the hanging thread up
    closing.join(10.0)
    assert not closing.is_alive()
    start_s = time.monotonic()
    source.close()
    assert time.monotonic() - start_s < 0.9
    release.set()
    assert late.closed.wait(10.0)  # what was opened too late is given back


def test_a_hundred_losses_leave_no_threads() -> None:
    before = threading.active_count()
    sources = [Scripted(number, 1, broken) for number in range(100)]
    source = ReconnectingSource(connections(*sources, Scripted(200, 1)), backoff=Backoff(0.001, 0.001))
    *_, last = source.frames()
    source.close()
    assert number_of(last.rgb) == 200 and all(one.closed.is_set() for one in sources)
    assert threading.active_count() == before


def test_waits_double_up_to_the_longest_and_differ() -> None:
    longest = Backoff(0.5, 10.0, chance=lambda: 0.0)
    assert [longest.wait_s() for _ in range(7)] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    longest.reset()
    assert longest.wait_s() == 0.5
    shortest = Backoff(0.5, 10.0, chance=lambda: 1.0)
    assert [shortest.wait_s() for _ in range(3)] == [0.25, 0.5, 1.0]
    assert len({Backoff().wait_s() for _ in range(20)}) > 1


class Counting(Backoff):
    def __init__(self) -> None:
        super().__init__(0.001, 0.001)
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1


@pytest.mark.parametrize(("lasted_s", "resets"), [(0.0, 0), (STABLE_S, 1)])
def test_waits_begin_small_again_only_after_a_connection_that_held(
    monkeypatch: pytest.MonkeyPatch, lasted_s: float, resets: int
) -> None:
    """A server that accepts and drops at once must not be asked again and again without a pause."""
    real, ahead_s = time.monotonic, 0.0

    def held() -> None:
        nonlocal ahead_s
        ahead_s = lasted_s
        broken()

    monkeypatch.setattr("rtstyle.sources.reconnecting.time.monotonic", lambda: real() + ahead_s)
    backoff = Counting()
    source = ReconnectingSource(connections(Scripted(0, 1, held), Scripted(0, 1)), backoff=backoff)
    list(source.frames())
    assert backoff.resets == resets


def test_sources_that_cannot_be_lost_have_no_notice() -> None:
    assert notice_of(PatternSource(64, 48)) == ""
    assert Frame(np.zeros((16, 16, 3), np.uint8), 0, 0, Fraction(1, 30), 0.0).notice == ""
