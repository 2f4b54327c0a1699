"""Choosing an engine."""

from __future__ import annotations

import builtins
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import engines
from engines.errors import EngineError, StyleError
from engines.model_file import StyleModel
from tests.conftest import ROOT


def test_auto_is_the_cpu_engine(tiny_style: Path) -> None:
    assert engines.load(tiny_style).info.name == "cpu"
    assert engines.load(StyleModel.open(tiny_style)).info.name == "cpu"
    assert engines.load(str(tiny_style), threads=1).info.name == "cpu"


def test_unknown_name_lists_the_known_ones(tiny_style: Path) -> None:
    with pytest.raises(EngineError, match=r"'gpu'.*auto, cpu, torch"):
        engines.load(tiny_style, "gpu")


def test_missing_style(tmp_path: Path) -> None:
    with pytest.raises(StyleError, match="no style in"):
        engines.load(tmp_path / "nowhere")


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Importing ``packages`` fails, as where they are not installed."""
    real = builtins.__import__

    def importing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] in packages:
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", importing)


def test_missing_torch_names_the_pip_line(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import engines.eager

    without(monkeypatch, "torch")
    with pytest.raises(EngineError, match=r'needs torch \(pip install "rtstyle\[train\]"\)'):
        engines.load(tiny_style, "torch")


def test_auto_falls_back_to_torch(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "openvino")
    assert engines.load(tiny_style).info.name == "torch"
    with pytest.raises(EngineError, match="needs OpenVINO"):
        engines.load(tiny_style, "cpu")


def test_auto_without_any_runtime_tells_of_the_best(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import engines.cpu
    import engines.eager

    without(monkeypatch, "openvino", "torch")
    with pytest.raises(EngineError, match="needs OpenVINO"):
        engines.load(tiny_style)


def test_importing_engines_loads_no_runtime() -> None:
    script = "import sys, engines; print(*{'torch', 'openvino', 'onnx', 'safetensors'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
