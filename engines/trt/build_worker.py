"""Build one engine into the cache, as a process of its own.

    python -m engines.trt.build_worker --style FOLDER --size 1280x720

Progress goes to standard output, a line each; what native libraries print goes to standard error. With ``--child`` the
process belongs to the ``BuildProcess`` that started it: it ends when its standard input does, even inside a library,
and reports its key and its result in machine-readable lines.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import os
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
from engines.frame_size import parse_size
from engines.install_hint import pip_install
from engines.style_file import StyleModel
from engines.trt import build_process
from engines.trt.build_process import FAILED, INTERRUPTED, BuildProcess, is_out_of_memory, one_line
from engines.trt.plan_cache import BusyError, PlanCache, PlanKey

__all__ = ["BUILDERS", "BuildProcess", "Builder", "build_once", "is_transient", "load_builder", "main"]

BUILDERS = ("engines.trt.builder:SHARED", "engines.trt.builder:SINGLE")
"""Default builders, as module and attribute; each is tried if the one before fails."""

NICENESS = 10
"""Niceness of a build: frames go on while it runs."""

BUILD_WAIT_S = 3600.0
"""How long to wait for another process that builds the same engine, seconds."""

logger = logging.getLogger("engines.trt.build_worker")  # __name__ is "__main__" in the child


class Builder(Protocol):
    """Makes engines; logs its progress to a logger under ``engines``."""

    def key(self, style: StyleModel, height: int, width: int) -> PlanKey:
        """Return all that the engine depends on, on this machine. Raise EngineError if none can be built here."""
        ...

    def build(self, style: StyleModel, height: int, width: int) -> tuple[bytes, Mapping[str, Any]]:
        """Build the engine for a frame size in pixels; return its bytes, and metadata as plain JSON.

        Raises:
            EngineError: it cannot be built. Raise it ``from`` an OSError or a MemoryError if that was the cause: only
                such failures are retried, see ``is_transient``.
        """
        ...


def build_once(
    style: StyleModel,
    height: int,
    width: int,
    builder: Builder,
    cache: PlanCache,
    on_key: Callable[[PlanKey], None] = lambda _: None,
) -> PlanKey:
    """Build an engine for a frame size in pixels into the cache, unless it is there; return its key. Logs progress.

    ``on_key`` is called with the key as soon as it is known.

    Raises:
        ShapeError: no frame can have that size.
        EngineError: it cannot be built, or a build of the same key has failed before.
    """
    check_size(height, width)
    key = builder.key(style, height, width)
    on_key(key)
    if _is_built(key, cache):
        return key
    with _build_lock(key, cache):
        if not _is_built(key, cache):  # another process may have built it meanwhile
            _build(style, key, builder, cache)
    return key


def is_transient(error: BaseException) -> bool:
    """Return True if a failure says nothing about the engine, so that the same build may succeed another time.

    That holds for a lack of resources (memory, disk space, a file, a package) and for interruptions (Ctrl-C, a killed
    process). Any other failure would repeat after minutes of work at each start, so it is remembered until
    ``rtstyle engine clear``.
    """
    seen: BaseException | None = error
    while seen is not None:
        if not isinstance(seen, Exception) or isinstance(seen, (OSError, MemoryError, ImportError, BusyError)):
            return True
        if any(kind.__name__ == "OutOfMemoryError" for kind in type(seen).__mro__) or is_out_of_memory(str(seen)):
            return True  # torch's class, compared by name so that torch need not be imported
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return False


def load_builder(name: str) -> Builder:
    """Import the builder at ``module:attribute``. Raise EngineError if it or a package that it needs is missing."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        if error.name is None or f"{module}.".startswith(f"{error.name}."):
            raise EngineError(f"there is no builder {name}") from error
        raise EngineError(f"building needs {error.name}", hint=pip_install("tensorrt")) from error
    except (ValueError, TypeError) as error:  # an empty name, or one that starts with a dot
        raise EngineError(f"there is no builder {name!r}") from error
    if found is None:
        raise EngineError(f"there is no builder {name}")
    builder: Builder = found
    return builder


def _is_built(key: PlanKey, cache: PlanCache) -> bool:
    """Raises: EngineError: an earlier build has failed."""
    if cache.get(key) is not None:
        logger.info("already built")
        return True
    if fault := cache.fault(key):
        raise EngineError(f"an earlier build failed: {fault}", hint="to retry, run `rtstyle engine clear`")
    return False


@contextlib.contextmanager
def _build_lock(key: PlanKey, cache: PlanCache) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(cache.lock(key, 0))
        except BusyError:
            logger.info("waiting for another process that builds it")
            held.enter_context(cache.lock(key, BUILD_WAIT_S))
        yield


def _build(style: StyleModel, key: PlanKey, builder: Builder, cache: PlanCache) -> None:
    start_s = time.monotonic()
    try:
        plan, extra = builder.build(style, key.height, key.width)
        seconds = time.monotonic() - start_s
        cache.put(key, plan, seconds=seconds, extra={"style": style.name, **extra})
    except Exception as error:
        if not is_transient(error):
            with contextlib.suppress(EngineError):  # the failure itself matters more
                cache.mark_failed(key, _message(error), extra={"style": style.name})
        raise
    logger.info("built in %.1f s, %.1f MB", seconds, len(plan) / 1e6)


def _message(error: Exception) -> str:
    return error.problem if isinstance(error, StylerError) else one_line(f"{type(error).__name__}: {error}")


class _Output(logging.Handler):
    """Writes log lines and results to standard output; whatever else is printed goes to standard error from now on."""

    def __init__(self, is_child: bool) -> None:
        super().__init__(logging.INFO)
        self._is_child = is_child
        sys.stdout.flush()
        self._to = os.dup(1)
        os.dup2(2, 1)  # for native libraries

    def emit(self, record: logging.LogRecord) -> None:
        self._write(one_line(record.getMessage()))

    def key(self, key: PlanKey) -> None:
        self.report(build_process.KEY_LINE + json.dumps(asdict(key)))

    def report(self, line: str) -> None:
        if self._is_child:
            self._write(line)

    def fault(self, error: Exception) -> None:
        hint = error.hint if isinstance(error, StylerError) else ""
        self.report(build_process.FAULT_LINE + json.dumps({"problem": _message(error), "hint": hint}))
        if not self._is_child:
            print(StylerError(_message(error), hint), file=sys.stderr)  # its only output

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a closed pipe does not stop a build
            os.write(self._to, f"{line}\n".encode())


def _end_with_stdin() -> None:
    """Kill this process and its children as soon as its standard input ends, that is, when its parent has died.

    On Linux the kernel does it, since a library may hold the interpreter for minutes. Elsewhere, and if the input has
    already ended, a thread does.
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
    """Return True if the process group is this process's own, as ``BuildProcess`` makes it."""
    return sys.platform != "win32" and os.getpgrp() == os.getpid()


def _size(text: str) -> tuple[int, int]:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m engines.trt.build_worker", description="Build one engine into the cache."
    )
    parser.add_argument("--style", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--size", type=_size, required=True, metavar="WxH")
    parser.add_argument("--builder", default=BUILDERS[0], metavar="MODULE:ATTRIBUTE")
    parser.add_argument("--cache", type=Path, metavar="FOLDER")
    parser.add_argument("--child", action="store_true", help="belong to the program that started it")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command line. Returns: 0 once the engine is in the cache."""
    arguments = _arguments(argv)
    if arguments.child:
        _end_with_stdin()
    if sys.platform != "win32":
        os.nice(NICENESS)
    output = _Output(arguments.child)
    engines_logger = logging.getLogger("engines")
    engines_logger.addHandler(output)
    engines_logger.setLevel(logging.INFO)
    width, height = arguments.size
    try:
        style = StyleModel.open(arguments.style)
        builder, cache = load_builder(arguments.builder), PlanCache(arguments.cache)
        build_once(style, height, width, builder, cache, output.key)
        output.report(build_process.DONE_LINE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  # whatever it is, report it in one line
        output.fault(error)
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
