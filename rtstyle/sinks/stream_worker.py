"""A program of its own that sends compressed video to a server: ``rtstyle.sinks.stream_process`` starts it.

FFmpeg's connecting, header and trailer hold Python's lock for as long as the network takes, which would stop the window
and everything else; and only a process can be ended in the middle of them.

Standard input: one line of JSON (url, format, options, width, height, fps), then units: ``HEADER`` and as many bytes
as it says. Standard output: ``connected`` after the first one was taken, or ``failed REASON``. Ends with its input.
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
"""Bytes that follow, number of the picture, 1 for a keyframe."""

_PDEATHSIG = 1
"""PR_SET_PDEATHSIG of linux/prctl.h."""

BUFFER = 256 * 1024
"""Bytes that the system may keep until the server takes them: a second of a small painting."""


def main() -> int:
    """Send until the input ends. Returns: 0, or 1 after a failure."""
    _end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the one who started us tells us when to end
    source = sys.stdin.buffer
    try:
        _send(json.loads(source.readline()), source)
    except Exception as error:  # noqa: BLE001  # one line for whatever it is: somebody waits for it
        _tell(f"failed {getattr(error, 'strerror', None) or error or type(error).__name__}")
        return 1
    return 0


def _end_with_parent() -> None:
    """End when the program that started us is killed: in the middle of connecting nobody reads the input's end."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _send(settings: dict[str, Any], source: IO[bytes]) -> None:
    import av

    av.logging.set_level(None)
    unit_s, told = Fraction(1, settings["fps"]), False
    with av.open(settings["url"], "w", format=settings["format"], container_options=settings["options"]) as output:
        stream = output.add_mux_stream("h264", rate=settings["fps"], width=settings["width"], height=settings["height"])
        while len(header := source.read(HEADER.size)) == HEADER.size:
            size, number, key = HEADER.unpack(header)
            data = source.read(size)
            if len(data) < size:
                return
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.duration = stream, unit_s, 1
            packet.pts = packet.dts = number
            packet.is_keyframe = bool(key)
            output.mux(packet)
            if not told:
                told = True
                _bound_the_system()
                _tell("connected")


def _bound_the_system() -> None:
    """Let the system keep only ``BUFFER`` bytes for a server that takes them slowly; its megabytes would be seconds."""
    for number in range(3, 64):
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            with socket.socket(fileno=os.dup(number)) as one:
                if one.type == socket.SOCK_STREAM and one.family != getattr(socket, "AF_UNIX", None):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        except OSError:
            continue  # no such file, or Windows, whose sockets are no files


def _tell(line: str) -> None:
    print(" ".join(line.split()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
