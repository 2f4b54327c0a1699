"""What all tests share: a small style, and the folder of real clips and pictures."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """Signals as a terminal gives them, since background jobs ignore some; and none of the developer's own styles."""
    os.environ["RTSTYLE_STYLES"] = str(ROOT / "tests" / "no styles of one's own")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


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
