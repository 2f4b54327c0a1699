"""Where files are cached."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engines.cache_dirs import FOLDER_VARIABLES, CacheKind, cache_folder


@pytest.mark.parametrize("kind", FOLDER_VARIABLES)
def test_the_environment_names_the_folder(kind: CacheKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLES[kind], str(tmp_path / "named"))
    assert cache_folder(kind) == tmp_path / "named"
    assert not (tmp_path / "named").exists()


def test_by_default_both_are_side_by_side_in_the_cache_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in FOLDER_VARIABLES.values():
        monkeypatch.setenv(variable, "")
    engines, features = cache_folder("engines"), cache_folder("features")
    assert (engines.name, features.name) == ("engines", "features") and engines.parent == features.parent
    assert "rtstyle" in engines.parts


@pytest.mark.skipif(sys.platform != "linux", reason="the XDG folders")
def test_on_linux_they_are_in_the_xdg_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RTSTYLE_FEATURES", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("features") == tmp_path / "rtstyle" / "features"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("features") == tmp_path / ".cache" / "rtstyle" / "features"
