"""Pictures and engines between browsers and the painting."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("aiortc")

from av import VideoFrame

import engines
from engines.base import Engine, SharedGraphEngine
from engines.errors import ConfigError, EngineError, ShapeError, StyleError
from rtstyle.controls import Controls
from rtstyle.live.actions import apply_settings
from rtstyle.live.engine_pool import EnginePool
from rtstyle.webrtc.tracks import BrowserSource, StylizedTrack, ViewersSink
from tests.rtstyle.browsers import Tint


def test_the_newest_picture_wins_in_both_directions() -> None:
    source = BrowserSource("b", 16, 16)
    for shade in (10, 20, 30):
        assert source.put(VideoFrame.from_ndarray(np.full((16, 16, 3), shade, np.uint8), "rgb24"))
    frame = next(source.frames())
    assert frame.rgb.mean() == 30
    assert source.replaced == 2
    source.close()
    assert not source.put(VideoFrame(16, 16, "yuv420p"))
    assert list(source.frames()) == []

    async def track() -> None:
        painted = StylizedTrack(asyncio.get_running_loop())
        pictures = [VideoFrame(16, 16, "yuv420p") for _ in range(3)]
        for picture in pictures:
            painted.show(picture)
        await asyncio.sleep(0)
        assert await painted.recv() is pictures[2]
        painted.stop()

    asyncio.run(track())


def test_colours_survive_the_way_to_a_browser_and_back() -> None:
    rng = np.random.default_rng(1)
    rgb = np.kron(rng.integers(0, 255, (8, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    shown: list[VideoFrame] = []

    class Track:
        def show(self, picture: VideoFrame) -> None:
            shown.append(picture)

    from rtstyle.frame import Frame

    sink = ViewersSink(lambda: [Track()])  # type: ignore[list-item]
    for number in range(3):
        assert sink.write(Frame(rgb, number, 0, Fraction(1), 5.0))  # captured in one instant
    assert [picture.pts for picture in shown] == [0, 1, 2]
    source = BrowserSource("b", 64, 64)
    source.put(shown[0])
    back = next(source.frames()).rgb
    inside = np.abs(back.astype(int) - rgb)[2::8, 2::8]
    assert np.median(inside) <= 2
    source.close()
    odd = Frame(np.zeros((33, 47, 3), np.uint8), 0, 0, Fraction(1), 6.0)
    sink.write(odd)
    assert (shown[-1].width, shown[-1].height) == (46, 32)


def test_a_shelf_loads_each_style_once_and_frees_it_with_its_last_user() -> None:
    loaded: list[Tint] = []

    def load(name: str) -> Engine:
        loaded.append(Tint(name))
        return loaded[-1]

    shelf = EnginePool(load)
    one, two = shelf.load("wave"), shelf.load("wave")
    assert len(loaded) == 1
    one.close()
    one.close()
    assert not loaded[0].closed
    assert two(np.zeros((16, 16, 3), np.uint8)).shape == (16, 16, 3)
    two.close()
    assert loaded[0].closed
    shelf.load("wave").close()
    assert len(loaded) == 2
    with pytest.raises(EngineError):
        shelf.load("monet")


def test_a_shelf_hands_on_that_an_engine_shares(tiny_style: Path) -> None:
    shelf = EnginePool(lambda _: engines.load(tiny_style, "cpu", shared=True))
    engine = shelf.load("tiny")
    assert isinstance(engine, SharedGraphEngine)
    engine.prepare(32, 40)
    assert engine(np.zeros((32, 40, 3), np.uint8)).shape == (32, 40, 3)
    engine.close()
    plain = EnginePool(Tint).load("wave")
    assert not isinstance(plain, SharedGraphEngine)
    plain.close()


def test_wishes_are_checked_one_by_one() -> None:
    controls = Controls(1.0, False, 1.0, ["vangogh", "wave"], "vangogh")
    apply_settings(controls, {"style": "wave", "strength": 0.5, "scale": 2, "mirror": True})
    assert (controls.style, controls.strength, controls.scale, controls.mirror) == ("wave", 0.5, 2.0, True)
    for wish, error in (({"style": "x"}, StyleError), ({"strength": 2}, ShapeError), ({"stop": True}, ConfigError)):
        with pytest.raises(error):
            apply_settings(controls, wish)
    with pytest.raises(ConfigError):
        apply_settings(controls, {"scale": float("nan")})
