"""A cluster makes what one process makes, bit for bit, whatever dies on the way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.base import RGB, PendingFrame, StrengthMap
from engines.errors import EngineError, SinkError, SourceError, StylerError
from engines.wrapper import EngineWrapper
from rtstyle import style_library
from rtstyle.api import load
from rtstyle.cli import main
from rtstyle.jobs.batch import VideoFailure
from rtstyle.jobs.cluster_clip import ClusterClip
from rtstyle.jobs.cluster_worker import Task
from rtstyle.jobs.manifest import Manifest, Segment
from rtstyle.jobs.segmented_sink import SegmentedSink
from rtstyle.video import VideoJob, VideoProgress, VideoReport, stylize_video
from tests.conftest import ROOT
from tests.rtstyle.clips import Clip

ray = pytest.importorskip("ray")

from rtstyle.jobs.cluster import Cluster, ClusterSettings, open_cluster, table  # noqa: E402

STYLE, ENGINE = "vangogh", "cpu"
MADE_BY = style_library.identify(STYLE, ENGINE)
FRAMES, SEGMENT_S, SEGMENTS = 95, 0.4, 10


class FailingEngine(EngineWrapper):
    """Fails at one frame."""

    def __init__(self, at: int) -> None:
        super().__init__(load(STYLE, ENGINE, threads=1))
        self._left = at

    def _submit(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> PendingFrame:
        self._left -= 1
        if self._left < 0:
            raise EngineError("the power went out")
        return super()._submit(rgb, strength, colours)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two workers on this machine; starting Ray takes a few seconds."""
    with open_cluster(ClusterSettings("local", workers=2), STYLE, ENGINE, threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film with sound and B-frames, and key frames that are not where segments begin."""
    return Clip(frames=FRAMES, sound="aac", options={"bf": "3", "g": "7"}).write(
        tmp_path_factory.mktemp("clip") / "film.mp4"
    )


def job(clip: Path, output: Path, **settings: Any) -> VideoJob:
    return VideoJob(str(clip), output, **{"segment_s": SEGMENT_S, **settings})


def alone(job: VideoJob) -> VideoReport:
    return stylize_video(job, lambda: load(STYLE, ENGINE, threads=1), made_by=MADE_BY)


def together(cluster: Cluster, *jobs: VideoJob, **settings: Any) -> list[VideoReport | VideoFailure]:
    return list(cluster.stylize(jobs, made_by=MADE_BY, **settings))


def report_of(cluster: Cluster, job: VideoJob, **settings: Any) -> VideoReport:
    (report,) = together(cluster, job, **settings)
    if isinstance(report, VideoFailure):
        raise report.error
    return report


def same(cluster: Cluster, clip: Path, folder: Path, ending: str = ".mp4", **settings: Any) -> VideoReport:
    """Make a clip both ways, and compare the bytes."""
    one, many = folder / f"one{ending}", folder / f"many{ending}"
    expected = alone(job(clip, one, **settings))
    report = report_of(cluster, job(clip, many, **settings))
    if ending in (".mp4", ".mov"):
        assert one.read_bytes() == many.read_bytes()
    else:  # with an identifier that differs in each file
        assert packets(one) == packets(many)
    assert report.frames_out == report.figures.frames_out == expected.frames_out
    assert report.warnings == expected.warnings and report.frames_lost == expected.frames_lost
    assert sorted(path.name for path in folder.iterdir() if path != clip) == sorted((one.name, many.name))
    return report


def packets(path: Path) -> list[tuple[int, Any, Any, Any, bytes]]:
    import av

    with av.open(str(path)) as file:
        return [(p.stream.index, p.pts, p.dts, p.duration, bytes(p)) for p in file.demux() if p.size]


@pytest.mark.parametrize(
    ("ending", "settings"),
    [
        (".mp4", {}),
        (".mp4", {"start": 0.5, "end": 3.1, "strength": 0.6}),
        (".mkv", {"codec": "hevc"}),
        (".webm", {"codec": "vp9", "height": 32}),
        (".mp4", {"codec": "av1", "preset": "13"}),
        (".mov", {"segment_s": 20}),
    ],
)
def test_the_bits_are_those_of_one_process(
    cluster: Cluster, clip: Path, tmp_path: Path, ending: str, settings: dict[str, Any]
) -> None:
    same(cluster, clip, tmp_path, ending, **settings)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("uneven.mkv", {"pts": [int(t) for t in np.cumsum(np.random.default_rng(1).integers(100, 3000, 80))]}),
        ("one-key.mp4", {"options": {"g": "1000", "bf": "3"}}),
        ("open.mp4", {"options": {"x264-params": "open-gop=1:keyint=12:min-keyint=12:bframes=3:scenecut=0"}}),
        ("refresh.mp4", {"options": {"x264-params": "intra-refresh=1:keyint=15:bframes=0"}}),
        ("stream.ts", {}),
        ("old.avi", {"codec": "mpeg4", "options": {"bf": "2"}}),
        ("vp9.webm", {"codec": "libvpx-vp9"}),
    ],
)
def test_clips_of_all_kinds(cluster: Cluster, tmp_path: Path, name: str, made: dict[str, Any]) -> None:
    source = Clip(**{"frames": 80, **made}).write(tmp_path / name)
    same(cluster, source, tmp_path)


def test_a_damaged_clip(cluster: Cluster, clip: Path, tmp_path: Path) -> None:
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    source = tmp_path / "film.mp4"
    source.write_bytes(data)
    report = same(cluster, source, tmp_path)
    assert report.warnings, "the clip must be damaged indeed"


def test_a_worker_that_is_killed_costs_one_segment(
    cluster: Cluster, clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed: list[int] = []

    def kill(_: VideoJob, now: VideoProgress) -> None:
        busy = [one for one in cluster.workers if one.info and one not in cluster.idle]
        if now.frames and busy and not killed:
            killed.append(busy[0].info["pid"])
            os.kill(killed[0], signal.SIGKILL)

    alone(job(clip, tmp_path / "one.mp4"))
    failed = sum(one.failures for one in cluster.workers)
    report = report_of(cluster, job(clip, tmp_path / "many.mp4"), on_progress=kill)
    assert killed and report.frames_out == FRAMES
    assert "is made again: " in caplog.text and "died" in caplog.text
    assert sum(one.failures for one in cluster.workers) == failed + 1
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "many.mp4").read_bytes()
    assert "restarts" in table(cluster.workers)


def test_a_job_goes_from_the_cluster_to_one_process_and_back(cluster: Cluster, clip: Path, tmp_path: Path) -> None:
    alone(job(clip, tmp_path / "whole.mp4"))
    here = job(clip, tmp_path / "out.mp4", resume=True)

    def stop(_: VideoJob, now: VideoProgress) -> None:
        if now.frames:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together(cluster, here, on_progress=stop)
    begun = {segment.number for segment in Manifest.load(here.folder).segments}
    assert 0 < len(begun) < SEGMENTS
    with pytest.raises(EngineError, match="the power went out"):
        stylize_video(here, lambda: FailingEngine(25), made_by=MADE_BY)
    more = {segment.number for segment in Manifest.load(here.folder).segments}
    assert begun < more
    with pytest.raises(KeyboardInterrupt):
        together(cluster, here, on_progress=stop)
    alone(here)
    assert here.output.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert not here.folder.exists()


def test_machines_that_share_nothing(
    cluster: Cluster, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unshare(monkeypatch)
    same(cluster, clip, tmp_path)


@pytest.mark.parametrize(
    ("limit", "message"), [(100, "are not sent"), (9_000_000, "more than what is sent")], ids=["there", "back"]
)
def test_what_is_too_large_to_send(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, message: str
) -> None:
    source = Clip(frames=30).write(tmp_path / f"{limit}.mp4")
    unshare(monkeypatch, back=100)
    monkeypatch.setattr(cluster, "_limit", limit)
    with pytest.raises(StylerError, match=message):
        report_of(cluster, job(source, tmp_path / "out.mp4"))
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def unshare(monkeypatch: pytest.MonkeyPatch, back: int | None = None) -> None:
    """Let no worker see the folders of this process, as on another machine."""
    own = ClusterClip._task

    def elsewhere(self: ClusterClip, number: int | None) -> Task:
        task = own(self, number)
        task = replace(task, mark="absent", job=replace(task.job, input="/elsewhere/film.mp4"))
        return task if back is None else replace(task, limit=back)

    monkeypatch.setattr(ClusterClip, "_task", elsewhere)


def test_one_bad_clip_of_many(cluster: Cluster, clip: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video" * 100)
    jobs = [job(clip, tmp_path / f"{number}.mp4", segment_s=20) for number in range(4)]
    jobs.insert(2, job(bad, tmp_path / "never.mp4"))
    results = together(cluster, *jobs)
    (failure,) = [one for one in results if isinstance(one, VideoFailure)]
    assert isinstance(failure.error, SourceError) and failure.input == str(bad)
    outputs = sorted(one.output.name for one in results if isinstance(one, VideoReport))
    assert outputs == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]
    assert len({(tmp_path / name).read_bytes() for name in outputs}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [*outputs, "bad.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs permissions of POSIX")
def test_a_full_disk_keeps_the_segments(
    cluster: Cluster, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = job(clip, tmp_path / "out.mp4")
    adopt, left = SegmentedSink.adopt, iter(range(3))

    def full(self: SegmentedSink, part: Path, segment: Segment) -> None:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        adopt(self, part, segment)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentedSink, "adopt", full)
        with pytest.raises(SinkError, match="the disk is full"):
            together(cluster, here)
    kept = Manifest.load(here.folder).segments
    assert len(kept) == 3
    report = report_of(cluster, replace(here, resume=True))
    assert report.frames_out == FRAMES and report.figures.frames_out == FRAMES - sum(one.frames for one in kept)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no cluster answers"),
        ("192.0.2.77:6379", "no cluster answers"),
        ("studio-a", "is not an address of a cluster"),
        ("ray://studio-a:10001", "is not an address of a cluster"),
    ],
)
def test_an_address_that_does_not_answer(address: str, message: str) -> None:
    start_s = time.monotonic()
    with pytest.raises(StylerError, match=message), open_cluster(ClusterSettings(address), STYLE):
        pass
    assert time.monotonic() - start_s < 10


def test_an_address_of_something_else(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def greet() -> None:
            with server.accept()[0] as connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                connection.recv(100)

        threading.Thread(target=greet, daemon=True).start()
        assert main(["video", str(clip), str(tmp_path / "out.mp4"), "--cluster", f"127.0.0.1:{port}"]) == 1
    error = capsys.readouterr().err
    assert "is not Ray" in error and error.count("\n") <= 2


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"needs Ray.*cluster\]"), open_cluster(ClusterSettings("local"), STYLE):
        pass


def start(*arguments: str, **settings: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rtstyle", "video", *arguments, "--cluster", "local", "--threads", "1"]
    return subprocess.Popen(command, cwd=ROOT, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE, **settings)


def wait_for_segments(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    deadline_s = time.monotonic() + 150
    while process.poll() is None and time.monotonic() < deadline_s:
        if len(list(folder.glob("segment-??????.mp4"))) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(process.communicate())


def processes_of_ray() -> set[int]:
    """Return the numbers of Ray's processes, but for two helpers that outlive a killed command by some 90 seconds."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes()
            if b"raylet/raylet" in words or b"gcs_server" in words or words.startswith(b"ray::Worker"):
                found.add(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_driver_that_ends_leaves_segments_and_no_processes(tmp_path: Path, number: signal.Signals) -> None:
    source = Clip(frames=200, height=96, width=160, sound="aac").write(tmp_path / "film.mp4")
    here, before = job(source, tmp_path / "out.mp4", resume=True), processes_of_ray()
    process = start(str(source), str(here.output), "--segment", str(SEGMENT_S), "--resume")
    wait_for_segments(process, here.folder, 3)
    process.send_signal(number)
    _, error = process.communicate(timeout=120)
    if number != signal.SIGKILL:
        assert "frames are kept in" in error and "Traceback" not in error
    assert 2 <= len(Manifest.load(here.folder).segments) < 20
    deadline_s = time.monotonic() + 60
    while processes_of_ray() - before and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert not processes_of_ray() - before
    finished = start(str(source), str(here.output), "--segment", str(SEGMENT_S), "--resume", "--json")
    printed, error = finished.communicate(timeout=180)
    assert finished.returncode == 0, error
    assert json.loads(printed)["frames_out"] == 200
    alone(job(source, tmp_path / "one.mp4"))
    assert here.output.read_bytes() == (tmp_path / "one.mp4").read_bytes()


@pytest.mark.slow
def test_machines_with_another_version_are_refused_by_name(tmp_path: Path, clip: Path) -> None:
    """The second node of a real cluster finds another PyAV first."""
    (tmp_path / "old" / "av-0.0.1.dist-info").mkdir(parents=True)
    (tmp_path / "old" / "av-0.0.1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: av\nVersion: 0.0.1\n"
    )
    script = f"""
        import os
        from ray.cluster_utils import Cluster
        from rtstyle.cli import main
        nodes = Cluster(initialize_head=True, head_node_args={{"num_cpus": 1}})
        nodes.add_node(num_cpus=1, env_vars={{"PYTHONPATH": {str(tmp_path / "old")!r}}})
        nodes.wait_for_nodes()
        print(main(["video", {str(clip)!r}, {str(tmp_path / "out.mp4")!r}, "--cluster", nodes.address]))
        nodes.shutdown()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.stdout.strip().endswith("1"), done.stderr
    assert "has PyAV 0.0.1" in done.stderr and "install on every machine" in done.stderr
    assert not (tmp_path / "out.mp4").exists()
