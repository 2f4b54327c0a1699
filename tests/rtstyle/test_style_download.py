"""Styles from the network."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.style_file import MANIFEST, WEIGHTS
from rtstyle import shelf, style_download
from tests.rtstyle.styles_command import run, zipped


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "own styles"
    monkeypatch.setenv(shelf.VARIABLE, str(folder))
    return folder


@pytest.fixture
def files(tiny_style: Path) -> dict[str, bytes]:
    return shelf.read_folder(tiny_style)


class _Server(http.server.ThreadingHTTPServer):
    """Serves what the tests put there: by path, status, bytes, and how many of them to send."""

    pages: dict[str, tuple[int, bytes, int | None]]
    asked: list[tuple[str, str]]
    released: threading.Event


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        if self.path == "/silent":
            self.server.released.wait(20)
            return
        self.server.asked.append((self.path, self.headers.get("Authorization", "")))
        status, data, sent = self.server.pages.get(self.path, (404, b"", None))
        self.send_response(status)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n" % len(data) + data[:sent])
            return
        if status == 302:
            self.send_header("Location", data.decode())
            data = b""
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:sent])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), _Handler) as found:
        found.pages, found.asked, found.released = {}, [], threading.Event()
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def url(server: _Server, path: str) -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


def test_a_pack_at_an_address(
    server: _Server, files: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = zipped(tmp_path / "p.rtstyle", files).read_bytes()
    server.pages["/tiny.rtstyle"] = (200, data, None)
    assert "another sha256" in run(capsys, "add", url(server, "/tiny.rtstyle"), "--sha256", "1" * 64, code=1)
    run(capsys, "add", url(server, "/tiny.rtstyle"), "--sha256", hashlib.sha256(data).hexdigest())
    assert "tiny" in shelf.own_styles()
    progress: list[tuple[int, int | None]] = []
    style_download.download(url(server, "/tiny.rtstyle"), lambda done, total: progress.append((done, total)))
    assert progress[-1] == (len(data), len(data))


def test_a_repository_of_the_hub(
    server: _Server, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = "http://localhost"  # another host than 127.0.0.1
    for name, data in files.items():
        server.pages[f"/me/tiny/resolve/main/{name}"] = (200, data, None)
    server.pages[f"/me/tiny/resolve/main/{WEIGHTS}"] = (302, f"{elsewhere}:{server.server_port}/cdn".encode(), None)
    server.pages["/cdn"] = (200, files[WEIGHTS], None)
    monkeypatch.setenv("HF_ENDPOINT", url(server, ""))
    monkeypatch.setenv("HF_TOKEN", "secret\n")
    run(capsys, "add", "hf://me/tiny")
    assert "tiny" in shelf.own_styles()
    given = dict(server.asked)
    assert given[f"/me/tiny/resolve/main/{MANIFEST}"] == "Bearer secret" and given["/cdn"] == ""
    assert f"hf://me/other has no {MANIFEST}" in run(capsys, "add", "hf://me/other", code=1)
    assert "not the address" in run(capsys, "add", "hf://me", code=1)
    assert "several files" in run(capsys, "add", "hf://me/tiny", "--sha256", "0", code=1)


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ((200, b"x" * 5000, 4000), "stopped 1000 bytes before the end"),
        ((500, b"", None), "answers 500"),
        ((403, b"", None), "answers 403"),
        ((200, b"no archive", None), "is not a zip file"),
        ((302, b"file:///etc/passwd", None), "answers 302"),
    ],
)
def test_what_a_server_may_do(
    page: tuple[int, bytes, int | None], problem: str, server: _Server, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.pages["/p"] = page
    assert problem in run(capsys, "add", url(server, "/p"), code=1)
    assert not home.exists()


def test_a_server_that_stops_in_the_middle(
    server: _Server, monkeypatch: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.pages["/chunked"] = (200, b"x" * 5000, 4000)
    assert "/chunked stopped before the end" in run(capsys, "add", url(server, "/chunked"), code=1)
    monkeypatch.setattr(style_download, "TIMEOUT_S", 0.2)
    assert "/silent sent nothing for 0 s" in run(capsys, "add", url(server, "/silent"), code=1)
    server.released.set()
    assert not home.exists()


def test_a_server_that_sends_too_much(
    server: _Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(style_download, "LIMIT", 1 << 20)
    server.pages["/p"] = (200, bytes(3 << 20), None)
    assert "more than 1 MB" in run(capsys, "add", url(server, "/p"), code=1)


def test_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot download http://127.0.0.1:9/x" in run(capsys, "add", "http://127.0.0.1:9/x", code=1)
