"""Masks: where the style shows, from files and from people, frame by frame."""

from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.base import RGB, StrengthMap
from engines.errors import ConfigError, EngineError, SourceError
from engines.vision.face_network import Face, FaceNetwork
from rtstyle.controls import Controls
from rtstyle.frame import Frame, SourceInfo
from rtstyle.live.actions import SETTINGS
from rtstyle.masks import strength_maps
from rtstyle.masks.mask_file import MaskFile
from rtstyle.masks.person import PersonMask
from rtstyle.masks.settings import MaskSettings
from rtstyle.masks.strength_maps import StrengthMaps, feathered
from tests.rtstyle.clips import numbered
from tests.rtstyle.masked import Told, clip_of_masks, half

FPS = 10


def frame(number: int = 0, rgb: RGB | None = None) -> Frame:
    return Frame(numbered(number) if rgb is None else rgb, number, number, Fraction(1, FPS), 0.0)


class Camera:
    """A live source, of which only the description matters."""

    info = SourceInfo("camera", 64, 48, Fraction(FPS), None, live=True)

    def frames(self) -> Any:
        return iter(())

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> Told:
    """A person in the right half of every frame."""
    answer = np.zeros((48, 64), np.float32)
    answer[:, 32:] = 1.0
    told = Told(answer)
    monkeypatch.setattr("rtstyle.masks.person.PersonNetwork", lambda: told)
    return told


def sides(strength: float | StrengthMap) -> tuple[float, float]:
    """The strengths far left and far right."""
    assert isinstance(strength, np.ndarray) and strength.dtype == np.float32 and strength.shape == (48, 64)
    return round(float(strength[24, 4]), 3), round(float(strength[24, 60]), 3)


# Files.


def test_a_picture_is_a_mask_of_any_size(tmp_path: Path) -> None:
    mask = MaskFile(half(tmp_path / "mask.png"))
    for height, width in ((48, 64), (96, 128), (24, 32)):
        found = mask.at(0.0, height, width)
        assert found.shape == (height, width) and found.dtype == np.float32
        assert (found[:, : width // 2 - 1] == 0.0).all() and (found[:, width // 2 + 1 :] == 1.0).all()


def test_what_is_transparent_is_black(tmp_path: Path) -> None:
    cut_out = np.full((48, 64, 4), 255, np.uint8)
    cut_out[:, :32, 3] = 0
    cv2.imwrite(str(tmp_path / "mask.png"), cut_out)
    found = MaskFile(tmp_path / "mask.png").at(0.0, 48, 64)
    assert (found[:, :32] == 0.0).all() and (found[:, 32:] == 1.0).all()


def test_another_aspect_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mask = MaskFile(half(tmp_path / "mask.png"))
    mask.at(0.0, 96, 128)
    assert not caplog.records
    mask.at(0.0, 48, 128)
    mask.at(0.0, 40, 128)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "64×48 and is stretched to 128×48" in record.getMessage()


def level(mask: MaskFile, time_s: float) -> int:
    return round(255 * float(mask.at(time_s, 48, 64)[0, 0]))


def test_a_clip_runs_along_by_its_own_time_and_holds_its_last_picture(tmp_path: Path) -> None:
    mask = MaskFile(clip_of_masks(tmp_path / "mask.mkv", [10, 60, 110, 160], fps=5))
    times = (0.0, 0.1, 0.2, 0.3, 0.55, 0.61, 0.79, 5.0, 1000.0)
    assert [level(mask, time_s) for time_s in times] == [10, 10, 60, 60, 110, 160, 160, 160, 160]
    assert [level(mask, time_s) for time_s in (0.25, 0.0, 0.6)] == [60, 10, 160], "also backwards"
    mask.close()


def test_a_looping_clip_starts_again(tmp_path: Path) -> None:
    mask = MaskFile(clip_of_masks(tmp_path / "mask.mkv", [10, 60, 110, 160], fps=5), loops=True)
    assert [level(mask, time_s) for time_s in (0.0, 0.7, 0.8, 1.05, 1.5, 1.61, 100.05)] == [
        10,
        160,
        10,
        60,
        160,
        10,
        10,
    ]
    mask.close()


def test_numbered_pictures_run_at_the_rate_of_the_frames(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number, value in ((7, 10), (8, 60), (10, 160)):  # one is missing
        cv2.imwrite(str(tmp_path / f"m{number:03d}.png"), np.full((24, 32), value, np.uint8))
    pattern = tmp_path / "m%03d.png"
    mask = MaskFile(pattern, fps=Fraction(5))
    assert [level(mask, number / 5) for number in (0, 1, 2, 3, 9, 1)] == [10, 60, 60, 160, 160, 60]
    mask.close()
    looping = MaskFile(pattern, fps=Fraction(5), loops=True)
    assert [level(looping, number / 5) for number in (3, 4, 5)] == [160, 10, 60]
    looping.close()
    maps = StrengthMaps(Controls(masks=MaskSettings(pattern)), Camera())  # type: ignore[arg-type]
    assert [round(255 * float(np.mean(maps(frame(number))))) for number in (0, 1, 3)] == [10, 60, 160]
    maps.close()
    assert not caplog.records
    uneven = MaskFile(pattern, fps=Fraction(5))
    for time_s in (0.0, 0.2, 0.3, 0.5):
        uneven.at(time_s, 48, 64)
    assert ["varying rate" in record.getMessage() for record in caplog.records] == [True], "told once"
    uneven.close()
    with pytest.raises(SourceError, match="no picture is named like"):
        MaskFile(tmp_path / "n%03d.png")


# Strengths.


def test_without_a_mask_the_strength_is_the_number() -> None:
    maps = StrengthMaps(Controls(0.7, masks=MaskSettings(feather=8.0, outside=0.3)))
    assert maps(frame()) == 0.7


def test_inside_and_outside_multiply_the_strength(tmp_path: Path) -> None:
    file = half(tmp_path / "mask.png")
    controls = Controls(0.5, masks=MaskSettings(file, inside=0.8, outside=0.2))
    maps = StrengthMaps(controls)
    assert sides(maps(frame())) == (0.1, 0.4)
    controls.strength = 1.0
    assert sides(maps(frame())) == (0.2, 0.8)
    controls.strength = 0.0
    assert maps(frame()) == 0.0
    assert sides(StrengthMaps(Controls(masks=MaskSettings(file, inside=0.0, outside=1.0)))(frame())) == (1.0, 0.0)


def test_a_border_is_as_soft_as_asked(tmp_path: Path) -> None:
    maps = StrengthMaps(Controls(masks=MaskSettings(half(tmp_path / "mask.png"), feather=8.0)))
    soft = maps(frame())
    assert isinstance(soft, np.ndarray)
    row = soft[24]
    assert row[32 - 10] == 0.0 and row[32 + 10] == 1.0 and (np.diff(row) >= 0.0).all()
    assert 0.0 < row[32 - 6] < 0.1 and 0.9 < row[32 + 6] < 1.0
    assert abs(float(row[31] + row[32]) - 1.0) < 1e-5
    assert np.abs(feathered(np.ones((48, 64), np.float32), 200.0) - 1.0).max() < 1e-5, "the frame's own border is none"


def test_people_background_and_a_file_restrict_together(people: Told, tmp_path: Path) -> None:
    controls = Controls(only="person")
    maps = StrengthMaps(controls)
    assert sides(maps(frame())) == (0.0, 1.0)
    controls.only = "background"
    assert sides(maps(frame())) == (1.0, 0.0)
    controls.only = "all"
    assert maps(frame()) == 1.0
    lower = np.zeros((48, 64), np.uint8)
    lower[24:] = 255
    cv2.imwrite(str(tmp_path / "lower.png"), lower)
    both = StrengthMaps(Controls(only="person", masks=MaskSettings(tmp_path / "lower.png")))(frame())
    assert isinstance(both, np.ndarray)
    assert [float(both[y, x]) for y, x in ((8, 8), (8, 56), (40, 8), (40, 56))] == [0.0, 0.0, 0.0, 1.0]


def test_nobody_is_looked_for_where_no_style_shows(people: Told) -> None:
    maps = StrengthMaps(Controls(0.0, only="person"))
    people.answer = None  # a call would fail
    assert maps(frame()) == 0.0


def test_the_clip_follows_the_time_of_the_frames(tmp_path: Path) -> None:
    masks = MaskSettings(clip_of_masks(tmp_path / "mask.mkv", [0, 255], fps=5))
    maps = StrengthMaps(Controls(masks=masks))
    assert [float(np.mean(maps(frame(number)))) for number in (0, 1, 2, 3, 4, 9)] == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    maps.close()
    live = StrengthMaps(Controls(masks=masks), Camera())  # type: ignore[arg-type]
    assert [float(np.mean(live(frame(number)))) for number in (50, 51, 52, 53, 54, 55)] == [0, 0, 1, 1, 0, 0]
    live.close()


def test_live_frames_go_on_while_the_network_is_loaded(people: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    controls = Controls()
    maps = StrengthMaps(controls, Camera())  # type: ignore[arg-type]
    assert maps(frame()) == 1.0 and not people.prepared
    started: list[Callable[[], None]] = []

    class Later:
        def __init__(self, target: Callable[[int, int], None], args: tuple[int, int], **_: Any) -> None:
            self.start = lambda: started.append(lambda: target(*args))

    monkeypatch.setattr(strength_maps, "Thread", Later)
    controls.only = "person"
    assert maps(frame(1)) == 1.0 and maps(frame(2)) == 1.0 and len(started) == 1
    started[0]()
    assert people.prepared == [(48, 64)]
    assert sides(maps(frame(3))) == (0.0, 1.0)


def test_a_network_that_fails_leaves_the_frames_as_they_were(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise EngineError("the cpu engine needs OpenVINO", hint="pip install openvino")

    monkeypatch.setattr("rtstyle.masks.person.PersonNetwork", broken)
    with pytest.raises(EngineError):
        StrengthMaps(Controls(only="person"))
    controls = Controls()
    maps = StrengthMaps(controls, Camera())  # type: ignore[arg-type]
    controls.only = "background"
    assert maps(frame()) == 1.0
    if maps._people._loader is not None:
        maps._people._loader.join(10)
    assert controls.only == "all" and "pip install openvino" in caplog.text


@pytest.fixture
def faces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A face in the right half of every frame."""

    class Right(FaceNetwork):
        def __call__(self, rgb: RGB) -> list[Face]:
            return [Face(0.875, 0.5, 0.2, 0.2, 0.0, 1.0)]

    monkeypatch.setattr("rtstyle.masks.faces.FaceNetwork", Right)


def test_faces_get_less_style(faces: None, tmp_path: Path) -> None:
    controls = Controls(faces=0.5)
    maps = StrengthMaps(controls)
    assert sides(maps(frame())) == (1.0, 0.5)
    controls.strength = 0.5
    assert sides(maps(frame())) == (0.5, 0.25)
    controls.faces = 0.0
    assert maps(frame()) == 0.5
    controls.only, controls.strength = "faces", 1.0
    assert sides(maps(frame())) == (0.0, 1.0)
    inverse = MaskSettings(half(tmp_path / "mask.png"), inside=0.0, outside=1.0)
    assert sides(StrengthMaps(Controls(masks=inverse, faces=0.5))(frame())) == (1.0, 0.0)


def test_faces_and_people_together(faces: None, people: Told) -> None:
    assert sides(StrengthMaps(Controls(only="person", faces=0.25))(frame())) == (0.0, 0.75)
    assert sides(StrengthMaps(Controls(only="background", faces=0.25))(frame())) == (1.0, 0.0)


# People from frame to frame.


def wavering(frames: int, still: bool) -> tuple[float, float]:
    """How much the mask and the network's answer change from frame to frame, while the network wavers."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (144, 256, 3), np.uint8)
    told = Told()
    mask, masks, answers = PersonMask(told), list[Any](), list[Any]()
    for number in range(frames):
        told.answer = np.full((144, 256), 0.5 + 0.15 * (-1) ** number, np.float32)
        masks.append(mask(picture if still else np.roll(picture, 7 * number, axis=1)))
        answers.append(told.answer)
    return tuple(float(np.mean(np.abs(np.diff(np.array(one), axis=0)[5:]))) for one in (masks, answers))  # type: ignore[return-value]


def test_what_stands_still_does_not_flicker() -> None:
    change, answered = wavering(30, still=True)
    assert change < 0.6 * answered  # the mask is steeper than the probability, by 2.5


def test_what_moves_is_followed_at_once() -> None:
    rng = np.random.default_rng(0)
    wall, hand = (rng.integers(low, low + 60, (360, 640, 3), np.uint8) for low in (160, 40))
    told = Told()
    mask = PersonMask(told)
    for number in range(8):
        there = np.zeros((360, 640), bool)
        there[100:260, 60 * number : 60 * number + 120] = True
        told.answer = there.astype(np.float32)
        found = mask(np.where(there[..., None], hand, wall))
        assert (found[there] > 0.5).mean() > 0.97 and (found[~there] < 0.5).mean() > 0.99, number


def test_a_new_size_begins_anew() -> None:
    told = Told(np.ones((48, 64), np.float32))
    mask = PersonMask(told)
    for size in ((48, 64), (360, 640), (640, 360)):
        assert (mask(np.zeros((*size, 3), np.uint8)) == 1.0).all()


# Steering.


def test_the_live_setting(people: Told) -> None:
    controls = Controls()
    assert [SETTINGS["only"](controls, "next")["only"] for _ in range(4)] == ["person", "background", "faces", "all"]
    assert SETTINGS["only"](controls, "person") == {"only": "person"} and controls.only == "person"
    for value in ("hands", "", 7, None):
        with pytest.raises(ConfigError, match="all, person, background"):
            SETTINGS["only"](controls, value)
    assert controls.only == "person"


def test_what_a_mask_does_can_be_changed_while_frames_go_on(people: Told, tmp_path: Path) -> None:
    controls = Controls(only="person", masks=MaskSettings(outside=0.1))
    maps = StrengthMaps(controls)
    assert sides(maps(frame())) == (0.1, 1.0)
    assert SETTINGS["inside"](controls, "0.5") == {"inside": 0.5}
    SETTINGS["outside"](controls, 0.75)
    assert sides(maps(frame())) == (0.75, 0.5)
    sharp = maps(frame())
    SETTINGS["feather"](controls, 8)
    soft = maps(frame())
    assert isinstance(sharp, np.ndarray) and isinstance(soft, np.ndarray)
    assert len(np.unique(sharp.round(3))) < len(np.unique(soft.round(3)))
    for name, value in (("inside", 1.5), ("outside", -0.1), ("feather", 300), ("feather", "wide")):
        with pytest.raises(ConfigError, match=name):
            SETTINGS[name](controls, value)
    assert controls.masks == MaskSettings(None, 0.5, 0.75, 8.0)
