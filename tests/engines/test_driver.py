"""What is asked of NVIDIA's driver without torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from engines.cuda import driver
from engines.errors import EngineError
from engines.install_hint import pip_install

SOURCE = """
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
"""


@pytest.fixture(autouse=True)
def ask_again() -> Iterator[None]:
    ask = driver.device_count
    ask.cache_clear()
    yield
    ask.cache_clear()


def fake_driver(folder: Path, monkeypatch: pytest.MonkeyPatch, **values: int) -> None:
    """A driver of two functions, as a library."""
    if shutil.which("cc") is None:
        pytest.skip("needs a compiler")
    source, library = folder / "driver.c", folder / "driver.so"
    source.write_text(SOURCE)
    defines = [f"-D{name}={value}" for name, value in values.items()]
    subprocess.run(["cc", "-shared", "-fPIC", *defines, str(source), "-o", str(library)], check=True)
    monkeypatch.setitem(driver._DRIVERS, sys.platform, str(library))


def test_cards_are_those_that_the_driver_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_driver(tmp_path, monkeypatch, INIT=0, COUNT=2)
    assert driver.device_count() == 2


def test_a_driver_that_does_not_start_has_no_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_driver(tmp_path, monkeypatch, INIT=100, COUNT=2)  # CUDA_ERROR_NO_DEVICE
    assert driver.device_count() == 0


@pytest.mark.parametrize("library", ["no-such-library.so", None])
def test_without_a_driver_there_are_no_cards(library: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_DRIVERS", {} if library is None else {sys.platform: library})
    assert driver.device_count() == 0
    with pytest.raises(EngineError, match="needs an NVIDIA GPU") as caught:
        driver.check("cuda")
    assert "nvidia-smi" in caught.value.hint


def test_what_is_missing_is_named_with_the_line_that_adds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "device_count", lambda: 1)
    with pytest.raises(EngineError, match="needs no_such_module") as caught:
        driver.check("tensorrt", ("torch", "no_such_module"))
    assert caught.value.hint == pip_install("tensorrt")
    monkeypatch.setattr(metadata, "version", lambda _: "2.13.0+cpu")
    with pytest.raises(EngineError, match=r"torch with CUDA; torch 2\.13\.0\+cpu"):
        driver.check("cuda")
    monkeypatch.setattr(metadata, "version", lambda _: "2.13.0")
    driver.check("cuda")
