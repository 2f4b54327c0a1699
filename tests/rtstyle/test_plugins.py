"""Engines, sources and sinks that other packages add through entry points."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import engines
from engines.errors import EngineError, SinkError, SourceError
from rtstyle.frame import SourceInfo
from rtstyle.sinks.factory import SinkOptions, check_sinks, open_sinks
from rtstyle.sources.factory import open_source

CODE = """
from engines.base import EngineInfo
from rtstyle.sinks.null import NullSink
from rtstyle.sources.pattern import PatternSource

class Inverter:
    info = EngineInfo("invert", "numpy", "any", "uint8", "none")
    def __call__(self, rgb, strength=1.0, colours=0.0):
        return 255 - rgb
    def close(self):
        pass

def open_engine(style, threads):
    return Inverter()

def open_source(text, options):
    return PatternSource(64, 48, 10)

def open_sink(text, options):
    sink = NullSink()
    sink.name = text
    return sink

def broken(*_):
    raise OSError("no\\nlicence")
"""

ENTRY_POINTS = """
[rtstyle.engines]
invert = fake_plugin:open_engine
gone = fake_plugin:no_such_function
[rtstyle.sources]
waves = fake_plugin:open_source
torn = fake_plugin:broken
[rtstyle.sinks]
decklink = fake_plugin:open_sink
pattern = fake_plugin:broken
"""

OPTIONS = SinkOptions(info=SourceInfo("test", 64, 48, Fraction(10), None, live=True))


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution with entry points."""
    (tmp_path / "fake_plugin.py").write_text(CODE)
    folder = tmp_path / "rtstyle_fake-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: rtstyle-fake\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "fake_plugin", raising=False)


def test_an_engine(tiny_style: Path) -> None:
    engine = engines.load(tiny_style, "invert")
    assert (engine(np.zeros((16, 16, 3), np.uint8)) == 255).all()
    with pytest.raises(EngineError, match="no engine 'abacus'") as caught:
        engines.load(tiny_style, "abacus")
    assert "cpu" in caught.value.hint and "invert" in caught.value.hint


def test_a_source_and_a_sink() -> None:
    source = open_source("waves:high/low")
    assert (source.info.width, source.info.height) == (64, 48)
    source.close()
    check_sinks(["decklink:OUT"], source="waves", overwrite=False)
    sink = open_sinks(["decklink:OUT"], OPTIONS)
    assert sink.name == "decklink:OUT"
    sink.close(completed=True)


def test_built_in_names_win() -> None:
    source = open_source("pattern")
    assert source.info.name == "pattern"
    source.close()


def test_an_unknown_name_is_as_unknown_as_before() -> None:
    with pytest.raises(SinkError, match="unknown sink 'blackboard'"):
        check_sinks(["blackboard"], source="pattern", overwrite=False)


def test_a_broken_package_is_named(tiny_style: Path) -> None:
    with pytest.raises(SourceError) as caught:
        open_source("torn")
    assert caught.value.problem == "'torn' of the package rtstyle-fake failed: OSError: no licence"
    assert caught.value.hint == "update or uninstall rtstyle-fake"
    with pytest.raises(EngineError, match="'gone' of the package rtstyle-fake failed: AttributeError"):
        engines.load(tiny_style, "gone")
