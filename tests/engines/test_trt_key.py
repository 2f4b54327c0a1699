"""What a built engine depends on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from engines.style_file import StyleModel
from engines.trt import builder
from engines.trt.builder import SHARED, SINGLE
from engines.trt.compat import Flavour

HIGH, WIDE = 48, 64

ANY = Flavour("tensorrt", "tensorrt 11.0.0", "torch-tensorrt 2.13.0")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(builder, "require", lambda: None)
    monkeypatch.setattr(builder, "installed", lambda: ANY)
    monkeypatch.setattr(builder, "driver_version", lambda: "580.1")
    monkeypatch.setattr(builder, "code_sha256", lambda: "c" * 64)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    return


CHANGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "gpu": lambda m: m.setattr(torch.cuda, "get_device_name", lambda device: "another"),
    "capability": lambda m: m.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0)),
    "driver": lambda m: m.setattr(builder, "driver_version", lambda: "581.1"),
    "cuda": lambda m: m.setattr(torch.version, "cuda", "14.0"),
    "torch": lambda m: m.setattr(torch, "__version__", "2.99"),
    "tensorrt": lambda m: m.setattr(builder, "installed", lambda: replace(ANY, runtime="tensorrt 12")),
    "torch_tensorrt": lambda m: m.setattr(builder, "installed", lambda: replace(ANY, torch_tensorrt="2.99")),
    "flags": lambda m: m.setattr(builder, "code_sha256", lambda: "d" * 64),
}


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("field", CHANGES)
def test_the_key_changes_with_what_the_engine_depends_on(
    field: str, style: StyleModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = SINGLE.key(style, HIGH, WIDE)
    CHANGES[field](monkeypatch)
    after = SINGLE.key(style, HIGH, WIDE)
    assert {name for name in asdict(before) if asdict(before)[name] != asdict(after)[name]} == {field}


@pytest.mark.usefixtures("machine")
def test_the_key_names_the_style_only_where_it_is_built_in(style: StyleModel, tmp_path: Path) -> None:
    shutil.copytree(style.folder, tmp_path / "other")
    other = replace(style, folder=tmp_path / "other")
    other.weights.write_bytes(b"others")
    assert SHARED.key(style, HIGH, WIDE) == SHARED.key(other, HIGH, WIDE)
    assert SINGLE.key(style, HIGH, WIDE).style_sha256 != SINGLE.key(other, HIGH, WIDE).style_sha256
    assert SHARED.key(style, HIGH, WIDE).flags != SINGLE.key(style, HIGH, WIDE).flags
    assert SINGLE.key(style, HIGH, WIDE) != SINGLE.key(style, WIDE, HIGH)


@pytest.mark.usefixtures("machine")
def test_the_key_changes_with_the_graph_and_the_shape(style: StyleModel) -> None:
    before = SHARED.key(style, HIGH, WIDE)
    wider = replace(style, arch={**style.arch, "body": 99})
    assert SHARED.key(wider, HIGH, WIDE).flags != before.flags
    assert before.graph_sha256 == builder.sha256(style.graph)


def test_the_key_holds_the_hash_of_the_code() -> None:
    assert len(builder.code_sha256()) == 64
