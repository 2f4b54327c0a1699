"""Where builds of tests happen: a style, a cache, a builder that does what a test wants."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from engines.style_file import StyleModel
from engines.trt.build_worker import BuildProcess
from engines.trt.plan_cache import PlanCache
from tests.engines import standin

STANDIN = "tests.engines.standin"
TIMEOUT_S = 120.0


class Site:
    """A style, a cache and a count of builds."""

    def __init__(self, style: Path, folder: Path) -> None:
        self.style, self.folder = style, folder / "engines"
        self.builds_file = folder / "builds"
        self.cache = PlanCache(self.folder)
        self.key = standin.key_of(StyleModel.open(style), 360, 640)

    def start(self, builder: str = "BUILDER", height: int = 360) -> BuildProcess:
        return BuildProcess(self.style, height, 640, builder=f"{STANDIN}:{builder}", folder=self.folder)

    def command(self, builder: str = "BUILDER", *more: str) -> list[str]:
        call = [sys.executable, "-m", "engines.trt.build_worker", "--style", str(self.style), "--size", "640x360"]
        return [*call, "--builder", f"{STANDIN}:{builder}", "--cache", str(self.folder), *more]

    @property
    def builds(self) -> int:
        return len(self.builds_file.read_text().splitlines()) if self.builds_file.exists() else 0


def end_of(build: BuildProcess) -> str:
    """What ``poll`` says in the end."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while (told := build.wait(1.0)) is None:
        assert time.monotonic() < deadline_s
    build.close()
    return told
