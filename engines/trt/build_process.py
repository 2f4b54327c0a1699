"""A build in a process of its own, as its parent sees it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from engines.errors import EngineError
from engines.os_errors import advice, reason
from engines.trt.plan_cache import PlanCache, PlanKey
from engines.trusted_files import RefusedError

FAILED = 3
"""Exit code of a build that has reported why it failed; 1 and 2 are Python's own."""

INTERRUPTED = 130
"""Exit code of a build that Ctrl-C stopped."""

KEY_LINE, FAULT_LINE, DONE_LINE = "key: ", "fault: ", "done: "
"""Prefixes of a child's lines that are not progress; JSON follows the first two."""

LINE_LENGTH = 300
"""Characters of a line that are shown."""

_LINE_BYTES = 32 << 10
_ERRORS_KEPT = 40
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_MEMORY = re.compile(
    r"out ?of ?memory|bad_alloc|insufficient memory|could not be allocated|cannot allocate memory|MemoryAllocation",
    re.IGNORECASE,
)

# Python's own exit codes, and those of Ctrl-C here and on Windows.
_HARMLESS = frozenset({0, 1, 2, INTERRUPTED, 0xC000013A})

# A library that crashes will crash again. SIGBUS is not among them: a full memory disk causes it.
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE})


class BuildProcess:
    """Builds one engine into the cache, in another process with a lower priority, which dies with this one.

    Only ``wait`` and ``close`` block.

    Args:
        style: its folder.
        height, width: of a frame, pixels.
        builder: ``module:attribute`` of the builder; by default the first of ``engines.trt.build_worker``.
        folder: of the cache; by default the user's.

    Attributes:
        progress: the newest line of the child, at most ``LINE_LENGTH`` characters.
        error: why the build failed; ``None`` until then.

    Raises:
        EngineError: no process can be started.
    """

    def __init__(self, style: Path, height: int, width: int, *, builder: str = "", folder: Path | None = None) -> None:
        self.progress = "starting"
        self.error: EngineError | None = None
        self._folder = folder
        self._key: PlanKey | None = None
        self._reported: EngineError | None = None
        self._errors: deque[str] = deque(maxlen=_ERRORS_KEPT)
        self._changed = threading.Condition()
        self._lines = 0
        self._done = self._over = self._closed = self._reaped = False
        call = ["--style", str(Path(style).absolute()), "--size", f"{width}x{height}"]
        call += ["--builder", builder] if builder else []
        call += ["--cache", str(Path(folder).absolute())] if folder else []
        self._scratch = _scratch()
        try:
            self._process = _start(call, self._scratch.name)
        except EngineError:
            self._scratch.cleanup()
            raise
        self._threads = [
            _reader(self._process.stdout, self._on_line),
            _reader(self._process.stderr, lambda line: self._errors.append(one_line(line))),
        ]
        self._watcher = threading.Thread(target=self._watch, name="build", daemon=True)
        for thread in (*self._threads, self._watcher):
            thread.start()

    def poll(self) -> str | None:
        """Return ``None`` while it runs, an empty string once the engine is in the cache, else why it is not."""
        with self._changed:
            if not self._over:
                return None
            return str(self.error) if self.error else ""

    def wait(self, timeout_s: float) -> str | None:
        """Wait for a new line, the end, or ``timeout_s`` seconds, then ``poll``."""
        with self._changed:
            lines = self._lines
            self._changed.wait_for(lambda: self._over or self._lines != lines, timeout_s)
        return self.poll()

    def close(self) -> None:
        """Kill the child and its own children, unless it has ended. May be called twice."""
        with self._changed:
            self._closed = True
            self._kill()
        self._watcher.join()

    def _kill(self) -> None:
        """Kill the group, but only before the child is reaped: its PID may be another process's after that."""
        if self._reaped:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)

    def _watch(self) -> None:
        error: EngineError | None = EngineError("the build process exited without a result")
        try:
            error = self._end()
        finally:
            self._scratch.cleanup()
            with self._changed:
                self.error, self._over = error, True
                self._changed.notify_all()

    def _end(self) -> EngineError | None:
        """Wait for the child, kill what it left behind, and return its error."""
        if hasattr(os, "waitid"):
            with contextlib.suppress(ChildProcessError):  # a program that ignores SIGCHLD has no child to wait for
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._process.wait()
        with self._changed:
            self._kill()
            code = self._process.wait()
            self._reaped = True
        for thread in self._threads:
            thread.join(1.0)  # a process that has left the group may still hold a pipe
        error = self._outcome(code)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None and not any(thread.is_alive() for thread in self._threads):
                pipe.close()
        return error

    def _outcome(self, code: int) -> EngineError | None:
        # The code alone is not enough: a library may call exit(0), and with SIGCHLD ignored every code is 0.
        if self._done:
            return None
        if self._closed:
            return EngineError("the build was stopped")
        if self._reported is not None:
            return self._reported
        last = next((line for line in reversed(self._errors) if line), "")
        because = f": {last}" if last else ""
        error = EngineError(f"{_describe_exit(code)}{because}")
        if _is_crash(code) and self._key is not None and not any(is_out_of_memory(line) for line in self._errors):
            with contextlib.suppress(EngineError):  # the child cannot do it any more
                PlanCache(self._folder).mark_failed(self._key, error.problem)
        return error

    def _on_line(self, line: str) -> None:
        if line.startswith(KEY_LINE):
            with contextlib.suppress(ValueError, RefusedError):
                self._key = PlanKey.from_dict(json.loads(line.removeprefix(KEY_LINE)))
        elif line.startswith(DONE_LINE):
            self._done = True
        elif line.startswith(FAULT_LINE):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                fault: Any = json.loads(line.removeprefix(FAULT_LINE))
                self._reported = EngineError(one_line(fault["problem"]), hint=one_line(fault["hint"]))
        elif shown := one_line(line):
            with self._changed:
                self.progress = shown
                self._lines += 1
                self._changed.notify_all()


def one_line(text: str) -> str:
    """Make a text safe for a terminal: one line, no control characters, at most ``LINE_LENGTH`` long."""
    plain = "".join(char if char.isprintable() else " " for char in _CONTROL.sub("", text))
    return " ".join(plain.split())[:LINE_LENGTH]


def is_out_of_memory(text: str) -> bool:
    """Return True if a library reports a lack of memory, of the machine or of the GPU."""
    return _MEMORY.search(text) is not None


def _scratch() -> tempfile.TemporaryDirectory[str]:
    """Make the temporary folder of a build, which cannot remove its files itself if it is killed."""
    try:
        return tempfile.TemporaryDirectory(prefix="rtstyle-", ignore_cleanup_errors=True)
    except OSError as error:
        hint = "set the environment variable TMPDIR to another folder"
        raise EngineError(f"no room for the build: {reason(error)}", hint=hint) from error


def _start(call: list[str], scratch: str) -> subprocess.Popen[bytes]:
    """Start the child in its own process group, so that Ctrl-C does not reach it and it can be killed as a whole.

    ``-P`` keeps the current folder, which may be one of downloads, out of the child's imports.
    """
    command = [sys.executable, "-P", "-m", "engines.trt.build_worker", "--child", *call]
    group, flags = 0, 0
    if sys.platform == "win32":
        group, flags = -1, subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.BELOW_NORMAL_PRIORITY_CLASS
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(
            command,
            bufsize=0,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=_environment() | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), scratch),
            process_group=group,
            creationflags=flags,
        )
    except OSError as error:
        problem = f"cannot start a process for the build: {reason(error)}"
        raise EngineError(problem, hint=advice(error)) from error


def _environment() -> dict[str, str]:
    """Return this process's environment, in which the child finds the same ``engines`` even if not installed."""
    root = str(Path(__file__).resolve().parents[2])
    environment = dict(os.environ)
    if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    return environment


def _reader(pipe: IO[bytes] | None, on_line: Callable[[str], None]) -> threading.Thread:
    assert pipe is not None
    return threading.Thread(target=_read, args=(pipe.fileno(), on_line), name="build-lines", daemon=True)


def _read(descriptor: int, on_line: Callable[[str], None]) -> None:
    """Pass on lines until the pipe ends, in bounded memory."""
    rest = b""
    while chunk := os.read(descriptor, 8192):
        *lines, rest = re.split(rb"[\r\n]+", rest + chunk)
        rest = rest[-_LINE_BYTES:]
        for line in lines:
            on_line(line.decode(errors="replace"))
    on_line(rest.decode(errors="replace"))


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"the builder exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"the builder crashed with {name}" if _is_crash(code) else f"the build was killed by {name}"


def _is_crash(code: int) -> bool:
    """Return True if a library ended the child: a crash, or ``exit`` with a code that is not Python's.

    Windows reports a crash as a code, and a killed process as 1.
    """
    return -code in _CRASHES if code < 0 else code not in _HARMLESS
