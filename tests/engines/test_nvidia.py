"""What is asked of NVIDIA's driver without torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from engines.cuda import driver as nvidia
from engines.errors import EngineError

SOURCE = """
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
"""


@pytest.fixture(autouse=True)
def ask_again() -> Iterator[None]:
    ask = nvidia.cards
    ask.cache_clear()
    yield
    ask.cache_clear()


def driver(folder: Path, monkeypatch: pytest.MonkeyPatch, **values: int) -> None:
    """A driver of two functions, as a library."""
    if shutil.which("cc") is None:
        pytest.skip("needs a compiler")
    source, library = folder / "driver.c", folder / "driver.so"
    source.write_text(SOURCE)
    defines = [f"-D{name}={value}" for name, value in values.items()]
    subprocess.run(["cc", "-shared", "-fPIC", *defines, str(source), "-o", str(library)], check=True)
    monkeypatch.setitem(nvidia._DRIVERS, sys.platform, str(library))


def test_cards_are_those_that_the_driver_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(tmp_path, monkeypatch, INIT=0, COUNT=2)
    assert nvidia.cards() == 2


def test_a_driver_that_does_not_start_has_no_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(tmp_path, monkeypatch, INIT=100, COUNT=2)  # CUDA_ERROR_NO_DEVICE
    assert nvidia.cards() == 0


@pytest.mark.parametrize("library", ["no-such-library.so", None])
def test_without_a_driver_there_are_no_cards(library: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "_DRIVERS", {} if library is None else {sys.platform: library})
    assert nvidia.cards() == 0
    with pytest.raises(EngineError, match="needs an NVIDIA card") as caught:
        nvidia.check("cuda")
    assert "nvidia-smi" in caught.value.hint


def test_what_is_missing_is_named_with_the_line_that_adds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "cards", lambda: 1)
    with pytest.raises(EngineError, match="needs no_such_module") as caught:
        nvidia.check("tensorrt", ("torch", "no_such_module"))
    assert caught.value.hint == 'pip install "rtstyle[tensorrt]"'
    monkeypatch.setattr(metadata, "version", lambda _: "2.13.0+cpu")
    with pytest.raises(EngineError, match=r"torch with CUDA; here is 2\.13\.0\+cpu"):
        nvidia.check("cuda")
    monkeypatch.setattr(metadata, "version", lambda _: "2.13.0")
    nvidia.check("cuda")
