"""The generator with what its training needs beside it: feature networks, the painting, optimiser, average.

To train another network by the same losses, override ``first``, ``stylize`` and ``shape``.
"""

from __future__ import annotations

import contextlib
import copy
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engines.base import RGB
from engines.errors import TrainError
from engines.model.generator import CANVAS, Generator, load_generator, stylize
from engines.style_file import StyleModel
from train.config.diff import changes
from train.config.schema import STYLE_LAYERS, DataConfig, TrainConfig
from train.data.clips import PairBatch, clip_files
from train.data.pictures import Pictures, fingerprint, picture_files, read_picture, split, to_tensor, with_short_side
from train.data.synthetic_motion import inside, random_flow, sensor_noise, warp
from train.distributed import ALONE, World, share_statistics
from train.losses.perceptual import (
    content_loss,
    gram,
    gram_distances,
    lattice_loss,
    luminance_temporal_loss,
    noise_loss,
    range_loss,
    straight_clamp,
    temporal_loss,
    tone_loss,
    tones,
    variation_loss,
)
from train.losses.vgg_features import Features
from train.optimizer import Optimizer
from train.report.contact_sheet import painted
from train.warm_start import with_norms

ORDER = {"seed": "run", "batch": "data", "crop": "data", "hold_out": "data"}
"""Settings that decide which pictures a step sees, and their sections; a resumed run keeps them."""

PACKAGES = ("rtstyle", "torch", "numpy", "opencv-python-headless")
"""What the numbers of a run depend on, besides its settings and its data."""

CALIBRATED = 16
"""Crops of photographs over which the statistics of a style to start from are taken."""

LEAST_SIDE = 32
"""Short side of the smallest painting that is learned from, pixels."""

MOST_WORKS = 32
"""Works of an artist whose Gram matrices are averaged when there is no single painting."""


@dataclass(frozen=True)
class Painted:
    """What a step painted, and what it costs.

    Attributes:
        terms: every loss term, unweighted, a scalar each.
        raw: all that the generator gave in this step, (…, 3, H, W); the terms' gradients with respect to it tell which
            term pulls how hard.
        pictures: the paintings of the batch, (N, 3, H, W) in [0, 1], with gradient; what the discriminator sees.
    """

    terms: Mapping[str, Tensor]
    raw: Tensor
    pictures: Tensor


class Painter:
    """A generator in training.

    Args:
        config: of the run.
        features: fixed networks, on the device where the training shall run.
        device: of everything.
        world: which of several processes this is; it paints its part of each batch.

    Attributes:
        warnings: what a person should know about the painting.
        paintings: files of the pictures whose strokes are learned.
        data_hashes: fingerprints of the files that are learned from, in the process that writes.
        changes: settings that were changed when the run was resumed; see ``changes.changes``.
    """

    def __init__(
        self, config: TrainConfig, features: Features, device: torch.device | None = None, world: World = ALONE
    ):
        torch.manual_seed(config.run.seed)
        self.config, self.features = config, features
        self.device = device or torch.device("cpu")
        self.world, self.first_place = world, world.places(config.data.batch).start
        self.generator = self.first().to(self.device)
        if not world.alone:
            share_statistics(self.generator)
        self.average = copy.deepcopy(self.generator).requires_grad_(False) if config.generator.ema else None
        self.optimizer = Optimizer(self.generator, config.schedule.learning_rate, config.schedule.optimizer)
        self.step, self.seconds = 0, 0.0
        self.warnings: list[str] = []
        self.paintings: list[Path] = []
        self.painting_grams, self.painting_tones = self._look()
        self.data_hashes = data_hashes(config.data) if world.writes else {}
        self.changes: list[dict[str, Any]] = []

    @property
    def share(self) -> float:
        """How much of the run is done, 0 … 1."""
        return self.config.schedule.share(self.step, self.seconds)

    @property
    def result(self) -> nn.Module:
        """The generator that becomes the style: the moving average where there is one."""
        return self.average or self.generator

    @property
    def shape(self) -> dict[str, Any]:
        """By what a checkpoint knows its generator: ``arch`` and ``norm``."""
        assert isinstance(self.generator, Generator)
        return {"arch": self.generator.arch.to_dict(), "norm": self.generator.stem.norm is not None}

    def first(self) -> nn.Module:
        """What is trained, as it is before the first step: fresh, or that of the style to start from."""
        return _first_generator(self.config)

    def stylize(self, network: nn.Module, x: Tensor, shift: tuple[int, int] = (0, 0)) -> Tensor:
        """Paint.

        Args:
            network: from ``first``, or its average.
            x: (N, 3, H, W) in [0, 1].
            shift: of the canvas, (y, x), in cells; a network without one needs none.

        Returns:
            the same shape, about in [0, 1].
        """
        assert isinstance(network, Generator)
        return stylize(network, x, shift)

    def paint(self, rgb: RGB) -> RGB:
        """One picture as the style would paint it now. (H, W, 3) → same shape."""
        return painted(self.result, self.stylize, rgb)

    @torch.no_grad()
    def _look(self) -> tuple[list[Tensor], tuple[float, float]]:
        """Look at the painting, or at the artist's works.

        Returns:
            Gram matrices, (1, C, C) for each layer, mean over the works; mean and standard deviation of ``tones``.

        Raises:
            TrainError: none of the works can be read.
        """
        files, crop = painting_files(self.config.data), self.config.data.crop
        sums: list[Tensor] = []
        light: list[Tensor] = []
        for file in files:
            try:
                rgb = _read_painting(file)
            except TrainError as error:
                if len(files) == 1:
                    raise
                self.warnings.append(f"{error.problem}; left out")
                continue
            self.paintings.append(file)
            # Works in small files are not blown up: their strokes would become as large as the blur between them.
            short = min(rgb.shape[:2])
            if short < crop:
                self.warnings.append(f"{file} is {rgb.shape[1]}×{rgb.shape[0]}: smaller than a crop of {crop} pixels")
            side = self.config.data.style_size if len(files) == 1 else min(short, self.config.data.style_size)
            x = to_tensor(with_short_side(rgb, side)).to(self.device)
            grams = [gram(f) for f in [*self.features.style(x), self.features.content(x)]]
            sums = [a + b for a, b in zip(sums, grams, strict=True)] if sums else grams
            light.append(tones(x).flatten())
        if not sums:
            raise TrainError(
                f"none of the works can be read: {files[0]} …", hint="give --style-pictures another folder"
            )
        together = torch.cat(light)
        return [value / len(self.paintings) for value in sums], (float(together.mean()), float(together.std(False)))

    def losses(self, x: Tensor, step: int, pairs: PairBatch | None = None) -> Painted:
        """Every loss term of the generator but the adversarial ones.

        Args:
            x: photographs, (N, 3, H, W) in [0, 1]; of several processes, this one's part.
            step: random numbers depend on it, on the seed, and on a picture's place in the whole batch alone.
            pairs: frames of real clips, for the temporal term; without them motion is synthetic.
        """
        groups, flow = self._groups(x, step, pairs)
        shift = torch.randint(CANVAS, (2,), generator=self._rng(step, -1)).tolist()
        # One pass for all groups: the normalisation sees them together.
        together = self.stylize(self.generator, torch.cat(list(groups.values())), (shift[0], shift[1])).float()
        raw = dict(zip(groups, torch.split(together, [len(group) for group in groups.values()]), strict=True))
        pictures = straight_clamp(raw["x"])
        terms = self._picture_terms(x, raw["x"], pictures)
        if flow is not None:
            terms["temporal"] = temporal_loss(warp(raw["x"][::2], flow), raw["moved"], inside(flow))
        if pairs is not None:
            terms["temporal"] = luminance_temporal_loss(
                raw["first"], raw["second"], pairs.first, pairs.second, pairs.flow, pairs.valid
            )
        if "noisy" in groups:
            terms["noise"] = noise_loss(_still(raw["x"]), raw["noisy"])
        return Painted(terms, together, pictures)

    def _groups(self, x: Tensor, step: int, pairs: PairBatch | None) -> tuple[dict[str, Tensor], Tensor | None]:
        """All pictures that a step paints, by what they are for; and the flow of those that moved.

        Every other picture moves and the others get noise: both terms at little more than the cost of one.
        """
        config = self.config
        groups, flow = {"x": x}, None
        size, sigma = (x.shape[-2], x.shape[-1]), config.motion.noise_sigma
        if pairs is not None:
            groups |= {"first": pairs.first, "second": pairs.second}
        elif config.motion.source != "none" and config.losses.temporal:
            rngs = [self._rng(step, self.first_place + place) for place in range(0, len(x), 2)]
            flow = torch.cat([random_flow(1, size, config.motion.shift, rng) for rng in rngs]).to(x.device)
            moved = torch.split(warp(x[::2], flow), 1)
            groups["moved"] = torch.cat([sensor_noise(m, sigma, rng) for m, rng in zip(moved, rngs, strict=True)])
        if config.losses.noise:
            still = torch.split(_still(x), 1)
            rngs = [self._rng(step, self.first_place + 2 * number + 1) for number in range(len(still))]
            groups["noisy"] = torch.cat([sensor_noise(s, sigma, rng) for s, rng in zip(still, rngs, strict=True)])
        return groups, flow

    def _picture_terms(self, x: Tensor, raw: Tensor, y: Tensor) -> dict[str, Tensor]:
        weights = {name: weight for name, weight in vars(self.config.content_layers).items() if weight}
        with torch.no_grad():
            original = self.features.layers(x, weights)
        found = self.features.layers(y, {*STYLE_LAYERS, *weights})
        grams = [gram(found[name]) for name in STYLE_LAYERS]
        content = [weight * content_loss(found[name], original[name]) for name, weight in weights.items()]
        terms = {"content": torch.stack(content).sum() if content else y.new_zeros(()), "style": self._style(grams)}
        if self.config.losses.batch_style:
            terms["batch_style"] = self._style([self.world.mean(g.mean(0, keepdim=True)) for g in grams])
        if self.config.losses.tone:
            terms["tone"] = tone_loss(y, x, *self.painting_tones)
        if self.config.losses.lattice:
            terms["lattice"] = lattice_loss(raw)
        return terms | {"variation": variation_loss(raw), "range": range_loss(raw)}

    def _style(self, grams: list[Tensor]) -> Tensor:
        weights = vars(self.config.style_layers).values()
        distances = gram_distances(grams, self.painting_grams)
        return torch.stack([weight * distance for weight, distance in zip(weights, distances, strict=True)]).sum()

    def _rng(self, step: int, place: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.config.run.seed * 1_000_003 + step) * 1009 + place + 1)

    def update(self) -> None:
        """One step of the optimiser, and of the average."""
        self.optimizer.step()
        self.step += 1
        if self.average is None:
            return
        # The first weights are far from any style and must not linger.
        decay = min(self.config.generator.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            live = self.generator.state_dict()
            for name, value in self.average.state_dict().items():
                if value.is_floating_point():
                    value.lerp_(live[name], 1 - decay)
                else:
                    value.copy_(live[name])

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {
            "generator": self.generator.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            **self.shape,
            "order": {name: getattr(getattr(self.config, section), name) for name, section in ORDER.items()},
            "settings": self.config.to_dict(),
            "changes": self.changes,
            "data": self.data_hashes,
            "versions": versions(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint was written.

        Raises:
            TrainError: it holds a generator of another shape, not all that is needed, or was started otherwise.
        """
        mine = self.state()
        missing = sorted(mine.keys() - state.keys() - {"data", "versions", "changes"})
        if missing:
            raise TrainError(f"the checkpoint holds no {', '.join(missing)}", hint="leave --resume away to start anew")
        if state["arch"] != mine["arch"] or state["norm"] != mine["norm"]:
            raise TrainError(f"the checkpoint holds a generator of another shape: {state['arch']}")
        if state["order"] != mine["order"]:
            raise TrainError(f"the run was started with {state['order']}", hint="give the same, or another --out")
        try:
            self.generator.load_state_dict(state["generator"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.average is not None:
                # A run that takes up averaging half-way starts it from where it stands.
                self.average.load_state_dict(state["average"] or state["generator"])
        except (RuntimeError, ValueError) as error:
            raise TrainError("the checkpoint does not fit this version's generator", hint="start anew") from error
        self.step, self.seconds = state["step"], state["seconds"]
        self.changes = [*state.get("changes", []), *changes(self.config, state["settings"], self.step)]


def _read_painting(file: Path) -> RGB:
    """Raises: TrainError: it cannot be read, or is too small to hold a stroke."""
    rgb = read_picture(file)
    if min(rgb.shape[:2]) < LEAST_SIDE:
        problem = f"{file} is {rgb.shape[1]}×{rgb.shape[0]}: too small to hold a stroke"
        raise TrainError(problem, hint=f"a painting needs {LEAST_SIDE} pixels at least, and better a thousand")
    return rgb


def data_hashes(data: DataConfig) -> dict[str, str]:
    """Fingerprints of everything that a run learns from, by setting."""
    found = {"content": picture_files(data.content)}
    if data.style_picture is not None:
        found["style_picture"] = [data.style_picture]
    if data.style_pictures is not None:
        found["style_pictures"] = picture_files(data.style_pictures, "--style-pictures")
    if data.clips is not None:
        found["clips"] = clip_files(data.clips)
    return {name: fingerprint(files) for name, files in found.items()}


def versions() -> dict[str, str]:
    """Of ``PACKAGES`` and Python."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):  # run from a checkout
            found[name] = metadata.version(name)
    return found


def _still(x: Tensor) -> Tensor:
    """The pictures of a batch that do not move: every other one, from the second; a single one stands for both."""
    return x[1::2] if len(x) > 1 else x


def _first_generator(config: TrainConfig) -> Generator:
    """Fresh, or that of the style to start from; it has been folded and gets its normalisation back."""
    if config.generator.init is None:
        return Generator(config.generator.arch, norm=config.generator.norm)
    plain = load_generator(StyleModel.open(config.generator.init))
    if not config.generator.norm:
        return plain
    data = config.data
    files, _ = split(picture_files(data.content), data.hold_out)
    return with_norms(plain, Pictures(files, CALIBRATED, data.crop, config.run.seed)(0))


def painting_files(data: DataConfig) -> list[Path]:
    """The pictures whose strokes are learned: the one that was given, or works from all over the artist's folder."""
    if data.style_picture is not None:
        return [data.style_picture]
    assert data.style_pictures is not None  # one of the two is given, or there would be no settings
    works = picture_files(data.style_pictures, "--style-pictures")
    return works[:: max(1, len(works) // MOST_WORKS)][:MOST_WORKS]
