"""What the trainer learns from, and where it may run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import train
from engines.errors import TrainError
from engines.model.generator import Arch, Generator, load_generator, stylize
from engines.style_file import StyleModel
from tests.train.messages import logged
from tests.train.pictures import texture, write_picture
from train.config.schema import TrainConfig
from train.data.batches import Batch, BatchLoader, Draws
from train.data.pictures import read_picture
from train.inference import stylize_picture
from train.losses.vgg_features import load_features
from train.trainer import Trainer

Make = Callable[..., TrainConfig]


@pytest.fixture
def works(tmp_path: Path) -> Path:
    """A folder of an artist's works, the first of them damaged."""
    folder = tmp_path / "works"
    folder.mkdir()
    for number in range(1, 4):
        write_picture(folder / f"work_{number}.png", texture(80 + number, 90, number))
    (folder / "work_0.png").write_bytes(b"damaged")
    return folder


def test_a_damaged_work_is_skipped_by_name(config: Make, works: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = config(data={"style_picture": None, "style_pictures": works})
    features = load_features(settings.data.features)
    trainer = Trainer(settings, features)
    assert logged(caplog)[0] == f"{works / 'work_0.png'} is not a picture, or is damaged; skipped"
    assert [path.name for path in trainer.paintings] == ["work_1.png", "work_2.png", "work_3.png"]
    (works / "work_0.png").unlink()
    for ours, without in zip(trainer.painting.grams, Trainer(settings, features).painting.grams, strict=True):
        assert torch.equal(ours, without)


@pytest.mark.parametrize("norm", [False, True])
def test_a_run_from_a_style_begins_with_its_paintings(config: Make, tiny_style: Path, norm: bool) -> None:
    settings = config(generator={"init": tiny_style, "norm": norm})
    trainer = Trainer(settings, load_features(settings.data.features))
    assert (trainer.generator.stem.norm is not None) == norm
    picture = texture(48, 64, 2)
    difference = stylize_picture(trainer.generator, picture).astype(int) - stylize_picture(
        load_generator(StyleModel.open(tiny_style)), picture
    )
    assert abs(difference).max() <= 1


def test_no_work_at_all_is_told(config: Make, works: Path) -> None:
    for path in works.glob("work_[123].png"):
        path.write_bytes(b"damaged as well")
    settings = config(data={"style_picture": None, "style_pictures": works})
    with pytest.raises(TrainError, match="no work can be read"):
        Trainer(settings, load_features(settings.data.features))


def test_faces_and_plain_walls_count_if_they_are_given_a_weight(config: Make, tmp_path: Path) -> None:
    portrait = Path(train.__file__).parent / "photographs" / "astronaut.jpg"
    (tmp_path / "portraits").mkdir()
    write_picture(tmp_path / "portraits" / "one.png", read_picture(portrait)[:200, 100:300])

    def terms(**losses: float) -> dict[str, float]:
        data = {"content": tmp_path / "portraits", "hold_out": 0, "crop": 192, "batch": 2}
        settings = config(data=data, losses=losses)
        batch = BatchLoader(settings)(0)
        found = Trainer(settings, load_features(settings.data.features)).losses(batch).terms
        return {name: float(value.detach()) for name, value in found.items()}

    without, weighed = terms(noise=0.0, temporal=0.0), terms(noise=0.0, temporal=0.0, faces=3.0)
    assert 0.1 < weighed["faces"] / weighed["content"] < 0.9, "the face fills a part of each crop"
    assert {name: weighed[name] for name in without} == without and "faces" not in without
    assert "plain" not in without and terms(plain=1.0)["plain"] > 0


def test_a_blank_canvas_stays_blank(config: Make, tiny_style: Path) -> None:
    settings = config(generator={"init": tiny_style, "canvas": False, "ema": 0.9})
    painting = config(generator={"init": tiny_style, "ema": 0.9})
    features = load_features(settings.data.features)
    trainer = Trainer(settings, features)
    for _ in range(2):
        trainer.restore(Trainer(painting, features).state())  # one that had a canvas until now
        trainer.losses(BatchLoader(settings)(0)).raw.mean().backward()
        trainer.update()
    for network in (trainer.generator, trainer.average):
        assert isinstance(network, Generator)
        with torch.no_grad():
            shifted = [stylize(network, torch.full((1, 3, 64, 64), 0.5), shift) for shift in ((0, 0), (5, 9))]
        assert torch.equal(*shifted), "nothing in the picture belongs to the screen"


def test_a_layer_weighs_what_it_is_given(config: Make) -> None:
    features = load_features(config().data.features)
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))

    def style(**weights: float) -> float:
        layers = dict.fromkeys(("relu1_1", "relu2_1", "relu3_1", "relu4_1"), 0.0) | weights
        settings = config(style_layers=layers)
        batch = Batch(x, Draws.of_step(settings, 0, range(1)))
        return float(Trainer(settings, features).losses(batch).terms["style"].detach())

    each = [style(**{name: 1.0}) for name in ("relu1_1", "relu2_1", "relu3_1", "relu4_1")]
    assert len(set(each)) == 4 and min(each) > 0
    assert style(relu1_1=1, relu2_1=1, relu3_1=2, relu4_1=1) == pytest.approx(sum(each) + each[2], rel=1e-5)


def test_a_picture_goes_where_the_generator_is() -> None:
    """The meta device computes nothing, but refuses what lies elsewhere, as a GPU does."""
    generator = Generator(Arch(4, 4, 1, 4)).to("meta")
    with pytest.raises(NotImplementedError, match="meta"):  # on the way back: there is nothing to copy
        stylize_picture(generator, texture(32, 32, 1))


def test_the_generator_is_what_is_trained_unless_told_otherwise(config: Make) -> None:
    """Bit for bit: what another network needs takes nothing from the generator's own way."""
    settings = config(generator={"norm": True})
    trainer = Trainer(settings, load_features(settings.data.features))
    torch.manual_seed(settings.run.seed)
    fresh = Generator(settings.generator.arch, norm=True)
    assert trainer.generator.state_dict().keys() == fresh.state_dict().keys()
    assert all(torch.equal(value, trainer.generator.state_dict()[name]) for name, value in fresh.state_dict().items())
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    assert torch.equal(trainer.stylize(trainer.generator.eval(), x, (3, 5)), stylize(fresh.eval(), x, (3, 5)))
    picture = texture(48, 64, 2)
    assert (trainer.stylize_picture(picture) == stylize_picture(fresh, picture)).all()
    assert trainer.shape == {"arch": settings.generator.arch.to_dict(), "norm": True}
