"""Ask NVIDIA's driver without torch: importing torch takes seconds, too long only to find that there is no GPU.

Source:
    CUDA Driver API: ``cuInit``, ``cuDriverGetVersion``, ``cuDeviceGetCount``, ``cuDeviceGetName``,
    ``cuDeviceGetPCIBusId`` and ``cuDeviceGetAttribute``. They honour ``CUDA_VISIBLE_DEVICES``.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from importlib import util
from pathlib import Path
from typing import NamedTuple

from engines.cuda.torch_build import TorchBuild, add_packages, torch_build, torch_for_cuda, torch_for_older_cuda
from engines.errors import EngineError

NO_CARD = "`nvidia-smi` must list the GPU, also in a container; the cpu engine needs none"

NUMBERS = "`rtstyle doctor` lists the GPUs with their numbers"

OLDEST = (7, 5)
"""Oldest compute capability of the kernels in torch for CUDA 13, and in NVIDIA's compiler for it."""

_DRIVERS = {"win32": "nvcuda.dll", "linux": "libcuda.so.1"}
"""The driver's library by platform; macOS has none."""

_PCI = Path("/sys/bus/pci/devices")
_VENDOR, _DISPLAY = "0x10de", "0x03"
"""NVIDIA's number on the PCI bus, and how the class of a graphics processor begins."""

_SUCCESS, _NO_DEVICE = 0, 100
_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""


_VISIBLE, _ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
"""Environment variables of CUDA, read when the driver starts: the GPUs to use, and how they are numbered."""


_chosen: list[int] = []
"""The number that ``use_card`` was given last."""


class Card(NamedTuple):
    """An NVIDIA GPU: its name, its compute capability as (major, minor), and its place on the PCI bus."""

    name: str
    capability: tuple[int, int]
    bus: str = ""


class _Driver(NamedTuple):
    """What the driver says.

    Attributes:
        cards: those that this process may use, in CUDA's order: the first one is used.
        cuda: the newest CUDA that it supports, (major, minor); (0, 0) if unknown.
        fault: why it does not start; empty if it does, has no GPU, or is not installed.
        installed: False if its library is not found.
    """

    cards: tuple[Card, ...] = ()
    cuda: tuple[int, int] = (0, 0)
    fault: str = ""
    installed: bool = True


@functools.cache
def driver() -> _Driver:
    """Start the driver, once for each process, and return what it says."""
    try:
        library = ctypes.CDLL(_DRIVERS[sys.platform])
        code = library.cuInit(0)
        if code == _NO_DEVICE:
            return _Driver()
        if code != _SUCCESS:
            return _Driver(fault=_error_text(library, code))
        count, version = ctypes.c_int(0), ctypes.c_int(0)
        if library.cuDeviceGetCount(ctypes.byref(count)) != _SUCCESS:
            return _Driver(fault="it does not count the GPUs")
        library.cuDriverGetVersion(ctypes.byref(version))
        cuda = divmod(version.value // 10, 100)
        return _Driver(tuple(_card(library, number) for number in range(count.value)), cuda)
    except (KeyError, OSError, AttributeError):
        return _Driver(installed=False)


def _card(library: ctypes.CDLL, number: int) -> Card:
    name, bus = ctypes.create_string_buffer(96), ctypes.create_string_buffer(32)
    values = [ctypes.c_int(0), ctypes.c_int(0)]
    library.cuDeviceGetName(name, len(name), number)
    library.cuDeviceGetPCIBusId(bus, len(bus), number)
    for value, attribute in zip(values, (_MAJOR, _MINOR), strict=True):
        library.cuDeviceGetAttribute(ctypes.byref(value), attribute, number)
    capability = values[0].value, values[1].value
    return Card(name.value.decode("utf-8", "replace"), capability, bus.value.decode("ascii", "replace"))


def _error_text(library: ctypes.CDLL, code: int) -> str:
    text = ctypes.c_char_p()
    library.cuGetErrorString(code, ctypes.byref(text))
    return f"CUDA error {code}" + (f", {text.value.decode('ascii', 'replace')}" if text.value else "")


def device_count() -> int:
    """Return how many NVIDIA GPUs this process may use; 0 without a driver."""
    return len(driver().cards)


def use_card(number: int) -> None:
    """Let this process and those that it starts use one NVIDIA GPU only, before anything has used any.

    Args:
        number: as ``nvidia-smi`` counts, from 0; among those of ``CUDA_VISIBLE_DEVICES``, if that is set.

    Raises:
        EngineError: there is no such GPU, or the driver has started already.
    """
    if driver.cache_info().currsize and driver().cards:
        raise EngineError("a GPU must be chosen before the driver starts", hint=f"set {_VISIBLE} instead")
    before = {name: os.environ.get(name) for name in (_VISIBLE, _ORDER)}
    if visible := before[_VISIBLE]:
        names = [name.strip() for name in visible.split(",")]
        os.environ[_VISIBLE] = names[number] if number < len(names) else ""
    else:
        os.environ |= {_VISIBLE: str(number), _ORDER: "PCI_BUS_ID"}
    driver.cache_clear()
    if not device_count():
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        why = why_unavailable()
        raise EngineError(f"there is no NVIDIA GPU {number}" + (f": {why}" if why else ""), hint=NUMBERS)
    _chosen.append(number)


def numbered_cards() -> dict[int, Card]:
    """Return the GPUs that this process may use, by the numbers that ``use_card`` takes."""
    cards = list(driver().cards)
    if _chosen:
        return dict(zip(_chosen[-1:], cards, strict=False))
    if not os.environ.get(_VISIBLE):  # CUDA's own order begins with the fastest
        cards.sort(key=lambda card: card.bus)
    return dict(enumerate(cards))


def why_unavailable() -> str:
    """Return why an NVIDIA GPU in this machine cannot be used by any program; empty without one.

    It is also empty where ``CUDA_VISIBLE_DEVICES`` hides it. Where there is no driver, only Linux tells.
    """
    found = driver()
    if found.cards:
        return ""
    if found.fault:
        return f"its driver does not start: {found.fault}"
    if not _is_plugged_in():
        return ""
    if not found.installed:
        return "its driver is not installed, or a container was started without it"
    return "" if _VISIBLE in os.environ else "its driver does not find it"


def _is_plugged_in() -> bool:
    try:
        return any(
            (device / "vendor").read_text().strip() == _VENDOR and (device / "class").read_text().startswith(_DISPLAY)
            for device in _PCI.iterdir()
        )
    except OSError:
        return False


def check(engine: str, modules: tuple[str, ...] = ("torch",)) -> None:
    """Raise EngineError unless an engine has a GPU, the packages that it imports, and a torch for both. Quick."""
    if not device_count():
        if why := why_unavailable():
            raise EngineError(f"the {engine} engine cannot use the NVIDIA GPU: {why}", hint=NO_CARD)
        raise EngineError(f"the {engine} engine needs an NVIDIA GPU and its driver, and none was found", hint=NO_CARD)
    missing = [module for module in modules if util.find_spec(module) is None]
    if missing:
        raise EngineError(f"the {engine} engine needs {', '.join(missing)}", hint=add_packages(engine))
    build = torch_build()
    if build is None or build.cuda is None:
        raise torch_without_cuda(engine, build.version if build else "?")
    _check_driver(build)


def _check_driver(build: TorchBuild) -> None:
    """Raise EngineError if torch is too new for the driver or the GPU."""
    assert build.cuda is not None
    needed = int(build.cuda.partition(".")[0])
    supported = driver().cuda
    older = f"install torch for CUDA 12, which the cuda engine runs with: {torch_for_older_cuda()}"
    if 0 < supported[0] < needed:
        raise EngineError(
            f"torch {build.version} is built for CUDA {build.cuda}, and the NVIDIA driver supports only "
            f"CUDA {supported[0]}.{supported[1]}",
            hint=f"update the driver (CUDA 13 needs 580 or newer), or {older}",
        )
    card = next(iter(driver().cards), None)
    if card is not None and (0, 0) < card.capability < OLDEST and needed >= 13:
        raise EngineError(
            f"torch for CUDA {build.cuda} has no kernels for the {card.name} (compute capability "
            f"{card.capability[0]}.{card.capability[1]}, and 7.5 is the oldest)",
            hint=older,
        )


def torch_without_cuda(engine: str, version: str) -> EngineError:
    """Return the error for a torch build without CUDA."""
    return EngineError(
        f"the {engine} engine needs torch with CUDA; torch {version} is a CPU build", hint=torch_for_cuda(engine)
    )
