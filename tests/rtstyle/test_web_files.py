"""Files on the page: what is uploaded is stylized in its turn, survives whatever ends it, and is downloaded."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("aiortc")

from rtstyle.web.files import work_queue, worker
from tests.rtstyle.browsers import in_loop
from tests.rtstyle.clips import Clip, Seen, numbered
from tests.rtstyle.uploads import command, hosting, listed, put

pytestmark = pytest.mark.real_time


def clip(folder: Path, name: str = "holiday.mp4", frames: int = 12) -> Path:
    return Clip(frames=frames, sound="aac").write(folder / name)


def names(folder: Path) -> list[str]:
    found = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name != worker.LOCK)


@in_loop
async def test_a_clip_comes_back_stylized_with_its_sound(tmp_path: Path) -> None:
    async with hosting(tmp_path / "files") as visitor:
        key = await visitor.upload(clip(tmp_path), scale="1.0", strength="0.8", colours="0.5", only="background")
        done = await visitor.until(key, "done", "failed")
        assert (done["state"], done["frames"], done["width"], done["height"]) == ("done", 12, 64, 48), done
        assert done["only"] == "background"
        async with visitor.session.get(f"{visitor.address}/{done['download']}") as answer:
            assert answer.status == 200
            assert answer.content_type == "video/mp4"
            assert answer.content_disposition is not None
            assert (answer.content_disposition.type, answer.content_disposition.filename) == (
                "attachment", "holiday-wave.mp4",
            )  # fmt: skip
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "Content-Security-Policy" in answer.headers
            data = await answer.read()
        async with visitor.session.get(
            f"{visitor.address}/{done['download']}", headers={"Range": "bytes=100-199"}
        ) as answer:
            assert answer.status == 206
            assert await answer.read() == data[100:200]
        assert names(visitor.folder) == [".rtstyle-files.lock", f"{key}/file.json", f"{key}/output.mp4"]
        async with asyncio.timeout(10):  # it is measured after the last file has gone
            while not len(data) < (await visitor.list())["used"] < len(data) + 2000:
                await asyncio.sleep(0.05)
    result = tmp_path / "result.mp4"
    result.write_bytes(data)
    seen = Seen.of(result)
    assert len(seen.times) == 12 and seen.packets["audio"] > 0


@in_loop
async def test_a_picture_comes_back_stylized(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), numbered(5, 96, 128))
    # A folder whose name looks like a pattern.
    async with hosting(tmp_path / "files[0-9]*") as visitor:
        key = await visitor.upload(tmp_path / "photo.png")
        done = await visitor.until(key, "done", "failed")
        assert (done["state"], done["picture"], done["width"], done["height"]) == ("done", True, 128, 96)
        picture = cv2.imread(str(visitor.folder / key / "output.png"))
        assert picture is not None and picture.shape == (96, 128, 3)


@in_loop
async def test_files_are_stylized_in_order_and_a_failure_is_one_files_own(tmp_path: Path) -> None:
    secret = clip(tmp_path, "secret.mp4")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n"
    concat = f"ffconcat version 1.0\nfile '{secret}'\n"
    async with hosting(tmp_path / "files") as visitor:
        _, rubbish = await visitor.put(b"\x00" * 3_000_000, "rubbish.mp4")
        lists = ((playlist, "list.m3u8"), (playlist, "list.mp4"), (concat, "list.mp4"))
        reading = [(await visitor.put(text.encode(), name))[1] for text, name in lists]
        good = await visitor.upload(clip(tmp_path))
        await visitor.until(good, "done")
        files = {file["id"]: file for file in (await visitor.list())["files"]}
        for one in (rubbish, *reading):
            failed = files[one["id"]]
            assert failed["state"] == "failed" and "is not a video" in failed["problem"]
            assert str(tmp_path) not in failed["problem"]
        # An upload is stored as it came, in however many pieces.
        assert (visitor.folder / rubbish["id"] / "input.mp4").read_bytes() == b"\x00" * 3_000_000


@in_loop
async def test_stop_go_on_and_remove(tmp_path: Path) -> None:
    long = Clip(frames=200, height=360, width=640).write(tmp_path / "long.mp4")
    async with hosting(tmp_path / "files") as visitor:
        running, waiting = await visitor.upload(long), await visitor.upload(clip(tmp_path))
        await visitor.until(running, "running")
        assert await visitor.act(running, "stop") == 200
        assert (await visitor.see(running))["state"] == "stopped"
        assert names(visitor.folder / running) == ["file.json", "input.mp4"]
        await visitor.until(waiting, "done")
        assert await visitor.act(waiting, "stop") == 200, "it is done, and stays so"
        assert (await visitor.see(waiting))["state"] == "done"
        assert await visitor.act(waiting, "retry") == 409
        assert await visitor.act(running, "retry") == 200
        await visitor.until(running, "running")
        assert await visitor.act(running, "remove") == 200
        assert [file["id"] for file in (await visitor.list())["files"]] == [waiting]
        assert not (visitor.folder / running).exists()
        assert await visitor.act(running, "remove") == 410


@in_loop
async def test_a_process_that_is_killed_fails_its_file_which_may_be_tried_again(tmp_path: Path) -> None:
    long = Clip(frames=60, height=180, width=320).write(tmp_path / "long.mp4")
    async with hosting(tmp_path / "files") as visitor:
        key = await visitor.upload(long)
        async with asyncio.timeout(20):
            while not (await visitor.see(key))["frames"]:
                await asyncio.sleep(0.02)
        for pid in workers(os.getpid()):
            os.kill(pid, signal.SIGKILL)
        failed = await visitor.until(key, "failed", "done")
        assert failed["problem"].startswith("the process that stylizes it was killed")
        assert await visitor.act(key, "retry") == 200
        assert (await visitor.until(key, "done", "failed"))["frames"] == 60


@pytest.mark.skipif(os.name != "posix", reason="sets a limit of POSIX")
def test_a_disk_that_is_full_fails_that_file_and_the_queue_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    monkeypatch.setitem(work_queue.BACKGROUND, "preexec_fn", small_files)
    noisy = Clip(frames=60, height=180, width=320).write(tmp_path / "noisy.mp4")

    async def full() -> None:
        async with hosting(tmp_path / "files") as visitor:
            large, small = await visitor.upload(noisy), await visitor.upload(clip(tmp_path, frames=5))
            failed = await visitor.until(large, "failed", "done")
            assert failed["problem"].startswith(
                "cannot write noisy-wave.mp4: the file has reached the size limit of this system"
            )
            assert names(visitor.folder / large) == ["file.json", "input.mp4"]
            assert (await visitor.until(small, "done", "failed"))["state"] == "done"

    asyncio.run(asyncio.wait_for(full(), 60))


@in_loop
async def test_a_result_that_exceeds_the_limit_fails_until_there_is_room(tmp_path: Path) -> None:
    source = clip(tmp_path)
    async with hosting(tmp_path / "files", limit=source.stat().st_size + 100) as visitor:
        key = await visitor.upload(source)
        failed = await visitor.until(key, "failed", "done")
        assert failed["problem"].endswith("for files are used (remove files, then try again)"), failed
        assert names(visitor.folder / key) == ["file.json", "input.mp4"]
    async with hosting(tmp_path / "files") as visitor:
        assert (await visitor.see(key))["state"] == "failed"
        assert await visitor.act(key, "retry") == 200
        assert (await visitor.until(key, "done", "failed"))["state"] == "done"


@pytest.mark.slow
def test_a_server_that_is_killed_goes_on_with_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    # 90 frames in 45 seconds: three segments.
    film = Clip(frames=90, fps=2, height=180, width=320, sound="aac").write(tmp_path / "film.mp4")
    with command(folder) as (server, address):
        assert put(address, clip(tmp_path))[0] == 201
        until(lambda: listed(address)[0]["state"] == "done")
        assert put(address, film, strength=0)[0] == 201
        until(lambda: listed(address)[0]["frames"] > 42)
        (working,) = workers(server.pid)
        server.kill()
        server.wait()
        until(lambda: not Path(f"/proc/{working}").exists(), 5)
    (folder / ".0123456789abcdef.part").mkdir()
    (folder / ".0123456789abcdef.part" / "input.mp4").write_bytes(b"half")
    (folder / "mine.txt").write_text("not of rtstyle")
    with command(folder) as (server, address):
        progress = set()

        def done() -> bool:
            progress.add(listed(address)[0]["frames"])
            return [file["state"] for file in listed(address)] == ["done", "done"]

        until(done)
        assert min(progress - {0}) >= 40, "what was finished is kept"
        film_id = listed(address)[0]["id"]
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 128 + signal.SIGTERM
    assert Seen.of(folder / film_id / "output.mp4").numbers == list(range(90))
    assert not (folder / ".0123456789abcdef.part").exists()
    assert (folder / "mine.txt").exists()


def until(true: Callable[[], object], within_s: float = 40.0) -> None:
    end_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def workers(server: int) -> list[int]:
    """Processes of a server that stylize files."""
    call = ["pgrep", "-P", str(server), "-f", work_queue.WORKER]
    return [int(pid) for pid in subprocess.run(call, capture_output=True, text=True, check=False).stdout.split()]
