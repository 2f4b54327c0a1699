"""From a trained trainer to a style that opens and whose engines agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import engines
from engines.base import RGB
from engines.errors import StyleError, TrainError
from engines.model.generator import Generator
from engines.style_file import StyleModel
from tests.train.pictures import texture
from train import export
from train.config.schema import TrainConfig
from train.export import TOLERANCE, finish, record, verify
from train.inference import stylize_picture
from train.loop import train

Make = Callable[..., TrainConfig]


@pytest.mark.parametrize("norm", [False, True])
def test_a_trained_style_opens_and_paints_what_the_painter_paints(config: Make, norm: bool) -> None:
    trainer = train(
        config(
            schedule={"steps": 2, "learning_rate": 5e-3},
            generator={"norm": norm, "freeze_at": 0.9},
            run={"name": "My Wave (2)!"},
        )
    )
    model = finish(trainer, title="A work", artist="A painter", licence="CC0-1.0")
    opened = StyleModel.open(trainer.config.run.out / "style")
    assert opened == model
    assert (opened.name, opened.title, opened.painter) == ("my-wave-2", "A work", "A painter")
    assert opened.training == record(trainer)
    picture: RGB = texture(61, 83, 7)
    engine = engines.load(opened, "cpu")
    painted = engine(picture)
    engine.close()
    assert (
        np.abs(painted.astype(int) - stylize_picture(trainer.generator, picture)).max() <= TOLERANCE + 1
    )  # fp16 weights
    assert not np.array_equal(painted, picture)
    head = opened.tensors()["head.conv.weight"].astype(np.float32).sum((2, 3)).reshape(4, 3, -1)
    assert np.abs(head - head[0]).max() < 1e-2, "the pixels of a cell agree on flat parts, but for fp16"


def test_the_mesh_of_its_canvas_is_taken_out(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def even(plain: Generator, share: float) -> None:
        assert share == 0.5
        with torch.no_grad():
            plain.canvas.field.fill_(0.5)

    monkeypatch.setattr(export, "remove_mesh", even)
    trained = train(config(schedule={"steps": 1}, generator={"canvas": 0.5}))
    assert (finish(trained).tensors()["canvas.field"] == 0.5).all()


@pytest.mark.parametrize("canvas", [1.0, 0.5, False])
def test_a_style_has_as_much_of_its_canvas_as_is_asked_for(config: Make, canvas: float) -> None:
    trainer = train(config(schedule={"steps": 1}, generator={"norm": False, "canvas": canvas}))
    trained, finished = trainer.generator.state_dict(), finish(trainer).tensors()
    name = "canvas.mix.conv.weight"
    assert np.allclose(finished[name], canvas * trained[name].numpy(), atol=1e-3)
    assert np.abs(finished[name]).max() == 0.0 if not canvas else np.abs(finished[name]).max() > 0.05
    assert record(trainer)["settings"]["generator"]["canvas"] == float(canvas)


def test_the_record_tells_how_and_names_no_folder(config: Make) -> None:
    trainer = train(config(schedule={"steps": 1}))
    text = json.dumps(record(trainer))
    assert str(trainer.config.run.out.parent) not in text
    for key in ("settings", "steps_done", "data", "versions", "finished"):
        assert key in json.loads(text)


def test_engines_that_disagree_are_told(config: Make, tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = train(config(schedule={"steps": 1}))
    real = engines.load

    class Off:
        """Paints everything a little too bright."""

        def __init__(self, style: StyleModel, name: str) -> None:
            self.engine, self.extra = real(style, name), TOLERANCE + 1 if name == "cpu:fp32" else 0

        def __call__(self, rgb: RGB) -> RGB:
            return np.minimum(self.engine(rgb), 250) + np.uint8(self.extra)

        def close(self) -> None:
            self.engine.close()

    monkeypatch.setattr(engines, "load", Off)
    with pytest.raises(TrainError, match="differ"):
        verify(StyleModel.open(tiny_style), trainer.stylize_picture(np.zeros((64, 96, 3), np.uint8)))


def test_a_folder_that_is_no_style_is_left_alone(config: Make) -> None:
    trainer = train(config(schedule={"steps": 1}))
    (trainer.config.run.out / "style").mkdir()
    (trainer.config.run.out / "style" / "thesis.txt").write_text("years of work")
    with pytest.raises(StyleError, match="is not a style"):
        finish(trainer)
    assert (trainer.config.run.out / "style" / "thesis.txt").read_text() == "years of work"


def test_a_damaged_photograph_does_not_spoil_the_end(config: Make, photos: Path) -> None:
    (photos / "a_first.jpg").write_bytes(b"no picture")
    assert finish(train(config(schedule={"steps": 1}))).name == "painting"


def test_the_record_of_a_run_from_a_style_tells_that_style_s_shape(config: Make, tiny_style: Path) -> None:
    trainer = train(config(schedule={"steps": 1}, generator={"init": tiny_style}))
    settings = record(trainer)["settings"]
    assert settings["generator"].items() >= dict(StyleModel.open(tiny_style).arch).items()
