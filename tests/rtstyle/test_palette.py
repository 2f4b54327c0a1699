"""Changing the style while frames go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from engines.base import RGB, Engine, EngineInfo
from engines.errors import EngineError, StyleError
from rtstyle.live import style_switcher as module
from rtstyle.live.style_switcher import Palette
from rtstyle.pipeline import Controls

NAMES = ("black", "grey", "white", "pale", "dark", "broken")
SHADES = {"black": 0, "dark": 50, "grey": 100, "pale": 150, "white": 200}


class Paint:
    """One shade for every frame."""

    def __init__(self, name: str) -> None:
        self.shade, self.closed, self.sizes = SHADES[name], False, set[tuple[int, int]]()
        self.threads = dict[tuple[int, int], str]()
        self.fails_at: tuple[int, int] | None = None
        self.calls = 0
        self.info = EngineInfo("paint", "", "", "", name)

    def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
        assert not self.closed
        self.calls += 1
        if self.fails_at == (rgb.shape[0], rgb.shape[1]):
            raise EngineError("out of memory")
        self.sizes.add((rgb.shape[0], rgb.shape[1]))
        self.threads.setdefault((rgb.shape[0], rgb.shape[1]), threading.current_thread().name)
        return np.full_like(rgb, round(self.shade * strength))

    def close(self) -> None:
        self.closed = True


class Shelf:
    """Makes the engines and keeps them; ``gate`` holds up the making."""

    def __init__(self) -> None:
        self.made: dict[str, list[Paint]] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.trouble: Exception = StyleError("broken is damaged")

    def __call__(self, name: str) -> Engine:
        self.gate.wait(5)
        if name == "broken":
            raise self.trouble
        self.made.setdefault(name, []).append(Paint(name))
        return self.made[name][-1]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def frame(height: int = 48, width: int = 64) -> RGB:
    return np.zeros((height, width, 3), np.uint8)


def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
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


def test_a_change_is_seen_in_the_first_painting_and_costs_none(shelf: Shelf) -> None:
    controls = Controls(styles=NAMES, style="black")
    palette = Palette(shelf, controls, ahead=False)
    palette(frame())
    controls.style = "white"
    until(lambda: "white" in shelf.made and (48, 64) in shelf.made["white"][0].sizes)
    shelf.made["black"][0].calls = 0
    until(lambda: palette(frame()).max() > 0)
    assert palette(frame()).max() >= round(module.FIRST_SHARE * 200)
    until(lambda: palette(frame()).max() == 200)
    assert shelf.made["black"][0].calls <= 5, "only until the other was ready"
    palette.close()


def test_a_change_within_a_change_goes_on_from_what_is_seen(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FADE_S", 1e6)
    monkeypatch.setattr(module, "REST_S", 0.01)
    controls = Controls(styles=("black", "white", "grey"), style="black")
    palette = Palette(shelf, controls)
    palette(frame())
    until(lambda: {(48, 64)} == shelf.made.get("grey", [Paint("black")])[-1].sizes)
    controls.style = "white"
    until(lambda: palette(frame()).max() == round(module.FIRST_SHARE * 200))
    controls.style = "grey"
    until(lambda: palette.shown == "grey" or palette(frame()).max() < 0)
    expected = module.FIRST_SHARE * 100 + (1 - module.FIRST_SHARE) * module.FIRST_SHARE * 200
    assert abs(int(palette(frame()).max()) - expected) <= 1
    palette.close()


def test_strength_goes_to_both_while_it_fades(shelf: Shelf) -> None:
    controls = Controls(styles=NAMES, style="white")
    palette = Palette(shelf, controls, ahead=False)
    palette(frame(), 0.5)
    controls.style = "black"
    seen = [100]
    while seen[-1]:
        seen.append(int(palette(frame(), 0.5).max()))
    assert max(seen) == 100 and len(set(seen)) > 3
    palette.close()


def test_others_are_made_ready_ahead_for_the_size_of_the_frames(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST_S", 0.01)
    palette = Palette(shelf, Controls(styles=NAMES, style="black"))
    time.sleep(0.05)
    assert set(shelf.made) == {"black"}, "before a frame nobody knows the size"
    palette(frame(32, 40))
    until(lambda: set(shelf.made) == set(SHADES))
    until(lambda: all((32, 40) in made[0].sizes for made in shelf.made.values()))
    palette.close()


class Sharing(Paint):
    """One that shares what is compiled: an ``engines.base.SharingEngine``."""

    def prepare(self, height: int, width: int) -> None:
        assert not self.closed and not self.calls
        self.sizes.add((height, width))


def test_engines_that_share_are_prepared_not_called_and_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST_S", 0.01)
    monkeypatch.setattr(module, "PIXELS_KEPT", 1)
    made: dict[str, Sharing] = {}

    def load(name: str) -> Engine:
        return made.setdefault(name, Sharing(name))

    palette = Palette(load, Controls(styles=tuple(SHADES), style="black"))
    palette(frame())
    until(lambda: len(made) == len(SHADES) and all((48, 64) in one.sizes for one in made.values()))
    time.sleep(0.05)
    assert [name for name, one in made.items() if one.calls] == ["black"]
    assert not any(one.closed for one in made.values())
    palette.close()


def test_large_frames_keep_few_engines(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIXELS_KEPT", 1)
    monkeypatch.setattr(module, "FADE_S", 1e-6)
    monkeypatch.setattr(module, "REST_S", 0.01)
    controls = Controls(styles=NAMES, style="black")
    palette = Palette(shelf, controls)
    for name in ("grey", "white", "pale", "dark", "black", "grey"):
        controls.style = name
        until(lambda: palette(frame()).max() == SHADES[controls.style])
    until(lambda: sum(not one.closed for made in shelf.made.values() for one in made) == 2)
    palette.close()


def test_engines_are_made_ready_again_for_another_size(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST_S", 0.01)
    controls = Controls(styles=NAMES, style="black")
    palette = Palette(shelf, controls)
    palette(frame(32, 40))
    until(lambda: set(shelf.made) == set(SHADES))
    palette(frame(48, 64))
    controls.style = "white"
    until(lambda: palette(frame(48, 64)).max() == 200)
    assert shelf.made["white"][0].threads == {(32, 40): "palette", (48, 64): "palette"}
    assert len(shelf.made["white"]) == 1, "the same engine"
    palette.close()


def test_an_engine_that_fails_when_it_is_shown_gives_way_to_the_one_before(shelf: Shelf) -> None:
    controls = Controls(styles=NAMES, style="grey")
    palette = Palette(shelf, controls, ahead=False)
    palette(frame())
    controls.style = "white"
    until(lambda: "white" in shelf.made and (48, 64) in shelf.made["white"][0].sizes)
    shelf.made["white"][0].fails_at = (48, 64)
    until(lambda: palette(frame()).max() == 100 and palette.fault != "")
    assert "out of memory" in palette.fault and shelf.made["white"][0].closed
    shelf.made["grey"][0].fails_at = (48, 64)
    with pytest.raises(EngineError):
        palette(frame())
    palette.close()


def test_the_engine_of_what_fades_away_is_not_called(shelf: Shelf) -> None:
    controls = Controls(styles=NAMES, style="grey")
    palette = Palette(shelf, controls, ahead=False)
    palette(frame())
    controls.style = "white"
    until(lambda: palette(frame()).max() > 100)
    shelf.made["grey"][0].fails_at = (48, 64)
    until(lambda: palette(frame()).max() == 200)
    assert palette.fault == ""
    palette.close()


@pytest.mark.parametrize("trouble", [StyleError("broken is damaged"), RuntimeError("it is damaged")])
def test_a_style_that_cannot_be_loaded_changes_nothing_and_says_why(shelf: Shelf, trouble: Exception) -> None:
    shelf.trouble = trouble
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


def test_only_what_there_is_can_be_chosen() -> None:
    with pytest.raises(StyleError, match="no style 'blue'"):
        Controls(styles=NAMES, style="blue")
    controls = Controls(styles=NAMES)
    assert controls.style == "black"
    with pytest.raises(StyleError, match="black, grey"):
        controls.style = "blue"
    assert controls.style == "black"
