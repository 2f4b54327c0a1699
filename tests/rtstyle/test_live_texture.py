"""The texture of styles while frames go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise

import pygame
import pytest

from engines.errors import ConfigError, StyleError, StylerError
from rtstyle.controls import Controls
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.mix_slider import set_mix, step_first, with_first
from rtstyle.live.modulations import Modulations
from rtstyle.live.style_switcher import StyleSwitcher
from rtstyle.live.texture import set_texture, texture_now
from rtstyle.style_library import texture_of
from rtstyle.style_mix import without_textures
from tests.rtstyle.test_mixing_live import NAMES, PHOTO, Ticking, load, off, painted
from tests.rtstyle.test_style_switcher import until
from tests.rtstyle.test_window import frame, open_window, press

pytestmark = pytest.mark.real_time


@pytest.fixture
def controls() -> Controls:
    return Controls(styles=NAMES, style="vangogh")


@pytest.fixture
def switcher(controls: Controls) -> Iterator[StyleSwitcher]:
    with closing(Ticking(EnginePool(load).load, controls)) as switcher:
        switcher(PHOTO)
        yield switcher


def test_the_texture_of_what_is_shown_follows_its_slider(switcher: StyleSwitcher, controls: Controls) -> None:
    for value, style, texture in (
        (0.25, "vangogh@0.25", 0.25), ("0.9", "vangogh@0.9", 0.9), ("own", "vangogh", texture_of("vangogh")),
    ):  # fmt: skip
        assert set_texture(controls, value) == {"style": style, "texture": texture} and texture_now(controls) == texture
        wanted = painted(style)
        until(lambda wanted=wanted: off(switcher(PHOTO), wanted) < 1, 30)
        assert switcher.shown == style and not switcher.fault
    set_mix(controls, 0.5)
    assert set_texture(controls, 0.5)["style"] == "vangogh@0.5:0.5+wave@0.5:0.5"
    assert set_mix(controls, 1.0)["style"] == "wave@0.5" and set_mix(controls, 0)["style"] == "vangogh@0.5"
    wanted = painted("vangogh@0.5")
    until(lambda: off(switcher(PHOTO), wanted) < 1, 30)
    controls.style = "wave"
    assert texture_now(controls) == texture_of("wave"), "another style has its own"


def test_a_texture_can_change_where_there_is_one() -> None:
    controls = Controls(styles=("udnie", "wave", "vangogh"), style="udnie")
    assert texture_now(controls) == 0.0
    with pytest.raises(ConfigError, match="udnie has no texture"):
        set_texture(controls, 0.5)
    for wrong in ("much", None, True, float("nan"), 1.5):
        controls.style = "wave"
        with pytest.raises(StylerError, match="texture"):
            set_texture(controls, wrong)
    assert set_texture(controls, "own")["style"] == "wave"
    controls.style = "udnie:0.4+wave:0.6"
    assert set_texture(controls, 1)["style"] == "udnie:0.4+wave@1:0.6"
    controls.style = "udnie:0.6+wave:0.4"
    assert set_texture(controls, 0.2) == {"style": "udnie:0.6+wave@0.2:0.4", "texture": 0.2}
    set_mix(controls, 0.0)
    assert set_texture(controls, 0.7)["style"] == "udnie", "the slider is at its end"
    assert set_mix(controls, 0.5)["style"] == "udnie:0.5+wave@0.7:0.5"
    controls.style = "udnie@0.5"
    assert set_texture(controls, "OWN")["style"] == "udnie"


def test_a_texture_that_is_moved_on_and_on_glides(switcher: StyleSwitcher, controls: Controls) -> None:
    controls.glide = 2.0
    seen = [switcher(PHOTO)]
    for step in range(12):
        set_texture(controls, 0.6 - step / 20)
        for _ in range(4):
            seen.append(switcher(PHOTO))
    controls.glide = 0.0
    wanted = painted("vangogh@0.05")
    until(lambda: seen.append(switcher(PHOTO)) or off(seen[-1], wanted) < 1, 30)
    assert not switcher.fault and not switcher._fading and switcher._leaving is None
    assert max(off(one, other) for one, other in pairwise(seen)) < 0.5 * off(seen[0], wanted), "no jump"


def test_a_texture_is_no_other_turn_of_a_playlist(controls: Controls) -> None:
    controls.playlist, controls.every = ("vangogh@1", "wave@0", "mosaic"), 2.0
    controls.style = "vangogh@1"
    shown = []
    with closing(Ticking(load, controls)) as switcher:
        switcher.begin_turns()
        for frame in range(30 * 7):
            switcher(PHOTO)
            if frame % 10 == 5 and controls.style != "mosaic":
                set_texture(controls, 0.3 + frame % 3 / 10)
            if without_textures(controls.style) not in shown[-1:]:
                shown.append(without_textures(controls.style))
    assert shown == ["vangogh", "wave", "mosaic", "vangogh"]


def test_a_texture_leaves_a_moving_mix_alone(controls: Controls) -> None:
    controls.style = "vangogh:0.5+wave:0.5"
    modulations = Modulations(controls)
    modulations.change("mix=sine:2s")
    modulations.apply(0.0)
    set_texture(controls, 0.4)
    modulations.apply(1.0)
    assert modulations.running and controls.pair == ("vangogh@0.4", "wave@0.4")
    controls.style = "mosaic"
    modulations.apply(2.0)
    assert not modulations.running


def test_styles_with_a_texture_step_and_leave_as_those_without() -> None:
    controls = Controls(styles=("scream", "vangogh", "wave"), style="vangogh@0.3")
    assert controls.place == 1 and step_first(controls, 1) == "wave"
    controls.style = "scream@0.2:0.5+vangogh@0.3:0.5"
    assert step_first(controls, 1) == "wave:0.5+vangogh@0.3:0.5" and with_first(controls, "vangogh") == "vangogh"
    set_mix(controls, 0.0)
    assert controls.style == "scream@0.2" and controls.pair == ("scream@0.2", "vangogh@0.3")
    assert set_mix(controls, "next")["second"] == "wave"
    assert set_mix(controls, "vangogh@0.7")["second"] == "vangogh@0.7"
    controls.playlist, controls.style = ("scream@0.4", "vangogh@1", "wave"), "wave@0.5"
    controls.offer(("scream", "vangogh"), "vangogh")
    assert controls.playlist == ("scream@0.4", "vangogh@1") and controls.style == "vangogh"
    with pytest.raises(StyleError, match="no style 'wave@0.3' here|no style 'wave' here"):
        controls.style = "wave@0.3"


def test_keys_change_the_texture_of_a_style_that_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    controls = Controls()
    window = open_window(controls)
    press(pygame.K_g)
    assert window.write(frame())
    assert window.caption == "", "nothing to change"
    controls.offer(("vangogh", "udnie"), "vangogh@0.95")
    for key, caption in (
        (pygame.K_l, "texture 1.00"), (pygame.K_l, "texture 1.00"), (pygame.K_g, "texture 0.90"),
        (pygame.K_2, "udnie"), (pygame.K_g, "udnie has no texture (choose another style)"),
    ):  # fmt: skip
        press(key)
        assert window.write(frame())
        assert window.caption == caption
    window.close(completed=True)
