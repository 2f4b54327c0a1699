"""What ``import rtstyle`` gives."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines
import engines.errors
import rtstyle
from engines.base import RGB, EngineInfo
from rtstyle.api import VideoSettings
from rtstyle.video_job import VideoJob
from tests.rtstyle.clips import Clip
from tests.rtstyle.test_imports import loaded_by

INFO = EngineInfo("bare", "none", "none", "none", "none")


class Bare:
    """An engine without a context manager, as another package may have it."""

    info = INFO
    closed = 0

    def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
        return rgb

    def close(self) -> None:
        self.closed += 1

    def prepare(self, height: int, width: int) -> None:
        """Nothing to prepare."""


def test_every_name_exists() -> None:
    for name in rtstyle.__all__:
        assert getattr(rtstyle, name) is not None and name in dir(rtstyle)
    assert rtstyle.StyleError is engines.errors.StyleError
    with pytest.raises(AttributeError, match="no attribute 'paint'"):
        rtstyle.paint  # noqa: B018


def test_an_error_or_the_version_loads_no_runtime() -> None:
    loaded = loaded_by("import rtstyle\nrtstyle.__version__, rtstyle.StylerError, rtstyle.styles()")
    assert loaded & {"torch", "cv2", "av", "openvino", "pygame", "rich"} == set()


def test_an_engine_is_a_context_manager(tiny_style: Path) -> None:
    photo = np.full((32, 48, 3), 90, np.uint8)
    with rtstyle.load(tiny_style, "cpu") as engine:
        painting = engine(photo, strength=0.8)
        assert engine.info.name == "cpu"
    assert painting.shape == photo.shape and painting.dtype == np.uint8
    with rtstyle.load(str(tiny_style), "cpu", threads=1) as engine:
        assert (engine(photo, strength=0.0) == photo).all()


@pytest.mark.parametrize("picture", [None, "photo.jpg", [[0, 0, 0]]])
def test_what_is_no_array_is_answered_plainly(tiny_style: Path, picture: Any) -> None:
    with (
        rtstyle.load(tiny_style, "cpu") as engine,
        pytest.raises(rtstyle.ShapeError, match=f"got {type(picture).__name__}.*cv2.imread returns None"),
    ):
        engine(picture)


def test_an_engine_of_another_package_becomes_one(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = Bare()
    monkeypatch.setattr("engines.load", lambda *_, **__: bare)
    with rtstyle.load(tiny_style) as engine:
        assert engine.info is INFO
        assert hasattr(engine, "prepare") and not hasattr(engine, "submit")
    assert bare.closed == 1


def test_unknown_styles_and_engines(tiny_style: Path) -> None:
    with pytest.raises(rtstyle.StyleError, match="no style 'nothing'"):
        rtstyle.load("nothing")
    with pytest.raises(rtstyle.EngineError, match="abacus"):
        rtstyle.load(tiny_style, "abacus")


def test_styles() -> None:
    found = rtstyle.styles()
    assert rtstyle.DEFAULT_STYLE in [entry.name for entry in found]


def test_a_video(tiny_style: Path, tmp_path: Path) -> None:
    clip = Clip(frames=3, height=48, width=64).write(tmp_path / "in.mp4")
    seen: list[int] = []
    report = rtstyle.stylize_video(
        clip,
        tmp_path / "out.mp4",
        tiny_style,
        strength=0.5,
        engine="cpu",
        on_progress=lambda now: seen.append(now.frames),
    )
    assert report.frames_out == 3 and seen[-1] == 3 and (tmp_path / "out.mp4").is_file()
    with pytest.raises(rtstyle.ConfigError, match="exists"):
        rtstyle.stylize_video(clip, tmp_path / "out.mp4", tiny_style)


def test_every_setting_of_a_job_can_be_given() -> None:
    named = {field.name for field in fields(VideoJob)} - {"input", "output"}
    assert set(VideoSettings.__annotations__) == named
    documented = VideoSettings.__doc__ or ""
    assert [name for name in sorted(named) if f"        {name}: " not in documented] == []
