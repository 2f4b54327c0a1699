"""A whole step on another device than the CPU, without one: the meta device computes nothing, but it refuses to mix.

All that a GPU refuses for lying on the CPU is refused here too: pictures, pairs, random numbers, feature networks,
Gram matrices, masks, weights and moments. Replaced are only the three places that read numbers back on the host, and
autocast, which does not know this device.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.train.pictures import texture, write_picture
from tests.train.test_clips import panning, write_clip
from train import adversary, loop, trainer
from train.config.recipe import recipes, resolve
from train.config.schema import TrainConfig
from train.data.batches import Batch, BatchLoader, Draws
from train.data.synthetic_motion import random_flow, sensor_noise
from train.distributed import ProcessGroup

META = torch.device("meta")


class MetaProcess(ProcessGroup):
    """Computes on the meta device, which has no values, and so writes nothing."""

    @property
    def device(self) -> torch.device:
        return META

    @property
    def is_main(self) -> bool:
        return False


@pytest.fixture
def given(photos: Path, painting: Path, narrow_features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that resolves a recipe for tiny data: ``given(recipe, overrides, clips=…, works=…)``."""
    monkeypatch.setenv("RTSTYLE_FEATURES", str(tmp_path / "cache" / "features"))
    works, clips = tmp_path / "works", tmp_path / "clips"
    for folder in (works, clips):
        folder.mkdir()
    for number in range(3):
        write_picture(works / f"work_{number}.png", texture(80, 90, 50 + number))
    write_clip(clips / "a.mp4", panning(4, 3, -2))
    sizes = {
        "data.batch": 4, "data.crop": 64, "data.style_size": 64, "data.hold_out": 1, "data.workers": 0,
        "generator.stem": 4, "generator.body": 4, "generator.blocks": 1, "generator.head": 4,
        "discriminator.width": 2, "discriminator.layers": 2, "discriminator.scales": 2, "discriminator.warmup": 0,
        "schedule.steps": 100, "data.style_picture": painting, "data.content": photos,
        "data.features": narrow_features, "run.out": tmp_path / "run",
    }  # fmt: skip

    def make(recipe: str, *overrides: str, with_clips: bool, with_works: bool) -> TrainConfig:
        more = {"data.clips": clips if with_clips else None, "data.style_pictures": works if with_works else None}
        return resolve(recipe, overrides, sizes | more)

    return make


def on_host(x: Tensor) -> Tensor:
    """A copy with values, which the meta device does not have."""
    return torch.full(x.shape, 0.5, dtype=x.dtype)


def train_on_meta(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Train two steps on the meta device, and return the names of the numbers that each has fetched."""
    fetched: list[list[str]] = []

    def fetch(*groups: dict[str, Tensor]) -> dict[str, float]:
        values = {name: value for group in groups for name, value in group.items()}
        assert {value.device for value in values.values()} == {META}
        fetched.append(list(values))
        return dict.fromkeys(values, 1.0)

    monkeypatch.setattr(loop, "_fetch", fetch)
    monkeypatch.setattr(trainer.PaintingFigures, "light", (0.5, 0.2))
    monkeypatch.setattr(adversary, "_copy_to_host", on_host)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    done = loop.train(config, group=MetaProcess(), stop=lambda: len(fetched) == 2)
    assert done.step == 2
    tensors = [*done.generator.state_dict().values(), *done.painting.grams, done.painting.palette]
    assert {x.device for x in tensors} == {META}
    return fetched


@pytest.mark.parametrize(("with_works", "with_clips"), [(False, False), (True, True)])
@pytest.mark.parametrize("recipe", list(recipes()))
def test_a_whole_step_of_each_recipe_runs_where_the_pictures_are(
    given: Any, monkeypatch: pytest.MonkeyPatch, recipe: str, with_works: bool, with_clips: bool
) -> None:
    config = given(recipe, "losses.palette=100.0", with_works=with_works, with_clips=with_clips)
    for names in train_on_meta(config, monkeypatch):
        assert {"content", "style", "batch_style", "temporal", "noise", "tone", "palette", "lattice"} <= set(names)
        assert ({"discriminator", "adversarial", "feature_matching"} <= set(names)) == with_works


@pytest.mark.parametrize(
    ("loss", "kernels"), [("lsgan", "adam"), ("bce", "muon"), ("hinge", "adam"), ("wgan-gp", "muon")]
)
def test_so_does_every_game_with_either_optimizer(
    given: Any, monkeypatch: pytest.MonkeyPatch, loss: str, kernels: str
) -> None:
    overrides = (f"discriminator.loss={loss}", f"schedule.optimizer={kernels}", "discriminator.steps=2")
    steps = train_on_meta(given("best", *overrides, with_works=True, with_clips=False), monkeypatch)
    assert all(("penalty" in names) == (loss == "wgan-gp") for names in steps)


def test_a_batch_goes_to_the_device_as_a_whole(given: Any) -> None:
    loader = BatchLoader(given("best", "motion.source=both", with_works=False, with_clips=True))
    for step in (0, 1):
        batch, parts = loader(step).to(META), []
        batch.map(lambda part, parts=parts: parts.append(part) or part)
        assert len(parts) == (4 if step == 0 else 6) and all(part.device == META for part in parts)


def drawn_place_by_place(config: TrainConfig, step: int, places: range) -> tuple[Tensor, Tensor, Tensor]:
    """What a step drew in the training thread, picture by picture, before the loader drew it."""

    def rng(place: int) -> torch.Generator:
        return torch.Generator().manual_seed((config.run.seed * 1_000_003 + step) * 1009 + place + 1)

    flows, moved, size, sigma = [], [], (config.data.crop, config.data.crop), config.motion.noise_sigma
    for place in range(0, len(places), 2):
        own = rng(places.start + place)
        flows.append(random_flow(1, size, config.motion.shift, own))
        moved.append(sensor_noise(1, size, sigma, own))
    still = [sensor_noise(1, size, sigma, rng(places.start + 2 * n + 1)) for n in range(max(1, len(places) // 2))]
    return torch.cat(flows), torch.cat(moved), torch.cat(still)


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_random_numbers_depend_on_seed_step_and_place_alone(config: Callable[..., TrainConfig], batch: int) -> None:
    settings = config(data={"batch": batch}, run={"seed": 5})
    draws = [Draws.of_step(settings, step, range(batch)) for step in (3, 3, 4)]
    for one, expected in zip(
        (draws[0].flow, draws[0].moved_noise, draws[0].still_noise),
        drawn_place_by_place(settings, 3, range(batch)), strict=True,
    ):  # fmt: skip
        assert one is not None and torch.equal(one, expected)
    assert draws[0].shift == draws[1].shift != draws[2].shift
    assert draws[0].flow is not None and draws[2].flow is not None and not torch.equal(draws[0].flow, draws[2].flow)


def test_the_draws_of_the_parts_are_those_of_the_whole_batch(config: Callable[..., TrainConfig]) -> None:
    settings = config(data={"batch": 8})
    whole, *parts = (Draws.of_step(settings, 2, places) for places in (range(8), range(4), range(4, 8)))
    for name in ("flow", "moved_noise", "still_noise"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))


def test_the_numbers_of_a_step_are_those_of_earlier_versions(config: Callable[..., TrainConfig]) -> None:
    """Recorded when the training thread drew them."""
    draws = Draws.of_step(config(), 3, range(2))
    assert draws.flow is not None and draws.still_noise is not None and draws.moved_noise is not None
    assert draws.shift == (61, 18)
    sums = [float(x.double().abs().sum()) for x in (draws.flow, draws.moved_noise, draws.still_noise)]
    assert sums == pytest.approx([750.6067, 88.4693, 7.2322], rel=1e-4)


def test_batches_hold_their_draws_however_they_are_loaded(config: Callable[..., TrainConfig]) -> None:
    def batches(workers: int) -> list[Batch]:
        stream = BatchLoader(config(data={"workers": workers})).from_step(4)
        return [next(stream) for _ in range(3)]

    for one, other in zip(batches(0), batches(2), strict=True):
        assert one.draws.shift == other.draws.shift and torch.equal(one.x, other.x)
        assert one.draws.flow is not None and other.draws.flow is not None
        assert torch.equal(one.draws.flow, other.draws.flow)


@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_is_left_alone_where_it_is_only_emulated(
    config: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    monkeypatch.setattr(torch, "autocast", lambda *arguments: arguments)
    gpu = torch.device("cuda")
    for precision, expected in {"auto": native, "bf16": True, "fp32": False}.items():
        settings = config(schedule={"precision": precision})
        assert (loop._feature_dtype(settings, gpu) == torch.bfloat16) is expected
        assert (loop._precision(settings, gpu) == ("cuda", torch.bfloat16)) is expected
    assert isinstance(loop._precision(config(), torch.device("cpu")), nullcontext)
