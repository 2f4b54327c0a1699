"""Several frames of a clip at once on the CPU: the pictures of one after the other, in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.base import RGB, PipelinedEngine
from engines.errors import EngineError, ShapeError
from engines.openvino.engine import KEPT_SIZES, CpuEngine
from engines.openvino.frame_streams import BYTES_PER_PIXEL, MOST_BYTES, MOST_STREAMS, FrameStreams, stream_options
from engines.openvino.shared_weights import SharedCpuEngine
from engines.style_file import StyleModel
from rtstyle import style_library

KINDS = pytest.mark.parametrize("kind", [CpuEngine, SharedCpuEngine])


def picture(seed: int, height: int = 48, width: int = 64) -> RGB:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def style(tiny_style: Path) -> StyleModel:
    return StyleModel.open(tiny_style)


@KINDS
@pytest.mark.parametrize("threads", [1, 2, None])
def test_equals_calls(kind: type[CpuEngine], threads: int | None, style: StyleModel) -> None:
    engine, other = kind(style, threads), kind(style, threads)
    assert isinstance(engine, PipelinedEngine)
    pending = [engine.submit(picture(number)) for number in range(12)]  # more than there are streams
    for number, frame in enumerate(pending):
        np.testing.assert_array_equal(frame.result(), other(picture(number)))
    assert frame.result() is frame.result()
    if threads:
        assert engine.info.in_flight == threads + 1


def test_equals_calls_in_int8() -> None:
    engine = SharedCpuEngine(StyleModel.open(style_library.find("wave")), precision="int8")
    expected = [engine(picture(number, 96, 128)) for number in range(4)]
    for frame, one in zip([engine.submit(picture(number, 96, 128)) for number in range(4)], expected, strict=True):
        np.testing.assert_array_equal(frame.result(), one)


@KINDS
def test_each_frame_has_its_own_settings(kind: type[CpuEngine], style: StyleModel) -> None:
    engine, mask = kind(style), np.zeros((48, 64), np.float32)
    mask[:, 32:] = 1.0
    settings = [(1.0, 0.0), (0.3, 0.0), (mask.copy(), 0.0), (1.0, 0.7), (1.0, 0.0), (0.0, 1.0)]
    frame = picture(0)
    pending = []
    for strength, colours in settings:
        pending.append(engine.submit(frame, strength, colours))
    frame[:] = 0  # it has been copied
    for one, (strength, colours) in zip(pending, settings, strict=True):
        np.testing.assert_array_equal(one.result(), kind(style)(picture(0), strength, colours))


def test_frames_keep_the_style_that_they_were_given_with(style: StyleModel) -> None:
    wave = StyleModel.open(style_library.find("wave"))
    vangogh = StyleModel.open(style_library.find("vangogh"))
    engine = SharedCpuEngine(vangogh)
    pending = []
    for number in range(6):
        engine.take_style((vangogh, wave)[number % 2])
        pending.append(engine.submit(picture(number)))
    for number, frame in enumerate(pending):
        np.testing.assert_array_equal(frame.result(), SharedCpuEngine((vangogh, wave)[number % 2])(picture(number)))


@KINDS
def test_sizes_change_and_the_engine_closes_with_frames_under_way(kind: type[CpuEngine], style: StyleModel) -> None:
    engine, sizes = kind(style), [(48, 64), (64, 48), (48, 64), (50, 70)]
    pending = [engine.submit(picture(1, *size)) for size in sizes]
    engine.close()
    for frame, size in zip(pending, sizes, strict=True):
        np.testing.assert_array_equal(frame.result(), kind(style)(picture(1, *size)))
    with pytest.raises(EngineError, match="closed"):
        engine.submit(picture(0))


def test_sizes_that_come_back_are_not_compiled_again(style: StyleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, opened = CpuEngine(style, 1), []
    open_streams = engine._open_streams

    def counted(height: int, width: int) -> FrameStreams:
        opened.append((height, width))
        return open_streams(height, width)

    monkeypatch.setattr(engine, "_open_streams", counted)
    for number in range(12):
        engine.submit(picture(number, 48 + 8 * (number % 3), 64)).result()
    assert len(opened) == 3, "as many as there are sizes"
    for number in range(KEPT_SIZES + 2):
        engine.submit(picture(number, 48, 64 + 8 * number)).result()
    assert len(engine._streams) == KEPT_SIZES
    monkeypatch.setattr("engines.openvino.engine.MOST_BYTES", 0)
    engine.submit(picture(0, 56, 56)).result()
    assert len(engine._streams) == 1, "large frames leave no room for those of other sizes"


@KINDS
@pytest.mark.parametrize("held", [0, 1, 7])
def test_no_painting_is_kept_that_was_fetched(kind: type[CpuEngine], held: int, style: StyleModel) -> None:
    """As in a film: fetched one by one, some under way, and at first some that nobody ever fetches."""
    engine, flight = kind(style, 2), []
    for number in range(held):
        engine.submit(picture(number))
    for number in range(40):
        while len(flight) >= 1 + number % 6:
            flight.pop(0).result()
        flight.append(engine.submit(picture(number)))
    (streams,) = engine._streams.values()
    assert len(streams._busy) <= streams.count
    for one in flight:
        one.result()
    np.testing.assert_array_equal(engine.submit(picture(3)).result(), kind(style)(picture(3)))


@KINDS
def test_wrong_input_is_refused_at_once(kind: type[CpuEngine], style: StyleModel) -> None:
    engine = kind(style)
    with pytest.raises(ShapeError):
        engine.submit(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ShapeError, match="strength"):
        engine.submit(picture(0), 1.5)
    with pytest.raises(ShapeError, match="map"):
        engine.submit(picture(0), np.zeros((2, 2), np.float32))


def test_a_failure_belongs_to_its_frame(style: StyleModel, monkeypatch: pytest.MonkeyPatch) -> None:
    from engines.openvino import frame_streams

    engine, calls = CpuEngine(style, 1), []
    finish = frame_streams._Slot.finish

    def fails_once(slot: frame_streams._Slot) -> RGB:
        painting = finish(slot)
        calls.append(1)
        if len(calls) == 2:
            raise EngineError("OpenVINO failed")
        return painting

    monkeypatch.setattr(frame_streams._Slot, "finish", fails_once)
    pending = [engine.submit(picture(number)) for number in range(6)]
    for number, frame in enumerate(pending):
        if number == 1:
            for _ in range(2):
                with pytest.raises(EngineError, match="failed"):
                    frame.result()
        else:
            np.testing.assert_array_equal(frame.result(), CpuEngine(style)(picture(number)))


def test_the_memory_of_large_frames_is_bounded() -> None:
    most = {
        size: stream_options({}, *size)["PERFORMANCE_HINT_NUM_REQUESTS"]
        for size in ((360, 640), (2160, 3840), (4320, 7680))
    }
    assert most[360, 640] == MOST_STREAMS and most[2160, 3840] == 2 and most[4320, 7680] == 1
    assert all(count == 1 or count * size[0] * size[1] * BYTES_PER_PIXEL <= MOST_BYTES for size, count in most.items())
