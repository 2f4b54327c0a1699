"""Small networks that come with the package as OpenVINO graphs, made by ``engines.vision.convert``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.errors import StyleError
from engines.openvino.runtime import as_engine_errors, shared_core
from engines.style_file import sha256

if TYPE_CHECKING:
    import openvino as ov

MANIFEST = "manifest.json"
"""File that names the origin of the graphs in its folder, and their sha256."""

_HINT = "pip install --force-reinstall --no-deps rtstyle"


class ConvertedNetworks:
    """The graphs in a folder, each compiled for one CPU core when it is first needed.

    Args:
        folder: of the graphs and their manifest.

    Raises:
        StyleError: a file is missing or altered.
        EngineError: OpenVINO is missing or cannot run here.
    """

    def __init__(self, folder: Path) -> None:
        _check(folder)
        self._folder, self._core = folder, shared_core()
        self._requests: dict[str, ov.InferRequest] = {}

    def request(self, name: str, height: int, width: int) -> ov.InferRequest:
        """Return the request of a graph that takes frames of a size; compiling it takes 0.3 s.

        Raises:
            EngineError: it cannot be compiled.
        """
        if name not in self._requests:
            with as_engine_errors(height, width):
                graph = self._core.read_model(self._folder / f"{name}.xml")
                options: dict[str, Any] = {
                    "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_NUM_THREADS": 1,
                    "INFERENCE_PRECISION_HINT": "f32",
                }
                self._requests[name] = self._core.compile_model(graph, "CPU", options).create_infer_request()
        return self._requests[name]


def _check(folder: Path) -> None:
    """Raise StyleError unless the files are as they were converted."""
    try:
        files: dict[str, str] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        altered = next((name for name, expected in files.items() if sha256(folder / name) != expected), None)
    except (OSError, ValueError, KeyError) as error:
        raise StyleError(f"a network of the package cannot be read: {error}", hint=_HINT) from error
    if altered is not None:
        raise StyleError(f"{folder / altered} is truncated or altered", hint=_HINT)
