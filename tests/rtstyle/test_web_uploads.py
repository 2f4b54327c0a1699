"""Who may upload, how much and under which names; and that nothing is left of an upload that fails."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import av
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("aiortc")

from aiohttp import ClientSession

from engines.errors import ConfigError, SourceError
from rtstyle.cli import main
from rtstyle.web.files import routes, store
from rtstyle.web.files.names import attachment, is_picture, result_name, result_suffix, shown_name, stored_suffix
from rtstyle.web.files.store import LOCK, FileStore
from rtstyle.web.files.worker import check_container
from tests.rtstyle.browsers import gone, in_loop, status_of
from tests.rtstyle.clips import Clip
from tests.rtstyle.uploads import GB, Visitor, command, hosting, put

RUBBISH = b"no clip" * 1000


def inside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != LOCK)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("holiday.mp4", "holiday.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\clip.MOV", "clip.MOV"),
        ("..", "untitled"),
        ("", "untitled"),
        ("a\0b\r\nc.mp4", "ab c.mp4"),
        ("evil\u202e4pm.exe", "evil4pm.exe"),
        (" .hidden. ", "hidden"),
        ("Großmutter 日本.mkv", "Großmutter 日本.mkv"),
        ("<script>alert(1)</script>.mp4", "script>.mp4"),
        ("NUL", "NUL"),
        ("\ud800.mp4", "mp4"),
    ],
)
def test_names_from_browsers_are_shown_as_one_harmless_line(raw: str, shown: str) -> None:
    assert shown_name(raw) == shown


@pytest.mark.parametrize("letter", ["a", "ä", "日", "😀"])
def test_long_names_are_cut_and_keep_their_suffix(letter: str) -> None:
    name = shown_name(letter * 255 + ".mp4")
    assert name.endswith(letter + ".mp4")
    assert len(result_name(name, "a" * 255).encode()) < 255


def test_suffixes_decide_about_the_result_only_where_it_can_be_written() -> None:
    assert [result_suffix(name) for name in ("a.MKV", "a.avi", "a", "a.jpg", "a.heic", "a.../x")] == [
        ".mkv", ".mp4", ".mp4", ".jpg", ".png", ".mp4",
    ]  # fmt: skip
    assert [stored_suffix(name) for name in ("a.MP4", "a.m3u8", "a.b c", "a", "a.%2f")] == [".mp4", ".m3u8", "", "", ""]
    assert [result_name("a.b.avi", style) for style in ("wave", "runs/mine/")] == ["a.b-wave.mp4", "a.b-mine.mp4"]
    assert is_picture("A.JPEG") and not is_picture("a.gif")


def test_the_header_of_a_download_holds_every_name() -> None:
    assert attachment("a.mp4") == "attachment; filename=\"a.mp4\"; filename*=UTF-8''a.mp4"
    odd = attachment('ä"%\\;.mp4')
    assert odd == "attachment; filename=\"____;.mp4\"; filename*=UTF-8''%C3%A4%22%25%5C%3B.mp4"


def test_lists_of_other_files_are_not_opened(tmp_path: Path) -> None:
    film = Clip(frames=5).write(tmp_path / "film.ts")
    check_container(film)
    texts = {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{film}\n#EXT-X-ENDLIST\n",
        "list.mp4": "ffconcat version 1.0\nfile film.ts\n",
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.write_text(text)
        av.open(f"file:{path}").close()  # FFmpeg would
        with pytest.raises(SourceError, match="this is not a video"):
            check_container(path)


@in_loop
async def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    async with hosting(tmp_path / "files") as visitor:
        for name in ("../../out.mp4", "/etc/out.mp4", "a" * 255 + ".mp4", "CON", "x\0.mp4", "con.mp4/../..", "%2e%2e"):
            status, file = await visitor.put(RUBBISH, name)
            assert status == 201, name
            await visitor.act(file["id"], "remove")
        assert inside(visitor.folder) == []
        for path in ("..", "%2e%2e", "..%2f..", "0123456789abcdef", "\udcff"):
            assert await visitor.act(path, "stop") in (403, 404, 410)
    assert [path.name for path in tmp_path.iterdir()] == ["files"]


@in_loop
async def test_wrong_wishes_are_answered_and_leave_nothing(tmp_path: Path) -> None:
    async with hosting(tmp_path / "files") as visitor:
        for query in ({"style": "nobody"}, {"strength": "7"}, {"strength": "much"}, {"scale": "0"}, {"style": ""}):
            assert (await visitor.put(RUBBISH, "a.mp4", **query))[0] == 422
        assert await visitor.put(b"", "a.mp4") == (422, {"error": "the file is empty", "hint": ""})
        assert (await visitor.put(RUBBISH, ""))[0] == 422

        async def pieces() -> object:
            yield RUBBISH

        call = visitor.session.put(visitor.address + "/files?name=a.mp4&style=wave", data=pieces())
        assert await status_of(call) == 411
        assert inside(visitor.folder) == []


@in_loop
async def test_an_upload_beyond_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async with hosting(tmp_path / "files", limit=10_000_000) as visitor:
        reader, writer = await begin_upload(visitor, 10_000_001)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert b" 413 " in head.splitlines()[0]
        assert b"10.0 MB do not fit: 10.0 MB of 10.0 MB are left" in await reader.readline()
        await gone(writer)
        # Room is reserved for what is being uploaded.
        _, first = await begin_upload(visitor, 9_000_000)
        await holds(visitor, lambda one: one["room"] == 1_000_000)
        status, said = await visitor.put(b"x" * 1_000_001, "b.mp4")
        assert (status, said["error"]) == (413, "1.0 MB do not fit: 1.0 MB of 10.0 MB are left")
        await gone(first)
        await holds(visitor, lambda one: one["room"] == 10_000_000)
        assert inside(visitor.folder) == []


@in_loop
async def test_a_fast_upload_is_stored_as_it_came(tmp_path: Path) -> None:
    clip = tmp_path / "random.mp4"
    clip.write_bytes(os.urandom(3_000_000))
    async with hosting(tmp_path / "files") as visitor:
        for _ in range(10):
            # Another thread sends before this one has begun to answer.
            status, file = await asyncio.to_thread(put, visitor.address, clip)
            assert status == 201
            assert (visitor.folder / file["id"] / "input.mp4").read_bytes() == clip.read_bytes()
            await visitor.act(file["id"], "remove")


@in_loop
async def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    async with hosting(tmp_path / "files") as visitor:
        for sent in (0, 1, 300_000):
            _, writer = await begin_upload(visitor, 1_000_000, b"x" * sent)
            await holds(visitor, lambda one: one["used"] == 1_000_000)
            assert len(inside(visitor.folder)) == 1 and inside(visitor.folder)[0].startswith(".")
            await gone(writer)
            await holds(visitor, lambda one: one["used"] == 0)
            assert inside(visitor.folder) == []


def test_silent_uploads_are_given_up_and_there_are_not_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "SILENT_S", 1.0)
    monkeypatch.setattr(store, "MOST_FILES", 2)

    async def silent() -> None:
        async with hosting(tmp_path / "files") as visitor:
            stuck = [await begin_upload(visitor, 1000, b"x") for _ in range(routes.UPLOADS)]
            await holds(visitor, lambda one: one["used"] == 1000 * routes.UPLOADS)
            assert (await visitor.put(RUBBISH, "a.mp4"))[0] == 503
            for reader, writer in stuck:
                assert b" 408 " in await asyncio.wait_for(reader.readline(), 5)
                await gone(writer)
            assert inside(visitor.folder) == []
            said = [(await visitor.put(RUBBISH, "a.mp4"))[0] for _ in range(3)]
            assert said == [201, 201, 413]

    asyncio.run(asyncio.wait_for(silent(), 30))


@in_loop
async def test_without_the_token_nobody_sees_or_changes_a_file(tmp_path: Path) -> None:
    clip = Clip(frames=3).write(tmp_path / "a.mp4")
    async with hosting(tmp_path / "files", token="s3cret-word") as visitor, ClientSession() as stranger:
        key = await visitor.upload(clip)
        done = await visitor.until(key, "done")
        files, one = f"{visitor.address}/files", f"{visitor.address}/files/{key}"
        for headers in ({}, {"Authorization": "Bearer wrong-word"}):
            assert await status_of(stranger.get(files, headers=headers)) == 401
            assert await status_of(stranger.put(files + "?name=a&style=wave", data=b"x", headers=headers)) == 401
            assert await status_of(stranger.post(one + "/stop", json={}, headers=headers)) == 401
            assert await status_of(stranger.delete(one, headers=headers)) == 401
            # Nor may they send more than others.
            with pytest.raises(ConnectionError):
                await put_much(visitor.address, headers)
        # A link of the page needs no header, and is good for one file.
        link = f"{visitor.address}/{done['download']}"
        assert await status_of(stranger.get(link)) == 200
        assert await status_of(stranger.get(link[:-1] + ("0" if link[-1] != "0" else "1"))) == 403
        assert await status_of(stranger.get(f"{one}/stop")) == 403
        assert inside(visitor.folder) == [key]


@in_loop
async def test_other_pages_cannot_upload_or_remove(tmp_path: Path) -> None:
    async with hosting(tmp_path / "files") as visitor:
        status, file = await visitor.put(RUBBISH, "a.mp4")
        assert status == 201
        files, one = f"{visitor.address}/files", f"{visitor.address}/files/{file['id']}"
        session = visitor.session
        for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
            assert await status_of(session.get(files, headers=headers)) == 403
            assert await status_of(session.put(files + "?name=a&style=wave", data=b"x", headers=headers)) == 403
            assert await status_of(session.delete(one, headers=headers)) == 403
            assert await status_of(session.post(one + "/stop", json={}, headers=headers)) == 403
        form = {"Content-Type": "text/plain"}
        assert await status_of(session.post(one + "/stop", data="{}", headers=form)) == 415
        assert inside(visitor.folder) == [file["id"]]


def test_downloads_that_break_off_or_stall_are_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "files" / "0123456789abcdef"
    home.mkdir(parents=True)
    file = store.StoredFile(home.name, "film.mp4", "wave", state=store.DONE)
    store.record(home, file)
    with (home / file.output_name).open("wb") as output:
        output.truncate(50_000_000)
    monkeypatch.setattr(routes, "SILENT_S", 0.5)
    monkeypatch.setattr(routes, "SLOWEST_BYTES", GB)

    async def download() -> None:
        async with hosting(tmp_path / "files") as visitor:
            host, port = visitor.address.removeprefix("http://").split(":")
            link = (await visitor.see(file.id))["download"]
            head = f"GET /{link} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
            for stall in (False, True):
                reader, writer = await asyncio.open_connection(host, int(port), limit=1000)
                writer.write(head)
                assert b" 200 " in await reader.readline()
                if stall:
                    await asyncio.sleep(1.0)
                    with suppress(ConnectionError):
                        assert len(await reader.read()) < 50_000_000
                await gone(writer)
            async with asyncio.timeout(5):
                while visitor.files._downloads:
                    await asyncio.sleep(0.02)
            monkeypatch.setattr(routes, "SILENT_S", 30.0)
            async with visitor.session.get(f"{visitor.address}/{link}") as answer:
                assert len(await answer.read()) == 50_000_000
            async with visitor.session.get(f"{visitor.address}/{link}", headers={"Range": "bytes=60000000-"}) as answer:
                assert answer.status == 416

    asyncio.run(asyncio.wait_for(download(), 30))
    assert not caplog.records


@pytest.mark.skipif(os.name != "posix", reason="sets a limit of POSIX")
def test_a_disk_that_is_full_ends_an_upload_in_words(tmp_path: Path) -> None:
    import resource

    (tmp_path / "large.mp4").write_bytes(os.urandom(3_000_000))
    limit = (1_000_000, 1_000_000)
    with command(tmp_path / "files", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)) as (_, url):
        status, told = put(url, tmp_path / "large.mp4")
        assert status == 507 and told["error"].startswith("the server cannot store the file: the file has reached")
        assert "disk" in told["hint"]
        assert inside(tmp_path / "files") == []
        (tmp_path / "small.mp4").write_bytes(RUBBISH)
        assert put(url, tmp_path / "small.mp4")[0] == 201


def test_a_folder_that_cannot_be_used_is_told_before_the_server_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for folder, reason in ((tmp_path / "file", "it is a file"), (tmp_path / "file" / "in", "the path is a file")):
        assert main(["web", "--port", "0", "--files", str(folder)]) == 1
        said = capsys.readouterr().err
        assert reason in said and "hint: give --files a folder" in said
    FileStore(tmp_path / "new" / "deep", GB).close()
    one = FileStore(tmp_path / "taken", GB)
    with pytest.raises(ConfigError, match="another server uses the folder"):
        FileStore(tmp_path / "taken", GB)
    one.close()
    FileStore(tmp_path / "taken", GB).close()


def test_a_damaged_record_is_shown_and_costs_nothing_else(tmp_path: Path) -> None:
    home = tmp_path / "0123456789abcdef"
    home.mkdir()
    (home / "output.mkv").write_bytes(b"hours of work")
    for text in ("", "[]", "{", '{"version": 99}', '{"version": 1, "id": "x"}'):
        (home / store.RECORD).write_text(text)
        files = FileStore(tmp_path, GB)
        (file,) = files.files.values()
        assert file.state == "failed" and "its record cannot be read" in file.problem
        assert (home / "output.mkv").exists()
        files.close()


async def begin_upload(
    visitor: Visitor, size: int, data: bytes = b""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send the headers of an upload, and as much of it as given."""
    host, port = visitor.address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"PUT /files?name=a.mp4&style=wave HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {size}\r\n\r\n"
    writer.write(head.encode() + data)
    await writer.drain()
    return reader, writer


async def put_much(address: str, headers: dict[str, str]) -> None:
    """Send an upload for as long as it is read."""
    host, port = address.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    given = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"PUT /files?name=a&style=wave HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {GB}\r\n{given}\r\n"
    writer.write(head.encode())
    try:
        for _ in range(1000):
            writer.write(b"x" * 100_000)
            await writer.drain()
    finally:
        await gone(writer)


async def holds(visitor: Visitor, true: object) -> None:
    """Wait until something is true of the list."""
    assert callable(true)
    async with asyncio.timeout(10):
        while not true(await visitor.list()):
            await asyncio.sleep(0.02)
