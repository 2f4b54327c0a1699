"""What all tests share: a small style, and the folder of real clips and pictures."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

UNTIDY: list[str] = []
"""Tests that have just failed."""

MOST_RERUNS = 10
"""How many tests may miss their time in a run; one or two do on two cores."""

NDI_SETTINGS = tempfile.TemporaryDirectory(prefix="rtstyle-ndi-")
"""Folder of NDI's settings, which its library reads once, when it is loaded."""


def pytest_configure() -> None:
    os.environ["RTSTYLE_STYLES"] = str(ROOT / "tests" / "no styles of one's own")
    _configure_ndi()
    _reset_signals()


def _configure_ndi() -> None:
    """NDI finds the senders of this machine without multicast, and every test process has a name of its own."""
    settings = {"machinename": f"TEST-{os.getpid()}", "networks": {"ips": "127.0.0.1,"}}
    (Path(NDI_SETTINGS.name) / "ndi-config.v1.json").write_text(json.dumps({"ndi": settings}))
    os.environ["NDI_CONFIG_DIR"] = NDI_SETTINGS.name


def _reset_signals() -> None:
    """Signals as a terminal gives them: a background job starts with some ignored, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let live video miss its time once or twice: other programs, or another test, may take the cores."""
    for item in items:
        if item.get_closest_marker("real_time"):
            item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=1))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.outcome in ("failed", "rerun"):
        UNTIDY.append(report.nodeid)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Collect what a test that failed has left open, or the next one would be blamed for it."""
    if UNTIDY:
        UNTIDY.clear()
        for name in ("last_type", "last_value", "last_traceback", "last_exc"):  # pytest keeps them until its next call
            vars(sys).pop(name, None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if so many tests missed their time that more than a busy machine must be at fault."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    again = len(reporter.stats.get("rerun", ())) if reporter is not None else 0
    if again > MOST_RERUNS and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"{again} tests of live video were tried again: more than {MOST_RERUNS}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def tiny_style(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a style called ``tiny``: a narrow generator with seeded weights that visibly changes a picture."""
    from engines.export import save_style
    from engines.style_file import StyleMeta
    from tests.generators import narrow, unlike_identity

    meta = StyleMeta("tiny", "Tiny · for tests", "nobody", "noise", "CC0-1.0", {"steps": 0, "seed": 0})
    return save_style(tmp_path_factory.mktemp("styles") / "tiny", unlike_identity(narrow()), meta).folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real clips, pictures and feature networks; the test is skipped where there is none."""
    folder = Path(os.environ.get("RTSTYLE_DATA", ROOT / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}; set RTSTYLE_DATA")
    return folder
