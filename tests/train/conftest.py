"""Photographs, a painting and feature networks small enough for a test, all generated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch

from tests.generators import narrow
from tests.train.features import write_features
from tests.train.pictures import texture, write_picture
from train import canvas_mesh
from train.config.schema import TrainConfig

TINY = narrow(norm=False).arch


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums are taken in the same order in every run, and small nets are not slowed by waiting threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _few_steps_for_the_canvas(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Where it is not the subject, the mesh of a canvas is not worth seconds of every test."""
    if "test_canvas_mesh" not in request.node.nodeid:
        monkeypatch.setattr(canvas_mesh, "STEPS", 2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of six photographs, 96×120 pixels."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        write_picture(folder / f"photo_{number}.png", texture(96, 120, number))
    return folder


@pytest.fixture
def painting(tmp_path: Path) -> Path:
    """The style picture: finer and more colourful than the photographs."""
    return write_picture(tmp_path / "painting.png", texture(80, 100, 99, detail=40))


@pytest.fixture(scope="session")
def narrow_features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with feature networks of the right form and a few random channels."""
    return write_features(tmp_path_factory.mktemp("features"))


@pytest.fixture
def config(photos: Path, painting: Path, narrow_features: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Makes the settings of a run of a second; any field may be given, by section: ``run={"name": "wave"}``."""
    small: dict[str, dict[str, Any]] = {
        "data": {
            "style_picture": painting, "content": photos, "features": narrow_features,
            "batch": 2, "crop": 64, "style_size": 64, "hold_out": 1,
        },
        "generator": TINY.to_dict(),
        "schedule": {"steps": 6, "warmup": 0},
        "run": {"out": tmp_path / "run"},
    }  # fmt: skip

    def make(**sections: dict[str, Any]) -> TrainConfig:
        members = {f.name: small.get(f.name, {}) | sections.pop(f.name, {}) for f in fields(TrainConfig)}
        assert not sections, f"no such sections: {sections}"
        kinds = get_type_hints(TrainConfig)
        return TrainConfig(**{name: kinds[name](**values) for name, values in members.items()})

    return make


@pytest.fixture
def arguments(photos: Path, painting: Path, narrow_features: Path, tmp_path: Path) -> list[str]:
    """A run of two steps."""
    return [
        "--style-picture", str(painting), "--content", str(photos), "--out", str(tmp_path / "run"), "--features",
        str(narrow_features), "--steps", "2", "--batch", "1", "--crop", "64", "--style-size", "64", "--hold-out", "1",
    ]  # fmt: skip
