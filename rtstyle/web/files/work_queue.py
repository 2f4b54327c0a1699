"""Stylizes the waiting files one after another, each in a process of its own, beside the live video."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from engines.errors import SinkError, StylerError
from engines.os_errors import advice, reason
from rtstyle.web.background_process import BACKGROUND, end_process, explain_end, tail
from rtstyle.web.files.store import DONE, FAILED, RUNNING, STOPPED, FileStore, StoredFile, shown_size
from rtstyle.web.files.worker import Task

MEASURE_S = 1.0
"""How often the growing result is measured, seconds."""

WORKER = "rtstyle.web.files.worker"

logger = logging.getLogger(__name__)


class WorkQueue:
    """Works on one file at a time. Call it from the event loop only.

    Args:
        store: the files.
        engine, threads: as ``rtstyle video`` takes them.
    """

    def __init__(self, store: FileStore, engine: str = "auto", threads: int | None = None) -> None:
        self._store, self._engine, self._threads = store, engine, threads
        self._waiting = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._job: asyncio.Task[None] | None = None
        self._current: StoredFile | None = None

    def start(self) -> None:
        """Begin with the files that are waiting."""
        self._loop_task = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Stop; the file in work goes on with the next server. May be called twice."""
        for task in (self._loop_task, self._job):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})

    def wake(self) -> None:
        """Look for waiting files."""
        self._waiting.set()

    def retry(self, file: StoredFile) -> None:
        """Put a failed or stopped file at the end of the queue; what is finished of it is not made again.

        Raises:
            SinkError: it is not one, or its record is damaged.
        """
        if file.state not in (FAILED, STOPPED) or not file.is_readable:
            raise SinkError(f"{file.name} is {file.state}, so it cannot be tried again")
        self._store.enqueue(file)
        self.wake()

    async def stop(self, file: StoredFile) -> None:
        """Do not stylize a file, and end the process that does; what is finished is kept for ``retry``."""
        if file.state in (DONE, FAILED):
            return
        self._store.set_state(file, STOPPED)
        await self._interrupt(file)

    async def remove(self, file: StoredFile) -> None:
        """Stop and remove a file; raises SinkError if the system does not let it go."""
        file.state = STOPPED
        await self._interrupt(file)
        left = self._store.remove(file)
        await asyncio.to_thread(shutil.rmtree, left, True)

    async def _interrupt(self, file: StoredFile) -> None:
        if self._current is file and self._job is not None:
            self._job.cancel()
            await asyncio.wait({self._job})

    async def _work(self) -> None:
        while True:
            self._waiting.clear()
            file = self._store.next_waiting()
            if file is None:
                await self._waiting.wait()
                continue
            self._current = file
            self._job = asyncio.get_running_loop().create_task(self._stylize(file))
            await asyncio.wait({self._job})
            self._current = None

    async def _stylize(self, file: StoredFile) -> None:
        """Stylize one file; every failure is the file's own."""
        self._store.set_state(file, RUNNING)
        file.forget_progress()
        try:
            done = await self._run(file)
        except StylerError as error:
            self._settle(file, FAILED, str(error))
        except OSError as error:
            self._settle(file, FAILED, f"the process cannot be started: {reason(error)} ({advice(error, 'try again')})")
        except Exception as error:
            logger.exception("stylizing %s failed", file.name)
            self._settle(file, FAILED, f"{type(error).__name__}: {error} (this is a fault in rtstyle)")
        else:
            file.width, file.height, file.notes = done["width"], done["height"], tuple(done["notes"])
            file.frames = file.total = done["frames"]
            self._settle(file, DONE)
        finally:
            await asyncio.to_thread(self._store.tidy, file)

    def _settle(self, file: StoredFile, state: str, problem: str = "") -> None:
        if file.state != RUNNING:  # somebody stopped it
            return
        self._store.set_state(file, state, problem)
        logger.info("%s: %s", file.name, problem or state)

    async def _run(self, file: StoredFile) -> dict[str, Any]:
        """Return what the process says when it is done; raises StylerError or OSError if it fails."""
        # -P: files beside the program must not be imported as packages.
        command = (sys.executable, "-P", "-m", WORKER)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe, **BACKGROUND)
        assert process.stderr is not None
        log = asyncio.get_running_loop().create_task(tail(process.stderr))
        try:
            with suppress(ConnectionError):  # it has crashed already
                assert process.stdin is not None
                process.stdin.write(json.dumps(asdict(self._task(file))).encode() + b"\n")
                await process.stdin.drain()
            last = await self._follow(file, process)
        finally:
            await end_process(process)
            said = await log
        if last is None:
            raise SinkError(*explain_end(process.returncode or 0, said, "the process that stylizes it"))
        if "problem" in last:
            raise SinkError(last["problem"], hint=last["hint"])
        done: dict[str, Any] = last["done"]
        return done

    def _task(self, file: StoredFile) -> Task:
        return Task(
            str(self._store.home(file)), file.upload_name, file.output_name, file.name, file.download_name,
            file.is_picture, file.style, file.strength, file.scale, file.colours, file.only, file.faces,
            self._engine, self._threads,
        )  # fmt: skip

    async def _follow(self, file: StoredFile, process: asyncio.subprocess.Process) -> dict[str, Any] | None:
        """Take the process's reports until it ends; return the last one, ``None`` if it crashed."""
        assert process.stdout is not None
        loop = asyncio.get_running_loop()
        measure_at_s = loop.time()
        while True:
            if loop.time() >= measure_at_s:
                measure_at_s = loop.time() + MEASURE_S
                await self._check_room(file)
            try:
                async with asyncio.timeout(MEASURE_S):
                    line = await process.stdout.readline()
            except TimeoutError:
                continue
            if not line:
                return None
            report: dict[str, Any] = json.loads(line)
            if "frames" not in report:
                return report
            file.frames, file.total, file.fps = report["frames"], report["total"], report["fps"]

    async def _check_room(self, file: StoredFile) -> None:
        await asyncio.to_thread(self._store.measure, file)
        if self._store.used > self._store.limit:
            raise SinkError(
                f"all {shown_size(self._store.limit)} for files are used", hint="remove files, then try again"
            )
