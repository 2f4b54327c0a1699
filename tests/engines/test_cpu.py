"""What only the CPU engine promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engines.errors import EngineError, StyleError
from engines.openvino.engine import KEPT_SIZES, CpuEngine, SizedGraph
from engines.style_file import WEIGHTS, StyleModel
from tests.conftest import ROOT
from tests.engines.test_golden import picture


def test_result_does_not_depend_on_threads(tiny_style: Path) -> None:
    style = StyleModel.open(tiny_style)
    rgb = picture(127, 129)
    results = [CpuEngine(style, threads=threads)(rgb) for threads in (1, 2, 3)]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_keeps_a_few_sizes_only(tiny_style: Path) -> None:
    engine = CpuEngine(StyleModel.open(tiny_style))
    for side in range(24, 24 + 2 * KEPT_SIZES):
        engine(picture(side, side))
    assert len(engine._sized) == KEPT_SIZES


FREED_THEN_INTERRUPTED = """
import signal, sys, threading
from pathlib import Path
from engines.openvino.engine import CpuEngine
from engines.style_file import StyleModel

style = StyleModel.open(Path(sys.argv[1]))
first, second = CpuEngine(style), CpuEngine(style)
del first
del second
kept = [CpuEngine(style)]
freeing = threading.Thread(target=kept.clear)
freeing.start()
freeing.join()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_ctrl_c_after_engines_were_freed(tiny_style: Path) -> None:
    """In the order in which they were made, and by another thread: the stack for signal handlers is still there."""
    command = [sys.executable, "-c", FREED_THEN_INTERRUPTED, str(tiny_style)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130, done


def test_refuses_no_threads(tiny_style: Path) -> None:
    with pytest.raises(EngineError, match="0 threads"):
        CpuEngine(StyleModel.open(tiny_style), threads=0)


def test_runtime_failure_is_an_engine_error(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = CpuEngine(StyleModel.open(tiny_style))

    class Failing:
        """Stands in for a compiled graph when memory is short."""

        def infer(self, *args: object, **kwargs: object) -> None:
            raise RuntimeError("Exception from src/x.cpp:1:\nCheck 'false' failed:\nout of memory\n\n")

    monkeypatch.setattr(engine, "_graph_for", lambda height, width: SizedGraph(None, Failing()))
    with pytest.raises(EngineError, match="frame of 28×24: out of memory$"):
        engine(picture(24, 28))


def test_a_graph_that_is_not_ours_is_refused(tiny_style: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("Relu", ["x"], ["y"])
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy"]
    (tmp_path / "graph.onnx").write_bytes(
        helper.make_model(helper.make_graph([node], "g", value[:1], value[1:])).SerializeToString()
    )
    style = StyleModel("t", "", "", "", "", {}, tmp_path, {})
    with pytest.raises(StyleError, match="is not a frame graph"):
        CpuEngine(style)
    (tmp_path / "graph.onnx").write_bytes(b"rubbish" * 100)
    with pytest.raises(StyleError, match=r"graph\.onnx cannot be read"):
        CpuEngine(style)
    onnx.checker.check_model(str(tiny_style / "graph.onnx"))


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/passwd", "nothing.bin"])
def test_weights_outside_the_style_are_not_read(tiny_style: Path, tmp_path: Path, location: str) -> None:
    """A stranger's graph must not reach for other files, even where its sha256 is right."""
    import onnx

    (tmp_path / "outside.bin").write_bytes((tiny_style / WEIGHTS).read_bytes())
    folder = tmp_path / "style"
    folder.mkdir()
    model = onnx.load(str(tiny_style / "graph.onnx"), load_external_data=False)
    for entry in (e for i in model.graph.initializer for e in i.external_data if e.key == "location"):
        entry.value = location
    (folder / "graph.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(StyleError, match=r"graph\.onnx cannot be read") as caught:
        CpuEngine(StyleModel("t", "", "", "", "", {}, folder, {}))
    assert location.rpartition("/")[2] in str(caught.value)


def test_needs_no_torch_and_reports_to_nobody(tiny_style: Path, tmp_path: Path) -> None:
    """The importing of OpenVINO by itself starts a telemetry client, which leaves its traces in the home folder."""
    script = (
        "import sys, numpy as np, engines\n"
        f"engine = engines.load({str(tiny_style)!r}, 'cpu')\n"
        "engine(np.zeros((24, 24, 3), np.uint8))\n"
        "print(*[m for m in ('torch', 'onnx', 'openvino_telemetry', 'openvino.tools.ovc') if m in sys.modules])\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment.pop("CI", None)  # the client behaves itself there
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
    assert list(tmp_path.iterdir()) == []
