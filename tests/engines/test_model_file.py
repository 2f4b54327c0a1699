"""A style that is missing, damaged, altered, newer or a pickle is refused in one clear line."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.errors import StyleError
from engines.style_file import GRAPH, MANIFEST, PREVIEW, WEIGHTS, StyleMeta, StyleModel, sha256


@pytest.fixture
def style(tiny_style: Path, tmp_path: Path) -> Path:
    """A copy of the tiny style, to be spoilt."""
    return Path(shutil.copytree(tiny_style, tmp_path / "tiny"))


def edit(style: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Apply ``change`` to the table in ``style.json``."""
    manifest = json.loads((style / MANIFEST).read_text())
    change(manifest)
    (style / MANIFEST).write_text(json.dumps(manifest))


def refused(style: Path) -> str:
    """The one line that opening it gives."""
    with pytest.raises(StyleError) as caught:
        StyleModel.open(style)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_opens(tiny_style: Path) -> None:
    model = StyleModel.open(str(tiny_style))
    assert (model.name, model.licence, model.preview) == ("tiny", "CC0-1.0", None)
    assert model.training == {"steps": 0, "seed": 0}
    tensors = model.tensors()
    assert all(tensor.dtype == np.float16 for tensor in tensors.values())


def test_weights_exist_once(tiny_style: Path) -> None:
    graph = (tiny_style / GRAPH).read_bytes()
    assert len(graph) < 32_000
    biggest = max(StyleModel.open(tiny_style).tensors().values(), key=lambda tensor: tensor.size)
    assert biggest.tobytes()[:64] not in graph and biggest.astype(np.float32).tobytes()[:64] not in graph


def test_graph_does_not_tell_where_it_was_made(tiny_style: Path) -> None:
    graph = (tiny_style / GRAPH).read_bytes()
    for trace in (b".py", b"stack_trace", str(Path(__file__).parents[2]).encode()):
        assert trace not in graph


@pytest.mark.parametrize("name", [WEIGHTS, GRAPH])
def test_missing_file(style: Path, name: str) -> None:
    (style / name).unlink()
    assert f"{name} is missing" in refused(style)


@pytest.mark.parametrize("name", [WEIGHTS, GRAPH])
@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b"", lambda b: b[:-9] + b"\x01" + b[-8:]])
def test_truncated_or_altered_file(style: Path, name: str, spoil: Callable[[bytes], bytes]) -> None:
    whole = (style / name).read_bytes()
    (style / name).write_bytes(spoil(whole))
    assert f"{name} is truncated or altered" in refused(style)


def test_a_listed_preview_is_checked(style: Path) -> None:
    (style / PREVIEW).write_bytes(b"picture")
    edit(style, lambda m: m["files"].update({PREVIEW: sha256(style / PREVIEW)}))
    assert StyleModel.open(style).preview == style / PREVIEW
    (style / PREVIEW).write_bytes(b"another")
    assert "preview.jpg is truncated or altered" in refused(style)


def test_newer_format(style: Path) -> None:
    edit(style, lambda m: m.update(format=2))
    assert "has format 2" in refused(style) and "--upgrade" in refused(style)


@pytest.mark.parametrize("version", [0, -1, "1", 1.0, None, True])
def test_strange_format(style: Path, version: object) -> None:
    edit(style, lambda m: m.update(format=version))
    assert "has no format version" in refused(style)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "..", "a/b", "a\\b", "C:x", "", ".hidden", "a\n", "a\x00"])
def test_path_traversal(style: Path, name: str) -> None:
    edit(style, lambda m: m["files"].update({name: "0" * 64}))
    assert "not a plain file name" in refused(style)


@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights.PKL", "pytorch_model.bin", "w.ckpt"])
def test_pickle_listed(style: Path, name: str) -> None:
    (style / name).write_bytes(pickle.dumps({}))
    edit(style, lambda m: m["files"].update({name: sha256(style / name)}))
    assert f"{name} is a pickle" in refused(style) and "only safetensors is accepted" in refused(style)


@pytest.mark.parametrize("content", [pickle.dumps({"a": 1}), b"PK\x03\x04" + b"\0" * 60], ids=["pickle", "torch.save"])
def test_pickle_renamed(style: Path, content: bytes) -> None:
    (style / WEIGHTS).write_bytes(content)
    edit(style, lambda m: m["files"].update({WEIGHTS: sha256(style / WEIGHTS)}))
    assert "only safetensors is accepted" in refused(style)


def test_pickle_offered_as_style(tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(pickle.dumps({}))
    assert "only safetensors is accepted" in refused(tmp_path / "net.pth")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"format": 1}', "\x00\xff", "[" * 100_000, '{"format": 1, "arch": 3}']
)
def test_rubbish_manifest(style: Path, text: str) -> None:
    (style / MANIFEST).write_text(text, encoding="latin-1")
    assert MANIFEST in refused(style)


@pytest.mark.parametrize("key", ["name", "title", "arch", "files", "training", "licence"])
def test_incomplete_manifest(style: Path, key: str) -> None:
    edit(style, lambda m: m.pop(key))
    assert f"{key}" in refused(style)


def test_huge_manifest(style: Path) -> None:
    (style / MANIFEST).write_text(" " * (5 << 20))
    assert "is over 4 MB" in refused(style)


@pytest.mark.parametrize("name", ["", "Van Gogh", "../x", "a" * 65, 3])
def test_strange_name(style: Path, name: object) -> None:
    edit(style, lambda m: m.update(name=name))
    refused(style)


def test_unlisted_weights(style: Path) -> None:
    edit(style, lambda m: m["files"].pop(WEIGHTS))
    assert f"does not list {WEIGHTS}" in refused(style)


def test_no_style_there(tmp_path: Path) -> None:
    assert "no style in" in refused(tmp_path) and "no style in" in refused(tmp_path / "nowhere")


def test_meta_wants_texts() -> None:
    with pytest.raises(StyleError):
        StyleMeta("a", "t", "p", "w", None, {})  # type: ignore[arg-type]


def test_rubbish_weights_with_the_right_sum(style: Path) -> None:
    (style / WEIGHTS).write_bytes(b"\xff" * 100)
    edit(style, lambda m: m["files"].update({WEIGHTS: sha256(style / WEIGHTS)}))
    with pytest.raises(StyleError, match=r"weights\.safetensors cannot be read"):
        StyleModel.open(style).tensors()


@pytest.mark.parametrize("header", [640, 896, 1152, 1408])
def test_a_header_as_long_as_the_start_of_a_pickle(style: Path, header: int) -> None:
    """These lengths begin with the bytes of a pickle: 0x80 and a protocol."""
    rest = (style / WEIGHTS).read_bytes()
    length = int.from_bytes(rest[:8], "little")
    table = json.dumps(json.loads(rest[8 : 8 + length]), separators=(",", ":")).encode()
    size = header + 65536 * (len(table) > header)
    (style / WEIGHTS).write_bytes(size.to_bytes(8, "little") + table.ljust(size) + rest[8 + length :])
    edit(style, lambda m: m["files"].update({WEIGHTS: sha256(style / WEIGHTS)}))
    assert StyleModel.open(style).tensors()
