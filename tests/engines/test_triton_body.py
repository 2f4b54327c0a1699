"""A frame in Triton without a GPU: its interpreter runs the kernels. Each alone is in `test_triton_layers.py`."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engines.base import RGB
from engines.cuda.engine import CudaEngine
from engines.errors import EngineError
from engines.export import save_style
from engines.style_file import StyleMeta, StyleModel
from rtstyle.style_library import GALLERY
from tests.conftest import ROOT
from tests.engines.test_golden import picture
from tests.generators import narrow, unlike_identity

SIZES = [(24, 24), (25, 39), (28, 28), (26, 35), (24, 400), (25, 171)]
"""A side of 28 needs no filling up; a row of 400 is wider than a program's block, one of 171 by a single value."""

STRENGTHS = (0.0, 0.3, 1.0)


@pytest.fixture(scope="module")
def other_style(tmp_path_factory: pytest.TempPathFactory) -> StyleModel:
    """One of the shape of ``tiny``, with a smoothing of its own in which no two weights are alike."""
    kernel = torch.rand(3, 3, generator=torch.Generator().manual_seed(0))
    generator = unlike_identity(narrow(), seed=1)
    generator.softening.copy_(of_cells(kernel / kernel.sum()))
    meta = StyleMeta("other", "Other", "nobody", "noise", "CC0-1.0", {})
    return save_style(tmp_path_factory.mktemp("styles") / "other", generator, meta)


def of_cells(kernel: Tensor) -> Tensor:
    """A 3×3 convolution of pixels as one of 2×2 cells, (12, 12, 3, 3)."""
    weight = torch.zeros(2, 2, 3, 2, 2, 3, 3, 3)
    for row, column, down, right in itertools.product(range(2), range(2), range(3), range(3)):
        (y, from_row), (x, from_column) = divmod(row + down - 1, 2), divmod(column + right - 1, 2)
        weight[row, column, :, from_row, from_column, :, y + 1, x + 1] = kernel[down, right] * torch.eye(3)
    return weight.reshape(12, 12, 3, 3)


def test_is_loaded_only_where_it_is_asked_for(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "engines.cuda.triton_body", raising=False)
    engine = CudaEngine(StyleModel.open(tiny_style), device="cpu")
    engine(picture(24, 24))
    engine.close()
    assert "engines.cuda.triton_body" not in sys.modules


def test_says_that_triton_is_missing(tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    style = StyleModel.open(tiny_style)
    with monkeypatch.context() as patch:
        patch.setattr(util, "find_spec", lambda name: None)
        with pytest.raises(EngineError, match="need the package triton.*eager") as caught:
            CudaEngine(style, device="cpu", body="triton")
    assert "\n" not in str(caught.value)


def run(script: str, *arguments: str | Path | int, **environment: str) -> None:
    """In a process of its own: what Triton is for is decided when it is imported."""
    pytest.importorskip("triton", reason='pip install ".[triton]"')
    command = [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


PAINTER = """
import sys
import numpy as np
from engines.cuda.engine import CudaEngine
from engines.style_file import StyleModel
from engines.cuda import triton_body

source, target, *folders = sys.argv[1:]
engines = [CudaEngine(StyleModel.open(folder), device="cpu", body="triton") for folder in folders]
assert all(engine._graphs is engines[0]._graphs for engine in engines)
made = {}
uses = triton_body.has_matrix_units
with np.load(source) as frames:
    strengths = frames["strengths"].tolist()
    for name in set(frames) - {"strengths"}:
        for strength in strengths:
            for engine in engines:
                made[f"{name} {engine.info.style} {strength}"] = engine(frames[name], strength)
        for engine in engines:
            made[f"{name} {engine.info.style} own"] = engine(frames[name], 0.3, 0.75)
        assert np.array_equal(engine(frames[name], 0.3, 0.75), made[f"{name} {engine.info.style} own"])
        triton_body.has_matrix_units = lambda device: False
        made[f"{name} torch's layers"] = engines[0](frames[name])
        triton_body.has_matrix_units = uses
for engine in engines:
    engine.close()
np.savez(target, **made)
"""


@pytest.fixture(scope="module")
def painted(
    tiny_style: Path, other_style: StyleModel, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, np.ndarray]:
    """What Triton's interpreter makes of a picture of each size, both styles in turns."""
    folder = tmp_path_factory.mktemp("painted")
    frames: dict[str, RGB] = {f"{size[1]}x{size[0]}": picture(*size) for size in SIZES}
    np.savez(folder / "frames.npz", strengths=np.array(STRENGTHS), **frames)
    made = folder / "made.npz"
    run(PAINTER, folder / "frames.npz", made, tiny_style, other_style.folder, TRITON_INTERPRET="1")
    with np.load(made) as arrays:
        return dict(arrays)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[1]}x{size[0]}")
class TestInterpreted:
    def test_paints_what_the_eager_body_paints(
        self, painted: Mapping[str, np.ndarray], size: tuple[int, int], tiny_style: Path, other_style: StyleModel
    ) -> None:
        rgb = picture(*size)
        for style in (StyleModel.open(tiny_style), other_style):
            engine = CudaEngine(style, device="cpu")
            settings = [(f"{strength}", strength, 0.0) for strength in STRENGTHS]
            for name, strength, colours in (*settings, ("own", 0.3, 0.75)):
                actual = painted[f"{size[1]}x{size[0]} {style.name} {name}"]
                off = np.abs(actual.astype(int) - engine(rgb, strength, colours))
                assert off.max() <= 1 and (off > 0).mean() < 0.15, (style.name, name)
            np.testing.assert_array_equal(painted[f"{size[1]}x{size[0]} {style.name} 0.0"], rgb)
            engine.close()

    def test_torchs_layers_fit_between_the_ends(
        self, painted: Mapping[str, np.ndarray], size: tuple[int, int], tiny_style: Path
    ) -> None:
        engine = CudaEngine(StyleModel.open(tiny_style), device="cpu")
        off = np.abs(painted[f"{size[1]}x{size[0]} torch's layers"].astype(int) - engine(picture(*size)))
        assert off.max() <= 1 and (off > 0).mean() < 0.15
        engine.close()


def test_every_style_smooths_pixels() -> None:
    """The nine weights that the kernel reads, those of the first pixel of a cell, say all."""
    for path in sorted(GALLERY.glob("*/style.json")):
        weights = torch.from_numpy(StyleModel.open(path.parent).tensors()["softening"])
        nine = [
            weights[0, 3 * ((down + 1) % 2 * 2 + (right + 1) % 2), (down + 1) // 2, (right + 1) // 2]
            for down, right in itertools.product(range(3), range(3))
        ]
        assert torch.equal(of_cells(torch.stack(nine).reshape(3, 3)).to(weights), weights), path.parent.name


FAILING = """
import sys
import numpy as np
from triton.errors import TritonError
from engines.cuda import triton_body
from engines.cuda.engine import CudaEngine
from engines.errors import EngineError
from engines.style_file import StyleModel


def fail(*_):
    raise TritonError("no kernel\\nfor this card")


triton_body.first = fail
engine = CudaEngine(StyleModel.open(sys.argv[1]), device="cpu", body="triton")
try:
    engine(np.zeros((24, 24, 3), np.uint8))
except EngineError as error:
    told = str(error)
engine.close()
assert "TritonError: no kernel" in told and "eager" in told and "\\n" not in told, told
"""


@pytest.mark.slow
def test_what_cannot_be_compiled_is_one_line(tiny_style: Path) -> None:
    run(FAILING, tiny_style)
