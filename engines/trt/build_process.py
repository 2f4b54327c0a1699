"""A build in a process of its own, as who started it sees it."""

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
from types import TracebackType
from typing import IO, Any, Self

from engines.errors import EngineError
from engines.trt.plan_cache import PlanCache, PlanKey
from engines.trusted_files import RefusedError

FAILED = 3
"""Exit code of a build that says itself why it failed; 1 and 2 are Python's own."""

INTERRUPTED = 130
"""Exit code of a build that a key has stopped."""

KEY_LINE, FAULT_LINE, DONE_LINE = "key: ", "fault: ", "done: "
"""How the lines of a child begin that are not progress; JSON follows the first two."""

LINE_LENGTH = 300
"""Characters of a line that are shown."""

_LINE_BYTES = 32 << 10
_ERRORS_KEPT = 40
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_MEMORY = re.compile(
    r"out ?of ?memory|bad_alloc|insufficient memory|could not be allocated|cannot allocate memory|MemoryAllocation",
    re.IGNORECASE,
)

# Python's own, and those of a Ctrl-C here and on Windows.
_HARMLESS = frozenset({0, 1, 2, INTERRUPTED, 0xC000013A})

# A library that crashes does so again. SIGBUS is not among them: a full memory disk gives it.
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE})


class BuildProcess:
    """Builds one engine, into the cache, in another process with a lower priority; it dies with this one.

    Nothing here waits for it but ``wait`` and ``close``.

    Args:
        style: folder of the style.
        height, width: of a frame, pixels.
        builder: ``module:attribute`` of what builds; that of ``engines.trt.build_worker`` unless told.
        folder: of the cache; its own unless told.

    Attributes:
        progress: the newest line of the child, at most ``LINE_LENGTH`` characters.
        error: why it failed, once it has.

    Raises:
        EngineError: no process can be started.
    """

    def __init__(self, style: Path, height: int, width: int, *, builder: str = "", folder: Path | None = None) -> None:
        self.progress = "starts"
        self.error: EngineError | None = None
        self._folder = folder
        self._key: PlanKey | None = None
        self._told: EngineError | None = None
        self._errors: deque[str] = deque(maxlen=_ERRORS_KEPT)
        self._news = threading.Condition()
        self._heard = 0
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
            _reader(self._process.stdout, self._hear),
            _reader(self._process.stderr, lambda line: self._errors.append(one_line(line))),
        ]
        self._watcher = threading.Thread(target=self._watch, name="build", daemon=True)
        for thread in (*self._threads, self._watcher):
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def poll(self) -> str | None:
        """``None`` while it runs, an empty text when the engine is in the cache, else why it is not."""
        with self._news:
            if not self._over:
                return None
            return str(self.error) if self.error else ""

    def wait(self, timeout_s: float) -> str | None:
        """As ``poll``, after there is a new line or an end, or after ``timeout_s`` seconds."""
        with self._news:
            heard = self._heard
            self._news.wait_for(lambda: self._over or self._heard != heard, timeout_s)
        return self.poll()

    def close(self) -> None:
        """Kill the child and what it started, unless it is through. Twice is fine."""
        with self._news:
            self._closed = True
            self._kill()
        self._watcher.join()

    def _kill(self) -> None:
        """Only before the child is reaped: after that, its number may be another process's."""
        if self._reaped:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)

    def _watch(self) -> None:
        error: EngineError | None = EngineError("nobody knows how the build ended")
        try:
            error = self._end()
        finally:
            self._scratch.cleanup()
            with self._news:
                self.error, self._over = error, True
                self._news.notify_all()

    def _end(self) -> EngineError | None:
        """Wait for the child's end, end what it has left, and find out how it went."""
        if hasattr(os, "waitid"):
            with contextlib.suppress(ChildProcessError):  # a program that ignores SIGCHLD has none to wait for
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._process.wait()
        with self._news:
            self._kill()
            code = self._process.wait()
            self._reaped = True
        for thread in self._threads:
            thread.join(1.0)  # what has left the group may still hold a pipe
        error = self._verdict(code)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None and not any(thread.is_alive() for thread in self._threads):
                pipe.close()
        return error

    def _verdict(self, code: int) -> EngineError | None:
        # A library may call exit(0), and where SIGCHLD is ignored every code is 0.
        if self._done:
            return None
        if self._closed:
            return EngineError("the build was stopped")
        if self._told is not None:
            return self._told
        last = next((line for line in reversed(self._errors) if line), "")
        because = f": {last}" if last else ""
        error = EngineError(f"{_how(code)}{because}")
        if _is_crash(code) and self._key is not None and not any(lacks_memory(line) for line in self._errors):
            with contextlib.suppress(EngineError):  # the child could not do it any more
                PlanCache(self._folder).refuse(self._key, error.problem)
        return error

    def _hear(self, line: str) -> None:
        if line.startswith(KEY_LINE):
            with contextlib.suppress(ValueError, RefusedError):
                self._key = PlanKey.from_dict(json.loads(line.removeprefix(KEY_LINE)))
        elif line.startswith(DONE_LINE):
            self._done = True
        elif line.startswith(FAULT_LINE):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                told: Any = json.loads(line.removeprefix(FAULT_LINE))
                self._told = EngineError(one_line(told["problem"]), hint=one_line(told["hint"]))
        elif shown := one_line(line):
            with self._news:
                self.progress = shown
                self._heard += 1
                self._news.notify_all()


def one_line(text: str) -> str:
    """A text that may stand on somebody's terminal: one line, no control characters, at most ``LINE_LENGTH`` long."""
    plain = "".join(char if char.isprintable() else " " for char in _CONTROL.sub("", text))
    return " ".join(plain.split())[:LINE_LENGTH]


def lacks_memory(text: str) -> bool:
    """Whether a library says that it got no memory, of the machine or of the GPU."""
    return _MEMORY.search(text) is not None


def _scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for what a build writes by the way: one that is killed removes nothing itself."""
    try:
        return tempfile.TemporaryDirectory(prefix="rtstyle-", ignore_cleanup_errors=True)
    except OSError as error:
        raise EngineError(f"no room for the build: {error.strerror}", hint="TMPDIR names another folder") from error


def _start(call: list[str], scratch: str) -> subprocess.Popen[bytes]:
    """Start the child in a process group of its own, so that a Ctrl-C is not for it, and it can be ended as a whole.

    ``-P`` keeps the current folder out of the child's imports: it may be one of downloads.
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
        raise EngineError(f"no process can be started for the build: {error.strerror}") from error


def _environment() -> dict[str, str]:
    """This process's, in which the child finds the same ``engines``, also where they are not installed."""
    root = str(Path(__file__).resolve().parents[2])
    environment = dict(os.environ)
    if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    return environment


def _reader(pipe: IO[bytes] | None, heard: Callable[[str], None]) -> threading.Thread:
    assert pipe is not None
    return threading.Thread(target=_read, args=(pipe.fileno(), heard), name="build-lines", daemon=True)


def _read(descriptor: int, heard: Callable[[str], None]) -> None:
    """Hand on lines until the pipe ends. Little is kept, whatever is printed."""
    rest = b""
    while chunk := os.read(descriptor, 8192):
        *lines, rest = re.split(rb"[\r\n]+", rest + chunk)
        rest = rest[-_LINE_BYTES:]
        for line in lines:
            heard(line.decode(errors="replace"))
    heard(rest.decode(errors="replace"))


def _how(code: int) -> str:
    """What the exit code of a child says."""
    if code >= 0:
        return f"the builder ended itself with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"the builder crashed with {name}" if _is_crash(code) else f"the build was killed by {name}"


def _is_crash(code: int) -> bool:
    """Whether a library ended the child: by a crash, or a call of ``exit`` with a code that is not Python's.

    Windows tells a crash by a code, and 1 for what somebody has killed.
    """
    return -code in _CRASHES if code < 0 else code not in _HARMLESS
