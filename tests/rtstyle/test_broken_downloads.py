"""Clips over HTTP whose connection breaks, and complete ones from servers that do not say how long they are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engines.errors import SourceError
from rtstyle.sources.file import FileSource
from rtstyle.video import VideoJob, stylize_video
from tests.rtstyle.clips import Clip, Seen, Still, number_of

COUNT = 100


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Return the address of a server that sends ``/KIND/SHARE/NAME``: how it frames a share of the file."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            kind, share, name = self.path.strip("/").split("/")
            if not (tmp_path / name).exists():
                self.send_error(404)
                return
            data = (tmp_path / name).read_bytes()
            sent = data[: int(len(data) * float(share))]
            self.send_response(200)
            self.send_header("Connection", "close")
            if kind == "length":
                self.send_header("Content-Length", str(len(data)))
            if kind == "chunks":
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if kind == "chunks":
                end = b"\r\n0\r\n\r\n" if len(sent) == len(data) else b""
                sent = b"%x\r\n" % len(data) + sent + end
            self.wfile.write(sent)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def clip(path: Path) -> Path:
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    return Clip(frames=COUNT, sound="aac", options={"g": "10"}, file_options=options).write(path)


@pytest.mark.parametrize(("ending", "segment_s"), [("mp4", 0.0), ("mkv", 1.0), ("avi", 0.0)])
@pytest.mark.parametrize("kind", ["length", "chunks", "nothing"])
def test_a_broken_connection_is_an_error(server: str, tmp_path: Path, ending: str, kind: str, segment_s: float) -> None:
    clip(tmp_path / f"a.{ending}")
    out = tmp_path / "out.mp4"
    with pytest.raises(SourceError, match=f"the connection to {server}/{kind}/… broke .try again"):
        stylize_video(VideoJob(f"{server}/{kind}/0.6/a.{ending}", out, segment_s=segment_s), Still)
    assert not out.exists() and not list(tmp_path.glob(".out*"))


def test_a_length_that_only_the_server_states(server: str, tmp_path: Path) -> None:
    clip(tmp_path / "a.ts")
    with pytest.raises(SourceError, match="broke"):
        stylize_video(VideoJob(f"{server}/length/0.6/a.ts", tmp_path / "out.mp4"), Still)
    # Without it, nobody can know.
    report = stylize_video(VideoJob(f"{server}/nothing/0.6/a.ts", tmp_path / "out.mp4"), Still)
    assert COUNT * 0.4 < report.frames_out < COUNT * 0.8


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("kind", ["length", "chunks", "nothing"])
def test_a_complete_one_loses_nothing(server: str, tmp_path: Path, ending: str, kind: str) -> None:
    """Where a server says nothing about the length, FFmpeg reports an error at the end of every file."""
    path = clip(tmp_path / f"a.{ending}")
    seen = []
    for name in (f"{server}/{kind}/1.0/{path.name}", str(path)):
        out = tmp_path / "out.mp4"
        report = stylize_video(VideoJob(name, out, overwrite=True), Still)
        assert report.warnings == () and report.frames_lost == 0
        seen.append(Seen.of(out))
    assert seen[0].numbers == [*range(COUNT)]
    assert seen[0].times == seen[1].times and seen[0].packets == seen[1].packets


@pytest.mark.parametrize("live", [False, True])
def test_live_ends_as_well(server: str, tmp_path: Path, live: bool) -> None:
    path = Clip(frames=10).write(tmp_path / "a.mkv")
    source = FileSource(f"{server}/nothing/1.0/{path.name}", live=live)
    assert [number_of(frame.rgb) for frame in source.frames()] == [*range(10)]
    source.close()


def test_a_file_that_is_cut_off_is_kept(tmp_path: Path) -> None:
    """It cannot be fetched again."""
    path = clip(tmp_path / "a.mkv")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    report = stylize_video(VideoJob(str(path), tmp_path / "out.mp4"), Still)
    assert 40 < report.frames_out < 80 and report.frames_lost > 20


@pytest.mark.parametrize("complete", [True, False])
def test_segments_that_are_missing(server: str, tmp_path: Path, complete: bool) -> None:
    """FFmpeg skips those that it cannot fetch, and says nothing."""
    options = {"hls_time": "1", "hls_list_size": "0"}
    Clip(frames=COUNT, sound="aac", options={"g": "25"}, file_options=options).write(tmp_path / "a.m3u8")
    out = tmp_path / "out.mp4"
    job = VideoJob(f"{server}/length/1.0/a.m3u8", out)
    if complete:
        report = stylize_video(job, Still)
        assert report.frames_out == COUNT and report.warnings == ()
        return
    (tmp_path / "a3.ts").unlink()
    with pytest.raises(SourceError, match="broke"):
        stylize_video(job, Still)
    assert not out.exists()
