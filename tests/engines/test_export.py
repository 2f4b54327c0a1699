"""Saving a style: all or nothing, and what is saved is what runs."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from engines import export
from engines.errors import EngineError, StyleError
from engines.export import save_style
from engines.model.generator import Arch, FrameGraph, fold
from engines.openvino.engine import CpuEngine
from engines.style_file import MANIFEST, StyleMeta, StyleModel
from engines.torch_eager import EagerEngine
from tests.engines.test_golden import picture
from tests.generators import narrow, unlike_identity

META = StyleMeta("tiny", "Tiny", "nobody", "noise", "CC0-1.0", {"loss": 0.5})


@pytest.fixture
def one_export(monkeypatch: pytest.MonkeyPatch, tiny_style: Path) -> None:
    """Spare the seconds of torch's exporter: the graph is the tiny style's."""
    import onnx

    model = onnx.load(str(tiny_style / "graph.onnx"), load_external_data=False)
    monkeypatch.setattr(export, "_onnx", lambda arch: model)
    monkeypatch.setattr(export, "_point_into", lambda model, weights, tensors: None)


def test_the_default_generator_is_saved_as_it_runs(tmp_path: Path) -> None:
    """Folded, in fp16 weights: every engine agrees with torch run on the generator before saving."""
    generator = unlike_identity(export.rounded(fold(unlike_identity(narrow()))), seed=3)
    style = save_style(tmp_path / "new" / "tiny", generator, META, preview=b"\xff\xd8")
    assert style.preview is not None and dict(style.training) == {"loss": 0.5}
    assert Arch.from_dict(dict(style.arch)) == generator.arch
    rgb = picture(45, 61)
    with torch.inference_mode():
        graph = FrameGraph(export.rounded(fold(generator))).eval()
        expected = graph(torch.from_numpy(rgb)[None], torch.ones(1))[0].numpy()
    np.testing.assert_array_equal(EagerEngine(style, device="cpu")(rgb), expected)
    assert np.abs(CpuEngine(style)(rgb).astype(np.int16) - expected).max() <= 1


@pytest.mark.usefixtures("one_export")
def test_replaces_a_style_but_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    save_style(folder, narrow(), META)
    again = save_style(folder, unlike_identity(narrow()), META)
    assert again == StyleModel.open(folder)
    other = tmp_path / "pictures"
    other.mkdir()
    (other / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(StyleError, match="is not a style"):
        save_style(other, narrow(), META)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "tiny"]
    assert (other / "holiday.jpg").read_bytes() == b"precious"


@pytest.mark.usefixtures("one_export")
def test_a_full_disk_leaves_the_old_style(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tiny"
    before = save_style(folder, narrow(), META)
    text = (folder / MANIFEST).read_text()

    def full(self: Path, *args: object, **kwargs: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StyleError, match="the disk is full"):
        save_style(folder, unlike_identity(narrow()), META)
    assert (folder / MANIFEST).read_text() == text and StyleModel.open(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_diverged_weights_are_not_saved(tmp_path: Path) -> None:
    for value in (float("nan"), 1e6):
        generator = narrow(norm=False)
        with torch.no_grad():
            generator.head.conv.weight[0, 0, 0, 0] = value
        with pytest.raises(StyleError, match="not finite in fp16"):
            save_style(tmp_path / "x", generator, META)
    assert list(tmp_path.iterdir()) == []


def test_a_renamed_weight_is_noticed(tiny_style: Path, tmp_path: Path) -> None:
    model = export._onnx(narrow().arch)
    big = max(model.graph.initializer, key=lambda i: len(i.raw_data))
    tensors = dict(fold(narrow()).state_dict())
    del tensors[big.name.removeprefix("generator.")]
    with pytest.raises(EngineError, match="renamed the weights"):
        export._point_into(model, tiny_style / "weights.safetensors", tensors)


def test_a_weight_that_became_a_constant_is_noticed(tiny_style: Path) -> None:
    model = export._onnx(narrow().arch)
    bias = next(i for i in model.graph.initializer if i.name == "generator.head.conv.bias")
    bias.name = "folded_12"
    with pytest.raises(EngineError, match=r"constants of \['head.conv.bias'\]"):
        export._point_into(model, tiny_style / "weights.safetensors", fold(narrow()).state_dict())


def test_the_graph_does_not_depend_on_the_weights_it_is_exported_with(tiny_style: Path, tmp_path: Path) -> None:
    """``tiny_style`` may have been made from the graph of an earlier export; this one is exported anew."""
    export._exported.cache_clear()
    again = save_style(tmp_path / "tiny", unlike_identity(narrow(), seed=5), META)
    assert again.graph.read_bytes() == (tiny_style / "graph.onnx").read_bytes()


def test_saving_does_not_change_the_generator(tmp_path: Path, one_export: None) -> None:
    generator = unlike_identity(narrow())
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    save_style(tmp_path / "x", generator, META)
    for name, value in generator.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.usefixtures("one_export")
def test_the_old_style_survives_where_it_cannot_even_be_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tiny"
    save_style(folder, narrow(), META)
    text = (folder / MANIFEST).read_text()
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if target == folder:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(StyleError, match="device reports an error"):
            save_style(folder, unlike_identity(narrow()), META)
    (kept,) = tmp_path.glob(f".tiny.*.old/{MANIFEST}")
    assert kept.read_text() == text
