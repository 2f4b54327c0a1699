"""Program that sends encoded video to a server, started by ``rtstyle.sinks.stream_process``.

While FFmpeg connects, or writes a header or trailer, it holds Python's lock for as long as the network takes, which
would stop the window and everything else; and only a process can be ended in the middle of that.

Standard input: one line of JSON (the fields of ``StreamTarget``), then frames and sound: ``HEADER`` and the bytes that
it announces. Standard output: ``connected`` after the first frame was accepted, or ``failed REASON``. The program ends
with its input.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import stat
import struct
import sys
from fractions import Fraction
from typing import IO, Any

HEADER = struct.Struct("<IQB")
"""Number of bytes that follow, number of the frame or of the first sample, and 1 for a keyframe or ``SOUND``."""

SOUND = 2
"""Marks samples: stereo, 16 bits, interleaved."""

SOUND_RATE, SOUND_BITS = 48_000, 160_000
"""Samples, and bits of encoded sound, per second."""

_INTERLEAVE = {"max_interleave_delta": "1"}
"""A frame waits in the muxer for the sound that belongs before it, but only until the next frame comes."""

_PDEATHSIG = 1
"""PR_SET_PDEATHSIG of linux/prctl.h."""

BUFFER = 256 * 1024
"""Bytes that the system may buffer until the server accepts them: a second of a small stream."""


def main() -> int:
    """Send until the input ends. Returns: the exit code, 1 after a failure."""
    _end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    source = sys.stdin.buffer
    try:
        _send(json.loads(source.readline()), source)
    except Exception as error:  # noqa: BLE001  # the parent waits for one line, whatever happened
        _report(f"failed {getattr(error, 'strerror', None) or error or type(error).__name__}")
        return 1
    return 0


def _end_with_parent() -> None:
    """Die with the parent, whose end would not be noticed while connecting."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _send(settings: dict[str, Any], source: IO[bytes]) -> None:
    import av

    av.logging.set_level(None)
    frame_s, connected = Fraction(1, settings["fps"]), False
    options = settings["options"] | (_INTERLEAVE if settings["sound"] else {})
    with av.open(settings["url"], "w", format=settings["format"], container_options=options) as output:
        stream = output.add_mux_stream("h264", rate=settings["fps"], width=settings["width"], height=settings["height"])
        if settings["sound"]:
            audio = output.add_stream("aac", rate=SOUND_RATE, layout="stereo", bit_rate=SOUND_BITS)
        while len(header := source.read(HEADER.size)) == HEADER.size:
            size, number, key = HEADER.unpack(header)
            data = source.read(size)
            if len(data) < size:
                return
            if key == SOUND:
                output.mux(audio.encode(_sound(data, number)))
                continue
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.duration = stream, frame_s, 1
            packet.pts = packet.dts = number
            packet.is_keyframe = bool(key)
            output.mux(packet)
            if not connected:
                connected = True
                _limit_send_buffer()
                _report("connected")


def _sound(samples: bytes, position: int) -> Any:
    import av

    frame = av.AudioFrame(format="s16", layout="stereo", samples=len(samples) // 4)
    frame.planes[0].update(samples)
    frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, position, Fraction(1, SOUND_RATE)
    return frame


def _limit_send_buffer() -> None:
    """Limit the system's buffer for a slow server to ``BUFFER``; its default of megabytes would be seconds of delay."""
    for number in range(3, 64):
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            with socket.socket(fileno=os.dup(number)) as one:
                if one.type == socket.SOCK_STREAM and one.family != getattr(socket, "AF_UNIX", None):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        except OSError:
            continue  # not open, or Windows, where sockets are not files


def _report(line: str) -> None:
    print(" ".join(line.split()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
