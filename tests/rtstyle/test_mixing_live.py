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
from rtstyle.live.mix_slider import set_mix
from rtstyle.live.session import LiveSession
from rtstyle.live.style_switcher import StyleSwitcher
from rtstyle.playlist import Playlist, next_place, read_playlist
from rtstyle.playlist_engine import PlaylistEngine
from rtstyle.sinks.null import NullSink
from rtstyle.sources.pattern import PatternSource
from rtstyle.style_library import find
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
