"""Learns one style at a time from a painting, in a process of its own, and puts it on the shelf."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engines.errors import SinkError, SourceError, StylerError
from engines.install_hint import pip_install
from engines.os_errors import advice, reason
from rtstyle import shelf
from rtstyle.style_library import RUN_STYLE, folders, gallery_styles
from rtstyle.web.background_process import BACKGROUND, end_process, explain_end, tail
from rtstyle.web.rooms import Rooms
from rtstyle.web.training.names import title_of, unique_name
from rtstyle.web.training.worker import PREVIEW, RUN, UPLOAD, Task

IDLE, STARTING, RUNNING, SAVING, DONE, FAILED, STOPPED = (
    "idle", "starting", "running", "saving", "done", "failed", "stopped",
)  # fmt: skip
"""States of the training."""

STEPS = 250
"""Steps of a training. Not minutes: beside live video, which goes first, minutes would give an unfinished style."""

MOST_STYLES = 100
"""Most styles of one's own with which the page takes another painting."""

CHECK_S = 60.0
"""Longest time to check a painting, seconds; the largest takes a few."""

END_S = 3.0
"""How long a process may take to end its training and tidy up before it is killed, seconds."""

WORKER = "rtstyle.web.training.worker"

PACKAGES = ("torch", "onnx", "onnxscript", "jinja2", "pydantic", "tensorboard")
"""Packages of the extra ``train``."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSettings:
    """How styles are learned.

    Attributes:
        steps: of a training.
        arguments: of ``rtstyle train``, beside those that are always given.
        most_styles: see ``MOST_STYLES``.
        snapshot_s: time between two unfinished styles, seconds.
    """

    steps: int = STEPS
    arguments: tuple[str, ...] = ()
    most_styles: int = MOST_STYLES
    snapshot_s: float = 5.0


def missing_packages() -> str:
    """Return why this installation cannot learn styles, as one line; empty if it can."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    return f"learning a style needs {' and '.join(missing)}: {pip_install('train')}" if missing else ""


class StyleTraining:
    """Learns one style at a time. Call it from the event loop only.

    Args:
        rooms: where visitors see the unfinished style, and the new one when it is finished.
        settings: how.
    """

    def __init__(self, rooms: Rooms, settings: TrainingSettings | None = None) -> None:
        self._rooms, self._settings = rooms, settings or TrainingSettings()
        self.state, self._name, self._title = IDLE, "", ""
        self._problem = self._hint = self._note = ""
        self._step, self._first = 0, (0, 0.0)
        self._job: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def is_busy(self) -> bool:
        """True while a style is being learned."""
        return self._job is not None and not self._job.done()

    def described(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "state": self.state,
            "name": self._name,
            "title": self._title,
            "percent": round(100 * self._step / self._settings.steps, 1),
            "left_s": self._left_s(),
            "note": self._note,
            "problem": self._problem,
            "hint": self._hint,
            "unfinished": self._rooms.unfinished,
        }

    async def start(self, data: bytes, file: str, title: str) -> None:
        """Begin to learn from a picture; returns once that was checked.

        Args:
            data: of the picture's file.
            file: its name.
            title: of the style; by default the name of the file.

        Raises:
            SinkError: a style is being learned already, there are too many, or the shelf cannot be written.
            SourceError: the picture cannot be used.
        """
        if self.is_busy or self._closed:
            raise SinkError("a style is being learned already", hint="wait for it, or stop it")
        checked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._step, self._first, self._problem, self._hint, self._note = 0, (0, 0.0), "", "", ""
        self.state = STARTING
        self._job = asyncio.get_running_loop().create_task(self._work(data, file, title, checked))
        await asyncio.wait({self._job, checked}, return_when=asyncio.FIRST_COMPLETED)
        if not checked.done():
            raise SinkError("the training was stopped")
        if checked.exception() is not None:
            await asyncio.wait({self._job})  # it is still tidying up
        checked.result()

    async def stop(self) -> None:
        """End the training, if there is one; the shelf stays as it is. A style that is being saved is finished."""
        if self._job is None:
            return
        # Only once, and not while it tidies up: the second one would end that.
        if self.state in (STARTING, RUNNING) and not self._job.cancelling():
            self._job.cancel()
        await asyncio.wait({self._job})
        if self.state == STARTING:  # it had not even begun
            self.state = STOPPED

    async def close(self) -> None:
        """End the training, and begin none any more. May be called twice."""
        self._closed = True
        await self.stop()

    def _left_s(self) -> float | None:
        """Return how long the training will take, seconds; ``None`` while that is not known."""
        (step, since_s), now_s = self._first, asyncio.get_running_loop().time()
        if self.state != RUNNING or self._step <= step:
            return None
        return round((self._settings.steps - self._step) * (now_s - since_s) / (self._step - step), 1)

    async def _work(self, data: bytes, file: str, title: str, checked: asyncio.Future[None]) -> None:
        """Learn a style; every failure is shown, before the picture is checked by ``start``."""
        folder: Path | None = None
        try:
            await asyncio.to_thread(_check_shelf, self._settings.most_styles)
            self._title = title_of(title, file)
            self._name, self._title = unique_name(self._title, await asyncio.to_thread(taken_names))
            folder = Path(tempfile.mkdtemp(prefix="rtstyle-training-"))
            await asyncio.to_thread((folder / UPLOAD).write_bytes, data)
            await self._learn(Task(str(folder), file, self._arguments()), checked)
            self.state = SAVING
            await self._save(folder)
            self.state = DONE
            logger.info("the new style %s is on the shelf", self._name)
        except asyncio.CancelledError:
            self.state = STOPPED
        except StylerError as error:
            self._fail(error, checked)
        except OSError as error:
            problem = f"the training cannot be started: {reason(error)}"
            self._fail(SinkError(problem, hint=advice(error, "try again")), checked)
        except Exception as error:
            logger.exception("learning a style failed")
            self._fail(SinkError(f"{type(error).__name__}: {error}", hint="this is a fault in rtstyle"), checked)
        finally:
            await self._rooms.replace_unfinished(self._name if self.state == DONE else "")
            if folder is not None:
                await asyncio.to_thread(shutil.rmtree, folder, True)

    def _fail(self, error: StylerError, checked: asyncio.Future[None]) -> None:
        self.state, self._problem, self._hint = FAILED, error.problem, error.hint
        if not checked.done():
            checked.set_exception(error)
        else:
            logger.warning("learning %s failed: %s", self._name, error)

    def _arguments(self) -> list[str]:
        settings = self._settings
        return [
            "--recipe", "quick", "--steps", str(settings.steps), "--name", self._name, f"--title={self._title}",
            "--set", f"run.snapshot_seconds={settings.snapshot_s:g}", *settings.arguments,
        ]  # fmt: skip

    async def _learn(self, task: Task, checked: asyncio.Future[None]) -> None:
        """Wait for the process to finish the style. Raises StylerError or OSError if it fails."""
        # -P: files beside the program must not be imported as packages.
        command = (sys.executable, "-P", "-m", WORKER)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe, **BACKGROUND)
        assert process.stderr is not None and process.stdin is not None
        log = asyncio.get_running_loop().create_task(tail(process.stderr))
        try:
            with suppress(ConnectionError):  # it has crashed already
                process.stdin.write(json.dumps(asdict(task)).encode() + b"\n")
                await process.stdin.drain()
            last = await self._follow(process, Path(task.folder), checked)
        finally:
            process.stdin.close()  # it then ends its training by itself
            with suppress(TimeoutError):
                async with asyncio.timeout(END_S):
                    await process.wait()
            await end_process(process)
            said = await log
        if last is None:
            raise SinkError(*explain_end(process.returncode or 0, said, "the process that learns the style"))
        if "problem" in last:
            kind = SinkError if checked.done() else SourceError
            raise kind(last["problem"], hint=last["hint"])

    async def _follow(
        self, process: asyncio.subprocess.Process, folder: Path, checked: asyncio.Future[None]
    ) -> dict[str, Any] | None:
        """Take the process's reports until it ends; return the last one, ``None`` if it crashed."""
        assert process.stdout is not None
        while True:
            try:
                async with asyncio.timeout(None if checked.done() else CHECK_S):
                    line = await process.stdout.readline()
            except TimeoutError:
                raise SourceError("the picture takes too long to read", hint="make it smaller first") from None
            if not line:
                return None
            report: dict[str, Any] = json.loads(line)
            if "width" in report:
                checked.set_result(None)
            elif "note" in report:
                self._note = report["note"]
            elif "step" in report:
                self._advance(report["step"], folder / RUN / PREVIEW)
            else:
                return report

    def _advance(self, step: int, preview: Path) -> None:
        self._step, self._note = step, ""
        if self.state != RUNNING:
            self.state, self._first = RUNNING, (step, asyncio.get_running_loop().time())
            self._rooms.show_unfinished(preview)

    async def _save(self, folder: Path) -> None:
        """Put the style on the shelf, under another name if somebody has taken this one meanwhile."""
        self._step = self._settings.steps

        def add() -> str:
            name, _ = unique_name(self._name, taken_names())
            shelf.add(shelf.read_folder(folder / RUN / RUN_STYLE), gallery_styles(), name)
            return name

        self._name = await asyncio.to_thread(add)


def _check_shelf(most: int) -> None:
    """Raise SinkError if the shelf is full or cannot be written: before the training, not after it."""
    home = shelf.home()
    if len(shelf.own_styles()) >= most:
        raise SinkError(f"there are {most} styles of your own already", hint="remove one")
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home, prefix=".rtstyle-"):
            pass
    except OSError as error:
        problem = f"the folder of your styles cannot be written: {reason(error)}"
        raise SinkError(problem, hint=advice(error)) from error


def taken_names() -> set[str]:
    """Return the names that a new style cannot have; one of them is an address of the server."""
    home = shelf.home()
    others = {path.name for path in home.iterdir()} if home.is_dir() else set()  # folders that are no styles
    return {*folders(), shelf.RESERVED, *others}
