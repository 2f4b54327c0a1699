"""Built engines on the disk: kept whole or not at all, and refused when they are not what was stored."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import threading
import time
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from engines.cache_dirs import cache_folder
from engines.errors import EngineError
from engines.trt.plan_cache import BusyError, PlanCache
from tests.engines.plans import KEY, OTHER, PLAN, file, names, start, stored


def test_what_is_put_comes_back(cache: PlanCache) -> None:
    assert cache.get(KEY) is None and not cache.folder.exists()
    cache.put(KEY, PLAN, seconds=12.5, extra={"style": "wave", "inputs": {10: [1, 2], 9: None}})
    plan = cache.get(KEY)
    assert plan is not None
    assert (plan.data, plan.seconds) == (PLAN, 12.5)
    assert plan.extra == {"style": "wave", "inputs": {"10": [1, 2], "9": None}}
    assert cache.get(OTHER) is None
    assert names(cache.folder) == {"plan", "json"}


def test_every_field_of_the_key_counts(cache: PlanCache) -> None:
    changed = [
        replace(KEY, **{field.name: 720 if isinstance(asdict(KEY)[field.name], int) else "another"})  # type: ignore[arg-type]
        for field in fields(KEY)
    ]
    assert len({key.digest for key in (KEY, *changed)}) == len(changed) + 1
    cache.put(KEY, PLAN, seconds=1, extra={})
    assert all(cache.get(key) is None for key in changed)


def test_a_key_is_plain(cache: PlanCache) -> None:
    """Versions and sizes come from libraries that have types of their own for them."""
    import numpy as np
    import torch

    key = replace(KEY, torch=torch.__version__, height=np.int64(360))  # type: ignore[arg-type]
    assert {type(value) for value in asdict(key).values()} == {str, int}
    cache.put(key, PLAN, seconds=1, extra={})
    assert stored(cache, key) == PLAN and cache.entries()[0].key == key
    with pytest.raises(ValueError, match="wide"):
        replace(KEY, width="wide")  # type: ignore[arg-type]


def test_the_folder_is_the_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0)
    try:
        cache = PlanCache(tmp_path / "a" / "engines")
        cache.put(KEY, PLAN, seconds=1, extra={})
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (cache.folder, cache.folder.parent)}
    assert modes == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in cache.folder.iterdir()} == {0o600}


def test_where_the_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "named"))
    assert cache_folder("engines") == PlanCache().folder == tmp_path / "named"
    monkeypatch.setenv("RTSTYLE_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("engines").name == "engines" and "rtstyle" in cache_folder("engines").parts


def test_a_place_that_is_no_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "circle").symlink_to("circle")
    for place in (
        tmp_path / "file",
        tmp_path / "file" / "below",
        tmp_path / "circle",
        Path("~nobody-here/x"),
        Path("\0"),
    ):
        with pytest.raises(EngineError) as told:
            PlanCache(place).put(KEY, PLAN, seconds=1, extra={})
        assert "RTSTYLE_CACHE" in told.value.hint, place


# Interruptions.

INTERRUPTED = """
    import os, sys, time
    from pathlib import Path
    from engines.trt.plan_cache import PlanCache
    from tests.engines.plans import KEY

    step, at = sys.argv[2], int(sys.argv[3])
    real = getattr(os, step)
    calls = 0

    def slow(*arguments):
        global calls
        calls += 1
        if calls == at:
            print("here", flush=True)
            time.sleep(60)
        return real(*arguments)

    setattr(os, step, slow)
    PlanCache(Path(sys.argv[1])).put(KEY, b"new" * 1000, seconds=1, extra={})
"""


@pytest.mark.parametrize(("step", "at"), [("fsync", 1), ("fsync", 2), ("replace", 1), ("replace", 2)])
@pytest.mark.parametrize("before", [None, PLAN])
def test_a_writer_that_is_killed_leaves_nothing_half(
    cache: PlanCache, step: str, at: int, before: bytes | None
) -> None:
    if before:
        cache.put(KEY, before, seconds=1, extra={})
    writer = start(INTERRUPTED, cache.folder, step, at)
    assert writer.stdout is not None and writer.stdout.readline() == "here\n"
    with pytest.raises(BusyError), cache.lock(KEY, 0):
        pass
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    # With the new engine in place and the old record beside it, neither is trusted.
    assert stored(cache) == (None if (step, at) == ("replace", 2) else before)
    with cache.lock(KEY, 0):  # free at once
        cache.put(KEY, PLAN[::-1], seconds=1, extra={})
    assert stored(cache) == PLAN[::-1]
    assert names(cache.folder) == {"plan", "json"}


def test_old_leftovers_of_others_are_swept(cache: PlanCache) -> None:
    cache.put(OTHER, PLAN, seconds=1, extra={})
    young, old = file(cache, "plan.young.part", OTHER), file(cache, "plan.old.part", OTHER)
    orphan = file(cache, "plan", replace(KEY, gpu="gone"))
    for path in (young, old, orphan):
        path.write_bytes(b"x")
    for path in (old, orphan):
        os.utime(path, (time.time() - 7200,) * 2)
    foreign = cache.folder / "notes.txt"
    foreign.write_text("not ours")
    os.utime(foreign, (0, 0))
    cache.put(KEY, PLAN, seconds=1, extra={})
    assert not old.exists() and not orphan.exists() and young.exists() and foreign.exists()
    assert stored(cache, OTHER) == PLAN


FULL = """
    import resource, sys
    from pathlib import Path
    from engines.trt.plan_cache import PlanCache
    from engines.errors import EngineError
    from tests.engines.plans import KEY

    cache = PlanCache(Path(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    try:
        cache.put(KEY, b"n" * 100_000, seconds=1, extra={})
    except EngineError as error:
        print(type(error.__cause__).__name__, error)
"""


def test_a_full_disk_changes_nothing(cache: PlanCache) -> None:
    cache.put(KEY, PLAN, seconds=1, extra={})
    out, _ = start(FULL, cache.folder).communicate()
    assert out.startswith("OSError") and "free some space" in out
    assert stored(cache) == PLAN and names(cache.folder) == {"plan", "json"}


# Locks.

HOLDER = """
    import sys
    from pathlib import Path
    from engines.trt.plan_cache import PlanCache
    from tests.engines.plans import KEY

    with PlanCache(Path(sys.argv[1])).lock(KEY, 10):
        print("held", flush=True)
        sys.stdin.readline()
"""


def held(cache: PlanCache) -> subprocess.Popen[str]:
    holder = start(HOLDER, cache.folder)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    return holder


def test_one_process_at_a_time(cache: PlanCache) -> None:
    holder = held(cache)
    with pytest.raises(BusyError, match="another process"), cache.lock(KEY, 0):
        pass
    with cache.lock(OTHER, 0):  # another engine is free
        pass
    holder.communicate("go on\n")
    with cache.lock(KEY, 0), cache.lock(KEY, 0):  # the same thread may take it again
        holder = start(HOLDER, cache.folder)
    assert holder.communicate("go on\n")[0] == "held\n"


def test_the_lock_of_a_dead_process_is_free(cache: PlanCache) -> None:
    holder = held(cache)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with cache.lock(KEY, 0):
        pass


def test_one_thread_at_a_time(cache: PlanCache) -> None:
    refused: list[bool] = []

    def other_thread() -> None:
        try:
            with cache.lock(KEY, 0):
                refused.append(False)
        except BusyError:
            refused.append(True)

    with cache.lock(KEY, 0):
        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join()
    assert refused == [True]


def test_reading_waits_for_nobody_and_removes_nothing_that_is_being_written(cache: PlanCache) -> None:
    cache.put(KEY, PLAN, seconds=1, extra={})
    holder = held(cache)
    assert stored(cache) == PLAN
    file(cache, "plan").write_bytes(b"in the middle")
    assert cache.get(KEY) is None and file(cache, "json").exists()
    holder.communicate("go on\n")
    assert cache.get(KEY) is None and not file(cache, "json").exists()


# Bounds, faults, the list.


def test_the_least_recently_used_go(tmp_path: Path) -> None:
    keys = [replace(KEY, width=width) for width in (100, 200, 300, 400)]
    cache = PlanCache(tmp_path / "engines", limit_bytes=35_000)
    now = time.time()
    for age, key in enumerate(keys[:3]):
        cache.put(key, b"x" * 10_000, seconds=1, extra={})
        os.utime(file(cache, "json", key), (now - 1000 + age,) * 2)
    assert cache.get(keys[0]) is not None  # used now
    cache.put(keys[3], b"x" * 10_000, seconds=1, extra={})
    assert [cache.get(key) is not None for key in keys] == [True, False, True, True]
    assert sum(entry.bytes for entry in cache.entries()) <= 35_000
    cache.put(keys[1], b"x" * 30_000, seconds=1, extra={})
    assert [cache.get(key) is not None for key in keys] == [False, True, False, False]
    with pytest.raises(EngineError, match="more than"):
        cache.put(keys[2], b"x" * 35_000, seconds=1, extra={})
    assert stored(cache, keys[1])


def test_a_fault_lasts_until_the_key_changes(cache: PlanCache) -> None:
    assert cache.fault(KEY) == ""
    cache.mark_failed(KEY, "no\nkernel  for\tthis " + "x" * 1000, extra={"style": "wave"})
    again = PlanCache(cache.folder)
    assert again.fault(KEY).startswith("no kernel for this x") and len(again.fault(KEY)) == 500
    assert again.fault(replace(KEY, driver="581")) == "" and again.get(KEY) is None
    (entry,) = again.entries()
    assert (entry.key, entry.fault, entry.extra) == (KEY, again.fault(KEY), {"style": "wave"})
    again.put(KEY, PLAN, seconds=1, extra={})  # somebody could build it after all
    assert again.fault(KEY) == ""
    assert [entry.fault for entry in again.entries()] == [""]
    again.mark_failed(KEY, "it paints another picture")  # and then it was of no use
    assert again.get(KEY) is None and names(cache.folder) == {"fault"}
    again.mark_failed(OTHER, "")
    assert again.fault(OTHER)
    again.clear()
    assert again.fault(OTHER) == ""


def test_faults_are_bounded(cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.trt.plan_cache.FAULTS_KEPT", 3)
    keys = [replace(KEY, width=width) for width in range(100, 106)]
    for age, key in enumerate(keys):
        cache.mark_failed(key, "no")
        (cache.folder / "notes.fault").write_text("not ours")
        os.utime(cache.folder / "notes.fault", (0, 0))
        os.utime(file(cache, "fault", key), (time.time() - 100 + age,) * 2)
    assert [bool(cache.fault(key)) for key in keys] == [False] * 3 + [True] * 3
    assert (cache.folder / "notes.fault").exists()


def test_a_fault_that_others_wrote_is_none(cache: PlanCache) -> None:
    cache.mark_failed(KEY, "no")
    file(cache, "fault").chmod(0o666)
    assert cache.fault(KEY) == "" and names(cache.folder) == set()


def test_the_list_and_clearing(cache: PlanCache) -> None:
    assert cache.entries() == [] and cache.clear() == 0 and not cache.folder.exists()
    cache.put(KEY, PLAN, seconds=3, extra={"style": "wave"})
    cache.put(OTHER, PLAN, seconds=4, extra={})
    os.utime(file(cache, "json", OTHER), (1000, 1000))
    first, second = cache.entries()
    assert (first.key, first.seconds, first.extra, first.fault) == (KEY, 3.0, {"style": "wave"}, "")
    assert first.bytes == sum(file(cache, suffix).stat().st_size for suffix in ("plan", "json"))
    assert second.used_s == 1000
    file(cache, "plan.dead.part").write_bytes(b"left")
    (cache.folder / "notes.txt").write_text("not ours")
    assert cache.clear() == first.bytes + second.bytes + 4
    assert [path.name for path in cache.folder.iterdir()] == ["notes.txt"]


def test_clearing_leaves_what_is_being_built(cache: PlanCache) -> None:
    cache.put(OTHER, PLAN, seconds=1, extra={})
    holder = held(cache)
    part = file(cache, "plan.now.part")
    part.write_bytes(b"half")
    cache.clear()
    assert part.exists() and cache.get(OTHER) is None
    holder.communicate("go on\n")
    cache.clear()
    assert list(cache.folder.iterdir()) == []


def test_a_lock_that_is_cleared_away_still_excludes(cache: PlanCache) -> None:
    """Who waits for a lock whose file is removed takes the new file, as everybody after does."""
    with cache.lock(KEY, 0):
        waiting = start(HOLDER, cache.folder)
        time.sleep(0.3)
        file(cache, "lock").unlink()
    assert waiting.stdout is not None and waiting.stdout.readline() == "held\n"
    with pytest.raises(BusyError), cache.lock(KEY, 0):
        pass
    waiting.communicate("go on\n")
