"""OSC: frames a second during a flood of messages, and while the same flood goes to a socket that nobody reads.

python -m benchmarks.osc [--style NAME|DIR]
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from threading import Event, Thread

from benchmarks.report import Row, Section, at_least
from benchmarks.subject import Subject
from engines.openvino.engine import CpuEngine
from rtstyle.controls import Controls
from rtstyle.live.action_queue import ActionQueue
from rtstyle.live.actions import Actions
from rtstyle.live.http_guard import Address
from rtstyle.live.osc import OscServer
from rtstyle.live.webcam import WebcamJob, run_webcam

RATE = 10_000
"""Messages a second."""

SECONDS, ROUNDS = 4, 6
"""Length of one measurement; the two kinds take turns."""

SIZE, FPS = (320, 180), 30.0
"""Of the frames; small ones, so that a busy machine reaches the rate."""

KEPT = 0.98
"""The bar: frames a second with the flood by those without."""


def measure(subject: Subject) -> Section:
    """Stylize the pattern, and flood the OSC address in every other measurement."""
    queue = ActionQueue()
    server = OscServer(Address("127.0.0.1", 0), queue)
    rates: dict[bool, list[float]] = {False: [], True: []}
    # The sender itself takes processor time, so it always runs.
    nobody = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    nobody.bind(("127.0.0.1", 0))

    def compare(actions: Actions) -> None:
        _frames(actions, SECONDS)  # the first frames wait for the compilation
        for number in range(2 * ROUNDS):
            flooded = number % 2 == 1
            sender = _flood(server.address.port if flooded else nobody.getsockname()[1])
            rates[flooded].append(_frames(actions, SECONDS))
            sender.kill()
            sender.wait()
        actions.change("stop")

    def begin(actions: Actions) -> None:
        server.start(actions)
        queue.actions = actions
        Thread(target=compare, args=(actions,), name="comparison", daemon=True).start()

    job = WebcamJob("pattern", ("null",), SIZE, FPS)
    run_webcam(job, lambda: CpuEngine(subject.style), Controls(hold_fps=False), on_ready=begin)
    server.close()
    queue.close()
    nobody.close()
    quiet, flooded = (sum(rates[kind]) / ROUNDS for kind in (False, True))
    how = f"{SIZE[0]}×{SIZE[1]} at {FPS:g} fps, {ROUNDS} × {SECONDS} s each, in turns"
    rows = [
        Row(f"frames a second, {RATE} messages a second to nobody", how, f"{quiet:.2f}"),
        Row(f"frames a second, {RATE} messages a second to rtstyle", how, f"{flooded:.2f}"),
        at_least("rate that is kept", "the second by the first", flooded / quiet, KEPT, "", 3),
    ]
    return Section("osc", "A flood of OSC messages", subject.label, rows)


def _frames(actions: Actions, seconds: float) -> float:
    """Return the frames a second over some seconds."""
    before, start_s = actions.live.stats.snapshot().frames_out, time.monotonic()
    Event().wait(seconds)
    return (actions.live.stats.snapshot().frames_out - before) / (time.monotonic() - start_s)


def _flood(port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "benchmarks.osc", "--flood", str(port)])


def _send(port: int) -> None:
    """Send ``RATE`` messages a second until the process is killed."""
    from pythonosc.osc_message_builder import build_msg

    messages = [build_msg("/rtstyle/strength", 0.5 + number / 2000).dgram for number in range(1000)]
    sent, start_s = 0, time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        while True:
            while sent < (time.monotonic() - start_s) * RATE:
                sender.sendto(messages[sent % 1000], ("127.0.0.1", port))
                sent += 1
            time.sleep(0.001)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--flood"]:
        _send(int(sys.argv[2]))
    else:
        from benchmarks.bench import main

        main("osc")
