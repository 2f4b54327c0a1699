"""Built engines that are damaged, or that somebody else could have put there, are refused and replaced."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.errors import EngineError
from engines.trt.plan_cache import PlanCache
from tests.engines.plans import KEY, NOBODY, OTHER, PLAN, as_nobody, file, names, root_only, stored

# Damage.


def test_no_bit_of_a_record_changes_unseen(cache: PlanCache) -> None:
    cache.put(KEY, b"plan", seconds=1, extra={"a": 1.5})
    whole = file(cache, "json").read_bytes()
    for bit in range(0, 8 * len(whole), 51):  # every bit of a byte comes up, for 51 is odd
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        file(cache, "json").write_bytes(damaged)
        assert cache.get(KEY) is None, bit
        assert names(cache.folder) == set()
        cache.put(KEY, b"plan", seconds=1, extra={"a": 1.5})
    assert stored(cache) == b"plan"


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(PLAN[:100] + bytes([PLAN[100] ^ 1]) + PLAN[101:]),
        lambda path: path.write_bytes(PLAN[:-1]),
        lambda path: path.write_bytes(PLAN + b"x"),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
    ],
)
def test_a_damaged_engine_is_removed(cache: PlanCache, damage: Callable[[Path], None]) -> None:
    cache.put(KEY, PLAN, seconds=1, extra={})
    damage(file(cache, "plan"))
    assert cache.get(KEY) is None and names(cache.folder) == set()


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 50_000, b'{"record":{},"sha256":""}', b"1" * 5000, b" " * 1_100_000],
)
def test_rubbish_is_no_record(cache: PlanCache, text: bytes) -> None:
    cache.put(KEY, PLAN, seconds=1, extra={})
    file(cache, "json").write_bytes(text)
    file(cache, "fault").write_bytes(text)
    assert cache.entries() == [] and cache.fault(KEY) == "" and cache.get(KEY) is None
    assert names(cache.folder) == set()


def test_engines_do_not_change_places(cache: PlanCache) -> None:
    cache.put(KEY, PLAN, seconds=1, extra={})
    cache.put(OTHER, PLAN[::-1], seconds=1, extra={})
    mine, theirs = file(cache, "plan"), file(cache, "plan", OTHER)
    theirs.replace(mine)
    assert cache.get(KEY) is None and cache.get(OTHER) is None
    cache.put(OTHER, PLAN[::-1], seconds=1, extra={})
    for suffix in ("plan", "json"):  # with its record, too
        file(cache, suffix, OTHER).replace(file(cache, suffix))
    assert cache.get(KEY) is None


def test_what_is_no_plain_json_is_told(cache: PlanCache) -> None:
    for extra in ({"a": PLAN}, {"a": float("nan")}, {"a": "x" * 1_100_000}):
        with pytest.raises(EngineError, match="metadata of an engine"):
            cache.put(KEY, PLAN, seconds=1, extra=extra)
    assert cache.get(KEY) is None


# Strangers.


@pytest.mark.parametrize("suffix", ["plan", "json"])
@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.chmod(0o620),
        lambda path: path.chmod(0o602),
        lambda path: path.replace(path.with_name("real")) and path.symlink_to("real"),
        lambda path: path.with_name("second").hardlink_to(path),
        lambda path: path.unlink() or path.mkdir(),
        lambda path: path.unlink() or os.mkfifo(path),
        pytest.param(lambda path: os.chown(path, NOBODY, -1), marks=root_only),
    ],
)
def test_what_others_could_have_written_is_replaced(
    cache: PlanCache, suffix: str, change: Callable[[Path], object]
) -> None:
    cache.put(KEY, PLAN, seconds=1, extra={})
    change(file(cache, suffix))
    assert cache.get(KEY) is None
    cache.put(KEY, PLAN[::-1], seconds=1, extra={})
    assert stored(cache) == PLAN[::-1]


def test_a_link_never_leads_a_write_elsewhere(cache: PlanCache, tmp_path: Path) -> None:
    cache.put(OTHER, PLAN, seconds=1, extra={})
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for suffix in ("plan", "json", "fault", "lock"):
        file(cache, suffix).symlink_to(precious)
    cache.mark_failed(KEY, "no")
    cache.put(KEY, PLAN, seconds=1, extra={})
    assert stored(cache) == PLAN and precious.read_text() == "mine"
    assert not any(path.is_symlink() for path in cache.folder.iterdir())


def test_a_full_folder_in_the_way_is_told(cache: PlanCache) -> None:
    cache.put(OTHER, PLAN, seconds=1, extra={})
    (file(cache, "plan") / "something").mkdir(parents=True)
    with pytest.raises(EngineError, match="cannot be used"):
        cache.put(KEY, PLAN, seconds=1, extra={})
    assert cache.get(KEY) is None and stored(cache, OTHER) == PLAN


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o1777])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    cache = PlanCache(tmp_path / "engines")
    cache.put(KEY, PLAN, seconds=1, extra={})
    cache.folder.chmod(mode)
    for use in (lambda: PlanCache(cache.folder), lambda: cache.get(KEY), cache.entries, cache.clear):
        with pytest.raises(EngineError, match="other users may write to") as told:
            use()
        assert "RTSTYLE_CACHE" in told.value.hint and "\n" not in str(told.value)


def test_a_folder_that_others_could_exchange_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "shared" / "mine" / "engines"
    folder.mkdir(parents=True)
    (tmp_path / "shared").chmod(0o777)
    with pytest.raises(EngineError, match="other users could replace"):
        PlanCache(folder)
    (tmp_path / "shared").chmod(0o1777)  # sticky, like /tmp
    PlanCache(folder).put(KEY, PLAN, seconds=1, extra={})


@root_only
@pytest.mark.parametrize("level", ["shared", "shared/mine", "shared/mine/engines"])
def test_a_folder_of_another_user_is_refused(tmp_path: Path, level: str) -> None:
    folder = tmp_path / "shared/mine/engines"
    folder.mkdir(parents=True)
    os.chown(tmp_path / level, NOBODY, -1)
    with pytest.raises(EngineError, match=r"another user"):
        PlanCache(folder)


def test_a_link_to_a_folder_is_followed_once(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(0o700)
    (tmp_path / "link").symlink_to("there")
    cache = PlanCache(tmp_path / "link")
    (tmp_path / "link").unlink()
    cache.put(KEY, PLAN, seconds=1, extra={})
    assert names(tmp_path / "there") == {"plan", "json"}


@root_only
def test_a_folder_that_cannot_be_written_to_still_gives() -> None:
    with tempfile.TemporaryDirectory() as base:
        os.chown(base, NOBODY, -1)
        with as_nobody():
            cache = PlanCache(Path(base) / "engines")
            cache.put(KEY, PLAN, seconds=1, extra={})
            cache.folder.chmod(0o500)
            assert stored(cache) == PLAN and cache.get(OTHER) is None
            with pytest.raises(EngineError, match="cannot be used: permission denied") as told:
                cache.put(OTHER, PLAN, seconds=1, extra={})
            assert "RTSTYLE_CACHE" in told.value.hint
            with pytest.raises(EngineError, match="permission denied"):
                cache.mark_failed(OTHER, "no")
            Path(base).chmod(0o500)
            with pytest.raises(EngineError, match="permission denied"):
                PlanCache(Path(base) / "new").put(KEY, PLAN, seconds=1, extra={})
            cache.folder.chmod(0o700)
