"""Stylize clips on a cluster of Ray: segments and short clips are tasks, which are made again when a worker dies."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import EngineError, SourceError
from rtstyle import style_library
from rtstyle.jobs.batch import VideoFailure
from rtstyle.jobs.cluster_clip import ClusterClip, open_cluster_clip
from rtstyle.jobs.cluster_pool import Handle, Pool, WorkerSettings
from rtstyle.jobs.cluster_ray import joined, machines
from rtstyle.jobs.cluster_worker import Failure, Made, Task
from rtstyle.jobs.folder_batch import failure_of
from rtstyle.video import VideoProgress, VideoReport
from rtstyle.video_job import VideoJob

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often a task is tried."""

TICK_S = 1.0
"""How often progress is reported while nothing is finished, seconds."""


@dataclass(frozen=True)
class ClusterSettings:
    """Where and how to work.

    Attributes:
        address: ``local``, or HOST:PORT of a running cluster.
        workers: on each machine, or for each card; ``None`` chooses.
        send_limit_mb: largest file to send to a machine that does not share the folders here, and back, megabytes.
    """

    address: str
    workers: int | None = None
    send_limit_mb: float = 256.0

    @property
    def limit(self) -> int:
        """The same in bytes."""
        return round(self.send_limit_mb * (1 << 20))


class Cluster:
    """A cluster at work. Open it with ``open_cluster``.

    Attributes:
        workers: all of them, with what they have done.
    """

    def __init__(self, pool: Pool, limit: int) -> None:
        self._pool, self._limit = pool, limit
        self._open: list[ClusterClip] = []
        self._attempts: Counter[tuple[str, int | None]] = Counter()
        self._avoid: dict[tuple[str, int | None], Handle] = {}

    @property
    def workers(self) -> list[Handle]:
        """All workers, also those that died."""
        return self._pool.handles

    @property
    def idle(self) -> list[Handle]:
        """Workers without a task."""
        return self._pool.idle

    def stylize(
        self,
        jobs: Iterable[VideoJob],
        *,
        on_progress: Callable[[VideoJob, VideoProgress], None] | None = None,
        made_by: Mapping[str, Any] | None = None,
    ) -> Iterator[VideoReport | VideoFailure]:
        """Stylize clips; each is on disk when its report is yielded, in the order in which they are finished.

        Args:
            jobs: each is asked for when a worker would be idle without it.
            on_progress: called about once a second for each clip at work, in this thread.
            made_by: identifies the style and the engine, see ``video.stylize_video``.

        Yields:
            A report for each clip, or its failure; the others are stylized all the same.

        Raises:
            EngineError: no worker can load its engine, or none is left.
            SinkError: the disk is full.
            KeyboardInterrupt: Ctrl-C; what can be resumed is kept, as after every error.
        """
        waiting, start_s = iter(jobs), time.monotonic()
        more = True
        try:
            while more or self._open:
                for handle in list(self._pool.idle):
                    more = yield from self._feed(handle, waiting, made_by or {}, more=more)
                for handle, task, clip, result in self._pool.wait(TICK_S):
                    failure = self._take(clip, handle, task, result)
                    if failure is not None:
                        yield failure
                yield from self._finish()
                if on_progress is not None:
                    for clip in self._open:
                        on_progress(clip.job, _progress(clip, time.monotonic() - start_s))
        finally:
            for clip in self._open:
                clip.abandon()
            self._open.clear()
            self._attempts.clear()
            self._avoid.clear()

    def _feed(
        self, handle: Handle, waiting: Iterator[VideoJob], made_by: Mapping[str, Any], *, more: bool
    ) -> Generator[VideoFailure, None, bool]:
        """Give a worker a task, opening clips until one has any. Returns False if there are no more clips."""
        for clip in self._open:
            if self._submit(handle, clip):
                return more
        for job in waiting:
            try:
                clip = open_cluster_clip(job, made_by, self._limit)
            except Exception as error:  # noqa: BLE001  # one bad file must not end the others
                yield VideoFailure(job.input, job.output, failure_of(job.input, error))
                continue
            self._open.append(clip)
            if self._submit(handle, clip):
                return True
        return False

    def _submit(self, handle: Handle, clip: ClusterClip) -> bool:
        task = clip.take()
        if task is None:
            return False
        if self._avoid.get(_key(clip, task)) is handle and not self._pool.is_only(handle):
            clip.put_back(task)
            return False
        self._pool.submit(handle, task, clip)
        return True

    def _take(self, clip: ClusterClip, handle: Handle, task: Task, result: Made | Failure) -> VideoFailure | None:
        """Take a result, or see to it that it is made again; return the failure of a clip that cannot be made."""
        if clip not in self._open:  # it has failed meanwhile
            return None
        try:
            if isinstance(result, Made):
                clip.add(task, result)
            else:
                self._try_again(clip, handle, task, result)
        except Exception as error:  # noqa: BLE001
            return self._give_up(clip, error)
        return None

    def _try_again(self, clip: ClusterClip, handle: Handle, task: Task, failure: Failure) -> None:
        """Put a task back, or raise the error that came from it."""
        name = _named(clip, task)
        if failure.kind == "missing":
            if not clip.sent:
                clip.sent = (_send(clip.job.input, self._limit, failure.problem),)
            clip.put_back(task)
            return
        if failure.kind == "unplanned":
            logger.info("%s is decoded from the beginning: %s", name, failure.problem)
            clip.put_back(task, unplanned=True)
            return
        key = _key(clip, task)
        self._attempts[key] += 1
        if failure.is_permanent or self._attempts[key] >= ATTEMPTS:
            raise failure.error()
        self._avoid[key] = handle
        logger.warning("%s is made again: %s", name, failure.error())
        clip.put_back(task)

    def _finish(self) -> Iterator[VideoReport | VideoFailure]:
        """Write the outputs of clips that are made."""
        for clip in [one for one in self._open if one.is_made]:
            try:
                report = clip.complete()
            except Exception as error:  # noqa: BLE001
                yield self._give_up(clip, error)
            else:
                self._open.remove(clip)
                yield report

    def _give_up(self, clip: ClusterClip, error: Exception) -> VideoFailure:
        """Close a clip that cannot be made. Raises: SinkError: the disk is full."""
        # An engine that fails with this clip may do well with the next one; a worker that cannot work is left out.
        known = error if isinstance(error, EngineError) else failure_of(clip.job.input, error)
        self._open.remove(clip)
        clip.abandon()
        return VideoFailure(clip.job.input, clip.job.output, known)


@contextmanager
def open_cluster(
    settings: ClusterSettings, style: str, engine: str = "auto", threads: int | None = None
) -> Iterator[Cluster]:
    """Start or join a cluster, and let its workers load a style.

    Args:
        settings: where and how to work.
        style: name, folder or mix, as for ``style_library.open_style``.
        engine: name of the engine.
        threads: of each engine on the CPU; ``None`` for its share of the machine's cores.

    Raises:
        ConfigError: the address is not one, or machines have other versions.
        EngineError: Ray is not installed, or does not answer.
        StyleError: there is no such style.
    """
    files = style_library.open_style(style).files()
    with joined(settings.address) as scratch:
        local = settings.address == "local"
        found = machines()
        pool = Pool(found, WorkerSettings(files, engine, threads, settings.workers, scratch, local))
        names = Counter(machine.name for machine in found)
        shown = ", ".join(f"{name} ({count} ×)" if count > 1 else name for name, count in names.items())
        logger.info("workers: %d on %s", len(pool.handles), shown)
        try:
            yield Cluster(pool, settings.limit)
        finally:
            pool.close()


def table(workers: Iterable[Handle]) -> str:
    """Return what each worker has done, a line each."""
    rows: list[tuple[str, ...]] = [("worker", "cores", "segments", "clips", "frames", "fps", "failed", "restarts")]
    for one in workers:
        fps = f"{one.frames / one.busy_s:.1f}" if one.busy_s else "-"
        counts = (one.segments, one.clips, one.frames, fps, one.failures, one.restarts)
        rows.append((one.name, f"{one.cores:g}", *map(str, counts)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for first, *others in rows:
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join((first.ljust(widths[0]), *cells)))
    return "\n".join(lines)


def _key(clip: ClusterClip, task: Task) -> tuple[str, int | None]:
    return str(clip.job.output), task.number


def _named(clip: ClusterClip, task: Task) -> str:
    name = Path(clip.job.input).name
    return name if task.number is None else f"segment {task.number} of {name}"


def _send(name: str, limit: int, problem: str) -> Any:
    """Put a clip into the object store."""
    import ray

    size = Path(name).stat().st_size
    if size > limit:
        hint = f"share its folder with all machines, or send it with --send-limit {(size >> 20) + 1}"
        raise SourceError(f"{problem}, and its {size >> 20} MB are not sent", hint=hint)
    return ray.put(Path(name).read_bytes())


def _progress(clip: ClusterClip, seconds: float) -> VideoProgress:
    made = clip.frames - clip.kept
    return VideoProgress(clip.frames, clip.total, made / seconds if seconds else 0.0, seconds)
