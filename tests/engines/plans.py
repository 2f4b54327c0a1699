"""What the tests of built engines share: keys, and other processes that do something to a cache."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from engines.trt.plan_cache import PlanCache, PlanKey
from tests.conftest import ROOT

KEY = PlanKey(
    style_sha256="1" * 64,
    graph_sha256="2" * 64,
    height=360,
    width=640,
    gpu="A card",
    capability="8.9",
    driver="580.1",
    cuda="13.0",
    tensorrt="10.14",
    torch="2.13.0",
    torch_tensorrt="2.13.0",
    flags="fp16",
)
OTHER = replace(KEY, width=1280)

PLAN = bytes(range(256)) * 4

NOBODY = 65534

root_only = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files to another user"
)


@contextmanager
def as_nobody() -> Iterator[None]:
    """The rights of a user who is not root."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def start(script: str, *arguments: str | Path | int) -> subprocess.Popen[str]:
    """Another process that runs ``script`` in this checkout; it talks by lines."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def names(folder: Path) -> set[str]:
    """How the names in a folder end, locks left out."""
    return {path.name.partition(".")[2] for path in folder.iterdir()} - {"lock"}


def file(cache: PlanCache, suffix: str, key: PlanKey = KEY) -> Path:
    return cache.folder / f"{key.digest}.{suffix}"


def stored(cache: PlanCache, key: PlanKey = KEY) -> bytes | None:
    plan = cache.get(key)
    return plan and plan.data
