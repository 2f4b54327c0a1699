"""Johnson's network beside ours: trained from a record, stopped, resumed, judged, and compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from benchmarks import against
from benchmarks.against import ALIKE, PLAIN, STYLES, Figures, judged, measure
from benchmarks.gallery import Material
from benchmarks.johnson import Johnson
from benchmarks.rival import JohnsonTrainer, Rival, device_of, pictures_of, stylize
from benchmarks.subject import NotMeasuredError, Subject
from engines.errors import TrainError
from engines.style_file import StyleModel
from tests.train.pictures import shifted, texture, write_picture
from tests.train.trained import recorded
from train import checkpoint
from train.config.schema import TrainConfig
from train.data.batches import Batch, Draws
from train.loop import CHECKPOINT, Progress
from train.losses.vgg_features import load_features
from train.trainer import Trainer

Make = Callable[..., TrainConfig]
Record = Callable[..., StyleModel]

FIGURES = Figures(weights="", style=0.1, strokes=0.1, ssim=0.5, noise=0.7, ewarp=0.002, ewarp_unpainted=0.001)


@pytest.fixture
def data(tmp_path: Path, painting: Path, narrow_features: Path) -> Path:
    """A data folder with two photographs, of which one is held out."""
    folder = tmp_path / "data"
    for name in ("content", "styles"):
        (folder / name).mkdir(parents=True)
    for number in range(2):
        write_picture(folder / "content" / f"photo_{number}.png", texture(96, 120, number))
    (folder / "styles" / painting.name).symlink_to(painting)
    (folder / "features").symlink_to(narrow_features)
    return folder


@pytest.fixture
def record(config: Make, tiny_style: Path, tmp_path: Path) -> Record:
    """Makes a style with a record of its training."""

    def make(name: str = "one", steps: int = 2, batch: int = 1, init: str | None = None, **sections: Any) -> StyleModel:
        settings = config(data={"batch": batch}, **sections).to_dict()
        settings["generator"]["init"] = init
        return StyleModel.open(recorded(tiny_style, tmp_path / name, {"settings": settings, "steps_done": steps}))

    return make


def written(rival: Rival, settings: dict[str, Any] | None = None) -> Rival:
    """With a network that never learned anything."""
    rival.out.mkdir(exist_ok=True)
    told = {"settings": json.dumps(settings or rival.config.to_dict())}
    save_file(Johnson().state_dict(), rival.file, told)
    return rival


def test_a_stopped_rival_goes_on_bit_for_bit_and_is_judged(record: Record, data: Path, tmp_path: Path) -> None:
    style = record()
    whole, parts = (Rival(style, data, tmp_path / name) for name in ("whole", "parts"))
    assert whole.finish()
    seen: list[Progress] = []
    assert not parts.finish(stop=lambda: bool(seen), show=seen.append)
    assert not parts.file.exists() and checkpoint.load(parts.config.run.out / CHECKPOINT)["step"] == 1
    assert parts.finish(show=seen.append)
    assert [one.step for one in seen] == [1, 2]
    assert {"temporal", "noise", "style"} <= seen[-1].losses.keys()
    assert parts.file.read_bytes() == whole.file.read_bytes()
    assert parts.finish(show=lambda _: pytest.fail("it is trained already"))

    fresh = Johnson()
    assert any(not torch.equal(a, b) for a, b in zip(parts.network().parameters(), fresh.parameters(), strict=True))
    network = load_features(data / "features").style_network
    material = Material([texture(48, 64, n) for n in range(2)], [shifted(3, 2, 1)], network, data / "styles")
    found = judged(parts, parts.network(), material)
    assert min(found.style, found.strokes, found.noise, found.ewarp) > 0 and -1 < found.ssim < 1
    assert judged(parts, fresh, replace(material, pictures=())) == found, "it was kept: nothing is painted again"


def test_a_plain_rival_has_neither_temporal_nor_noise_loss(record: Record, data: Path, tmp_path: Path) -> None:
    style = record(losses={"style": 7.0}, motion={"shift": 3.0}, schedule={"learning_rate": 4e-3, "optimizer": "muon"})
    alike, plain = Rival(style, data, tmp_path), Rival(style, data, tmp_path, plain=True)
    assert (alike.config.losses.temporal, alike.config.losses.noise, alike.config.losses.style) == (200.0, 1000.0, 7.0)
    assert (plain.config.losses.temporal, plain.config.losses.noise, plain.config.losses.style) == (0.0, 0.0, 7.0)
    assert alike.config.motion == plain.config.motion and alike.config.motion.shift == 3.0
    assert (alike.config.schedule.optimizer, alike.config.schedule.learning_rate) == ("adam", 1e-3)
    assert alike.file != plain.file
    trainer = JohnsonTrainer(plain.config, load_features(data / "features"))
    batch = Batch(torch.rand(1, 3, 64, 64), Draws.of_step(plain.config, 0, range(1)))
    assert "temporal" not in (terms := trainer.losses(batch).terms)
    assert "noise" not in terms and "style" in terms


def test_pictures_are_counted_with_those_of_the_style_that_was_the_start(record: Record, tmp_path: Path) -> None:
    first = record("first", steps=3, batch=2)
    second = record("second", steps=5, batch=4, init=str(first.folder))
    assert (pictures_of(first), pictures_of(second)) == (6, 26)
    rival = Rival(record("third", steps=1, batch=4, init=str(second.folder)), tmp_path, tmp_path)
    assert rival.config.schedule.steps == 8 and rival.pictures == 32, "30, in whole batches"
    assert rival.config.generator.init is None
    assert Rival(rival.style, tmp_path, tmp_path, steps=3).config.schedule.steps == 3


@pytest.mark.parametrize(("init", "told"), [("tiny", "older tiny"), ("nowhere", "nowhere, which is not there")])
def test_a_start_without_a_record_cannot_be_counted(record: Record, init: str, told: str) -> None:
    with pytest.raises(NotMeasuredError, match=told):
        pictures_of(record(init=init))


def test_a_style_without_a_record_cannot_be_counted(tiny_style: Path) -> None:
    with pytest.raises(NotMeasuredError, match="tiny has no record"):
        pictures_of(StyleModel.open(tiny_style))


def test_nothing_is_taken_for_what_it_is_not(record: Record, data: Path, tmp_path: Path) -> None:
    rival = Rival(record(), data, tmp_path / "out")
    with pytest.raises(NotMeasuredError, match=r"not trained.*benchmarks\.against"):
        rival.network()
    other = rival.config.to_dict()
    other["losses"] = other["losses"] | {"style": 9.0}
    written(rival, other)
    for use in (rival.network, rival.finish):
        with pytest.raises(TrainError, match=r"other settings: losses\.style was 9\.0 and is 5\.0"):
            use()
    written(rival)
    assert rival.finish() and isinstance(rival.network(), Johnson)
    rival.file.write_bytes(rival.file.read_bytes()[:1000])
    for use in (rival.network, rival.finish):
        with pytest.raises(TrainError, match=r"tiny\.safetensors is damaged"):
            use()


def test_a_checkpoint_of_other_settings_is_not_gone_on_with(record: Record, data: Path, tmp_path: Path) -> None:
    rival = Rival(record(), data, tmp_path / "out")
    folder = rival.config.run.out
    folder.mkdir(parents=True)
    checkpoint.save(folder / CHECKPOINT, {"settings": Rival(record("two", steps=9), data, tmp_path).config.to_dict()})
    with pytest.raises(TrainError, match=r"schedule\.steps was 9 and is 2"):
        rival.finish()


def test_what_is_not_trained_is_told_with_its_bars(tmp_path: Path, tiny_style: Path) -> None:
    subject = Subject(StyleModel.open(tiny_style), True, None, tmp_path / "nowhere", tmp_path)
    section = measure(subject, tmp_path)
    assert len(section.rows) == len(STYLES) * (len(ALIKE) + len(PLAIN))
    assert {row.bar for row in section.rows} == {"≤ 1.25 ×", "≥ 1 ×", "≤ 0.35 ×", "≤ 15 %"}
    for row in section.rows:
        assert row.measured == "–" and row.verdict.startswith("not measured: the network is not trained")
        assert "python -m benchmarks.against" in row.verdict


def test_what_is_trained_is_compared(tmp_path: Path, tiny_style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every style with its own network; a style whose network is missing stays without figures."""
    subject = Subject(StyleModel.open(tiny_style), True, None, tmp_path, tmp_path)
    for rival in against.rivals(tmp_path, tmp_path, STYLES[:1]):
        found = replace(FIGURES, weights=against.sha256(written(rival).file), style=0.05, ssim=0.4, ewarp=0.01)
        rival.file.with_suffix(".json").write_text(json.dumps(vars(found)))
    monkeypatch.setattr(against.Material, "read", lambda _: Material([], [], None, tmp_path))
    monkeypatch.setattr(against, "figures_of", lambda names, _: dict.fromkeys(names, FIGURES))
    rows = measure(subject, tmp_path).rows
    assert [(row.measured, row.verdict) for row in rows[:2]] == [("2.00 ×", "missed by 60%"), ("1.250 ×", "met")]
    assert rows[2].measured.startswith("0.050 ×") and rows[2].bar == ""
    assert [(row.measured, row.verdict) for row in rows[3:5]] == [("0.20 ×", "met"), ("100 %", "missed by 567%")]
    assert all(row.verdict.startswith("not measured") for row in rows[6:]) and len(rows) == 6 + 8


@pytest.mark.parametrize("size", [(5, 5), (16, 24), (37, 50)])
def test_the_network_paints_any_size(size: tuple[int, int]) -> None:
    network = Johnson().eval()
    x = torch.rand(1, 3, *size)
    with torch.no_grad():
        assert (painted := stylize(network, x)).shape == x.shape
        if not any(side % 4 for side in size):
            assert torch.equal(painted, network(x))


def test_another_networks_checkpoint_is_refused(record: Record, data: Path, tmp_path: Path) -> None:
    rival = Rival(record(), data, tmp_path)
    features = load_features(data / "features")
    johnson, generator = (kind(rival.config, features) for kind in (JohnsonTrainer, Trainer))
    johnson.restore(johnson.state())
    for one, other in ((johnson, generator), (generator, johnson)):
        with pytest.raises(TrainError, match="another shape"):
            one.restore(other.state())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_not_waited_for() -> None:
    with pytest.raises(NotMeasuredError, match="no GPU here"):
        device_of("cuda")
    assert device_of("cpu").device == device_of(None).device == torch.device("cpu")
