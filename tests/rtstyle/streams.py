"""Senders that run, die and return: numbered pictures over UDP or HTTP, at the pace of a camera."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import av

from rtstyle.sources.pacing import Ticker
from tests.rtstyle.clips import numbered

FPS = 50


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Sender:
    """Writes MPEG-TS until it is stopped.

    Args:
        target: a URL, or an object with ``write``.
        first: number of the first picture; numbers go up to 255 and begin anew.
    """

    def __init__(self, target: Any, first: int = 0) -> None:
        self.number = first
        self.stop = threading.Event()
        self.target = target

    def send(self) -> None:
        with av.open(self.target, "w", format="mpegts", options={"flush_packets": "1"}) as out:
            fast = {"preset": "ultrafast", "tune": "zerolatency", "crf": "4"}
            video: Any = out.add_stream("libx264", rate=FPS, options=fast)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            video.codec_context.gop_size = 5
            ticker, tick = Ticker(Fraction(FPS), self.stop), 0
            while ticker.wait(tick):
                picture = av.VideoFrame.from_ndarray(numbered(self.number % 256))
                picture.pts, picture.time_base = tick, Fraction(1, FPS)
                out.mux(video.encode(picture))
                self.number, tick = self.number + 1, tick + 1

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.send, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join(10.0)


class LiveServer:
    """An HTTP server that sends a live stream to everybody, and can die with all its connections.

    Args:
        first: number of the first picture of each connection.
        port: 0 takes a free one.
        sender: what sends.
    """

    def __init__(self, first: int = 0, port: int = 0, sender: type[Sender] = Sender) -> None:
        outer = self
        self.senders: list[Sender] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "video/mp2t")
                self.end_headers()
                one = sender(self.wfile, first)
                outer.senders.append(one)
                with suppress(OSError, av.FFmpegError):  # the other end has gone
                    one.send()

            def log_message(self, *_: object) -> None:
                pass

        self._server = _server(port, Handler)
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}/live.ts"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def die(self) -> None:
        """Close everything; nobody listens on the port any more."""
        for sender in self.senders:
            sender.stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.die()


class FolderServer:
    """An HTTP server of files."""

    def __init__(self, folder: Path) -> None:
        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args, directory=str(folder))

            def log_message(self, *_: object) -> None:
                pass

        self._server = _server(0, Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _server(port: int, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    class Server(ThreadingHTTPServer):
        allow_reuse_address = True
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # a client that goes away in the middle is what these tests are about

    return Server(("127.0.0.1", port), handler)
