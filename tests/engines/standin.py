"""Builders that stand in for TensorRT's: what a build in another process may come across.

The frame's width says nothing to them; what they do is chosen by their name, and what they leave behind tells it.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import EngineError
from engines.style_file import StyleModel, sha256
from engines.trt.plan_cache import PlanKey
from tests.engines.plans import KEY

logger = logging.getLogger("engines.standin")


def key_of(style: StyleModel, height: int, width: int) -> PlanKey:
    values = {**KEY.__dict__, "style_sha256": sha256(style.weights), "height": height, "width": width}
    values.pop("digest", None)
    return PlanKey(**values)


@dataclass
class StandIn:
    """A builder whose build is one function; each build leaves a line in the file that ``RTSTYLE_BUILDS`` names."""

    work: Callable[[], bytes]

    def key(self, style: StyleModel, height: int, width: int) -> PlanKey:
        return key_of(style, height, width)

    def build(self, style: StyleModel, height: int, width: int) -> tuple[bytes, Mapping[str, Any]]:
        if path := os.environ.get("RTSTYLE_BUILDS"):
            with Path(path).open("a") as file:
                file.write(f"{os.getpid()}\n")
        return self.work(), {"size": [height, width]}


def build() -> bytes:
    logger.info("first")
    logger.info("second\n\x1b[31mline\x07")
    print("a library prints")
    os.write(1, b"a native library prints\n")
    os.write(2, b"and complains\n")
    return b"plan"


def linger() -> bytes:
    """Builds until it is killed, with a child of its own, and a folder that nobody else knows of."""
    Path(tempfile.mkdtemp(), "timing").write_bytes(b"1 ms")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    logger.info("started %d %d", os.getpid(), child.pid)
    time.sleep(60)
    return b""


def linger_inside() -> bytes:
    """As a library that does not let go of the interpreter."""
    logger.info("started %d 0", os.getpid())
    ctypes.PyDLL(None).sleep(60)
    return b""


def slowly() -> bytes:
    logger.info("slowly")
    time.sleep(0.4)
    return b"plan"


def fail() -> bytes:
    raise EngineError("no kernel for this", hint="another card")


def stumble() -> bytes:
    raise ZeroDivisionError("division\nby zero")


def starve() -> bytes:
    raise EngineError("the builder failed") from MemoryError()


def starve_on_the_card() -> bytes:
    raise RuntimeError("CUDA error: out of memory")


def crash() -> bytes:
    os.write(2, b"[TRT] assertion failed: 1 == 2\n")
    os.kill(os.getpid(), signal.SIGSEGV)
    return b""


def crash_without_memory() -> bytes:
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def flood() -> bytes:
    os.write(2, b"x" * 3_000_000 + b"\nthe last words\n")
    os._exit(7)


def leave() -> bytes:
    os._exit(0)


def large() -> bytes:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    return b"x" * 100_000


class Wide(StandIn):
    """Is at once through with narrow frames, and never with wide ones."""

    def build(self, style: StyleModel, height: int, width: int) -> tuple[bytes, Mapping[str, Any]]:
        return (build(), {}) if width < 1000 else (linger(), {})


class NoCard(StandIn):
    def key(self, style: StyleModel, height: int, width: int) -> PlanKey:
        raise EngineError("there is no card here", hint="buy one")


BUILDER, LINGER, INSIDE, SLOWLY = StandIn(build), StandIn(linger), StandIn(linger_inside), StandIn(slowly)
FAIL, STUMBLE, STARVE, CARD = StandIn(fail), StandIn(stumble), StandIn(starve), StandIn(starve_on_the_card)
CRASH, ABORT, FLOOD, LARGE = StandIn(crash), StandIn(crash_without_memory), StandIn(flood), StandIn(large)
EXIT = StandIn(leave)
NO_CARD, WIDE = NoCard(build), Wide(build)
