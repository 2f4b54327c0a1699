"""Changing the style while frames go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from engines.base import RGB, Engine, EngineInfo, SharedGraphEngine
from engines.errors import EngineError, StyleError
from rtstyle.controls import Controls
from rtstyle.live import style_switcher as module
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.style_switcher import StyleSwitcher

NAMES = ("black", "grey", "white", "pale", "dark", "broken")
SHADES = {"black": 0, "dark": 50, "grey": 100, "pale": 150, "white": 200}


class Shade:
    """One shade for every frame."""

    def __init__(self, name: str) -> None:
        self.shade, self.closed, self.sizes = SHADES[name], False, set[tuple[int, int]]()
        self.threads = dict[tuple[int, int], str]()
        self.fails_at: tuple[int, int] | None = None
        self.calls = 0
        self.info = EngineInfo("shade", "", "", "", name)

    def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
        assert not self.closed
        self.calls += 1
        if self.fails_at == (rgb.shape[0], rgb.shape[1]):
            raise EngineError("out of memory")
        self.sizes.add((rgb.shape[0], rgb.shape[1]))
        self.threads.setdefault((rgb.shape[0], rgb.shape[1]), threading.current_thread().name)
        return np.full_like(rgb, round(self.shade * strength))

    def close(self) -> None:
        self.closed = True


class FakeEngines:
    """Makes the engines and keeps them; ``gate`` holds up the making."""

    def __init__(self) -> None:
        self.made: dict[str, list[Shade]] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.trouble: Exception = StyleError("broken is damaged")

    def __call__(self, name: str) -> Engine:
        self.gate.wait(5)
        if name == "broken":
            raise self.trouble
        self.made.setdefault(name, []).append(Shade(name))
        return self.made[name][-1]


@pytest.fixture
def made_engines() -> FakeEngines:
    return FakeEngines()


def frame(height: int = 48, width: int = 64) -> RGB:
    return np.zeros((height, width, 3), np.uint8)


def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def test_the_old_style_stays_until_the_new_one_is_ready_and_fades_into_it(made_engines: FakeEngines) -> None:
    controls = Controls(styles=NAMES, style="black")
    switcher = StyleSwitcher(made_engines, controls, ahead=False)
    assert switcher(frame()).max() == 0 and switcher.info.style == "black"
    made_engines.gate.clear()
    controls.style = "white"
    for _ in range(3):
        assert switcher(frame()).max() == 0, "frames go on"
    made_engines.gate.set()
    seen = [0]
    start = time.monotonic()
    while seen[-1] < 200:
        assert time.monotonic() < start + 5
        seen.append(int(switcher(frame()).max()))
        time.sleep(0.01)
    assert seen == sorted(seen) and len({shade for shade in seen if 0 < shade < 200}) >= 5, "it fades"
    assert switcher.info.style == "white"
    switcher.close()
    assert all(one.closed for made in made_engines.made.values() for one in made)


def test_a_change_shows_in_the_first_frame_and_costs_none(made_engines: FakeEngines) -> None:
    controls = Controls(styles=NAMES, style="black")
    switcher = StyleSwitcher(made_engines, controls, ahead=False)
    switcher(frame())
    controls.style = "white"
    until(lambda: "white" in made_engines.made and (48, 64) in made_engines.made["white"][0].sizes)
    made_engines.made["black"][0].calls = 0
    until(lambda: switcher(frame()).max() > 0)
    assert switcher(frame()).max() >= round(module.FIRST_SHARE * 200)
    until(lambda: switcher(frame()).max() == 200)
    assert made_engines.made["black"][0].calls <= 5, "only until the other was ready"
    switcher.close()


def test_a_change_within_a_change_goes_on_from_what_is_seen(
    made_engines: FakeEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FADE_S", 1e6)
    monkeypatch.setattr(module, "REST_S", 0.01)
    controls = Controls(styles=("black", "white", "grey"), style="black")
    switcher = StyleSwitcher(made_engines, controls)
    switcher(frame())
    until(lambda: {(48, 64)} == made_engines.made.get("grey", [Shade("black")])[-1].sizes)
    controls.style = "white"
    until(lambda: switcher(frame()).max() == round(module.FIRST_SHARE * 200))
    controls.style = "grey"
    until(lambda: switcher.shown == "grey" or switcher(frame()).max() < 0)
    expected = module.FIRST_SHARE * 100 + (1 - module.FIRST_SHARE) * module.FIRST_SHARE * 200
    assert abs(int(switcher(frame()).max()) - expected) <= 1
    switcher.close()


def test_strength_goes_to_both_while_it_fades(made_engines: FakeEngines) -> None:
    controls = Controls(styles=NAMES, style="white")
    switcher = StyleSwitcher(made_engines, controls, ahead=False)
    switcher(frame(), 0.5)
    controls.style = "black"
    seen = [100]
    while seen[-1]:
        seen.append(int(switcher(frame(), 0.5).max()))
    assert max(seen) == 100 and len(set(seen)) > 3
    switcher.close()


def test_others_are_made_ready_ahead_for_the_size_of_the_frames(
    made_engines: FakeEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_S", 0.01)
    switcher = StyleSwitcher(made_engines, Controls(styles=NAMES, style="black"))
    time.sleep(0.05)
    assert set(made_engines.made) == {"black"}, "before a frame nobody knows the size"
    switcher(frame(32, 40))
    until(lambda: set(made_engines.made) == set(SHADES))
    until(lambda: all((32, 40) in made[0].sizes for made in made_engines.made.values()))
    switcher.close()


class Sharing(Shade):
    """One that shares what is compiled: an ``engines.base.SharedGraphEngine``."""

    def prepare(self, height: int, width: int) -> None:
        assert not self.closed and not self.calls
        self.sizes.add((height, width))


def test_engines_that_share_are_prepared_not_called_and_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST_S", 0.01)
    monkeypatch.setattr(module, "PIXELS_KEPT", 1)
    made: dict[str, Sharing] = {}

    def load(name: str) -> Engine:
        return made.setdefault(name, Sharing(name))

    switcher = StyleSwitcher(load, Controls(styles=tuple(SHADES), style="black"))
    switcher(frame())
    until(lambda: len(made) == len(SHADES) and all((48, 64) in one.sizes for one in made.values()))
    time.sleep(0.05)
    assert [name for name, one in made.items() if one.calls] == ["black"]
    assert not any(one.closed for one in made.values())
    switcher.close()


def test_large_frames_keep_few_engines(made_engines: FakeEngines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIXELS_KEPT", 1)
    monkeypatch.setattr(module, "FADE_S", 1e-6)
    monkeypatch.setattr(module, "REST_S", 0.01)
    controls = Controls(styles=NAMES, style="black")
    switcher = StyleSwitcher(made_engines, controls)
    for name in ("grey", "white", "pale", "dark", "black", "grey"):
        controls.style = name
        until(lambda: switcher(frame()).max() == SHADES[controls.style])
    until(lambda: sum(not one.closed for made in made_engines.made.values() for one in made) == 2)
    switcher.close()


def test_engines_are_made_ready_again_for_another_size(
    made_engines: FakeEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_S", 0.01)
    controls = Controls(styles=NAMES, style="black")
    switcher = StyleSwitcher(made_engines, controls)
    switcher(frame(32, 40))
    until(lambda: set(made_engines.made) == set(SHADES))
    switcher(frame(48, 64))
    controls.style = "white"
    until(lambda: switcher(frame(48, 64)).max() == 200)
    assert made_engines.made["white"][0].threads == {(32, 40): "style loader", (48, 64): "style loader"}
    assert len(made_engines.made["white"]) == 1, "the same engine"
    switcher.close()


def test_an_engine_that_fails_when_it_is_shown_gives_way_to_the_one_before(made_engines: FakeEngines) -> None:
    controls = Controls(styles=NAMES, style="grey")
    switcher = StyleSwitcher(made_engines, controls, ahead=False)
    switcher(frame())
    controls.style = "white"
    until(lambda: "white" in made_engines.made and (48, 64) in made_engines.made["white"][0].sizes)
    made_engines.made["white"][0].fails_at = (48, 64)
    until(lambda: switcher(frame()).max() == 100 and switcher.fault != "")
    assert "out of memory" in switcher.fault and made_engines.made["white"][0].closed
    made_engines.made["grey"][0].fails_at = (48, 64)
    with pytest.raises(EngineError):
        switcher(frame())
    switcher.close()


def test_the_engine_of_what_fades_away_is_not_called(made_engines: FakeEngines) -> None:
    controls = Controls(styles=NAMES, style="grey")
    switcher = StyleSwitcher(made_engines, controls, ahead=False)
    switcher(frame())
    controls.style = "white"
    until(lambda: switcher(frame()).max() > 100)
    made_engines.made["grey"][0].fails_at = (48, 64)
    until(lambda: switcher(frame()).max() == 200)
    assert switcher.fault == ""
    switcher.close()


@pytest.mark.parametrize("trouble", [StyleError("broken is damaged"), RuntimeError("it is damaged")])
def test_a_style_that_cannot_be_loaded_changes_nothing_and_says_why(
    made_engines: FakeEngines, trouble: Exception
) -> None:
    made_engines.trouble = trouble
    controls = Controls(styles=NAMES, style="grey")
    switcher = StyleSwitcher(made_engines, controls, ahead=False)
    switcher(frame())
    controls.style = "broken"
    until(lambda: switcher(frame()).max() == 100 and switcher.fault != "")
    assert "damaged" in switcher.fault
    controls.style = "white"
    until(lambda: switcher(frame()).max() == 200)
    assert switcher.fault == ""
    switcher.close()


def test_the_first_style_must_work(made_engines: FakeEngines) -> None:
    with pytest.raises(StyleError, match="damaged"):
        StyleSwitcher(made_engines, Controls(styles=NAMES, style="broken"))


def test_close_does_not_wait_for_the_next_change(made_engines: FakeEngines) -> None:
    switcher = StyleSwitcher(made_engines, Controls(styles=NAMES, style="grey"))
    start = time.monotonic()
    switcher.close()
    switcher.close()
    assert time.monotonic() - start < module.REST_S / 2


def test_only_what_there_is_can_be_chosen() -> None:
    with pytest.raises(StyleError, match="no style 'blue'"):
        Controls(styles=NAMES, style="blue")
    controls = Controls(styles=NAMES)
    assert controls.style == "black"
    with pytest.raises(StyleError, match="black, grey"):
        controls.style = "blue"
    assert controls.style == "black"


def test_the_next_size_is_prepared_by_an_engine_of_its_own() -> None:
    made: list[Sharing] = []

    def load(name: str) -> Engine:
        made.append(Sharing(name))
        return made[-1]

    switcher = StyleSwitcher(load, Controls(styles=("black",)), ahead=False)
    switcher(frame())
    switcher.prepare(24, 32)
    switcher.prepare(16, 16)
    shown, before, spare = made
    assert shown.sizes == {(48, 64)} and (before.sizes, spare.sizes) == ({(24, 32)}, {(16, 16)})
    assert before.closed and not spare.closed, "its graph is kept until the next"
    switcher.close()
    assert all(one.closed for one in made)


def test_a_pool_compiles_without_holding_up_other_sessions() -> None:
    gate, compiling = threading.Event(), threading.Event()
    made: list[Sharing] = []

    class Compiling(Sharing):
        def prepare(self, height: int, width: int) -> None:
            if self is made[0]:
                assert (height, width) in made[1].sizes, "compiled before the shared engine is asked"
            else:
                compiling.set()
                assert gate.wait(5)
            self.sizes.add((height, width))

    def load(name: str) -> Engine:
        made.append(Compiling(name))
        return made[-1]

    pool = EnginePool(load)
    mine, others = pool.load("grey"), pool.load("grey")
    assert isinstance(mine, SharedGraphEngine)
    thread = threading.Thread(target=mine.prepare, args=(24, 32), daemon=True)
    thread.start()
    assert compiling.wait(5)
    assert others(frame()).max() == 100
    gate.set()
    thread.join(5)
    assert not thread.is_alive() and (24, 32) in made[0].sizes and made[1].closed
    mine.close()
    others.close()
    assert made[0].closed
