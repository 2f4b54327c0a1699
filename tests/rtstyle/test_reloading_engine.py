"""A style whose files change while it is shown."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

import engines
from engines.base import SharedGraphEngine
from engines.errors import StyleError
from engines.openvino.shared_weights import SharedCpuEngine
from engines.style_file import MANIFEST, WEIGHTS, StyleModel
from rtstyle.commands.options import load_engine
from rtstyle.live.reloading_engine import CHECK_S, ReloadingEngine, reloading
from rtstyle.shelf import read_folder
from rtstyle.style_library import find

RGB = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A style of one's own: first the weights of wave, whose files a training replaces."""
    copied = tmp_path / "preview"
    shutil.copytree(find("wave"), copied)
    return copied


def replaced(folder: Path, style: str) -> None:
    for name, data in read_folder(find(style)).items():
        (folder / name).write_bytes(data)


def painted(style: str) -> np.ndarray:
    return SharedCpuEngine(StyleModel.open(find(style)))(RGB)


def test_new_weights_are_shown_within_a_second(folder: Path) -> None:
    clock = Clock()
    engine = ReloadingEngine(SharedCpuEngine(StyleModel.open(folder)), folder, clock)
    assert isinstance(engine, SharedGraphEngine)
    np.testing.assert_array_equal(engine(RGB), painted("wave"))
    replaced(folder, "mosaic")
    np.testing.assert_array_equal(engine(RGB), painted("wave"))
    clock.now_s += CHECK_S
    np.testing.assert_array_equal(engine(RGB), painted("mosaic"))
    engine.close()


def test_the_old_weights_stay_while_the_files_are_damaged_or_gone(folder: Path) -> None:
    clock = Clock()
    engine = ReloadingEngine(SharedCpuEngine(StyleModel.open(folder)), folder, clock)
    (folder / MANIFEST).unlink()
    clock.now_s += CHECK_S
    np.testing.assert_array_equal(engine(RGB), painted("wave"))
    replaced(folder, "mosaic")
    (folder / WEIGHTS).write_bytes(b"half")
    clock.now_s += CHECK_S
    np.testing.assert_array_equal(engine(RGB), painted("wave"))
    replaced(folder, "mosaic")
    clock.now_s += CHECK_S
    np.testing.assert_array_equal(engine(RGB), painted("mosaic"))
    engine.close()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_files_that_stay_damaged_are_reported_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    engine = ReloadingEngine(SharedCpuEngine(StyleModel.open(folder)), folder, clock)
    told = []
    for _ in range(4):
        replaced(folder, "mosaic")  # each time with another date
        (folder / WEIGHTS).write_bytes(b"half")
        clock.now_s += CHECK_S
        engine(RGB)
        told.append(len(warnings(caplog)))
    assert told == [0, 1, 1, 1]
    assert str(folder) in warnings(caplog)[0]
    replaced(folder, "mosaic")
    clock.now_s += CHECK_S
    engine(RGB)
    (folder / WEIGHTS).write_bytes(b"half")
    (folder / MANIFEST).touch()
    clock.now_s += CHECK_S
    engine(RGB)
    assert len(warnings(caplog)) == 1, "it has been loaded since: one failure says nothing yet"
    engine.close()


def test_a_style_that_does_not_fit_changes_nothing(tiny_style: Path) -> None:
    engine = SharedCpuEngine(StyleModel.open(find("wave")))
    expected = engine(RGB), engine(RGB, colours=0.5)
    with pytest.raises(StyleError):
        engine.take_style(StyleModel.open(tiny_style))
    np.testing.assert_array_equal(engine(RGB), expected[0])
    np.testing.assert_array_equal(engine(RGB, colours=0.5), expected[1])
    forked = engine.fork()
    np.testing.assert_array_equal(forked(RGB), expected[0])
    for one in (engine, forked):
        one.close()


def test_only_own_styles_and_shared_graphs_are_followed(folder: Path) -> None:
    assert isinstance(load_engine(str(folder), "cpu:fp32", shared=True), ReloadingEngine)
    assert not isinstance(load_engine(str(folder), "cpu:fp32"), ReloadingEngine)
    assert not isinstance(load_engine("wave", "cpu:fp32", shared=True), ReloadingEngine)
    plain = engines.load(folder, "cpu:fp32")
    assert reloading(plain, folder) is plain
