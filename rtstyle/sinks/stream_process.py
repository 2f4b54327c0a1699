"""One connection to a server, in a process of its own so that the network cannot block rtstyle."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from threading import Thread
from typing import IO

from rtstyle.frame_queue import FrameQueue, QueueClosedError
from rtstyle.sinks import stream_worker
from rtstyle.sinks.live_encoder import EncodedFrame

WAITING = 4
"""Encoded frames that may wait for the network. None of them may be dropped: later ones need them."""

GRACE_S = 1.0
"""How long ending a stream may take, seconds."""


@dataclass(frozen=True)
class StreamTarget:
    """Where encoded video goes, and its format.

    Attributes:
        url: as FFmpeg takes it.
        format: FFmpeg's name of the container.
        width, height: pixels.
        fps: frames per second.
        options: options of the muxer.
        sound: there is sound beside the pictures.
    """

    url: str
    format: str
    width: int
    height: int
    fps: int
    options: Mapping[str, str] = field(default_factory=dict)
    sound: bool = False


@dataclass(frozen=True, slots=True)
class StreamSound:
    """A piece of sound for a stream.

    Attributes:
        position: of its first sample in the stream, ``pcm.RATE`` a second.
        samples: stereo, 16 bits, interleaved.
    """

    position: int
    samples: bytes


class StreamProcess:
    """Sends encoded frames from a child process; no method waits for the network.

    Args:
        target: where to send them.

    Attributes:
        connected: True once the server has accepted the stream.
        error: why the connection has ended; empty while it has not.
    """

    def __init__(self, target: StreamTarget) -> None:
        self.connected = False
        self.error = ""
        self._frames: FrameQueue[tuple[EncodedFrame, Sequence[StreamSound]]] = FrameQueue(WAITING)
        self._sending_since_s: float | None = None
        self._process = subprocess.Popen(
            # -P: files beside the program must not be imported as packages.
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
    def has_room(self) -> bool:
        """True if one more frame may be sent."""
        return self._frames.waiting < WAITING

    @property
    def stalled_s(self) -> float:
        """For how many seconds the server has accepted nothing, although a frame waits."""
        since_s = self._sending_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def put(self, frame: EncodedFrame, sound: Sequence[StreamSound] = ()) -> None:
        """Send a frame, and sound before it; call it only if ``has_room``."""
        with suppress(QueueClosedError):
            self._frames.put((frame, sound))

    def close(self) -> None:
        """End the stream properly if that takes less than ``GRACE_S``; may be called twice."""
        healthy = self.connected and not self.error and self.stalled_s < GRACE_S
        self._frames.close(drain=healthy)
        if not healthy:
            self._process.kill()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join()

    def _send(self, target: StreamTarget, pipe: IO[bytes]) -> None:
        try:
            with pipe:
                pipe.write(json.dumps(asdict(target)).encode() + b"\n")
                for frame, sound in self._frames.receive():
                    self._sending_since_s = time.monotonic()
                    for one in sound:
                        pipe.write(stream_worker.HEADER.pack(len(one.samples), one.position, stream_worker.SOUND))
                        pipe.write(one.samples)
                    pipe.write(stream_worker.HEADER.pack(len(frame.data), frame.number, frame.key))
                    pipe.write(frame.data)
                    pipe.flush()
                    self._sending_since_s = None
        except OSError:
            return  # the process has ended; the other thread learns why

    def _listen(self, pipe: IO[bytes]) -> None:
        error = "the connection was lost"
        with pipe:
            for line in pipe:
                word, _, rest = line.decode(errors="replace").strip().partition(" ")
                if word == "connected":
                    self.connected = True
                elif word == "failed":
                    error = rest or error
        self.error = error
        self._frames.close(drain=False)
