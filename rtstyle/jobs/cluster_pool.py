"""The workers of a cluster: started, given tasks, replaced when they die."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from engines import GPU_ENGINES
from engines.errors import EngineError, StylerError
from rtstyle.jobs.cluster_ray import Machine, is_alive, on
from rtstyle.jobs.cluster_worker import Failure, Made, Task, Worker

logger = logging.getLogger(__name__)

CORES = 4
"""Cores of a worker on this machine, where several share it: more do not make one network much faster."""

START_S = 60.0
"""How long a worker may wait for its processors, which other jobs may hold, seconds."""

RESTARTS = 3
"""How often a worker is replaced."""

CLOSE_S = 5.0
"""How long workers may take to stop, seconds."""


@dataclass(frozen=True)
class WorkerSettings:
    """What all workers do.

    Attributes:
        style: files of the style by name.
        engine: name of the engine.
        threads: of an engine on the CPU; ``None`` for its share of the machine's cores.
        each: workers on each machine; ``None`` chooses.
        scratch: folder for temporary files; ``None`` for the system's.
        local: all workers run on this machine.
    """

    style: Mapping[str, bytes]
    engine: str
    threads: int | None = None
    each: int | None = None
    scratch: str | None = None
    local: bool = False


@dataclass
class Handle:
    """A worker, and what it has done.

    Attributes:
        name: machine and number.
        segments, clips, frames: made by it.
        busy_s: time that it took.
        failures: tasks that it has not made.
    """

    name: str
    machine: Machine
    cores: float
    cards: float
    actor: Any = None
    info: Mapping[str, Any] = field(default_factory=dict)
    restarts: int = 0
    segments: int = 0
    clips: int = 0
    frames: int = 0
    busy_s: float = 0.0
    failures: int = 0


@dataclass
class _Call:
    handle: Handle
    task: Task | None
    owner: Any
    start_s: float


class Pool:
    """Starts a worker for each card, or for each machine's cores, and keeps them at work.

    Args:
        machines: of the cluster.
        settings: of all workers.

    Attributes:
        handles: all workers that there were.
        idle: those that wait for a task, the last one that worked first.
    """

    def __init__(self, machines: list[Machine], settings: WorkerSettings) -> None:
        self.handles: list[Handle] = []
        self.idle: list[Handle] = []
        self._settings = settings
        self._calls: dict[Any, _Call] = {}
        self._living: list[Handle] = []
        self._fault: StylerError | None = None
        numbers: Counter[str] = Counter()  # several nodes may run on one machine
        for machine in machines:
            for handle in _share(machine, settings):
                numbers[machine.name] += 1
                handle.name = f"{machine.name}/{numbers[machine.name]}"
                self.handles.append(handle)
                self._start(handle)

    @property
    def is_busy(self) -> bool:
        """True while a worker has a task."""
        return any(call.task is not None for call in self._calls.values())

    def is_only(self, handle: Handle) -> bool:
        """Return True if no other worker is left."""
        return all(one is handle for one in self._living)

    def submit(self, handle: Handle, task: Task, owner: Any) -> None:
        """Give a task to an idle worker; ``owner`` comes back with the result."""
        self.idle.remove(handle)
        self._calls[handle.actor.work.remote(task)] = _Call(handle, task, owner, time.monotonic())

    def wait(self, seconds: float) -> Iterator[tuple[Handle, Task, Any, Made | Failure]]:
        """Wait for results, and yield each with its worker, its task and its owner.

        Raises:
            EngineError: no worker is left, or none can load its engine.
        """
        import ray

        if not self._living:
            raise self._fault or EngineError("no worker is left", hint="the same command with --resume goes on")
        self._leave_out_waiting()
        if not self._calls:
            return
        ray.wait(list(self._calls), num_returns=1, timeout=seconds)
        ready, _ = ray.wait(list(self._calls), num_returns=len(self._calls), timeout=0)
        for reference in ready:
            call = self._calls.pop(reference)
            result = self._result(reference, call)
            if call.task is None:
                continue
            call.handle.busy_s += time.monotonic() - call.start_s
            if isinstance(result, Made):
                _count(call.handle, result)
            else:
                call.handle.failures += result.kind not in ("missing", "unplanned")
            if call.handle.info and call.handle in self._living and call.handle not in self.idle:
                self.idle.insert(0, call.handle)
            yield call.handle, call.task, call.owner, result

    def close(self) -> None:
        """Stop all workers, whatever they are doing."""
        import ray

        closing = [handle.actor.close.remote() for handle in self._living]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=CLOSE_S)
        for handle in self._living:
            ray.kill(handle.actor)
        self._living.clear()

    def _result(self, reference: Any, call: _Call) -> Any:
        """Return what a worker has made, or why it has not; see to workers that have loaded their engine, or died."""
        import ray

        try:
            result = ray.get(reference)
        except ray.exceptions.RayError as error:
            result = self._replace(call.handle, error)
            if call.task is None:
                logger.warning("%s before it could begin", result.problem)
            return result
        if call.task is None:
            self._loaded(call.handle, result)
        return result

    def _start(self, handle: Handle) -> None:
        """Start the process of a worker, and let it load its engine."""
        import ray

        settings = self._settings
        actor = ray.remote(Worker).options(
            num_cpus=handle.cores,
            num_gpus=handle.cards,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=2,  # a task, and the request to stop it
            scheduling_strategy=on(handle.machine),
        )
        threads = settings.threads or max(1, int(handle.cores))
        handle.info = {}
        handle.actor = actor.remote(dict(settings.style), settings.engine, threads, settings.scratch)
        self._living.append(handle)
        self._calls[handle.actor.load.remote()] = _Call(handle, None, None, time.monotonic())

    def _loaded(self, handle: Handle, result: Any) -> None:
        if isinstance(result, Failure):
            if handle in self._living:
                self._living.remove(handle)
                self._fault = result.error()
            logger.warning("%s does not work: %s", handle.name, result.error())
            return
        handle.info = result
        self.idle.append(handle)
        kinds = {(one.info["runtime"], one.info["device"], one.info["precision"]) for one in self._living if one.info}
        if len(kinds) == 2:
            shown = "; ".join(" on ".join(kind[:2]) for kind in sorted(kinds))
            logger.warning("the workers compute differently, which shows in the last bits of a pixel: %s", shown)

    def _leave_out_waiting(self) -> None:
        """Do without workers whose processors are in use by other jobs."""
        import ray

        now_s = time.monotonic()
        late = [
            (one, call) for one, call in self._calls.items() if call.task is None and now_s - call.start_s > START_S
        ]
        for reference, call in late:
            del self._calls[reference]
            ray.kill(call.handle.actor)
            self._living.remove(call.handle)
            problem = f"{call.handle.name} was not free within {START_S:.0f} s"
            self._fault = EngineError(problem, hint="another job may use its processors; `ray status` tells")
            logger.warning("%s; it is left out", problem)

    def _replace(self, handle: Handle, error: Exception) -> Failure:
        """Start a worker again after its process died, unless that would not help; return what happened."""
        self._living.remove(handle)
        if handle in self.idle:
            self.idle.remove(handle)
        memory = "OutOfMemory" in type(error).__name__ or "NODE_OUT_OF_MEMORY" in str(error)
        siblings = [one for one in self._living if one.machine.id == handle.machine.id]
        what = "ran out of memory" if memory else "died"
        if not is_alive(handle.machine):
            what = "left the cluster"
            self._fault = EngineError("all machines left the cluster", hint="the same command with --resume goes on")
        elif memory and siblings:
            what = "ran out of memory and is not replaced"
        elif handle.restarts < RESTARTS:
            handle.restarts += 1
            self._start(handle)
        else:
            hint = "--workers 1 needs less memory" if memory else ""
            self._fault = EngineError(f"{handle.name} {what} {RESTARTS + 1} times", hint=hint)
        return Failure("EngineError", f"{handle.name} {what}")


def _share(machine: Machine, settings: WorkerSettings) -> list[Handle]:
    """Return the workers of a machine: one for each card, or one; on this machine alone, as many as keep it busy."""
    if settings.engine in ("auto", *GPU_ENGINES) and machine.cards:
        count = machine.cards * (settings.each or 1)
        cards = machine.cards / count
    else:
        local = max(min(2, machine.cores), machine.cores // CORES) if settings.local else 1
        count, cards = settings.each or local, 0.0
    cores = machine.cores / count
    cores = float(int(cores)) if cores >= 1 else cores
    return [Handle(machine.name, machine, cores, cards) for _ in range(count)]


def _count(handle: Handle, made: Made) -> None:
    if made.report is not None:
        handle.clips += 1
        handle.frames += made.report.frames_out
    elif made.segment is not None:
        handle.segments += 1
        handle.frames += made.segment.frames
