"""Try a card before an engine on it is taken: does it stylize at all, and as the CPU does?

Some cards compute wrongly in fp16: those of the series GTX 16xx return NaN from some of cuDNN's convolutions
(https://github.com/pytorch/pytorch/issues/58123 and 77955). So the picture is compared once for each card, driver and
version, and the result is kept. Every process tries a small frame.
"""

from __future__ import annotations

import contextlib
import json
from importlib import metadata
from pathlib import Path
from threading import Lock

import torch

from engines.atomic_write import atomic_write
from engines.base import Engine
from engines.cache_dirs import cache_folder
from engines.cuda import driver
from engines.errors import EngineError
from engines.parity import detailed_frame, mismatch
from engines.style_file import StyleModel
from engines.torch_eager import EagerEngine
from engines.trt.compat import driver_version
from engines.trusted_files import make_folder

SMALL, LARGE = (64, 96), (360, 640)
"""Height and width, in pixels, of the frames: cuDNN takes other kernels for larger ones."""

FILE = "cuda-pictures.json"
"""Name of the file in the cache that keeps what was found, by card and versions."""

_lock = Lock()
_tried: dict[str, tuple[str, str] | None] = {}


def prove(engine: Engine, style: StyleModel) -> None:
    """Raise EngineError unless an engine stylizes frames as the CPU does, within ``engines.parity``.

    The first time on a card with these versions takes a few seconds, later ones a small frame for each process.
    """
    key = _key(engine, style)
    with _lock:
        if key not in _tried:
            try:
                _try(engine, style, key)
            except EngineError as error:
                _tried[key] = (error.problem, error.hint)
            else:
                _tried[key] = None
        fault = _tried[key]
    if fault is not None:
        raise EngineError(*fault)


def _try(engine: Engine, style: StyleModel, key: str) -> None:
    engine(detailed_frame(*SMALL))
    known = _stored()
    if key not in known:
        known[key] = _difference(engine, style)
        _store(known)
    if known[key]:
        raise EngineError(
            f"{engine.info.device} does not stylize as the CPU does: {known[key]}",
            hint=f"a newer driver or version of torch may help; without {_file()} it is tried again",
        )


def _difference(engine: Engine, style: StyleModel) -> str:
    """Describe how the pictures differ from the CPU's; empty if nobody could see it."""
    with contextlib.closing(EagerEngine(style, device="cpu")) as reference:
        for size in (SMALL, LARGE):
            frame = detailed_frame(*size)
            if fault := mismatch(reference(frame), engine(frame)):
                return fault
    return ""


def _key(engine: Engine, style: StyleModel) -> str:
    """Return what a card's arithmetic depends on."""
    cards = {card.name: card.capability for card in driver.driver().cards}
    capability = cards.get(engine.info.device, (0, 0))
    arch = ",".join(str(width) for width in style.arch.values())
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    versions = f"{engine.info.runtime}, CUDA {torch.version.cuda}, cuDNN {cudnn}"
    known = f"{engine.info.device} {capability[0]}.{capability[1]}"
    try:
        known += f", driver {driver_version()}"
    except EngineError:  # as in some containers
        known += f", driver for CUDA {driver.driver().cuda[0]}.{driver.driver().cuda[1]}"
    # Kernels that cuDNN finds later are compared with these, see ``engines.cuda.body_search``.
    kernels = " guessed" if getattr(engine, "search", "first") == "later" else ""
    return f"{known} | {versions}, rtstyle {_version()} | {engine.info.name} {engine.info.precision}{kernels} | {arch}"


def _version() -> str:
    try:
        return metadata.version("rtstyle")
    except metadata.PackageNotFoundError:  # run from a checkout
        return "?"


def _file() -> Path:
    return cache_folder("engines") / FILE


def _stored() -> dict[str, str]:
    """Return what the file holds; what is damaged is found again."""
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
        return {str(key): str(fault) for key, fault in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _store(found: dict[str, str]) -> None:
    with contextlib.suppress(OSError):  # found again the next time
        make_folder(_file().parent)
        with atomic_write(_file()) as file:
            file.write(json.dumps(found, indent=1).encode())
