"""Whole jobs with masks: pictures, clips, folders, and what is refused before anything is opened."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

import rtstyle
from engines.base import RGB, StrengthMap
from engines.errors import ConfigError, SourceError
from engines.strength_map import blend
from engines.vision.person_network import PersonNetwork, Probability
from rtstyle.cli import main
from rtstyle.image import ImageJob, stylize_images
from rtstyle.jobs.batch import VideoBatch
from rtstyle.jobs.cluster_clip import check_shared
from rtstyle.jobs.segmented_video import settings_of
from rtstyle.masks.person import PersonMask
from rtstyle.masks.settings import MaskSettings
from rtstyle.media.image_files import read_picture
from rtstyle.video import StoppedError, stylize_video
from rtstyle.video_job import VideoJob
from tests.rtstyle.clips import Clip, Still, numbered
from tests.rtstyle.masked import clip_of_masks, half

FPS = 10


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


def test_what_was_looked_for_in_vain_is_told_once_at_the_end(
    tmp_path: Path, tiny_style: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(photos / f"{name}.png"), np.full((96, 96, 3), 90, np.uint8))
    cv2.imwrite(str(photos / "person.png"), astronaut()[..., ::-1])
    clip = Clip(frames=4).write(tmp_path / "in.mp4")

    def told(*words: object) -> list[str]:
        assert main([str(word) for word in (*words, "--style", tiny_style, "--engine", "cpu")]) == 0
        lines = capfd.readouterr().err.splitlines()
        return [line for line in lines if "was found" in line]

    vain = "no face was found to take style from"
    assert told("image", photos / "a.png", tmp_path / "a.png", "--faces", "0.5") == [f"{photos / 'a.png'}: {vain}"]
    assert told("image", photos / "person.png", tmp_path / "b.png", "--faces", "0.5") == []
    assert told("image", photos / "a.png", tmp_path / "c.png", "--faces", "0.5", "--strength", "0") == []
    names = f"{photos / 'a.png'}, {photos / 'b.png'}"
    assert told("image", photos, tmp_path / "out", "--faces", "0.5") == [f"{vain}: {names}"]
    assert told("video", clip, tmp_path / "a.mp4", "--faces", "0.5") == [vain]
    assert told("video", clip, tmp_path / "b.mp4", "--only", "person") == ["nobody was found to stylize"]
    assert told("video", clip, tmp_path / "c.mp4") == []
    report = rtstyle.stylize_video(clip, tmp_path / "d.mp4", tiny_style, engine="cpu", only="faces")
    assert report.notes == ("no face was found to stylize",) and report.warnings == ()
