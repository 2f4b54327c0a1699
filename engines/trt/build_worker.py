"""Building one engine, into the cache: what a process of its own runs.

    python -m engines.trt.build_worker --style FOLDER --size 1280x720

It tells how far it is in lines on standard output; what native libraries print goes to standard error. With ``--child``
it belongs to the ``BuildProcess`` that started it: it ends when its standard input does, also if it is inside of a
library then, and says which key it builds, and how that ended, in lines that a program reads.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from engines.base import check_size
from engines.errors import EngineError, StylerError
from engines.style_file import StyleModel
from engines.trt.build_process import (
    DONE_LINE,
    FAILED,
    FAULT_LINE,
    INTERRUPTED,
    KEY_LINE,
    BuildProcess,
    lacks_memory,
    one_line,
)
from engines.trt.plan_cache import BusyError, PlanCache, PlanKey

__all__ = ["BUILDERS", "BuildProcess", "Builder", "build_once", "is_passing", "load_builder", "main"]

BUILDERS = ("engines.trt.engine:BUILDER", "engines.trt.engine:OWN")
"""What builds unless told, modules and their attributes: each is for where the one before fails."""

NICER = 10
"""How far a build steps back behind other processes, as ``nice`` counts: frames are painted while it runs."""

BUILD_WAIT_S = 3600.0
"""How long to wait for another process that builds the same engine, seconds."""


class Builder(Protocol):
    """What makes engines."""

    def key(self, style: StyleModel, height: int, width: int) -> PlanKey:
        """Everything that the engine depends on, on this machine.

        Raises:
            EngineError: no engine can be built here.
        """
        ...

    def build(
        self, style: StyleModel, height: int, width: int, told: Callable[[str], None]
    ) -> tuple[bytes, Mapping[str, Any]]:
        """Make the engine.

        Args:
            style: a verified style.
            height, width: of a frame, pixels.
            told: takes one line about how far it is, from any thread.

        Returns:
            its bytes, and plain JSON that is kept beside them.

        Raises:
            EngineError: it cannot be built. Raise it ``from`` an OSError or a MemoryError where that was the
            reason: only such a failure is tried again, see ``is_passing``.
        """
        ...


class Report(Protocol):
    """Who hears of a build."""

    def told(self, line: str) -> None:
        """One line about how far it is."""
        ...

    def key(self, key: PlanKey) -> None:
        """Which engine it is."""
        ...


def build_once(
    style: StyleModel, height: int, width: int, builder: Builder, cache: PlanCache, report: Report
) -> PlanKey:
    """Make sure that an engine is in the cache.

    Args:
        style: a verified style.
        height, width: of a frame, pixels.
        builder: makes it, where neither this process nor another one has.
        cache: where it is kept.
        report: hears of it.

    Returns:
        its key.

    Raises:
        ShapeError: no frame has that size.
        EngineError: it cannot be built, here or at all; it could not be before, and nothing has changed.
    """
    check_size(height, width)
    key = builder.key(style, height, width)
    report.key(key)
    if _is_there(key, cache, report):
        return key
    with _turn(key, cache, report):
        if not _is_there(key, cache, report):  # another process may have built it while we waited
            _build(style, key, builder, cache, report)
    return key


def is_passing(error: BaseException) -> bool:
    """Whether a failure says nothing about the engine, so that the same build may succeed another time.

    That is so for what the machine lacked (memory of either kind, room on the disk, a file, a package) and for what
    somebody did (a key was pressed, a process was killed). All else would fail again in the same way after minutes of
    work, at each start: it is remembered, and ``rtstyle engine clear`` forgets it.
    """
    seen: BaseException | None = error
    while seen is not None:
        if not isinstance(seen, Exception) or isinstance(seen, (OSError, MemoryError, ImportError, BusyError)):
            return True
        if any(kind.__name__ == "OutOfMemoryError" for kind in type(seen).__mro__) or lacks_memory(str(seen)):
            return True  # torch's own class has this name; torch is not imported to compare it
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return False


def load_builder(name: str) -> Builder:
    """The builder that ``module:attribute`` names.

    Raises:
        EngineError: there is none, or a package that it needs is not installed.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        if error.name is None or f"{module}.".startswith(f"{error.name}."):
            raise EngineError(f"there is no builder {name}") from error
        raise EngineError(f"building needs {error.name}", hint='pip install "rtstyle[tensorrt]"') from error
    except (ValueError, TypeError) as error:  # an empty name, or one that begins with a point
        raise EngineError(f"there is no builder {name!r}") from error
    if found is None:
        raise EngineError(f"there is no builder {name}")
    builder: Builder = found
    return builder


def _is_there(key: PlanKey, cache: PlanCache, report: Report) -> bool:
    """Raises: EngineError: it could not be built before."""
    if cache.get(key) is not None:
        report.told("already there")
        return True
    if fault := cache.fault(key):
        raise EngineError(
            f"it could not be built before: {fault}", hint="`rtstyle engine clear` lets it be tried again"
        )
    return False


@contextlib.contextmanager
def _turn(key: PlanKey, cache: PlanCache, report: Report) -> Iterator[None]:
    """Hold the lock of the engine; say so where that takes a while."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(cache.lock(key, 0))
        except BusyError:
            report.told("waits for another process that builds it")
            held.enter_context(cache.lock(key, BUILD_WAIT_S))
        yield


def _build(style: StyleModel, key: PlanKey, builder: Builder, cache: PlanCache, report: Report) -> None:
    start_s = time.monotonic()
    try:
        plan, extra = builder.build(style, key.height, key.width, report.told)
        seconds = time.monotonic() - start_s
        cache.put(key, plan, seconds=seconds, extra={"style": style.name, **extra})
    except Exception as error:
        if not is_passing(error):
            with contextlib.suppress(EngineError):  # the failure itself is what must be told
                cache.refuse(key, _problem(error), extra={"style": style.name})
        raise
    report.told(f"built in {seconds:.1f} s, {len(plan) / 1e6:.1f} MB")


def _problem(error: Exception) -> str:
    """What is wrong, as one line."""
    return error.problem if isinstance(error, StylerError) else one_line(f"{type(error).__name__}: {error}")


class _Lines:
    """A report in lines on standard output, which from now on is nobody else's: the rest goes to standard error."""

    def __init__(self, is_child: bool) -> None:
        self._is_child = is_child
        sys.stdout.flush()
        self._to = os.dup(1)
        os.dup2(2, 1)  # native libraries print wherever they like

    def told(self, line: str) -> None:
        self._say(one_line(line))

    def key(self, key: PlanKey) -> None:
        if self._is_child:
            self._say(KEY_LINE + json.dumps(asdict(key)))

    def done(self) -> None:
        if self._is_child:
            self._say(DONE_LINE)

    def fault(self, error: Exception) -> None:
        hint = error.hint if isinstance(error, StylerError) else ""
        if self._is_child:
            self._say(FAULT_LINE + json.dumps({"problem": _problem(error), "hint": hint}))
        else:
            print(f"{_problem(error)}{f' ({hint})' if hint else ''}", file=sys.stderr)  # its only output

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError):  # who does not listen any more does not stop a build
            os.write(self._to, f"{line}\n".encode())


def _end_with_stdin() -> None:
    """End this process and those that it started as soon as its standard input ends: who started it has died then.

    The kernel does it where it can (Linux), for a library may hold the interpreter for minutes. Elsewhere, and for an
    input that has ended already, a thread does.
    """
    if sys.platform == "linux":
        import fcntl

        fcntl.fcntl(0, fcntl.F_SETOWN, -os.getpgrp() if _leads() else os.getpid())
        fcntl.fcntl(0, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    threading.Thread(target=_watch_stdin, name="watch", daemon=True).start()


def _watch_stdin() -> None:
    while os.read(0, 4096):
        pass
    if sys.platform != "win32" and _leads():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(INTERRUPTED)


def _leads() -> bool:
    """Whether the process group is this process's own, as ``BuildProcess`` makes it."""
    return sys.platform != "win32" and os.getpgrp() == os.getpid()


def _size(text: str) -> tuple[int, int]:
    """``1280x720`` as (height, width), pixels."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write it like 1280x720")
    return int(match[2]), int(match[1])


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m engines.trt.build_worker", description="Build one engine, into the cache."
    )
    parser.add_argument("--style", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--size", type=_size, required=True, metavar="WxH")
    parser.add_argument("--builder", default=BUILDERS[0], metavar="MODULE:ATTRIBUTE")
    parser.add_argument("--cache", type=Path, metavar="FOLDER")
    parser.add_argument("--child", action="store_true", help="belong to the program that started it")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command line. Returns: 0 when the engine is in the cache."""
    arguments = _arguments(argv)
    if arguments.child:
        _end_with_stdin()
    if sys.platform != "win32":
        os.nice(NICER)
    lines = _Lines(arguments.child)
    height, width = arguments.size
    try:
        style = StyleModel.open(arguments.style)
        build_once(style, height, width, load_builder(arguments.builder), PlanCache(arguments.cache), lines)
        lines.done()
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  # whatever it is, who waits for the engine gets one line
        lines.fault(error)
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
