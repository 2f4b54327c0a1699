"""One connection to a server, which nothing that the network does can block."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from threading import Thread
from typing import IO

from rtstyle.frame_queue import Link, LinkClosedError
from rtstyle.sinks import stream_worker
from rtstyle.sinks.live_encoder import Unit

WAITING = 4
"""Compressed pictures that may wait for the network. None of them may be lost: the next ones need it."""

GRACE_S = 1.0
"""How long the end of a stream may take, seconds."""


@dataclass(frozen=True)
class Target:
    """Where compressed video goes, and what it is.

    Attributes:
        url: as FFmpeg takes it.
        format: FFmpeg's name of the container.
        width, height: pixels.
        fps: pictures per second.
        options: what the muxer is told.
    """

    url: str
    format: str
    width: int
    height: int
    fps: int
    options: Mapping[str, str] = field(default_factory=dict)


class Connection:
    """Sends compressed pictures from a process of its own; none of its methods waits for the network.

    Args:
        target: where to.
    """

    def __init__(self, target: Target) -> None:
        self.connected = False
        self._fault = ""
        self._units: Link[Unit] = Link(WAITING)
        self._sending_since_s: float | None = None
        self._process = subprocess.Popen(
            # -P: what lies beside the program must not be taken for a package.
            [sys.executable, "-P", stream_worker.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._threads = [
            Thread(target=self._send, args=(target, self._process.stdin), name="stream out", daemon=True),
            Thread(target=self._listen, args=(self._process.stdout,), name="stream state", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def fault(self) -> str:
        """Why it has ended; empty while it has not."""
        return self._fault

    @property
    def room(self) -> bool:
        """True when one more picture may be handed over."""
        return self._units.waiting < WAITING

    @property
    def stalled_s(self) -> float:
        """For how many seconds nothing has been taken, although something waits."""
        since_s = self._sending_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def put(self, unit: Unit) -> None:
        """Hand over one picture; only while there is ``room``."""
        with suppress(LinkClosedError):
            self._units.put(unit)

    def close(self) -> None:
        """End the stream as its protocol wants it, if that goes quickly. Twice is fine."""
        healthy = self.connected and not self._fault and self.stalled_s < GRACE_S
        self._units.close(drain=healthy)
        if not healthy:
            self._process.kill()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join()

    def _send(self, target: Target, pipe: IO[bytes]) -> None:
        try:
            with pipe:
                pipe.write(json.dumps(asdict(target)).encode() + b"\n")
                for unit in self._units.receive():
                    self._sending_since_s = time.monotonic()
                    pipe.write(stream_worker.HEADER.pack(len(unit.data), unit.number, unit.key))
                    pipe.write(unit.data)
                    pipe.flush()
                    self._sending_since_s = None
        except OSError:
            return  # it has ended; the other thread tells why

    def _listen(self, pipe: IO[bytes]) -> None:
        fault = "the connection was lost"
        with pipe:
            for line in pipe:
                word, _, rest = line.decode(errors="replace").strip().partition(" ")
                if word == "connected":
                    self.connected = True
                elif word == "failed":
                    fault = rest or fault
        self._fault = fault
        self._units.close(drain=False)
