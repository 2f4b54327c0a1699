"""Mixes and glides while frames go on, and playlists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Event

import numpy as np
import pytest

import engines
from engines.base import RGB, Engine, StrengthMap
from engines.errors import ConfigError, EngineError, StyleError, StylerError
from engines.openvino import shared_weights
from rtstyle.commands.options import load_engine
from rtstyle.controls import Controls
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.mix_slider import set_mix, step_first, with_first
from rtstyle.live.modulations import Modulations
from rtstyle.live.session import LiveSession
from rtstyle.live.style_switcher import StyleSwitcher
from rtstyle.live.texture import set_texture, texture_now
from rtstyle.playlist import Playlist, next_place, read_playlist
from rtstyle.playlist_engine import PlaylistEngine
from rtstyle.sinks.null import NullSink
from rtstyle.sources.pattern import PatternSource
from rtstyle.style_library import find, texture_of
from rtstyle.style_mix import without_textures
from tests.rtstyle.test_style_switcher import until

pytestmark = pytest.mark.real_time

NAMES = ("vangogh", "wave", "mosaic")
PHOTO: RGB = np.random.default_rng(3).integers(0, 255, (6, 10, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)

load = partial(load_engine, name="cpu:fp32", shared=True)


def painted(style: str) -> RGB:
    with closing(load(style)) as engine:
        return engine(PHOTO)


def off(one: RGB, other: RGB) -> float:
    return float(np.abs(one.astype(int) - other).mean())


@pytest.fixture
def controls() -> Controls:
    return Controls(styles=NAMES, style="vangogh")


class Ticking(StyleSwitcher):
    """A switcher whose frames come thirty times a second by its own clock, however busy the machine is."""

    def __init__(self, load: Callable[[str], Engine], controls: Controls) -> None:
        self.now_s = 0.0
        super().__init__(load, controls, ahead=False, clock=lambda: self.now_s)

    def __call__(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> RGB:
        self.now_s += 1 / 30
        return super().__call__(rgb, strength, colours)


@pytest.fixture
def switcher(controls: Controls) -> Iterator[StyleSwitcher]:
    """In one session of a page, which shares its engines."""
    with closing(Ticking(EnginePool(load).load, controls)) as switcher:
        switcher(PHOTO)
        yield switcher


def test_a_glide_passes_the_mixes_and_compiles_nothing(
    switcher: StyleSwitcher, controls: Controls, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, middle, end = (painted(style) for style in ("vangogh", "vangogh+wave", "wave"))
    monkeypatch.setattr(shared_weights, "compile_graph", None)  # would fail now
    controls.glide, controls.style = 1.5, "wave"
    seen = [switcher(PHOTO)]
    assert off(seen[0], start) < 1, "frames go on until the way is prepared"
    until(lambda: seen.append(switcher(PHOTO)) or off(seen[-1], end) < 1, 30)
    assert switcher.shown == "wave" and not switcher.fault
    steps = [off(one, other) for one, other in pairwise(seen)]
    assert max(steps) < 0.5 * off(start, end), "no jump"
    assert switcher._leaving is None, "nor does a still picture fade"
    assert min(off(one, middle) for one in seen) < 0.3 * off(start, end), "it is the mix that is seen half-way"


def test_a_glide_within_a_glide_goes_on_from_what_is_seen(switcher: StyleSwitcher, controls: Controls) -> None:
    controls.glide, controls.style = 2.0, "wave"
    seen = [switcher(PHOTO)]
    until(lambda: seen.append(switcher(PHOTO)) or off(seen[-1], seen[0]) > 10, 30)
    controls.glide, controls.style = 2.0, "mosaic"
    end = painted("mosaic")
    until(lambda: seen.append(switcher(PHOTO)) or off(seen[-1], end) < 1, 30)
    assert max(off(one, other) for one, other in pairwise(seen)) < 0.5 * off(seen[0], end)


def test_a_slider_moves_without_a_fade(switcher: StyleSwitcher, controls: Controls) -> None:
    for share in ("0.4", "0.5"):
        assert set_mix(controls, share) == {"style": controls.style, "second": "wave", "mix": float(share)}
        wanted = painted(controls.style)
        until(lambda wanted=wanted: off(switcher(PHOTO), wanted) < 1, 30)
        assert switcher._leaving is None
    assert switcher.shown == "vangogh:0.5+wave:0.5"


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


def test_a_slider_that_never_rests_is_followed(controls: Controls) -> None:
    began, go_on, made = Event(), Event(), list[str]()

    def slowly(style: str) -> Engine:
        if style not in NAMES:
            began.set()
            assert go_on.wait(10)
            go_on.clear()
            made.append(style)
        return load(style)

    with closing(Ticking(slowly, controls)) as switcher:
        switcher(PHOTO)
        shown = set[str]()
        for number in range(1, 5):
            set_mix(controls, number / 10)
            switcher(PHOTO)
            assert began.wait(10)
            began.clear()
            set_mix(controls, number / 10 + 0.05)  # it has moved on before the mix is prepared
            go_on.set()
            until(lambda: switcher(PHOTO) is not None and [switcher.shown] == made[-1:], 10)
            shown.add(switcher.shown)
            until(began.is_set, 10)  # the loader is at the mix that is wanted now
            began.clear()
            go_on.set()
            until(lambda: switcher(PHOTO) is not None and switcher.shown == controls.style, 10)
        assert len(shown) == 4


def test_styles_of_other_shapes_fade_and_a_line_says_so(tiny_style: Path, caplog: pytest.LogCaptureFixture) -> None:
    controls = Controls(styles=("vangogh", str(tiny_style)), glide=5.0)
    with closing(Ticking(load, controls)) as switcher:
        switcher(PHOTO)
        for style in (str(tiny_style), "vangogh", str(tiny_style)):
            controls.style = style
            end = painted(style)
            until(lambda end=end: off(switcher(PHOTO), end) < 1, 30)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 2 and all("cannot glide in: " in line and "fades in instead" in line for line in told)


def test_a_glide_that_fails_on_its_way_fades_and_a_line_says_so(
    switcher: StyleSwitcher, controls: Controls, caplog: pytest.LogCaptureFixture
) -> None:
    controls.glide, controls.style = 5.0, "wave"
    until(lambda: switcher(PHOTO) is not None and switcher.shown == "wave", 30)
    seen, end = [switcher(PHOTO)], painted("wave")
    assert switcher._glider._engine is not None
    switcher._glider._engine.close()
    for _ in range(12):
        seen.append(switcher(PHOTO))
    assert off(seen[-1], end) < 1 and switcher.shown == "wave" and not switcher.fault
    assert max(off(one, other) for one, other in pairwise(seen)) < 0.7 * off(seen[0], end), "no jump"
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told.startswith("the glide to wave failed: ")


def test_a_style_that_cannot_be_shown_is_told_once_and_the_old_one_stays(caplog: pytest.LogCaptureFixture) -> None:
    controls = Controls(styles=NAMES, style="vangogh", glide=1.0)

    def broken(style: str) -> Engine:
        if style == "wave":
            raise StyleError("wave is damaged")
        return load(style)

    with closing(Ticking(broken, controls)) as switcher:
        start = switcher(PHOTO)
        controls.style = "wave"
        until(lambda: switcher(PHOTO) is not None and switcher.fault != "", 10)
        for _ in range(5):
            assert off(switcher(PHOTO), start) == 0
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "wave cannot be shown: wave is damaged"
    ]


def test_a_playlist_changes_the_style_in_turn(switcher: StyleSwitcher, controls: Controls) -> None:
    controls.playlist, controls.every = ("vangogh", "mosaic", "wave+vangogh"), 0.2
    switcher.begin_turns()
    asked = ["vangogh"]

    def turned() -> bool:
        switcher(PHOTO)
        if controls.style != asked[-1]:
            asked.append(controls.style)
        return len(asked) == 5

    until(turned, 20)
    assert asked == ["vangogh", "mosaic", "wave:0.5+vangogh:0.5", "vangogh", "mosaic"]
    controls.playlist, controls.every = (), 0.01
    for _ in range(5):
        switcher(PHOTO)
    assert controls.style == asked[-1]


def test_a_playlist_may_hold_a_style_twice(switcher: StyleSwitcher, controls: Controls) -> None:
    controls.playlist, controls.every = ("vangogh", "wave", "vangogh", "mosaic"), 0.1
    switcher.begin_turns()
    asked = ["vangogh"]
    for _ in range(30):
        switcher(PHOTO)
        asked += [controls.style] if controls.style != asked[-1] else []
    assert asked[:6] == ["vangogh", "wave", "vangogh", "mosaic", "vangogh", "wave"]


def test_the_turns_of_a_playlist_begin_with_the_first_frame_that_is_shown() -> None:
    controls = Controls(styles=NAMES, style="vangogh", playlist=("vangogh", "wave"), every=1.0)
    made = list[Ticking]()
    turns = list[tuple[float, str]]()

    def engine() -> Engine:
        made.append(Ticking(EnginePool(load).load, controls))
        made[0].now_s = 100.0  # starting up took long
        return made[0]

    with LiveSession(PatternSource(64, 48, frames=70, live=False), controls) as session:
        session.load(engine)
        rehearsed_s = made[0].now_s
        session.run(NullSink(), on_frame=lambda _: turns.append((made[0].now_s - rehearsed_s, controls.style)))
    changed = next(time for time, style in turns if style == "wave")
    assert turns[0][1] == "vangogh" and 1.0 < changed < 1.3


def test_the_next_style_of_a_playlist_is_loaded_ahead() -> None:
    names = ("vangogh", "wave", "mosaic", "klimt", "monet", "scream", "udnie")
    controls = Controls(styles=names, style="vangogh", playlist=("vangogh", "klimt+scream"))
    loaded = list[str]()

    def remember(style: str) -> Engine:
        loaded.append(style)
        return load(style)

    with closing(StyleSwitcher(EnginePool(remember).load, controls)) as switcher:
        switcher(PHOTO)
        until(lambda: len(loaded) > 1, 10)
    assert loaded[1] == "klimt:0.5+scream:0.5"


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("style", "vangogh+klimt", "no style 'klimt' here"),
        ("style", "vangogh:nan+wave:1", "weight of vangogh is nan"),
        ("playlist", ("wave",), "two styles or more"),
        ("playlist", ("wave", "wave"), "two styles or more"),
        ("playlist", ("wave", "klimt"), "no style 'klimt' here"),
        ("every", 0.0, "is not a time"),
        ("every", float("nan"), "is not a time"),
        ("glide", -1.0, "out of range"),
        ("glide", float("inf"), "out of range"),
    ],
)
def test_controls_refuse(controls: Controls, setting: str, value: object, told: str) -> None:
    before = getattr(controls, setting)
    with pytest.raises(StylerError, match=told):
        setattr(controls, setting, value)
    assert getattr(controls, setting) == before


def test_the_slider_remembers_its_pair(controls: Controls) -> None:
    asked = [set_mix(controls, value)["style"] for value in ("mosaic", 0.25, 1, 0.5, "next", 0, "previous")]
    assert asked == [
        "vangogh:0.5+mosaic:0.5", "vangogh:0.75+mosaic:0.25", "mosaic", "vangogh:0.5+mosaic:0.5",
        "vangogh:0.5+wave:0.5", "vangogh", "vangogh:0.5+mosaic:0.5",
    ]  # fmt: skip
    controls.style = "wave"
    assert set_mix(controls, 0.1)["style"] == "wave:0.9+mosaic:0.1", "the next style is the second one"


@pytest.mark.parametrize(
    ("style", "value", "told"),
    [
        ("vangogh", 1.5, "out of range"),
        ("vangogh", "vangogh", "cannot be mixed with itself"),
        ("vangogh", "klimt", "no style 'klimt'"),
        ("vangogh", None, "a share from 0 to 1, or the name"),
        ("vangogh+wave+mosaic", 0.5, "a mix of 3 styles has no slider"),
    ],
)
def test_the_slider_refuses(controls: Controls, style: str, value: object, told: str) -> None:
    controls.style = style
    with pytest.raises(StylerError, match=told):
        set_mix(controls, value)
    assert set(controls.mix.names) == set(style.split("+"))


def test_turns_by_the_time_of_a_clip() -> None:
    playlist = Playlist(read_playlist("a, b,c+d"), every=4.0, glide=2.0)
    assert playlist.at(0.5) == ("c+d", "a", 1.0), "the first style does not come from another"
    assert playlist.at(3.99).style == "a" and playlist.at(4.0) == ("a", "b", 0.0)
    assert playlist.at(5.0) == ("a", "b", 0.5) and playlist.at(6.0).way == 1.0
    assert playlist.at(12.5) == ("c+d", "a", 0.25) and playlist.at(-1.0) == ("c+d", "a", 1.0)
    assert next_place(playlist.styles, "c+d") == 0 and next_place(playlist.styles, "x") == 0
    assert next_place(("a", "b", "a", "c"), "a", 2) == 3 and next_place(("a", "b", "a", "c"), "a", 1) == 1
    turns = {first: [Playlist(("a", "b", "c"), 4.0, first=first).of_turn(n) for n in range(5)] for first in "bx"}
    assert turns == {"b": ["b", "c", "a", "b", "c"], "x": ["x", "a", "b", "c", "a"]}
    with pytest.raises(ConfigError, match="a glide of 5 s is longer than a turn of 4 s"):
        Playlist(("a", "b"), 4.0, 5.0)


def test_an_engine_that_follows_a_playlist() -> None:
    looks = {style: painted(style) for style in ("vangogh", "wave", "vangogh+wave")}
    with closing(PlaylistEngine(load, Playlist(("vangogh", "wave"), 4.0, 2.0))) as engine:
        for seconds, style in (
            (0.0, "vangogh"),
            (5.0, "vangogh+wave"),
            (7.0, "wave"),
            (9.0, "vangogh+wave"),
            (1.0, "vangogh"),
        ):
            engine.seek(seconds)
            assert off(engine(PHOTO), looks[style]) < 1, seconds
    with pytest.raises(EngineError, match="the engine torch cannot follow a playlist"):
        PlaylistEngine(lambda style: engines.load(find(style), "torch"), Playlist(("vangogh", "wave")))
    with pytest.raises(StyleError, match="no style"), closing(PlaylistEngine(load, Playlist(("wave", "x")))) as engine:
        engine.seek(8.0)
