"""Masks: where the style shows, from files and from people, frame by frame."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import rtstyle
from engines.base import RGB, StrengthMap
from engines.errors import ConfigError, EngineError, SourceError
from engines.strength_map import blend
from engines.vision.face_network import Face, FaceNetwork
from engines.vision.person_network import PersonNetwork, Probability
from rtstyle.cli import main
from rtstyle.controls import Controls
from rtstyle.frame import Frame, SourceInfo
from rtstyle.image import ImageJob, stylize_images
from rtstyle.jobs.batch import VideoBatch
from rtstyle.jobs.cluster_clip import check_shared
from rtstyle.jobs.segmented_video import settings_of
from rtstyle.live.actions import SETTINGS
from rtstyle.masks import strength_maps
from rtstyle.masks.mask_file import MaskFile
from rtstyle.masks.person import PersonMask
from rtstyle.masks.settings import MaskSettings
from rtstyle.masks.strength_maps import StrengthMaps, feathered
from rtstyle.media.image_files import read_picture
from rtstyle.video import StoppedError, stylize_video
from rtstyle.video_job import VideoJob
from tests.rtstyle.clips import Clip, Still, numbered
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


# Whole jobs.


def test_a_picture_is_stylized_in_its_white_half_only(tiny_style: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), numbered(85)[..., ::-1])
    masks = MaskSettings(half(tmp_path / "mask.png"))
    job = ImageJob((tmp_path / "in.png",), tmp_path / "whole.png")
    with rtstyle.load(tiny_style, "cpu") as engine:
        list(stylize_images(job, lambda: engine))
    with rtstyle.load(tiny_style, "cpu") as engine:
        list(stylize_images(dataclasses.replace(job, output=tmp_path / "half.png", masks=masks), lambda: engine))
    whole, part = (read_picture(tmp_path / name)[0] for name in ("whole.png", "half.png"))
    np.testing.assert_array_equal(part[:, :32], numbered(85)[:, :32])
    np.testing.assert_array_equal(part[:, 32:], whole[:, 32:])


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_clip_is_stylized_when_its_mask_is_white(tiny_style: Path, tmp_path: Path, scale: float) -> None:
    clip = Clip(frames=6, fps=FPS).write(tmp_path / "in.mp4")
    mask = clip_of_masks(tmp_path / "mask.mkv", [255, 0, 255], fps=5)
    settings: Any = {"engine": "cpu", "codec": "ffv1", "scale": scale}
    for name, one in {"plain": {"strength": 0.0}, "full": {}, "masked": {"mask": str(mask)}}.items():
        rtstyle.stylize_video(clip, tmp_path / f"{name}.mkv", tiny_style, **settings, **one)

    def pictures(name: str) -> list[RGB]:
        import av

        with av.open(str(tmp_path / f"{name}.mkv")) as file:
            return [picture.to_ndarray(format="rgb24") for picture in file.decode(video=0)]

    plain, full, masked = (pictures(name) for name in ("plain", "full", "masked"))
    assert not np.array_equal(plain[0], full[0])
    for number, expected in enumerate([full[0], full[1], plain[2], plain[3], full[4], full[5]]):
        np.testing.assert_array_equal(masked[number], expected)


class Overlapping(Still):
    """An engine that remembers the mean strength of each frame that it was given ahead."""

    def __init__(self) -> None:
        super().__init__()
        self.strengths: list[float] = []

    def submit(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> Any:
        self.strengths.append(float(np.mean(strength)))

        class Done:
            def result(self) -> RGB:
                return rgb.copy()

        return Done()


def test_an_engine_that_overlaps_frames_gets_the_map_of_each(tmp_path: Path) -> None:
    clip = Clip(frames=6, fps=FPS).write(tmp_path / "in.mp4")
    job = VideoJob(str(clip), tmp_path / "out.mp4", mask=clip_of_masks(tmp_path / "mask.mkv", [255, 0, 255], fps=5))
    engine = Overlapping()
    stylize_video(job, lambda: engine)
    assert engine.strengths == [1.0, 1.0, 0.0, 0.0, 1.0, 1.0] and not engine.calls
    late = dataclasses.replace(job, start=0.2, overwrite=True)
    stylize_video(late, lambda: engine)
    assert engine.strengths[6:] == [0.0, 0.0, 1.0, 1.0], "a mask begins with the clip, and not with the part"


def test_a_folder_of_clips_names_a_changed_mask(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Clip(frames=2).write(tmp_path / "in" / "a.mp4")

    def batch(**settings: Any) -> list[Any]:
        with VideoBatch([str(tmp_path / "in")], tmp_path / "out", VideoJob("", Path(), **settings)) as batch:
            return list(batch.run(Still))

    file = half(tmp_path / "mask.png")
    assert len(batch(mask=file)) == 1 and not batch(mask=file)
    (told,) = batch(mask=file, outside=0.5)
    assert "outside was 0.0, not 0.5" in str(told.error)
    file.unlink()
    with pytest.raises(SourceError, match="mask.png"):
        batch(mask=file)


def test_another_mask_is_another_job(tmp_path: Path) -> None:
    output = {"codec": "libx264", "bits": None}
    plain = VideoJob("in.mp4", tmp_path / "out.mp4")
    assert "only" not in settings_of(plain, output)
    person = settings_of(dataclasses.replace(plain, only="person"), output)
    with_file = settings_of(dataclasses.replace(plain, mask=half(tmp_path / "mask.png")), output)
    half(tmp_path / "mask.png", 96, 128)
    changed = settings_of(dataclasses.replace(plain, mask=tmp_path / "mask.png"), output)
    assert len({repr(one) for one in (settings_of(plain, output), person, with_file, changed)}) == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"only": "hands"}, "only 'hands'.*all, person, background, faces"),
        ({"faces": 1.5}, "faces 1.5 is out of range"),
        ({"only": "person", "inside": 1.5}, "inside 1.5 is out of range"),
        ({"only": "person", "outside": -0.1}, "outside -0.1 is out of range"),
        ({"only": "person", "feather": -1.0}, "feather -1 is out of range.*0 to 256"),
        ({"only": "person", "feather": 1e6}, "feather 1e.06 is out of range"),
        ({"only": "person", "feather": float("nan")}, "feather nan is out of range"),
        ({"outside": 0.2}, "need a mask.*--only"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_opened(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    clip = Clip(frames=1).write(tmp_path / "in.mp4")
    with pytest.raises(ConfigError, match=message):
        VideoJob(str(clip), tmp_path / "out.mp4", **settings).check()


@pytest.mark.parametrize(("name", "content"), [("none.png", None), ("a.png", b"no picture"), ("a.mp4", b"no clip")])
def test_a_mask_that_cannot_be_read_stops_everything(tmp_path: Path, name: str, content: bytes | None) -> None:
    clip, mask, engine = Clip(frames=1).write(tmp_path / "in.mp4"), tmp_path / name, Still()
    if content is not None:
        mask.write_bytes(content)
    with pytest.raises(SourceError, match=name):
        VideoJob(str(clip), tmp_path / "out.mp4", mask=mask).check()
    with pytest.raises(SourceError, match=name):
        list(stylize_images(ImageJob((clip,), tmp_path / "out.png", masks=MaskSettings(mask)), lambda: engine))
    with pytest.raises(SourceError, match=name):
        MaskSettings(mask).check()
    assert not engine.calls


def test_a_cluster_refuses_mask_files(tmp_path: Path) -> None:
    clip = Clip(frames=1).write(tmp_path / "in.mp4")
    with pytest.raises(ConfigError, match="leave out --cluster"):
        check_shared(VideoJob(str(clip), tmp_path / "out.mp4", mask=half(tmp_path / "mask.png")))
    check_shared(VideoJob(str(clip), tmp_path / "out.mp4", only="person", faces=0.5))


class Remembering(PersonNetwork):
    """A network whose answers depend on what it saw before, more than those of any real one."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __call__(self, rgb: RGB) -> Probability:
        self.seen += 1
        return np.full(rgb.shape[:2], min(1.0, 0.4 + 0.02 * self.seen), np.float32)


class Negative(Still):
    """Blends the negative of a frame by its strength."""

    def __call__(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> RGB:
        self.calls += 1
        return blend(255 - rgb, rgb, strength)


def test_a_resumed_job_has_the_masks_of_an_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtstyle.masks.person.PersonNetwork", Remembering)
    monkeypatch.setattr("rtstyle.masks.person.PersonMask.forget", _forget_all)
    clip = Clip(frames=40).write(tmp_path / "in.mp4")
    whole, parts = (
        VideoJob(str(clip), tmp_path / name, only="person", segment_s=0.4, preset="veryfast")
        for name in ("whole.mp4", "parts.mp4")
    )
    stylize_video(whole, Negative)
    engine = Negative()
    controls = parts.controls()

    def stop(_: object) -> None:
        if engine.calls > 25:
            controls.request_stop()

    with pytest.raises(StoppedError):
        stylize_video(parts, lambda: engine, controls=controls, on_progress=stop)
    assert parts.folder.exists()
    stylize_video(dataclasses.replace(parts, resume=True), Negative)
    assert parts.output.read_bytes() == whole.output.read_bytes()


def _forget_all(mask: PersonMask) -> None:
    assert isinstance(mask._network, Remembering)
    mask._network.seen, mask._last, mask._grey = 0, None, None


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_style: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), numbered(1)[..., ::-1])
    half(tmp_path / "mask.png")
    paths = [str(tmp_path / name) for name in ("in.png", "out.png")]
    command = ["image", *paths, "--style", str(tiny_style), "--engine", "cpu", "--mask", str(tmp_path / "mask.png")]
    assert main([*command, "--inside", "0", "--outside", "1", "--feather", "2"]) == 0
    np.testing.assert_array_equal(read_picture(tmp_path / "out.png")[0][:, 36:], numbered(1)[:, 36:])
    assert main([*command, "--feather", "-1", "--overwrite"]) == 2
    assert "from 0 to 256" in capsys.readouterr().err


# Steering.


def test_the_live_setting(people: Told) -> None:
    controls = Controls()
    assert [SETTINGS["only"](controls, "next")["only"] for _ in range(4)] == ["person", "background", "faces", "all"]
    assert SETTINGS["only"](controls, "person") == {"only": "person"} and controls.only == "person"
    for value in ("hands", "", 7, None):
        with pytest.raises(ConfigError, match="all, person, background"):
            SETTINGS["only"](controls, value)
    assert controls.only == "person"
