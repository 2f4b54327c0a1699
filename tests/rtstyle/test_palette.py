"""Changing the style while frames go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import engines
from engines.base import RGB, Engine, EngineInfo
from engines.errors import StyleError
from rtstyle import palette as module
from rtstyle.palette import FADE_S, Palette
from rtstyle.pipeline import Controls

NAMES = ("black", "grey", "white", "broken")
SHADES = {"black": 0, "grey": 100, "white": 200}


class Paint:
    """One shade for every frame."""

    def __init__(self, name: str) -> None:
        self.shade, self.closed, self.sizes = SHADES[name], False, set[tuple[int, int]]()
        self.info = EngineInfo("paint", "", "", "", name)

    def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
        assert not self.closed
        self.sizes.add((rgb.shape[0], rgb.shape[1]))
        return np.full_like(rgb, round(self.shade * strength))

    def close(self) -> None:
        self.closed = True


class Shelf:
    """Makes the engines and keeps them; ``gate`` holds up the making."""

    def __init__(self) -> None:
        self.made: dict[str, list[Paint]] = {}
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, name: str) -> Engine:
        self.gate.wait(5)
        if name == "broken":
            raise StyleError("broken is damaged")
        self.made.setdefault(name, []).append(Paint(name))
        return self.made[name][-1]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def frame(height: int = 48, width: int = 64) -> RGB:
    return np.zeros((height, width, 3), np.uint8)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def test_the_old_style_stays_until_the_new_one_is_ready_and_fades_into_it(shelf: Shelf) -> None:
    controls = Controls(styles=NAMES, style="black")
    palette = Palette(shelf, controls, ahead=False)
    assert palette(frame()).max() == 0 and palette.info.style == "black"
    shelf.gate.clear()
    controls.style = "white"
    for _ in range(3):
        assert palette(frame()).max() == 0, "frames go on"
    shelf.gate.set()
    seen = [0]
    start = time.monotonic()
    while seen[-1] < 200:
        assert time.monotonic() < start + 5
        seen.append(int(palette(frame()).max()))
        time.sleep(0.01)
    assert seen == sorted(seen) and len({shade for shade in seen if 0 < shade < 200}) >= 5, "it fades"
    assert palette.info.style == "white"
    palette.close()
    assert all(one.closed for made in shelf.made.values() for one in made)


def test_strength_goes_to_both_while_it_fades(shelf: Shelf) -> None:
    controls = Controls(styles=NAMES, style="grey")
    palette = Palette(shelf, controls, ahead=False)
    palette(frame())
    controls.style = "white"
    until(lambda: palette(frame(), 0.5).max() > 50)
    assert palette(frame(), 0.5).max() <= 100
    palette.close()


def test_others_are_made_ready_ahead_for_the_size_of_the_frames(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST_S", 0.01)
    palette = Palette(shelf, Controls(styles=NAMES, style="black"))
    time.sleep(0.05)
    assert set(shelf.made) == {"black"}, "before a frame nobody knows the size"
    palette(frame(32, 40))
    until(lambda: set(shelf.made) == {"black", "grey", "white"})
    until(lambda: all((32, 40) in made[0].sizes for made in shelf.made.values()))
    palette.close()


def test_large_frames_keep_few_engines(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIXELS_KEPT", 1)
    monkeypatch.setattr(module, "FADE_S", 1e-6)
    controls = Controls(styles=NAMES, style="black")
    palette = Palette(shelf, controls)
    for name in ("grey", "white", "black", "grey", "white"):
        controls.style = name
        until(lambda: palette(frame()).max() == SHADES[controls.style])
    alive = [one for made in shelf.made.values() for one in made if not one.closed]
    assert len(alive) <= 3, "what is shown, what it fades from, and one that was just made"
    palette.close()


def test_a_style_that_cannot_be_loaded_changes_nothing_and_says_why(shelf: Shelf) -> None:
    controls = Controls(styles=NAMES, style="grey")
    palette = Palette(shelf, controls, ahead=False)
    palette(frame())
    controls.style = "broken"
    until(lambda: palette(frame()).max() == 100 and palette.fault != "")
    assert "damaged" in palette.fault
    controls.style = "white"
    until(lambda: palette(frame()).max() == 200)
    assert palette.fault == ""
    palette.close()


def test_the_first_style_must_work(shelf: Shelf) -> None:
    with pytest.raises(StyleError, match="damaged"):
        Palette(shelf, Controls(styles=NAMES, style="broken"))


def test_close_does_not_wait_for_the_next_change(shelf: Shelf) -> None:
    palette = Palette(shelf, Controls(styles=NAMES, style="grey"))
    start = time.monotonic()
    palette.close()
    palette.close()
    assert time.monotonic() - start < module.REST_S / 2


def test_with_real_engines(tiny_style: Path) -> None:
    controls = Controls(styles=["one", "two"])
    palette = Palette(lambda _: engines.load(tiny_style, "cpu"), controls)
    rgb = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    first = palette(rgb)
    controls.style = "two"
    time.sleep(FADE_S)
    until(lambda: palette.info.style == "tiny" and bool((palette(rgb) == first).all()))
    palette.close()


def test_only_what_there_is_can_be_chosen() -> None:
    with pytest.raises(StyleError, match="no style 'blue'"):
        Controls(styles=NAMES, style="blue")
    controls = Controls(styles=NAMES)
    assert controls.style == "black"
    with pytest.raises(StyleError, match="black, grey"):
        controls.style = "blue"
    assert controls.style == "black"
