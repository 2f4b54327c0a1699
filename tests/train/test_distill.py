"""Distillation: a style from another beginning paints the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from engines.errors import StyleError, TrainError
from engines.export import save_style
from engines.mixing.texture import with_texture
from engines.model.generator import Generator, load_generator, stylize
from engines.style_file import StyleMeta, StyleModel
from tests.generators import narrow
from train import distill
from train.data.pictures import Pictures, picture_files
from train.distill import Distillation, distance

STEPS = 60


@pytest.fixture
def start(tmp_path: Path) -> StyleModel:
    """Of the shape of the tiny style, with weights of its own."""
    torch.manual_seed(3)
    return save_style(tmp_path / "start", narrow(norm=False), StyleMeta("start", "Start", "", "", "CC0-1.0", {}))


@pytest.fixture
def pictures(photos: Path) -> Pictures:
    return Pictures(picture_files(photos), 4, 64, 1)


def test_the_student_learns_what_the_style_paints(
    tiny_style: Path, start: StyleModel, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distill, "WARMUP", 5)
    teacher = load_generator(StyleModel.open(tiny_style)).eval()
    student = Distillation(StyleModel.open(tiny_style), start, pictures, STEPS).run()
    x = pictures(10_000)
    with torch.no_grad():
        wanted = stylize(teacher, x).clamp(0, 1)
        before, after = (distance(stylize(one, x), wanted) for one in (load_generator(start), student))
    assert after < 0.8 * before


def test_any_share_of_the_texture_is_learned(tiny_style: Path, start: StyleModel, pictures: Pictures) -> None:
    half = with_texture(StyleModel.open(tiny_style), 0.5)
    distillation = Distillation(half, start, pictures, STEPS)
    textures = []
    for step in range(12):
        distillation.step(step, pictures(step))
        textures.append(distillation.texture)
    assert textures[1::2] == [0.5] * 6 and len({*textures[::2]}) == 6
    grey = torch.full((1, 3, 64, 64), 0.5)
    distillation.texture = 0.0
    flat = stylize(distillation.teacher, grey)
    distillation.texture = 1.0
    full = stylize(distillation.teacher, grey)
    assert torch.allclose(full, stylize(load_generator(with_texture(half, 1.0)).eval(), grey), atol=1e-5)
    none = load_generator(with_texture(half, 0.0)).eval()
    assert torch.allclose(flat, stylize(none, grey), atol=2e-3) and (full - flat).abs().max() > 0.01


def test_what_is_outside_the_range_of_a_white_pixel_costs_nothing() -> None:
    white = torch.ones(1, 3, 8, 8)
    assert distance(white + 0.5, white) == 0.0 < distance(white - 0.5, white)


def test_the_new_style_has_the_name_and_rights_of_the_old_one(
    tiny_style: Path, start: StyleModel, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "moved"
    folders = [str(tiny_style), f"--init={start.folder}", f"--content={photos}", f"--out={out}"]
    command = [*folders, "--steps=2", "--hold-out=1"]
    assert CliRunner().invoke(distill.app, command, catch_exceptions=False).exit_code == 0
    old, new = StyleModel.open(tiny_style), StyleModel.open(out)
    assert (new.name, new.title, new.licence, new.texture) == (old.name, old.title, old.licence, old.texture)
    told = {"teacher": old.weights_sha256(), "init": "start", "init_sha256": start.weights_sha256(), "steps": 2}
    assert new.training["distilled"] == told
    assert new.ranges
    assert distill._record(new, start, 3)["distilled"]["before"] == told  # learned again, once more
    with pytest.raises(StyleError, match="exists"):
        CliRunner().invoke(distill.app, command, catch_exceptions=False)


def test_a_start_of_another_shape_is_refused(tiny_style: Path, pictures: Pictures, start: StyleModel) -> None:
    wide = replace(start, arch={**start.arch, "body": 32})
    with pytest.raises(StyleError, match="cannot begin from"):
        Distillation(StyleModel.open(tiny_style), wide, pictures, 1)


def test_what_goes_wrong_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["distill", "wawe", "--content=photos", f"--out={tmp_path / 'new'}"])
    with pytest.raises(SystemExit, match="wawe"):
        distill.main()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_new_style_has_as_much_texture(
    share: float, tiny_style: Path, start: StyleModel, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    style = with_texture(StyleModel.open(tiny_style), share)
    (tmp_path / "half").mkdir()
    for name, data in style.files().items():
        (tmp_path / "half" / name).write_bytes(data)
    learned: list[torch.Tensor] = []
    run = Distillation.run

    def remember(self: Distillation, on_step: Callable[[int, float], None] | None = None) -> Generator:
        found = run(self, on_step)
        learned.append(found.canvas.mix.conv.weight.detach().clone())
        return found

    shares = list[float]()
    monkeypatch.setattr(Distillation, "run", remember)
    monkeypatch.setattr(distill, "remove_mesh", lambda _found, share: shares.append(share))
    out = tmp_path / "moved"
    distill.run(str(tmp_path / "half"), photos, out, str(start.folder), 2, 1)
    kept = torch.from_numpy(StyleModel.open(out).tensors()["canvas.mix.conv.weight"]).float()
    assert StyleModel.open(out).texture == share and shares == [share]
    assert torch.allclose(kept, share * learned[0], atol=1e-3) and learned[0].abs().max() > 0.01


def test_an_impossible_end_is_told_before_the_first_step(tiny_style: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="inside --content"):
        distill.run(str(tiny_style), photos, photos / "moved", "base", 2, 1)
    (tmp_path / "file").touch()
    with pytest.raises(TrainError, match="is a file"):
        distill.run(str(tiny_style), photos, tmp_path / "file" / "moved", "base", 2, 1)


def test_a_style_that_is_not_finite_stops_at_once(tiny_style: Path, start: StyleModel, pictures: Pictures) -> None:
    distillation = Distillation(StyleModel.open(tiny_style), start, pictures, 2)
    with torch.no_grad():
        distillation.teacher.head.conv.weight.fill_(float("nan"))
    with pytest.raises(TrainError, match="step 0"):
        distillation.run()
