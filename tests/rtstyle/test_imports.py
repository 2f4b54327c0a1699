"""What starting rtstyle loads: nothing that is heavy, so that the help is there at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import rtstyle

ROOT = Path(__file__).resolve().parents[2]

HEAVY = {"torch", "cv2", "av", "openvino", "onnxruntime", "onnx", "pygame", "numpy", "rich", "safetensors", "PIL"}


def loaded_by(code: str) -> set[str]:
    """Top-level modules that are loaded after ``code`` ran in a fresh interpreter."""
    report = "\nimport sys\nprint('MODULES', *sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code + report], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("MODULES")[2].split())


@pytest.mark.parametrize(
    "code",
    [
        "import rtstyle",
        "import rtstyle.cli",
        "from rtstyle.cli import main\nassert main(['--help']) == 0",
        "from rtstyle.cli import main\nassert main(['video', '--help']) == 0",
        "from rtstyle.cli import main\nassert main(['image', '--help']) == 0",
        "from rtstyle.cli import main\nassert main(['--version']) == 0",
    ],
)
def test_starting_loads_nothing_heavy(code: str) -> None:
    assert loaded_by(code) & HEAVY == set()


@pytest.mark.parametrize("command", ["styles", "styles --json"])
def test_listing_styles_loads_no_runtime(command: str) -> None:
    loaded = loaded_by(f"from rtstyle.cli import main\nassert main({command.split()!r}) == 0")
    assert loaded & (HEAVY - {"numpy", "safetensors"}) == set()


BASE = [
    "rtstyle.api",
    "rtstyle.video",
    "rtstyle.live.webcam",
    "rtstyle.image",
    "rtstyle.doctor",
    "engines.openvino.engine",
]


@pytest.mark.parametrize("module", BASE)
def test_nothing_of_the_base_loads_torch(module: str) -> None:
    assert loaded_by(f"import {module}") & {"torch", "onnx", "pygame"} == set()


def test_the_version_is_that_of_the_package() -> None:
    assert f'version = "{rtstyle.__version__}"' in (ROOT / "pyproject.toml").read_text()


def test_no_two_files_import_each_other() -> None:
    grimp = pytest.importorskip("grimp")
    graph = grimp.build_graph("engines", "rtstyle", "train", cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    mutual = [(name, other) for name, others in imports.items() for other in others if name in imports[other]]
    assert not mutual
