"""The control address as scripts use it, and as those who mean harm do."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.errors import ConfigError
from rtstyle.controls import Controls
from rtstyle.live import http_control as module
from rtstyle.live.actions import Actions
from rtstyle.live.http_control import BODY_BYTES, CONNECTIONS, ControlServer
from rtstyle.live.http_guard import Address
from rtstyle.live.session import LiveSession
from rtstyle.live.webcam import WebcamJob, run_webcam
from rtstyle.media.image_files import read_picture
from tests.rtstyle.clips import Still
from tests.rtstyle.test_style_switcher import until

ROOT = Path(__file__).resolve().parents[2]
STYLES = ("wave", "scream", "udnie")


@dataclass
class Running:
    """A run that goes on in a thread, and its address."""

    live: LiveSession
    controls: Controls
    server: ControlServer

    def ask(self, method: str, path: str, body: str | bytes = b"", **headers: str) -> tuple[int, dict[str, Any]]:
        """The status and the JSON of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.address.port, timeout=20)
        try:
            connection.request(method, path, body.encode() if isinstance(body, str) else body, headers)
            answer = connection.getresponse()
            assert answer.headers["Content-Type"].startswith("application/json")
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def frames(self) -> int:
        """Frames that were shown."""
        return self.live.stats.snapshot().frames_out


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.chdir(tmp_path)
    controls = Controls(styles=STYLES)
    server = ControlServer(Address("127.0.0.1", 0))
    ready: list[LiveSession] = []

    def begin(actions: Actions) -> None:
        server.start(actions)
        ready.append(actions.live)

    job = WebcamJob("pattern", ("null",), (64, 48), 50.0)
    run = threading.Thread(target=run_webcam, args=(job, Still, controls), kwargs={"on_ready": begin}, daemon=True)
    run.start()
    until(lambda: bool(ready) and ready[0].newest is not None, 20)
    yield Running(ready[0], controls, server)
    controls.request_stop()
    run.join(20)
    server.close()
    server.close()
    assert not run.is_alive()


def test_figures_and_styles(running: Running) -> None:
    status, stats = running.ask("GET", "/stats")
    assert status == 200 and stats["sink_states"] == {"null": "open"} and stats["frames_out"] > 0
    assert set(stats) == set(running.live.read().to_dict())
    assert running.ask("GET", "/styles") == (200, {"styles": list(STYLES), "style": "still", "wanted": "still"})


@pytest.mark.parametrize("body", ["scream", '"scream"', '{"style": "scream"}', '{"value": "scream"}', "style=scream"])
def test_a_style_in_every_way_of_saying_it(running: Running, body: str) -> None:
    assert running.ask("POST", "/style", body) == (200, {"style": "scream"})
    assert running.controls.style == "scream"


def test_everything_that_can_be_changed(running: Running, tmp_path: Path) -> None:
    ask = running.ask
    assert [ask("POST", "/style", word)[1]["style"] for word in ("next", "next", "next", "previous")] == [
        "scream", "udnie", "wave", "udnie",
    ]  # fmt: skip
    assert ask("POST", "/strength", "0.25") == (200, {"strength": 0.25}) and running.controls.strength == 0.25
    assert ask("POST", "/scale", '{"scale": 2}') == (200, {"scale": 2}) and running.controls.scale == 2
    assert ask("POST", "/colours", "0.75") == (200, {"colours": 0.75}) and running.controls.colours == 0.75
    assert ask("GET", "/stats")[1]["colours"] == 0.75
    assert ask("POST", "/texture", "0.5") == (422, {"error": "udnie has no texture", "hint": "choose another style"})
    assert ask("POST", "/style", "wave@0.3")[1] == {"style": "wave@0.3"} and ask("GET", "/stats")[1]["texture"] == 0.3
    assert ask("POST", "/texture", "0.5")[1]["style"] == "wave@0.5" and ask("POST", "/style", "udnie")[0] == 200
    assert ask("POST", "/only", "all") == (200, {"only": "all"}) and ask("GET", "/stats")[1]["only"] == "all"
    mixed = {"style": "udnie:0.7+wave:0.3", "second": "wave", "mix": 0.3}
    assert ask("POST", "/mix", "0.3") == (200, mixed) and running.controls.style == mixed["style"]
    assert ask("POST", "/style", "wave:3+udnie:1")[1] == {"style": "wave:0.75+udnie:0.25"}
    assert ask("POST", "/style", "next")[1] == {"style": "scream:0.75+udnie:0.25"}, "the second one stays"
    assert ask("POST", "/style", "scream")[1] == {"style": "scream"}, "a name is what is shown"
    assert ask("POST", "/glide", '{"glide": 4}') == (200, {"glide": 4}) and running.controls.glide == 4
    assert ask("POST", "/playlist", "wave,scream") == (200, {"playlist": ["wave", "scream"]})
    assert ask("POST", "/playlist", '["udnie", "wave+scream"]')[1] == {"playlist": ["udnie", "wave:0.5+scream:0.5"]}
    assert ask("POST", "/every", "60") == (200, {"every": 60}) and ask("GET", "/stats")[1]["every"] == 60
    assert ask("POST", "/playlist", "off") == (200, {"playlist": []}) and not running.controls.playlist
    assert [ask("POST", "/mirror", body)[1]["mirror"] for body in ("on", "", "", "false", "true")] == [
        True, False, True, False, True,
    ]  # fmt: skip
    assert ask("POST", "/hold_fps") == (200, {"hold_fps": False}) and not running.controls.hold_fps
    assert ask("POST", "/hold_fps", '{"hold_fps": true}') == (200, {"hold_fps": True})
    assert ask("POST", "/pause") == (200, {"paused": True}) and running.controls.paused
    assert ask("POST", "/pause", "off") == (200, {"paused": False})
    status, saved = ask("POST", "/snapshot")
    assert status == 200 and read_picture(Path(saved["saved"]))[0].shape == (48, 64, 3)
    status, begun = ask("POST", "/record")
    assert status == 200 and ask("GET", "/stats")[1]["recording"] == begun["recording"]
    assert ask("POST", "/record", "on")[1] == begun, "it is on already"
    seen = running.frames()
    until(lambda: running.frames() > seen + 10)
    assert ask("POST", "/record")[1] == {"recording": None, "recorded": begun["recording"]}
    assert ask("POST", "/record", "off")[1]["recorded"] is None
    assert Path(begun["recording"]).parent == tmp_path
    assert ask("POST", "/stop") == (200, {"stopping": True}) and running.controls.stop_requested


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("/style", "cubism", 422, "no style 'cubism'"),
        ("/style", "", 422, "takes a name"),
        ("/style", "wave+cubism", 422, "no style 'cubism'"),
        ("/style", "wave:-1+udnie:2", 422, "the weight of wave is -1"),
        ("/mix", "2", 422, "out of range"),
        ("/mix", "cubism", 422, "no style 'cubism'"),
        ("/mix", "", 422, "takes a share"),
        ("/glide", "-1", 422, "out of range"),
        ("/playlist", "wave", 422, "two styles or more"),
        ("/playlist", "wave,cubism", 422, "no style 'cubism'"),
        ("/playlist", "7", 422, "takes names"),
        ("/every", "0", 422, "is not a time"),
        ("/style", "7", 422, "takes a name"),
        ("/strength", "2", 422, "out of range"),
        ("/colours", "-0.1", 422, "out of range"),
        ("/only", "hands", 422, "only 'hands'"),
        ("/faces", "1.1", 422, "out of range"),
        ("/strength", "much", 422, "takes a number"),
        ("/strength", "NaN", 422, "takes a number"),
        ("/strength", "true", 422, "takes a number"),
        ("/strength", "1" * 1000, 422, "takes a number"),
        ("/scale", "[1]", 422, "takes a number"),
        ("/scale", "0", 422, "scale"),
        ("/mirror", "perhaps", 422, "on or off"),
        ("/record", '{"style": 1}', 422, "nothing about record"),
        ("/strength", "[" * 1000, 422, "takes a number"),
        ("/style", b"\xff\xfe", 400, "not text"),
        ("/style", b"x" * (BODY_BYTES + 1), 413, "at most"),
        ("/paint", "", 404, "there is nothing at /paint"),
        ("/stats", "", 405, "/stats takes GET, not POST"),
        ("/../../etc/passwd", "", 404, "there is nothing at"),
    ],
)
def test_what_makes_no_sense_is_told_and_changes_nothing(
    running: Running, path: str, body: str | bytes, status: int, told: str
) -> None:
    before = running.live.read()
    got, answer = running.ask("POST", path, body)
    assert (got, set(answer)) == (status, {"error", "hint"}) and told in answer["error"]
    after = running.live.read()
    assert (after.wanted, after.strength, after.scale, after.mirror) == (
        before.wanted, before.strength, before.scale, before.mirror,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", {"Origin": "https://evil.example"}, 403),
        ("POST", {"Origin": "null"}, 403),
        ("GET", {"Host": "evil.example"}, 403),
        ("GET", {"Host": "evil.example:1"}, 403),
        ("GET", {"Host": ""}, 403),
        ("GET", {"Host": "127.0.0.1:99999"}, 403),
        ("GET", {"Host": "127.0.0.1:1"}, 403),
        ("POST", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("PUT", {}, 405),
        ("OPTIONS", {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}, 403),
        ("POST", {"Transfer-Encoding": "chunked"}, 411),
        ("POST", {"Content-Length": "-1"}, 400),
        ("POST", {"Content-Length": "999999"}, 413),
        ("POST", {"Content-Length": "9" * 50}, 400),
    ],
)
def test_pages_of_others_and_odd_requests_are_refused(
    running: Running, method: str, headers: dict[str, str], status: int
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", running.server.address.port, timeout=20)
    connection.putrequest(method, "/stop", skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == status and "error" in json.loads(answer.read())
    assert not any(name.lower().startswith("access-control") for name in answer.headers)
    assert not running.controls.stop_requested
    connection.close()


def test_a_wrong_method_is_answered_with_the_right_one(running: Running) -> None:
    for method, path, allowed in (("GET", "/style", "POST"), ("DELETE", "/mirror", "POST"), ("PUT", "/stats", "GET")):
        connection = http.client.HTTPConnection("127.0.0.1", running.server.address.port, timeout=20)
        connection.request(method, path)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Allow"]) == (405, allowed)
        assert json.loads(answer.read()) == {"error": f"{path} takes {allowed}, not {method}", "hint": ""}
        connection.close()
    status, told = running.ask("GET", "/nothing")
    assert status == 404 and told["error"] == "there is nothing at /nothing" and "/style" in told["hint"]


def test_a_client_may_ask_twice_and_not_send_too_much(running: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", running.server.address.port, timeout=20)
    for _ in range(300):  # together more than one request may have
        connection.request("POST", "/mirror", b"on", {"X-Padding": "x" * 100})
        assert connection.getresponse().read() == b'{"mirror": true}\n'
    connection.close()
    field = b"x" * 60 + b": " + b"y" * 300 + b"\r\n"
    assert talk(running.server.address.port, b"GET /stats HTTP/1.1\r\n" + field * 60) == b""


def test_a_page_of_its_own_may_ask(running: Running) -> None:
    for name in ("127.0.0.1", "localhost"):
        host = f"{name}:{running.server.address.port}"
        assert running.ask("GET", "/stats", Host=host, Origin=f"http://{host}")[0] == 200
    assert running.ask("GET", "/stats", Host="localhost", **{"Sec-Fetch-Site": "same-origin"})[0] == 200


def talk(port: int, data: bytes) -> bytes:
    """Send bytes, and read until the other end is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        try:
            one.sendall(data)
            answer = b""
            while chunk := one.recv(4096):
                answer += chunk
        except ConnectionError:
            return b""
        return answer


def test_random_bytes_disturb_nothing(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 0.3)
    port, random = running.server.address.port, np.random.default_rng(1)
    before = running.frames()
    for size in (1, 10, 100, 1000, 20_000, 100_000):
        for ending in (b"", b"\r\n\r\n"):
            talk(port, random.bytes(size) + ending)
    talk(port, b"GET /stats HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n")
    talk(port, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n")
    assert b"400" in talk(port, b"BREW /stats HTTP/1.1\r\n\r\n")
    talk(port, b"GET /stats\r\n")
    assert running.ask("GET", "/stats")[0] == 200
    until(lambda: running.frames() > before + 20)


def test_slow_clients_are_cut_off(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 0.4)
    with socket.create_connection(("127.0.0.1", running.server.address.port), timeout=20) as slow:
        start_s = time.monotonic()
        with pytest.raises(OSError):  # noqa: PT011, PT012  # reset or broken pipe, as the system likes
            while time.monotonic() < start_s + 10:
                slow.sendall(b"G")
                time.sleep(0.05)
        assert time.monotonic() - start_s < 5


def test_two_hundred_connections_hold_up_neither_the_picture_nor_the_next_one(running: Running) -> None:
    port = running.server.address.port
    assert running.ask("GET", "/stats")[0] == 200, "the thread for actions has started"
    before, threads = running.frames(), threading.active_count()
    idle = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(200)]
    try:
        assert running.ask("POST", "/style", "udnie") == (200, {"style": "udnie"})
        assert threading.active_count() <= threads + CONNECTIONS + 4
        until(lambda: running.frames() > before + 30)
    finally:
        for one in idle:
            one.close()
    until(lambda: threading.active_count() <= threads)


def test_many_clients_at_once_are_all_answered_in_turn(running: Running) -> None:
    answers: list[int] = []

    def ask() -> None:
        for _ in range(10):
            answers.append(running.ask("POST", "/mirror")[0])

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    assert answers == [200] * 40


def test_the_token_on_the_wire(running: Running) -> None:
    server = ControlServer(Address("127.0.0.1", 0), "correct horse")
    server.start(Actions(running.live))
    port = server.address.port
    assert b"401" in talk(port, b"POST /stop HTTP/1.0\r\n\r\n")
    server.close()


def test_a_port_that_is_taken_is_told() -> None:
    server = ControlServer(Address("127.0.0.1", 0))
    with pytest.raises(ConfigError, match="cannot listen"):
        ControlServer(server.address)
    server.close()


def test_ipv6(running: Running) -> None:
    try:
        server = ControlServer(Address("::1", 0))
    except ConfigError:
        pytest.skip("no IPv6 here")
    server.start(Actions(running.live))
    connection = http.client.HTTPConnection("::1", server.address.port, timeout=20)
    connection.request("GET", "/stats")
    assert connection.getresponse().status == 200
    connection.close()
    server.close()


def test_failures_of_the_disk_are_told(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert running.ask("POST", "/record")[0] == running.ask("POST", "/snapshot")[0] == 409

    def fail(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(LiveSession, "read", fail)
    told = {"error": "ZeroDivisionError: oh", "hint": "this is a fault in rtstyle"}
    assert running.ask("GET", "/stats") == (500, told)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_command_line_with_curl(tiny_style: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "rtstyle", "webcam", "--style", str(tiny_style), "--source", "pattern",
         "--size", "64x48", "--sink", "null", "--control", "0"],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "RTSTYLE_TOKEN": "correct-horse"},
    )  # fmt: skip
    assert program.stderr is not None
    line = ""
    while "control at " not in line:
        line = program.stderr.readline()
        assert line
    url = line.split()[-1]

    def curl(*arguments: str) -> dict[str, Any]:
        out = subprocess.run(["curl", "-sS", *arguments], capture_output=True, text=True, timeout=30, check=True).stdout
        return dict(json.loads(out))

    token = ("-H", "Authorization: Bearer correct-horse")
    assert "token" in curl("-X", "POST", f"{url}/stop")["error"]
    assert curl(*token, "-X", "POST", f"{url}/style", "-d", "wave") == {"style": "wave"}
    assert curl(*token, f"{url}/stats")["wanted"] == "wave"
    assert curl(*token, "-X", "POST", f"{url}/stop") == {"stopping": True}
    assert program.wait(timeout=30) == 0
    program.stderr.close()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--control", "0.0.0.0:0"], "no token"), (["--control", "nowhere"], "is not an address")],
)
def test_an_unsafe_address_is_refused_before_anything_starts(arguments: list[str], told: str) -> None:
    call = [sys.executable, "-m", "rtstyle", "webcam", "--source", "pattern", "--sink", "null", *arguments]
    env = {name: value for name, value in os.environ.items() if name != "RTSTYLE_TOKEN"}
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert done.returncode == 1 and told in done.stderr and "Traceback" not in done.stderr
