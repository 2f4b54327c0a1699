"""What a cluster gains: two nodes of one core against one process on one core, and what the driver does meanwhile.

python -m benchmarks.cluster [--style NAME|DIR]
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np

from benchmarks.clips import write_clip
from benchmarks.report import Row, Section, at_least, not_measured
from benchmarks.subject import Subject
from rtstyle import style_library
from rtstyle.api import load
from rtstyle.jobs.cluster_clip import SegmentedClip
from rtstyle.jobs.cluster_pool import Handle, Pool
from rtstyle.jobs.cluster_worker import Made, Task
from rtstyle.video import VideoJob, VideoReport, stylize_video

SECONDS, SEGMENT_S = 40, 2.5
"""Lengths of the clip and of its segments: each node makes eight."""

TURNS = 2
"""How often each way is measured, in turns."""

GAIN = 1.8
"""What two nodes should gain."""

MACHINES, FILM_S, DEFAULT_S = 1000, 7200, 20
"""A cluster and a film on paper, with segments of the default length."""


@dataclass
class _Driver:
    """What the driver was busy with, seconds and bytes."""

    gives_s: list[float] = field(default_factory=list)
    adds_s: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def clear(self) -> None:
        """Forget what was measured."""
        for values in (self.gives_s, self.adds_s, self.sizes):
            values.clear()


def measure(subject: Subject) -> Section:
    """Stylize a generated clip both ways, in turns, and compare medians."""
    title = "A cluster"
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        row = not_measured("two nodes / one process", "", f"≥ {GAIN} ×", "needs two cores that can be assigned")
        return Section("cluster", title, subject.label, [row])
    clip = write_clip(subject.scratch / "scene.mp4", 640, 360, 30, SECONDS)
    style = str(subject.style.folder)
    alone: list[float] = []
    together: list[float] = []
    driver = _Driver()
    with _nodes(cores[:2]) as address:
        for _ in range(TURNS):
            with _pinned({cores[0]}):
                alone.append(_one_process(clip, subject.scratch / "one.mp4", style))
            together.append(_on_cluster(clip, subject.scratch / "two.mp4", style, address, driver))
    equal = (subject.scratch / "one.mp4").read_bytes() == (subject.scratch / "two.mp4").read_bytes()
    one, two = median(alone), median(together)
    how = f"640×360, {SECONDS} s, segments of {SEGMENT_S} s, medians of {TURNS} in turns: {one:.1f} s / {two:.1f} s"
    rows = [
        at_least("two nodes / one process", how, one / two, GAIN, " ×", 2),
        Row("the files", "bytes of both", "equal" if equal else "different", "equal", "met" if equal else "missed"),
        *_on_paper(driver, one / (SECONDS / SEGMENT_S)),
    ]
    notes = [
        "One process and each node had one core; the driver of the two nodes shared their cores. Engines were loaded."
    ]
    return Section("cluster", title, subject.label, rows, notes)


def _on_paper(driver: _Driver, core_s: float) -> list[Row]:
    """What a driver could do, by what it took here; ``core_s`` is the time of a segment on one core."""
    give_s, add_s, size = median(driver.gives_s), median(driver.adds_s), median(driver.sizes)
    segment_s = core_s * DEFAULT_S / SEGMENT_S
    rate = MACHINES / segment_s
    per_second = 1 / (give_s + add_s)
    return [
        Row("driver: give a segment", "submit its task", f"{give_s * 1e6:.0f} µs"),
        Row("driver: take a segment", "check its hash, rename, save the manifest to the disk", f"{add_s * 1e6:.0f} µs"),
        Row("driver: bytes of a segment", f"{SEGMENT_S} s of 640×360, H.264", f"{size / 1e3:.0f} kB"),
        Row("driver: most segments", "by those times, on paper", f"{per_second:.0f} a second"),
        Row(
            f"{MACHINES} machines of one core",
            f"segments of {DEFAULT_S} s, {segment_s:.0f} s each, on paper",
            f"{rate:.0f} segments a second, {rate * size * DEFAULT_S / SEGMENT_S / 1e6:.0f} MB/s",
        ),
        Row("segments of a film", f"{FILM_S // 3600} hours; more machines need more clips", f"{FILM_S // DEFAULT_S}"),
    ]


def _one_process(clip: Path, output: Path, style: str) -> float:
    with load(style, "cpu", threads=1) as engine:
        engine(np.zeros((360, 640, 3), np.uint8))  # compile the network
        report = stylize_video(_job(clip, output), lambda: engine)
    return report.seconds


def _on_cluster(clip: Path, output: Path, style: str, address: str, driver: _Driver) -> float:
    from rtstyle.jobs.cluster import ClusterSettings, open_cluster

    settings = ClusterSettings(address)
    with _watched(driver), open_cluster(settings, style, "cpu", threads=1) as cluster:
        while any(not worker.frames for worker in cluster.workers):  # until both have compiled their network
            list(cluster.stylize([VideoJob(str(clip), output, end=1.0, segment_s=0.5, overwrite=True)]))
        driver.clear()
        (report,) = cluster.stylize([_job(clip, output)], made_by=style_library.identify(style, "cpu"))
    assert isinstance(report, VideoReport), report
    return report.seconds


def _job(clip: Path, output: Path) -> VideoJob:
    return VideoJob(str(clip), output, segment_s=SEGMENT_S, overwrite=True)


@contextmanager
def _nodes(cores: list[int]) -> Iterator[str]:
    """Run a Ray cluster of one node on each core."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    from ray.cluster_utils import Cluster

    with _pinned({cores[0]}):
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        for core in cores[1:]:
            with _pinned({core}):
                nodes.add_node(num_cpus=1)
        nodes.wait_for_nodes()
        yield nodes.address
    finally:
        cast("Any", nodes).shutdown()


@contextmanager
def _pinned(cores: set[int]) -> Iterator[None]:
    """Run this thread, and the processes that it starts, on some cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _watched(driver: _Driver) -> Iterator[None]:
    """Measure what the driver does for each segment."""
    submit, add = Pool.submit, SegmentedClip.add

    def timed_submit(self: Pool, handle: Handle, task: Task, owner: Any) -> None:
        begin_s = time.perf_counter()
        submit(self, handle, task, owner)
        driver.gives_s.append(time.perf_counter() - begin_s)

    def timed_add(self: SegmentedClip, task: Task, made: Made) -> None:
        begin_s = time.perf_counter()
        add(self, task, made)
        driver.adds_s.append(time.perf_counter() - begin_s)
        driver.sizes.append(made.size)

    patched: list[Any] = [Pool, SegmentedClip]
    patched[0].submit, patched[1].add = timed_submit, timed_add
    try:
        yield
    finally:
        patched[0].submit, patched[1].add = submit, add


if __name__ == "__main__":
    from benchmarks.bench import main

    main("cluster")
