"""Engines that are built in another process: once, with nothing left of those that end badly."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.errors import EngineError
from engines.trt.build_process import LINE_LENGTH, one_line
from engines.trt.build_worker import NICENESS, BuildProcess
from engines.trt.plan_cache import BusyError
from tests.conftest import ROOT
from tests.engines.plans import names
from tests.engines.site import STANDIN, TIMEOUT_S, Site, end_of


def started(build: BuildProcess) -> tuple[int, int]:
    """The processes of a build that lingers: its own number, and that of its child."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not build.progress.startswith("started"):
        assert build.wait(1.0) is None and time.monotonic() < deadline_s, build.error
    _, own, child = build.progress.split()
    return int(own), int(child)


def until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def is_gone(number: int) -> bool:
    """No process, or one that only waits for its parent to notice."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_build_ends_in_the_cache(site: Site) -> None:
    with contextlib.closing(site.start()) as build:
        assert end_of(build) == "" and build.error is None
        assert build.progress.startswith("built in ")
    plan = site.cache.get(site.key)
    assert plan is not None and plan.data == b"plan" and plan.seconds >= 0
    assert plan.extra == {"style": "tiny", "size": [360, 640]}
    assert end_of(site.start()) == "" and site.builds == 1


def test_progress_is_what_the_builder_logs_and_nothing_else(site: Site) -> None:
    done = subprocess.run(site.command(), cwd=ROOT, capture_output=True, text=True, check=True)
    first, second, built = done.stdout.splitlines()
    assert (first, second) == ("first", "second line") and built.startswith("built in ")
    assert "a native library prints" in done.stderr and "a library prints" in done.stderr
    again = subprocess.run(site.command(), cwd=ROOT, capture_output=True, text=True, check=True)
    assert again.stdout == "already built\n"


def test_lines_are_fit_for_a_terminal() -> None:
    assert one_line("\x1b[1;31mred\x1b[0m\r\n\tand \x07bell\u202e") == "red and bell"
    assert len(one_line("x" * 10_000)) == LINE_LENGTH


@pytest.mark.parametrize(
    ("builder", "fault"),
    [
        ("FAIL", "no kernel for this"),
        ("STUMBLE", "ZeroDivisionError: division by zero"),
        ("CRASH", "the builder crashed with SIGSEGV: [TRT] assertion failed: 1 == 2"),
        ("FLOOD", "the builder exited with code 7: the last words"),
    ],
)
def test_a_build_that_fails_is_not_tried_again(site: Site, builder: str, fault: str) -> None:
    assert end_of(site.start(builder)).startswith(fault)
    assert site.cache.fault(site.key) == fault
    build = site.start(builder)
    assert fault in end_of(build) and site.builds == 1
    assert build.error is not None and "rtstyle engine clear" in build.error.hint
    assert end_of(site.start("BUILDER", height=368)) == ""  # another key
    site.cache.clear()
    assert end_of(site.start("BUILDER")) == "" and site.builds == 3


@pytest.mark.parametrize(
    ("builder", "fault"),
    [
        ("STARVE", "the builder failed"),
        ("CARD", "RuntimeError: CUDA error: out of memory"),
        ("ABORT", "the builder crashed with SIGABRT: terminate called"),
        ("EXIT", "the builder exited with code 0"),
        ("LARGE", "cannot be used: the file has reached the size limit of this system (free some space)"),
        ("NO_CARD", "there is no card here (buy one)"),
        ("ABSENT", f"there is no builder {STANDIN}:ABSENT"),
    ],
)
def test_what_is_no_fault_of_the_key_is_not_remembered(site: Site, builder: str, fault: str) -> None:
    assert fault in end_of(site.start(builder))
    assert site.cache.entries() == [] and site.cache.fault(site.key) == ""
    assert end_of(site.start("BUILDER")) == ""


def test_a_damaged_style_is_told(site: Site, tmp_path: Path) -> None:
    build = BuildProcess(tmp_path / "nowhere", 360, 640, builder=f"{STANDIN}:BUILDER", folder=site.folder)
    assert "no style in" in end_of(build)
    small = BuildProcess(site.style, 8, 8, builder=f"{STANDIN}:BUILDER", folder=site.folder)
    assert "too small" in end_of(small)


IGNORANT = """
    import signal, sys
    from pathlib import Path
    from engines.trt.build_worker import BuildProcess

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    build = BuildProcess(Path(sys.argv[1]), 360, 640, builder=sys.argv[2], folder=Path(sys.argv[3]))
    while (end := build.wait(1)) is None:
        pass
    print(end)
"""


@pytest.mark.parametrize(("builder", "end"), [("BUILDER", ""), ("FAIL", "no kernel for this (another card)")])
def test_a_program_that_ignores_its_children(site: Site, builder: str, end: str) -> None:
    call = [sys.executable, "-c", textwrap.dedent(IGNORANT), site.style, f"{STANDIN}:{builder}", site.folder]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    assert (done.stdout, done.stderr) == (f"{end}\n", "")


def test_a_folder_that_cannot_be_trusted_is_told(site: Site) -> None:
    site.folder.mkdir()
    site.folder.chmod(0o777)
    build = site.start()
    assert "other users may write to" in end_of(build)
    assert build.error is not None and "RTSTYLE_CACHE" in build.error.hint
    assert site.builds == 0


# Ends.


@pytest.mark.parametrize("builder", ["LINGER", "INSIDE"])
def test_closing_kills_the_child_and_its_children(site: Site, builder: str) -> None:
    build = site.start(builder)
    own, child = started(build)
    assert os.getpgid(own) == own != os.getpgrp()
    assert os.getpriority(os.PRIO_PROCESS, own) >= min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
    assert build.poll() is None
    build.close()
    build.close()
    assert build.poll() == "the build was stopped"
    assert is_gone(own)
    end_s = time.monotonic() + 10  # the kernel kills a group one by one
    while child and not is_gone(child):
        assert time.monotonic() < end_s, "the child goes on"
        time.sleep(0.01)
    assert site.cache.fault(site.key) == "" and names(site.folder) == set()


def test_a_build_that_is_killed_leaves_nothing_behind(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "for a while"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    build = site.start("LINGER")
    started(build)
    assert list(folder.rglob("timing"))
    build.close()
    assert not list(folder.iterdir())
    folder.rmdir()
    with pytest.raises(EngineError, match=r"no room for the build.*TMPDIR"):
        site.start("LINGER")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_that_somebody_kills(site: Site, number: signal.Signals) -> None:
    build = site.start("LINGER")
    own, child = started(build)
    with pytest.raises(BusyError), site.cache.lock(site.key, 0):
        pass
    os.kill(own, number)
    assert end_of(build).startswith(f"the build was killed by {number.name}")
    until(lambda: is_gone(child))
    with site.cache.lock(site.key, 0):  # free at once
        assert site.cache.get(site.key) is None and site.cache.fault(site.key) == ""
    assert end_of(site.start()) == ""


PARENT = """
    import os, sys, threading, time
    from pathlib import Path
    from engines.trt.build_worker import BuildProcess

    def work():
        build = BuildProcess(Path(sys.argv[1]), 360, 640, builder=sys.argv[2], folder=Path(sys.argv[3]))
        while not build.progress.startswith("started"):
            build.wait(1)
        print(build.progress, flush=True)

    # The thread that starts a build may end before it.
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if sys.argv[4] == "leave":
        sys.exit()
    time.sleep(60)
"""


@pytest.fixture
def parent(site: Site, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    builder, how = request.param
    call = [sys.executable, "-c", textwrap.dedent(PARENT), site.style, f"{STANDIN}:{builder}", site.folder, how]
    with subprocess.Popen(call, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize(
    "parent", [("LINGER", "stay"), ("INSIDE", "stay"), ("LINGER", "leave")], indirect=True, ids="-".join
)
def test_no_child_outlives_its_parent(parent: subprocess.Popen[str], site: Site) -> None:
    assert parent.stdout is not None
    _, own, child = parent.stdout.readline().split()
    parent.kill()
    until(lambda: is_gone(int(own)) and (child == "0" or is_gone(int(child))))
    with site.cache.lock(site.key, 10):
        assert site.cache.get(site.key) is None


def test_a_child_whose_parent_is_gone_already_ends(site: Site) -> None:
    done = subprocess.run(site.command("LINGER", "--child"), cwd=ROOT, stdin=subprocess.DEVNULL, check=False,
                          capture_output=True, process_group=0, timeout=TIMEOUT_S)  # fmt: skip
    assert done.returncode in (-signal.SIGKILL, 130)


def test_without_a_parent_the_end_of_input_ends_nothing(site: Site) -> None:
    done = subprocess.run(site.command(), cwd=ROOT, stdin=subprocess.DEVNULL, check=False, capture_output=True)
    assert done.returncode == 0


def test_a_key_stops_a_build_by_hand(site: Site) -> None:
    with subprocess.Popen(site.command("LINGER"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          process_group=0) as process:  # fmt: skip
        assert process.stdout is not None and process.stdout.readline().startswith("started")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 130
    assert site.cache.fault(site.key) == ""


# Once.


def test_two_processes_build_once(site: Site) -> None:
    builds = [site.start("SLOWLY") for _ in range(3)]
    assert [end_of(build) for build in builds] == ["", "", ""]
    assert site.builds == 1
    last_words = sorted(build.progress for build in builds)
    assert last_words[:2] == ["already built"] * 2 and last_words[2].startswith("built in")


def test_who_waits_says_so_and_goes_on_when_the_builder_dies(site: Site) -> None:
    first = site.start("LINGER")
    started(first)
    second = site.start("BUILDER")
    until(lambda: "another process" in second.progress)
    first.close()
    assert end_of(second) == "" and site.builds == 2


def test_who_waited_does_not_repeat_a_failure(site: Site) -> None:
    with site.cache.lock(site.key, 0):
        build = site.start("BUILDER")
        until(lambda: "another process" in build.progress)
        site.cache.mark_failed(site.key, "no kernel")
    assert "no kernel" in end_of(build) and site.builds == 0
