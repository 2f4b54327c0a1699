"""Start Ray on this machine or join a running cluster, and look at its machines."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from engines.errors import ConfigError, EngineError
from engines.install_hint import pip_install

CONNECT_S = 5.0
"""How long an address may take to answer, seconds."""

PROBE_S = 60.0
"""How long a machine may take to start a process, seconds."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}
"""Nothing is reported to Ray's makers, and Ray prints nothing: what it says about dead workers is said here, too."""

_FOLDER = "rtstyle-ray-"

_OBJECTS = 256 << 20
"""Memory for results on this machine, bytes: its processes share the job folder, and send next to nothing."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How a client of gRPC begins: HTTP/2's first words and a frame without settings, which the server answers in kind."""

_SETTINGS = 4
"""Type of that frame, at byte 3."""


@dataclass(frozen=True)
class Machine:
    """A machine of the cluster.

    Attributes:
        id: of Ray.
        name: of the host.
        cores: that Ray may use.
        cards: that Ray may use.
    """

    id: str
    name: str
    cores: int
    cards: int


@contextmanager
def joined(address: str) -> Iterator[str | None]:
    """Be part of a cluster inside the context.

    Args:
        address: ``local`` starts one on this machine; otherwise HOST:PORT of a running one.

    Yields:
        folder for temporary files of workers on this machine, which is removed at the end; ``None`` if they may be
        anywhere.

    Raises:
        ConfigError: the address is not one, or another Ray or Python runs there.
        EngineError: Ray is not installed, cannot start, or does not answer.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})
    if address != "local":
        _check_answers(address)
    with ExitStack() as stack:
        ray = _import()
        stack.callback(ray.shutdown)
        folder = None
        settings: dict[str, Any] = {"address": address}
        if address == "local":
            os.environ.setdefault("RAY_worker_niceness", "0")  # 15 by default: half the speed beside anything else
            folder = _temporary_folder()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.callback(ray.shutdown)
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            settings |= {"num_cpus": cores, "include_dashboard": False, "object_store_memory": _OBJECTS}
            settings |= {"_temp_dir": folder, "_node_ip_address": "127.0.0.1"}  # nobody else can reach it
        with _own_signals(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                ray.init(**settings, log_to_driver=False, logging_level="CRITICAL", namespace="rtstyle")
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                raise _refusal(address, error) from error
        yield folder


def machines() -> list[Machine]:
    """Return the machines of the cluster that may work, sorted by name.

    Raises:
        ConfigError: some have other versions than this one; each is named.
        EngineError: there are none, or one does not answer.
    """
    import ray

    found = []
    for node in cast("Any", ray).nodes():
        cores, cards = int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0))
        if node["Alive"] and cores:
            found.append(Machine(node["NodeID"], node["NodeManagerHostname"], cores, cards))
    if not found:
        raise EngineError("the cluster has no machine with processors", hint="start one with `ray start`")
    _check_versions(found)
    return sorted(found, key=lambda machine: (machine.name, machine.id))


def is_alive(machine: Machine) -> bool:
    """Return True unless the machine has left the cluster."""
    import ray

    return any(node["NodeID"] == machine.id and node["Alive"] for node in cast("Any", ray).nodes())


def on(machine: Machine) -> Any:
    """Return the strategy of Ray that schedules on one machine only."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(machine.id, soft=False)


def _temporary_folder() -> str:
    """Make a folder for Ray, and remove those of processes that were killed."""
    root = Path("/tmp")  # noqa: S108  # sockets lie in it, whose paths must be short
    root = root if root.is_dir() else Path(tempfile.gettempdir())
    for path in root.glob(f"{_FOLDER}*") if os.name == "posix" else ():
        try:
            os.kill(int(path.name[len(_FOLDER) :].partition("-")[0]), 0)
        except ProcessLookupError:
            shutil.rmtree(path, ignore_errors=True)
        except (OSError, ValueError):  # it lives, or is not ours
            continue
    return tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-", dir=root)


def _import() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray
    except ModuleNotFoundError as error:
        raise EngineError("--cluster needs Ray, which is not installed", hint=pip_install("cluster")) from error
    return ray


def _check_answers(address: str) -> None:
    """Raise unless something at the address speaks gRPC, as the head of a cluster does; Ray itself waits for long."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        hint = "give local, or HOST:PORT like studio-a:6379"
        raise ConfigError(f"{address} is not an address of a cluster", hint=hint)
    hint = "start the cluster with `ray start --head` there"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_S) as connection:
            connection.settimeout(CONNECT_S)
            connection.sendall(_PREFACE)
            answer = connection.recv(9)
    except (OSError, OverflowError) as error:
        raise EngineError(f"no cluster answers at {address}", hint=hint) from error
    if len(answer) < 4 or answer[3] != _SETTINGS:
        raise EngineError(f"what answers at {address} is not Ray", hint=hint)


def _refusal(address: str, error: Exception) -> ConfigError | EngineError:
    """Return the error of Ray in one line."""
    text = " ".join(str(error).split())
    if "ersion mismatch" in text:
        return ConfigError(f"the cluster at {address} runs another Ray or Python", hint=text[:200])
    if "node_ip_address" in text or "local node" in text or "raylet" in text:
        hint = f"run `ray start --address={address}` on this machine, so that it belongs to the cluster"
        return EngineError(f"this machine is not part of the cluster at {address}", hint=hint)
    return EngineError(f"Ray cannot start at {address}", hint=text[:200])


@contextmanager
def _own_signals() -> Iterator[None]:
    """Restore the handlers of signals, which Ray replaces."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        with suppress(ValueError):  # not the main thread, where Ray replaces none
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _check_versions(found: list[Machine]) -> None:
    import ray

    probe = ray.remote(_prober())
    own = _prober()()
    asked = {
        probe.options(num_cpus=0, max_retries=0, scheduling_strategy=on(machine)).remote(): machine for machine in found
    }
    faults = []
    ready, silent = ray.wait(list(asked), num_returns=len(asked), timeout=PROBE_S)
    if silent:
        names = ", ".join(asked[one].name for one in silent)
        raise EngineError(f"no answer from {names}", hint="restart Ray there, or remove it from the cluster")
    for one in ready:
        try:
            versions = ray.get(one)
        except ray.exceptions.RayError as error:
            raise EngineError(f"{asked[one].name} cannot start a process", hint=_first_line(error)) from error
        others = [f"{name} {have or 'not at all'}" for name, have in versions.items() if have != own[name]]
        if others:
            faults.append(f"{asked[one].name} has {', '.join(others)}")
    if faults:
        hint = f"install on every machine what is here: {', '.join(f'{name} {own[name]}' for name in own)}"
        raise ConfigError(f"the machines have other versions: {'; '.join(faults)}", hint=hint)


def _prober() -> Callable[[], dict[str, str]]:
    """Return a function that travels by value: a machine may have another rtstyle, without this module."""

    def versions() -> dict[str, str]:
        from importlib import import_module, metadata

        found = {}
        for label, package in (("rtstyle", ""), ("PyAV", "av"), ("openvino", "openvino"), ("numpy", "numpy")):
            try:
                found[label] = metadata.version(package) if package else str(import_module("rtstyle").__version__)
            except Exception:  # noqa: BLE001  # whatever is broken there is not the same as here
                found[label] = ""
        return found

    return versions


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
