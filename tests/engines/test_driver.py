"""What is asked of NVIDIA's driver without torch."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata, util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from engines.cuda import driver, torch_build
from engines.cuda.torch_build import torch_for_cuda
from engines.errors import EngineError
from engines.install_hint import pip_install
from tests.conftest import ROOT

SOURCE = """
#include <stdio.h>
#include <stdlib.h>
int cuInit(unsigned flags) { return INIT; }
int cuGetErrorString(int code, const char **text) { *text = "system has unsupported display driver"; return 0; }
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
static int chosen(void) { /* as the real one, which reads it when it starts */
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    return visible ? (*visible ? atoi(visible) : COUNT) : -1;
}
int cuDeviceGetCount(int *count) { *count = chosen() < 0 ? COUNT : chosen() < COUNT; return 0; }
static int place(int device) { return chosen() < 0 ? COUNT - 1 - device : chosen(); }
int cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "Card %d", place(device)); return 0; }
int cuDeviceGetPCIBusId(char *bus, int size, int device) {
    snprintf(bus, size, "0000:%02x:00.0", place(device)); return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? CAPABILITY / 10 : CAPABILITY % 10; return 0;
}
"""

VALUES = {"INIT": 0, "COUNT": 1, "VERSION": 13000, "CAPABILITY": 89}


@pytest.fixture(autouse=True)
def ask_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    ask = driver.driver
    ask.cache_clear()
    monkeypatch.setattr(driver, "_chosen", [])
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    yield
    ask.cache_clear()


def fake_driver(folder: Path, monkeypatch: pytest.MonkeyPatch, **values: int) -> None:
    """A driver of a few functions, as a library."""
    if shutil.which("cc") is None:
        pytest.skip("needs a compiler")
    folder.mkdir(exist_ok=True)
    source, library = folder / "driver.c", folder / "driver.so"
    source.write_text(SOURCE)
    defines = [f"-D{name}={value}" for name, value in (VALUES | values).items()]
    subprocess.run(["cc", "-shared", "-fPIC", *defines, str(source), "-o", str(library)], check=True)
    monkeypatch.setitem(driver._DRIVERS, sys.platform, str(library))


def torch_installed(folder: Path, monkeypatch: pytest.MonkeyPatch, version: str, cuda: str | None) -> None:
    """Make this the torch that is found: its metadata, and its version.py as PyTorch's builds write it."""
    package = folder / "site" / "torch"
    package.mkdir(parents=True, exist_ok=True)
    lines = f"__version__ = '{version}'\ndebug = False\ncuda: Optional[str] = {cuda!r}\nhip: Optional[str] = None\n"
    (package / "version.py").write_text(lines)
    spec = ModuleSpec("torch", None, is_package=True)
    spec.submodule_search_locations = [str(package)]
    known = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: spec if name == "torch" else known(name))
    monkeypatch.setattr(metadata, "version", lambda _: version.partition("+")[0])


def test_cards_are_those_that_the_driver_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_driver(tmp_path, monkeypatch, COUNT=2, VERSION=12080)
    assert driver.device_count() == 2
    assert driver.driver().cuda == (12, 8)
    cards = [driver.Card(f"Card {place}", (8, 9), f"0000:{place:02x}:00.0") for place in (0, 1)]
    assert driver.driver().cards == (cards[1], cards[0]), "CUDA's order begins with the fastest"
    assert driver.numbered_cards() == {0: cards[0], 1: cards[1]}, "and nvidia-smi's follows the bus"
    assert driver.why_unavailable() == ""


def test_a_driver_that_does_not_start_has_no_cards_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_driver(tmp_path, monkeypatch, INIT=803, COUNT=2)
    assert driver.device_count() == 0
    with pytest.raises(EngineError, match="does not start: CUDA error 803, system has unsupported display driver"):
        driver.check("cuda")


def test_a_card_is_chosen_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_driver(tmp_path, monkeypatch, COUNT=3)
    driver.use_card(2)
    assert {number: card.name for number, card in driver.numbered_cards().items()} == {2: "Card 2"}
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID", "as nvidia-smi counts"
    with pytest.raises(EngineError, match="before the driver starts"):
        driver.use_card(1)


def test_a_card_is_chosen_among_those_that_are_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_driver(tmp_path, monkeypatch, COUNT=3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 1")
    driver.use_card(1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    assert [card.name for card in driver.driver().cards] == ["Card 1"]


@pytest.mark.parametrize("visible", [None, "0,1"])
def test_a_card_that_is_not_there_cannot_be_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None
) -> None:
    fake_driver(tmp_path, monkeypatch, COUNT=2)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(EngineError, match="there is no NVIDIA GPU 2") as caught:
        driver.use_card(2)
    assert "doctor" in caught.value.hint
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == visible


def pci_bus(folder: Path, monkeypatch: pytest.MonkeyPatch, *devices: tuple[str, str]) -> None:
    """Make these (vendor, class) the devices on the PCI bus."""
    bus = folder / "pci"
    for number, (vendor, kind) in enumerate(devices):
        (bus / str(number)).mkdir(parents=True)
        (bus / str(number) / "vendor").write_text(f"{vendor}\n")
        (bus / str(number) / "class").write_text(f"{kind}\n")
    monkeypatch.setattr(driver, "_PCI", bus)


def test_a_card_without_a_driver_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(driver._DRIVERS, sys.platform, "no-such-library.so")
    pci_bus(
        tmp_path / "other", monkeypatch, ("0x8086", "0x030000"), ("0x10de", "0x040300")
    )  # Intel's; the card's sound
    assert driver.why_unavailable() == ""
    pci_bus(tmp_path, monkeypatch, ("0x8086", "0x060000"), ("0x10de", "0x030000"))
    assert driver.why_unavailable().startswith("its driver is not installed")


def test_a_card_that_is_hidden_on_purpose_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_driver(tmp_path, monkeypatch, INIT=100)  # CUDA_ERROR_NO_DEVICE
    pci_bus(tmp_path, monkeypatch, ("0x10de", "0x030200"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert driver.device_count() == 0 and driver.why_unavailable() == ""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert driver.why_unavailable() == "its driver does not find it"


@pytest.mark.parametrize("library", ["no-such-library.so", None])
def test_without_a_driver_there_are_no_cards(library: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_DRIVERS", {} if library is None else {sys.platform: library})
    assert driver.device_count() == 0
    with pytest.raises(EngineError, match="needs an NVIDIA GPU") as caught:
        driver.check("cuda")
    assert "nvidia-smi" in caught.value.hint


def test_what_is_missing_is_named_with_the_line_that_adds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_driver(tmp_path, monkeypatch)
    torch_installed(tmp_path, monkeypatch, "2.13.0", "13.0")
    driver.check("cuda")
    with pytest.raises(EngineError, match="needs no_such_module") as caught:
        driver.check("tensorrt", ("torch", "no_such_module"))
    assert caught.value.hint == pip_install("tensorrt")
    monkeypatch.setattr(torch_build.sys, "platform", "win32")
    with pytest.raises(EngineError, match="needs no_such_module") as caught:
        driver.check("tensorrt", ("torch", "no_such_module"))
    assert caught.value.hint == f"{torch_for_cuda('tensorrt')}, then {pip_install('tensorrt')}"


@pytest.mark.parametrize("version", ["2.14.1", "2.14.1+cpu"])  # PyPI's for Windows has no suffix in its metadata
def test_a_cpu_build_is_told_with_the_line_that_replaces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    fake_driver(tmp_path, monkeypatch)
    torch_installed(tmp_path, monkeypatch, version, None)
    with pytest.raises(EngineError, match=r"torch with CUDA; torch 2\.14\.1 is a CPU build") as caught:
        driver.check("cuda")
    assert caught.value.hint == (
        'pip install --upgrade "torch>=2.11" --index-url https://download.pytorch.org/whl/cu130'
    )


def test_an_older_driver_and_an_older_card_need_torch_for_cuda_12(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_driver(tmp_path, monkeypatch, VERSION=12080, CAPABILITY=61)
    torch_installed(tmp_path, monkeypatch, "2.14.1", "13.0")
    with pytest.raises(
        EngineError, match=r"built for CUDA 13\.0, and the NVIDIA driver supports only CUDA 12\.8"
    ) as old:
        driver.check("cuda")
    assert "580" in old.value.hint and "pip uninstall -y torch, then pip install" in old.value.hint
    torch_installed(tmp_path, monkeypatch, "2.14.1", "12.6")
    driver.check("cuda")
    driver.driver.cache_clear()
    fake_driver(tmp_path / "newer", monkeypatch, CAPABILITY=61)
    driver.check("cuda")
    torch_installed(tmp_path, monkeypatch, "2.14.1", "13.0")
    with pytest.raises(EngineError, match=r"no kernels for the Card 0 \(compute capability 6\.1") as caught:
        driver.check("cuda")
    assert "whl/cu126" in caught.value.hint


def test_the_torch_of_this_installation_is_found_without_importing_it() -> None:
    import torch

    assert torch_build.torch_build() == (metadata.version("torch"), torch.version.cuda)


def test_versions_of_pyproject_and_hints_are_the_same() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra, requirement in torch_build.TORCH.items():
        assert requirement in extras[extra]


@pytest.mark.network
@pytest.mark.parametrize("platform", ["win_amd64", "manylinux_2_28_x86_64"])
def test_torch_tensorrt_and_torch_fit_each_other(platform: str, tmp_path: Path) -> None:
    """The newest Torch-TensorRT that the extras allow wants a torch that they allow, on each system."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra, package in (("tensorrt", "torch-tensorrt"), ("rtx", "torch-tensorrt-rtx")):
        wanted = next(line.partition(";")[0] for line in extras[extra] if line.startswith(f"{package}>"))
        report = tmp_path / f"{extra}.json"
        subprocess.run(
            [
                sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps",
                "--only-binary", ":all:", "--python-version", "3.12", "--platform", platform, "--target",
                str(tmp_path / "target"), "--report", str(report), wanted,
            ],
            check=True,
        )  # fmt: skip
        (found,) = json.loads(report.read_text())["install"]
        needs = next(Requirement(line) for line in found["metadata"]["requires_dist"] if re.match(r"torch\b[^-]", line))
        minor = found["metadata"]["version"].rpartition(".")[0]
        ours = Requirement(torch_build.TORCH[extra]).specifier
        assert f"{minor}.0" in needs.specifier and f"{minor}.0" in ours
        assert not any(f"{minor.partition('.')[0]}.{other}.0" in needs.specifier for other in (0, 99))
