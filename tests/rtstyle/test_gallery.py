"""The styles that come with rtstyle: one graph for all, small, licensed, shown, and trained from a record."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
import torch

import engines
from engines.model.generator import load_generator
from engines.openvino.engine import CpuEngine
from engines.style_file import GRAPH, WEIGHTS, StyleModel
from rtstyle.controls import Controls
from rtstyle.live.style_switcher import StyleSwitcher
from rtstyle.style_library import GALLERY, find, installed
from rtstyle.style_previews import LIMIT
from tests.conftest import ROOT
from train.canvas_mesh import Walls, peaks
from train.evaluate.photographs import photographs

NAMES = sorted(entry.name for entry in installed())
WANTED = {"vangogh", "wave", "scream", "udnie", "composition", "monet", "klimt", "engraving", "mosaic", "pointillism",
          "chalk", "selfportrait"}  # fmt: skip


def test_none_is_missing() -> None:
    assert set(NAMES) == WANTED
    assert all(entry.fault == "" and entry.painter and entry.work for entry in installed())


def test_one_graph_serves_all() -> None:
    graphs = {(GALLERY / name / "graph.onnx").read_bytes() for name in NAMES}
    assert len(graphs) == 1


@pytest.mark.parametrize("name", NAMES)
def test_each_is_small(name: str) -> None:
    assert sum((GALLERY / name / file).stat().st_size for file in (GRAPH, WEIGHTS)) <= 0.8e6


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_preview_a_licence_and_a_record(name: str) -> None:
    style = StyleModel.open(find(name))
    assert style.name == name and style.licence == "Apache-2.0"
    assert style.preview is not None and style.preview.stat().st_size <= LIMIT
    assert style.training["steps_done"] > 500 and len(style.training["data"]["style_picture"]) == 64


@pytest.mark.parametrize("name", NAMES)
def test_each_paints_and_keeps_the_scene(name: str) -> None:
    rgb = photographs(2, 256)[1]
    engine = CpuEngine(StyleModel.open(find(name)))
    painting = engine(rgb)
    engine.close()
    grey, painted = (cv2.cvtColor(x, cv2.COLOR_RGB2GRAY).astype(np.float32) for x in (rgb, painting))
    assert np.abs(painting.astype(int) - rgb).mean() > 10, "it is another picture"
    assert np.corrcoef(grey.ravel(), painted.ravel())[0, 1] > 0.5, "of the same cat"


@pytest.mark.parametrize("name", NAMES)
def test_no_mesh_stands_on_plain_colours(name: str) -> None:
    model = StyleModel.open(find(name))
    own = model.texture or 1.0
    shades = torch.linspace(0, 1, 5)[:, None] + 0.15 * torch.randn(5, 3, generator=torch.Generator().manual_seed(9))
    walls = Walls(load_generator(model).eval(), shades.clamp(0, 1))
    with torch.no_grad():
        for share in (own, 0.5, 1.0):
            assert peaks(walls.paint(slice(None), share / own).clamp(0, 1)).amax(1).mean() < 1.1, share


def test_no_two_are_alike() -> None:
    rgb = photographs(1, 128)[0]
    paintings = []
    for name in NAMES:
        engine = CpuEngine(StyleModel.open(find(name)))
        paintings.append(engine(rgb).astype(int))
        engine.close()
    apart = [np.abs(a - b).mean() for i, a in enumerate(paintings) for b in paintings[:i]]
    assert min(apart) > 8


def test_each_is_on_the_page() -> None:
    page = (ROOT / "docs" / "styles.md").read_text("utf-8")
    for entry in installed():
        assert f"## {entry.name}\n\n{entry.painter}, *{entry.work}*" in page
        assert (ROOT / "docs" / "styles" / f"{entry.name}.jpg").is_file()


def test_a_palette_of_all_of_them() -> None:
    controls = Controls(styles=NAMES)
    palette = StyleSwitcher(lambda name: engines.load(find(name), "cpu"), controls)
    rgb = photographs(1, 64)[0]
    palette(rgb)
    controls.style = NAMES[-1]
    end_s = time.monotonic() + 60
    while palette.info.style != NAMES[-1] and time.monotonic() < end_s:
        palette(rgb)
    assert palette.info.style == NAMES[-1] and palette.fault == ""
    palette.close()
